"""What would change for readers: the rows of a candidate beside the published days that it would replace."""

from dataclasses import dataclass
from datetime import date

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.publish import whole_days
from telemetry_warehouse.tables import Table


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
    texts = "".join(f", TO_JSON_STRING(`{name}`) AS v{number}" for number, name in enumerate(values))
    old = f"SELECT {day} AS day, {key} AS key{texts} FROM {table.id} WHERE {days}"
    new = f"SELECT {day} AS day, {key} AS key{texts} FROM {candidate} WHERE {days}"
    if table.merge_key:
        old += f" AND {key} IN (SELECT {key} FROM {candidate})"
        new += " AND NOT _deleted"
    both = "old.key IS NOT NULL AND new.key IS NOT NULL"
    differ = [f"old.v{number} != new.v{number}" for number in range(len(values))]
    counts = "".join(f", COUNTIF({both} AND {one}) AS c{number}" for number, one in enumerate(differ))
    changed = f"{both} AND ({' OR '.join(differ)})"
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
            {name: row[f"c{number}"] for number, name in enumerate(values) if row[f"c{number}"]},
        )
        for row in rows
        if row["added"] or row["removed"] or row["changed"]
    ]
