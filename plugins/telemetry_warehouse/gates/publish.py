"""Replaces the days of a published table by those of a candidate that has passed, in one transaction.

Days are deleted as whole partitions by literal bounds, which BigQuery does without scanning, and inserted by named
column, records field by field (projection.py). The transaction refuses where a newer holder of the table's lock has
left its token. It also writes the publish down in monitoring.pipeline_runs, so that there is no moment at which days
are published and nobody knows it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from telemetry_warehouse import projection, tables
from telemetry_warehouse.bigquery import Warehouse, render
from telemetry_warehouse.tables import Table, quoted

# The column of a merged table's candidate that marks rows which no longer exist.
DELETED = "_deleted"


def announce(warehouse: Warehouse, table: Table, holder: str) -> int:
    """Leaves a token for the new holder of the table's lock, before anything is built, and returns it.

    It is larger than any that was left for the table, or that a publish of it was recorded with.
    """
    for name in ("publish_tokens", "pipeline_runs"):
        warehouse.ensure(tables.from_file("monitoring", name))
    [left] = warehouse.rows(render("announce"), {"table": table.id, "holder": holder})
    return left["token"]


def publish(
    warehouse: Warehouse,
    table: Table,
    candidate: str,
    start: date,
    end: date,
    token: int,
    known: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Makes the candidate's rows of start..end (or, for a merged table, its clients) what readers see.

    New columns of the table's definition are added first. `known` are values of columns of monitoring.pipeline_runs
    beside those that every publish has. Raises google.api_core.exceptions.BadRequest where a newer token is there, with
    the published table as it was.
    """
    warehouse.ensure(table)
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    now = datetime.now(UTC)
    record = {"started_at": now, **known, "ended_at": now, "table_name": table.id, "start_date": start, "end_date": end}
    record |= {"started_date": record["started_at"].date(), "token": token, "status": "published"}
    there = replace(table, columns=tuple(warehouse.client.get_table(table.id).schema))
    built = warehouse.client.get_table(candidate).schema
    marks = [field for field in built if field.name == DELETED and table.merge_key]
    rows = projection.select(
        quoted(candidate), built, replace(there, columns=there.columns + tuple(marks)),
        table.column_names + [field.name for field in marks],
    )  # fmt: skip
    columns = ", ".join(f"`{name}`" for name in table.column_names)
    values = {"table": quoted(table.id), "rows": rows, "columns": columns}
    if table.merge_key:
        change = render("merge_rows", **values, **_merge_clauses(table))
    else:
        change = render("replace_days", **values, days=whole_days(table, start, end))
    sql = render(
        "publish",
        change=change,
        table=table.id,
        token=token,
        recorded=", ".join(record),
        record=", ".join(f"@{name}" for name in record),
    )
    warehouse.query(sql, record, {"table": table.name, "stage": "publish"})


def whole_days(table: Table, start: date, end: date) -> str:
    """A SQL condition that admits exactly the partitions start..end, by literals."""
    field = table.partition_field
    if table.day == field:
        return f"{field} BETWEEN DATE '{start}' AND DATE '{end}'"
    return f"{field} >= TIMESTAMP '{start} 00:00:00+00' AND {field} < TIMESTAMP '{end + timedelta(days=1)} 00:00:00+00'"


def _merge_clauses(table: Table) -> dict[str, str]:
    others = [name for name in table.column_names if name not in table.merge_key]
    return {
        "same_key": " AND ".join(f"__old.`{name}` = __built.`{name}`" for name in table.merge_key),
        "assignments": ", ".join(f"`{name}` = __built.`{name}`" for name in others),
        "new_columns": ", ".join(f"__built.`{name}`" for name in table.column_names),
    }
