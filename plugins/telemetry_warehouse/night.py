"""Everything a night does for the day D that ended: landing is past D, earlier days are mended, then every table of D.

Earlier days are those that no night has built (missed_nights.py) and those that are stale. A day is stale where pings
of it landed after it was deduplicated. Both are found by what landing and the stages wrote down in `monitoring`, never
by looking at the clock of a row.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import (
    backfill,
    dbt,
    digest,
    lineage,
    missed_nights,
    plan,
    refusals,
    report,
    runs,
    schemas,
    stages,
    tables,
)
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.describe import describe_views
from telemetry_warehouse.errors import GateFailed, Refused, one_line
from telemetry_warehouse.gates import sense
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.landing import ACK_DEADLINE_SECONDS, expire_errors, land

# A stale or missed day older than this is left to a backfill by hand: the night must end.
_STALE_DAYS = 28


def prepare(warehouse: Warehouse) -> None:
    """Every published table with the columns that the project now defines, and then its functions and views."""
    dbt.prepare(warehouse.settings)
    sense.check(warehouse)
    for step in lineage.load(warehouse.settings).steps:
        warehouse.ensure(stages.definition(warehouse, step))
    for table in lineage.read_by_views(warehouse.settings):
        warehouse.ensure(tables.from_file(*table.split(".")))
    if not dbt.is_deployed(warehouse.settings):
        dbt.forget_deployed(warehouse.settings)
        dbt.deploy(warehouse.settings)
        describe_views(warehouse)
        dbt.remember_deployed(warehouse.settings)


def land_until_past(warehouse: Warehouse, day: date, say: Callable[[str], None] = print) -> None:
    """Lands until nothing received before the end of `day` can still be waiting, and lets old error rows go.

    A lander that died holds its messages until their acknowledgement deadline, so only a drain that began that long
    after midnight proves it.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    while True:
        began = datetime.now(UTC)
        totals = land(warehouse, until_empty=True)
        if totals.received:
            say(f"landed {totals.landed:,} of {totals.received:,} pings, {totals.failed:,} to errors")
        wait = (midnight + timedelta(seconds=ACK_DEADLINE_SECONDS) - began).total_seconds()
        if wait <= 0:
            expire_errors(warehouse)
            return
        say(f"waiting {wait:.0f} s, until every ping received before {midnight:%H:%M} UTC must have been seen")
        time.sleep(wait)


def stale_days(warehouse: Warehouse, before: date) -> list[date]:
    """Days before `before` for which pings landed after a table that holds them was last built, oldest first.

    Every table downstream counts, so that a rebuild that was cut short goes on. Days whose pings live no longer holds
    are left out: they cannot be built again.
    """
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    days = {"oldest": _oldest_to_rebuild(warehouse, before), "last": before - timedelta(days=1)}
    built = warehouse.rows(
        "SELECT table_name, start_date, end_date, started_at FROM monitoring.pipeline_runs"
        " WHERE status = 'published' AND end_date >= @oldest AND start_date <= @last ORDER BY token",
        days,
    )
    known = lineage.load(warehouse.settings)
    tables_built = {step.table for step in known.steps} & {run["table_name"] for run in built}
    stale = set()
    for row in runs.landed(warehouse, days["oldest"]):
        table = row["table"]
        if table not in tables_built or not days["oldest"] <= row["submission_date"] <= days["last"]:
            continue
        newest: dict[str, datetime] = {}
        for run in built:
            if run["start_date"] <= row["submission_date"] <= run["end_date"]:
                newest[run["table_name"]] = run["started_at"]
        holders = [newest[step.table] for step in known.select(f"{table}+") if step.table in newest]
        if table in newest and row["landed_at"] > min(holders):
            stale.add(row["submission_date"])
    return sorted(stale)


def _oldest_to_rebuild(warehouse: Warehouse, before: date) -> date:
    kept = [t.live.retention_days for t in schemas.load(warehouse.settings.schemas).values() if t.live.retention_days]
    today = datetime.now(UTC).date()
    held = [today - timedelta(days=days - 1 - lineage.LOOK_BACK_DAYS) for days in kept]
    return max([before - timedelta(days=_STALE_DAYS), *held])


def rebuild_earlier_days(warehouse: Warehouse, day: date, run_id: str, say: Callable[[str], None] = print) -> None:
    """Rebuilds days before `day`: first what late landing made stale, then the nights that were missed, each as one
    range. People are told of the changes that the missed nights would have found.

    Raises Refused or GateFailed, saying that it was an earlier day, where they cannot be built: `day` would lack them.
    """
    stale = stale_days(warehouse, day)
    if stale:
        say(f"pings landed late for {', '.join(map(str, stale))}: rebuilding {stale[0]}..{stale[-1]}")
        backfill.run(warehouse, plan.make(warehouse, stale[0], stale[-1]), run_id, say)
    missed = missed_nights.missed(warehouse, day, _oldest_to_rebuild(warehouse, day), say)
    if missed:
        say(f"no night has built {missed.start}..{missed.end}: building {len(missed.tables)} tables of them first")
        late = (
            f"the nights of {missed.start}..{missed.end} were missed and could not be caught up, so {day} is not built"
            " either"
        )
        try:
            backfill.run(warehouse, missed, run_id, say)
        except GateFailed as error:
            raise GateFailed(f"{late}: {error}", error.table, error.day, error.expectations) from error
        except Refused as error:
            raise Refused(f"{late}: {error}") from error
        for caught_up in days_of(missed.start, missed.end):
            digest.tell(warehouse, caught_up, say)


def run(warehouse: Warehouse, day: date, run_id: str, say: Callable[[str], None] = print) -> list[stages.Outcome]:
    """The whole night without Airflow. Stops at the first table that fails, with nothing of that table published.

    In either case its report is written, and people are told of the changes that it found.
    """
    refusals.refuse_unfinished(day)
    land_until_past(warehouse, day, say)
    prepare(warehouse)
    try:
        outcomes = _build_tables(warehouse, day, run_id, say)
    except BaseException:
        try:
            _tell(warehouse, day, say)
        except Exception as error:
            # What stopped the night is what the caller must hear of.
            say(f"nobody was told of the night: {one_line(error)}")
        raise
    _tell(warehouse, day, say)
    return outcomes


def _tell(warehouse: Warehouse, day: date, say: Callable[[str], None]) -> None:
    say(f"report: {report.write(warehouse, day)}")
    digest.tell(warehouse, day, say)


def _build_tables(warehouse: Warehouse, day: date, run_id: str, say: Callable[[str], None]) -> list[stages.Outcome]:
    steps = lineage.load(warehouse.settings).steps
    rebuild_earlier_days(warehouse, day, run_id, say)
    outcomes = []
    for number, step in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] {step.table}")
        outcomes.append(stages.run(warehouse, step, day, day, run_id, say))
    return outcomes
