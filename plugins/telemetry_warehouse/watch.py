"""Looks from outside whether last night is over: started by cron or a timer, it works where Airflow is dead."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from telemetry_warehouse import lineage, runs
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import NightUnfinished, one_line
from telemetry_warehouse.notify import UNREACHABLE, Failure, notify


def watch(warehouse: Warehouse, at: datetime, say: Callable[[str], None] = print) -> None:
    """Nothing before the deadline of the night that `at` (aware, UTC) is in, nor where all of its tables are published.

    Else tells people once and raises NightUnfinished, naming the day and the tables. A warehouse that does not answer
    is told too, each time: there is nowhere to remember it.
    """
    deadline = datetime.combine(at.date(), time.fromisoformat(warehouse.settings.night_deadline), UTC)
    if at < deadline:
        return
    day = at.date() - timedelta(days=1)
    try:
        missing = unpublished(warehouse, day)
    except UNREACHABLE as error:
        what = "cannot be seen"
        late = f"whether the night of {day} is over cannot be seen: {one_line(error)}"
    else:
        if not missing:
            return
        what = "not over in time"
        late = f"the night of {day} is not over at {deadline:%H:%M} UTC: {', '.join(missing)} not published"
    body = f"{late}\nLook:      ./warehouse status\nRun again: ./warehouse night {day}"
    notify(warehouse, Failure("night", day, day, what), f"the night of {day} is late", body, say)
    raise NightUnfinished(late)


def unpublished(warehouse: Warehouse, day: date) -> list[str]:
    """The tables that the night builds and that were never published for this day, in order."""
    steps = [step.table for step in lineage.load(warehouse.settings).steps]
    return [table for table, days in runs.never_built(warehouse, steps, day, day).items() if days]
