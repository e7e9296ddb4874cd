"""Reviewed overrides: one day of one table may be published although one expectation fails for it.

Each is a row of monitoring.gate_overrides. A gate looks for them only where something critical has failed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused


@dataclass(frozen=True)
class Override:
    """Lets `submission_date` through up to the end of `until_date` (UTC)."""

    submission_date: date
    requested_by: str
    reviewed_by: str
    reason: str
    until_date: date

    @property
    def line(self) -> str:
        return (
            f"{self.submission_date} let through by {self.requested_by}, reviewed by {self.reviewed_by},"
            f" until {self.until_date}: {self.reason}"
        )


def record(warehouse: Warehouse, table: str, expectation: str, override: Override) -> None:
    """Writes an override down. Raises Refused for one that nobody else has reviewed, gives no reason or has ended."""
    now = datetime.now(UTC)
    names = [override.requested_by.strip(), override.reviewed_by.strip()]
    if not all([*names, override.reason.strip()]):
        raise Refused("an override needs who asks for it, who has reviewed it, and why; one of them is empty")
    if names[0].casefold() == names[1].casefold():
        raise Refused(f"{names[0]} cannot review an override of their own; somebody else must")
    if override.until_date < now.date():
        raise Refused(f"the override would have ended on {override.until_date}; give a day from {now.date()} on")
    definition = tables.from_file("monitoring", "gate_overrides")
    warehouse.ensure(definition)
    row = {"table_name": table, "expectation": expectation, "overridden_date": now.date(), "overridden_at": now}
    warehouse.load_rows(definition, [row | override.__dict__])


def in_force(warehouse: Warehouse, table: str, start: date, end: date) -> dict[str, dict[date, Override]]:
    """The overrides of a table's days start..end that have not ended, by expectation and day; the newest of each."""
    definition = tables.from_file("monitoring", "gate_overrides")
    warehouse.ensure(definition)
    rows = warehouse.rows(
        "SELECT expectation, submission_date, requested_by, reviewed_by, reason, until_date"
        f" FROM {definition.id} WHERE overridden_date >= '2000-01-01' AND table_name = @table"
        " AND submission_date BETWEEN @start AND @end ORDER BY overridden_at",
        {"table": table, "start": start, "end": end},
    )
    newest: dict[str, dict[date, Override]] = {}
    for row in rows:
        by_day = newest.setdefault(row.pop("expectation"), {})
        by_day[row["submission_date"]] = Override(**row)
    today = datetime.now(UTC).date()
    return {
        expectation: {day: one for day, one in by_day.items() if one.until_date >= today}
        for expectation, by_day in newest.items()
    }


def admitted(failed: Collection[date], overrides: dict[date, Override]) -> tuple[Override, ...]:
    """The overrides that let every failed day through; none where a failed day has none."""
    if not set(failed) <= overrides.keys():
        return ()
    return tuple(overrides[day] for day in sorted(failed))
