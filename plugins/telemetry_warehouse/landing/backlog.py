"""How far landing is behind, read from what it wrote down in monitoring.landing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Behind

# Landing starts every ten minutes: three starts that did not reach the end of what waits.
LATE = timedelta(minutes=30)
_SEEN = timedelta(days=2)


@dataclass(frozen=True)
class Backlog:
    """landed_at: end of the newest cycle; drained_at: when last nothing was left; both aware, None where long ago.

    wait_seconds: how long the oldest message of the newest cycle had waited, and first_wait_seconds that of the first
    cycle since drained_at, which ended at behind_since.
    """

    landed_at: datetime | None
    drained_at: datetime | None
    behind_since: datetime | None
    wait_seconds: int
    first_wait_seconds: int

    @property
    def grows(self) -> bool:
        if self.behind_since is None or self.wait_seconds <= self.first_wait_seconds:
            return False
        return self.landed_at - self.behind_since > LATE


def backlog(warehouse: Warehouse, at: datetime) -> Backlog:
    """The state of landing as `at` (aware) sees it."""
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    cycles = warehouse.rows(
        "SELECT cycle_id, MAX(ended_at) AS ended_at, MAX(max_wait_seconds) AS wait, LOGICAL_OR(drained) AS drained"
        " FROM monitoring.landing WHERE landed_date >= @first AND ended_at <= @at"
        " AND (received > 0 OR drained) GROUP BY cycle_id ORDER BY ended_at",
        {"first": (at - _SEEN).date(), "at": at},
    )
    drained_at = max((c["ended_at"] for c in cycles if c["drained"]), default=None)
    since = [c for c in cycles if drained_at is None or c["ended_at"] > drained_at]
    return Backlog(
        landed_at=cycles[-1]["ended_at"] if cycles else None,
        drained_at=drained_at,
        behind_since=since[0]["ended_at"] if since else None,
        wait_seconds=since[-1]["wait"] or 0 if since else 0,
        first_wait_seconds=since[0]["wait"] or 0 if since else 0,
    )


def watch(warehouse: Warehouse, at: datetime) -> Backlog:
    """The state of landing; raises Behind where it has not caught up for LATE and falls further behind."""
    found = backlog(warehouse, at)
    if found.grows:
        raise Behind(
            f"landing has not caught up since {found.behind_since:%Y-%m-%d %H:%M} UTC:"
            f" messages wait {found.wait_seconds:,} s and waited"
            f" {found.first_wait_seconds:,} s then; run more landers beside it: `./warehouse land --until-empty`"
        )
    return found
