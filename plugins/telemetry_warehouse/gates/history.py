"""What is kept of the days that were published, for later days to be held against."""

from collections.abc import Collection
from datetime import UTC, date, datetime

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates import days
from telemetry_warehouse.tables import Table

# Of each day and application: what is counted → how many (see by_day.ByDay).
type Profile = list[tuple[date, str | None, dict[str, int]]]


def remember(
    warehouse: Warehouse,
    table: Table,
    profile: Profile | None,
    start: date,
    end: date,
    incomplete: Collection[date] = (),
) -> None:
    """Adds the profile of what is published for start..end to monitoring.daily_profiles, if there is one.

    `incomplete`: the days of which a ping type is missing on purpose.
    """
    if profile is None:
        return
    now = datetime.now(UTC)
    known = {day for day, _, _ in profile}
    # A day without rows is known too, and no row of an earlier build speaks for it any more.
    empty = [(day, None, {days.ROWS: 0}) for day in days.days_of(start, end) if day not in known]
    warehouse.load_rows(
        ensure(warehouse),
        (
            {
                "profiled_at": now,
                "table_name": table.id,
                "submission_date": day,
                "app_name": app,
                "row_count": counts[days.ROWS],
                "is_incomplete": day in incomplete,
                "measures": [{"name": name, "value": count} for name, count in counts.items() if name != days.ROWS],
            }
            for day, app, counts in [*profile, *empty]
        ),
    )


def ensure(warehouse: Warehouse) -> Table:
    """Makes monitoring.daily_profiles where it is missing."""
    table = tables.from_file("monitoring", "daily_profiles")
    warehouse.ensure(table)
    return table
