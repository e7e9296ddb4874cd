"""What would change for readers: the rows of a candidate beside the published days that it would replace."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from google.api_core.exceptions import NotFound
from google.cloud.bigquery import SchemaField

from telemetry_warehouse import projection
from telemetry_warehouse.bigquery import Warehouse, paths
from telemetry_warehouse.gates.publish import whole_days
from telemetry_warehouse.tables import Table, quoted


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
    names = [*values, *(column.name for column in lost)]
    old, new = (f"{rows} WHERE {days}" for rows in projection.both(warehouse, table, candidate, names))
    # What the candidate does not have is NULL in it, and an empty list in a published list.
    lists = {column.name for column in lost if column.mode == "REPEATED"}
    texts = "".join(
        f", TO_JSON_STRING({f'IFNULL(`{name}`, [])' if name in lists else f'`{name}`'}) AS __v{number}"
        for number, name in enumerate(names)
    )
    rows = f"SELECT {day} AS __day, {key} AS __key{texts} FROM"
    if table.merge_key:
        new += " AND NOT _deleted"
    old, new = f"{rows} ({old})", f"{rows} ({new})"
    if table.merge_key:
        old += f" WHERE {key} IN (SELECT {key} FROM {quoted(candidate)})"
    both = "__old.__key IS NOT NULL AND __new.__key IS NOT NULL"
    differ = [f"__old.__v{number} != __new.__v{number}" for number in range(len(names))]
    counts = "".join(f", COUNTIF({both} AND {one}) AS c{number}" for number, one in enumerate(differ))
    changed = f"{both} AND ({' OR '.join(differ)})"
    rows = warehouse.rows(
        f"WITH __old AS ({old}), __new AS ({new})"
        " SELECT IFNULL(__old.__day, __new.__day) AS day, COUNTIF(__old.__key IS NULL) AS added,"
        f" COUNTIF(__new.__key IS NULL) AS removed, COUNTIF({changed}) AS changed{counts}"
        " FROM __old FULL JOIN __new ON __old.__key = __new.__key"
        " GROUP BY 1 ORDER BY 1"
    )
    found = []
    for row in rows:
        if row["added"] or row["removed"] or row["changed"]:
            differing = {name: row[f"c{number}"] for number, name in enumerate(names) if row[f"c{number}"]}
            gone = {column.name: differing.pop(column.name) for column in lost if column.name in differing}
            found.append(DayDifference(row["day"], row["added"], row["removed"], row["changed"], differing, gone))
    return found


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
