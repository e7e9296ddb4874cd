"""What would change for readers: the rows of a candidate beside the published days that it would replace."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from google.api_core.exceptions import NotFound
from google.cloud.bigquery import SchemaField

from telemetry_warehouse.bigquery import Warehouse, paths
from telemetry_warehouse.gates.publish import whole_days
from telemetry_warehouse.tables import Table


@dataclass(frozen=True)
class DayDifference:
    """A day's rows that are new, gone, and there with other values; `columns`: name → rows in which it differs.

    `lost`: columns that are published and no longer built → rows in which they have a value, which becomes NULL.
    `day` is None for a table without days, which is compared as a whole.
    """

    day: date | None
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    lost: dict[str, int] = field(default_factory=dict)


def differences(warehouse: Warehouse, table: Table, candidate: str, start: date, end: date) -> list[DayDifference]:
    """Days of start..end on which the candidate differs from the published table, oldest first.

    Values are compared as JSON text, so that NULL equals NULL and a list is one value. A merged table is compared by
    the clients of its candidate, which keep the values of columns that are no longer built.
    """
    day = table.day if table.partition_field else "CAST(NULL AS DATE)"
    days = whole_days(table, start, end) if table.partition_field else "TRUE"
    key = f"TO_JSON_STRING(STRUCT({day} AS day, {', '.join(f'`{name}`' for name in table.grain)}))"
    values = [name for name in table.column_names if name not in table.grain]
    lost = [] if table.merge_key else _lost(warehouse, table)
    texts = "".join(f", TO_JSON_STRING(`{name}`) AS v{number}" for number, name in enumerate(values))
    had = "".join(f", TO_JSON_STRING(`{column.name}`) AS l{number}" for number, column in enumerate(lost))
    have = "".join(f", '{'[]' if c.mode == 'REPEATED' else 'null'}' AS l{number}" for number, c in enumerate(lost))
    old = f"SELECT {day} AS day, {key} AS key{texts}{had} FROM {table.id} WHERE {days}"
    new = f"SELECT {day} AS day, {key} AS key{texts}{have} FROM {candidate} WHERE {days}"
    if table.merge_key:
        old += f" AND {key} IN (SELECT {key} FROM {candidate})"
        new += " AND NOT _deleted"
    both = "old.key IS NOT NULL AND new.key IS NOT NULL"
    differ = {f"v{number}": f"old.v{number} != new.v{number}" for number in range(len(values))}
    differ |= {f"l{number}": f"old.l{number} != new.l{number}" for number in range(len(lost))}
    counts = "".join(f", COUNTIF({both} AND {one}) AS changed_{name}" for name, one in differ.items())
    changed = f"{both} AND ({' OR '.join(differ.values())})"
    rows = warehouse.rows(
        f"WITH old AS ({old}), new AS ({new})"
        " SELECT IFNULL(old.day, new.day) AS day, COUNTIF(old.key IS NULL) AS added,"
        f" COUNTIF(new.key IS NULL) AS removed, COUNTIF({changed}) AS changed{counts}"
        " FROM old FULL JOIN new ON old.key = new.key"
        " GROUP BY 1 ORDER BY 1"
    )
    return [
        DayDifference(
            row["day"],
            row["added"],
            row["removed"],
            row["changed"],
            {name: row[f"changed_v{n}"] for n, name in enumerate(values) if row[f"changed_v{n}"]},
            {column.name: row[f"changed_l{n}"] for n, column in enumerate(lost) if row[f"changed_l{n}"]},
        )
        for row in rows
        if row["added"] or row["removed"] or row["changed"]
    ]


def _lost(warehouse: Warehouse, table: Table) -> list[SchemaField]:
    """The published columns that the table's definition no longer has."""
    known = {name.lower() for name in table.column_names}
    return [column for column in warehouse.client.get_table(table.id).schema if column.name.lower() not in known]


def columns_no_longer_built(warehouse: Warehouse, table: Table) -> list[str]:
    """The columns that the published table has and its definition does not, members of records as a.b."""
    try:
        published = warehouse.client.get_table(table.id).schema
    except NotFound:
        return []
    known = {path.lower() for path in paths(table.columns)}
    return list(_outermost(path for path in paths(published) if path.lower() not in known))


def _outermost(names: Iterator[str]) -> Iterator[str]:
    """Without the members of what is there itself."""
    last = None
    for name in names:
        if last is None or not name.startswith(f"{last}."):
            yield name
            last = name


def column_notes(warehouse: Warehouse, table: Table) -> list[str]:
    """What becomes of the columns that are no longer built, a line for each."""
    becomes = "clients keep what they had" if table.merge_key else "days that are built from now on have NULL there"
    return [
        f"the column {name} of {table.id} is no longer built: {becomes}; bring it back, or tell its readers and drop it"
        f" (ALTER TABLE {table.id} DROP COLUMN {name})"
        for name in columns_no_longer_built(warehouse, table)
    ]
