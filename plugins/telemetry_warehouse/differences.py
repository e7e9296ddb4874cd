"""What would change for readers: the rows of a candidate beside the published days that it would replace."""

from dataclasses import dataclass
from datetime import date

from telemetry_warehouse import projection
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.publish import whole_days
from telemetry_warehouse.tables import Table, quoted


@dataclass(frozen=True)
class DayDifference:
    """A day's rows that are new, gone, and there with other values; `columns`: name → rows in which it differs.

    `day` is None for a table without days, which is compared as a whole.
    """

    day: date | None
    added: int
    removed: int
    changed: int
    columns: dict[str, int]


def differences(warehouse: Warehouse, table: Table, candidate: str, start: date, end: date) -> list[DayDifference]:
    """Days of start..end on which the candidate differs from the published table, oldest first.

    Values are compared as JSON text, so that NULL equals NULL and a list is one value. A merged table is compared by
    the clients of its candidate.
    """
    day = table.day if table.partition_field else "CAST(NULL AS DATE)"
    days = whole_days(table, start, end) if table.partition_field else "TRUE"
    key = f"TO_JSON_STRING(STRUCT({day} AS day, {', '.join(f'`{name}`' for name in table.grain)}))"
    values = [name for name in table.column_names if name not in table.grain]
    old, new = (f"{rows} WHERE {days}" for rows in projection.both(warehouse, table, candidate))
    texts = "".join(f", TO_JSON_STRING(`{name}`) AS __v{number}" for number, name in enumerate(values))
    rows = f"SELECT {day} AS __day, {key} AS __key{texts} FROM"
    if table.merge_key:
        new += " AND NOT _deleted"
    old, new = f"{rows} ({old})", f"{rows} ({new})"
    if table.merge_key:
        old += f" WHERE {key} IN (SELECT {key} FROM {quoted(candidate)})"
    both = "__old.__key IS NOT NULL AND __new.__key IS NOT NULL"
    differ = [f"__old.__v{number} != __new.__v{number}" for number in range(len(values))]
    counts = "".join(f", COUNTIF({both} AND {one}) AS c{number}" for number, one in enumerate(differ))
    changed = f"{both} AND ({' OR '.join(differ)})"
    rows = warehouse.rows(
        f"WITH __old AS ({old}), __new AS ({new})"
        " SELECT IFNULL(__old.__day, __new.__day) AS day, COUNTIF(__old.__key IS NULL) AS added,"
        f" COUNTIF(__new.__key IS NULL) AS removed, COUNTIF({changed}) AS changed{counts}"
        " FROM __old FULL JOIN __new ON __old.__key = __new.__key"
        " GROUP BY 1 ORDER BY 1"
    )
    return [
        DayDifference(
            row["day"],
            row["added"],
            row["removed"],
            row["changed"],
            {name: row[f"c{number}"] for number, name in enumerate(values) if row[f"c{number}"]},
        )
        for row in rows
        if row["added"] or row["removed"] or row["changed"]
    ]
