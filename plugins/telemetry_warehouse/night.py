"""Everything a night does for the day D that ended: landing is past D, earlier days are mended, then every table of D.

Earlier days are those that no night has built and those that are stale (earlier_days.py). A table that fails stops what
reads it and nothing else: that waits, and the next night builds it once the cause is mended.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import (
    day_ranges,
    dbt,
    digest,
    earlier_days,
    exclusions,
    lineage,
    refusals,
    remake,
    report,
    runs,
    stages,
    tables,
    type_tables,
)
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.describe import describe_views
from telemetry_warehouse.earlier_days import DaysOf, Log
from telemetry_warehouse.errors import NotRunning, Refused, one_line
from telemetry_warehouse.files import check_yaml
from telemetry_warehouse.gates import sense
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.landing import ACK_DEADLINE_SECONDS, expire_errors, land
from telemetry_warehouse.lineage import Lineage, Step
from telemetry_warehouse.notify import notify_refused_schemas
from telemetry_warehouse.progress import Progress, waits_for
from telemetry_warehouse.runs import text
from telemetry_warehouse.schemas import TypeName
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.type_tables import Faults


def prepare(warehouse: Warehouse, say: Callable[[str], None] = print) -> Faults:
    """Every published table with the columns that the project now defines, and then its functions and views.

    Says which table cannot be brought up to date: its stage will fail, and no other. Returns what is wrong with schemas
    that cannot be applied; they stop their own types' pings and nothing else.
    """
    check_yaml(ROOT / "sql")
    dbt.prepare(warehouse.settings)
    faults = type_tables.apply(warehouse)
    sense.check(warehouse, say)
    ensure_derived_tables(warehouse, say)
    for table in lineage.read_by_views(warehouse.settings):
        warehouse.ensure(tables.from_file(*table.split(".")))
    if not dbt.is_deployed(warehouse.settings):
        dbt.forget_deployed(warehouse.settings)
        dbt.deploy(warehouse.settings)
        describe_views(warehouse)
        dbt.remember_deployed(warehouse.settings)
    return faults


def ensure_derived_tables(warehouse: Warehouse, say: Callable[[str], None] = print) -> None:
    """Every table that the night derives with the columns that its YAML lists; one that was never published is made
    anew where it differs. Says which published one cannot become what its YAML says."""
    for step in lineage.load(warehouse.settings).steps:
        if step.kind != "dedup":
            try:
                table = stages.definition(warehouse, step)
                remake.published_table(warehouse, table)
                warehouse.ensure(table)
            except Refused as error:
                say(f"{step.table} cannot be brought up to date: {one_line(error)}")


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
    """Days before `before` that the next night would rebuild because pings landed late for them, oldest first."""
    known, log = lineage.load(warehouse.settings), earlier_days.read(warehouse, before)
    return sorted(day for day in earlier_days.late(known, log) if day >= log.oldest)


def rebuild_earlier_days(
    warehouse: Warehouse,
    day: date,
    run_id: str,
    say: Callable[[str], None] = print,
    log: Log | None = None,
    again: str = "",
) -> Progress:
    """Builds the days before `day` that no night has built or that are stale, each table in one pass over its days.

    People are told of the changes that missed nights would have found. What cannot be built is said, and is in the
    progress that is returned; the rest is built. `log`: what earlier_days.read has said just now. `again`: what people
    are told to run where a table failed; the night of `day`, if nothing is given.
    """
    known, log = lineage.load(warehouse.settings), log or earlier_days.read(warehouse, day)
    progress = Progress(warehouse, run_id, say, again or again_by_hand(day))
    missed, stale = earlier_days.missed(known, log), earlier_days.stale(known, log)
    _name_too_old(known, log, stale, say)
    if not missed and not _recent(log, stale):
        _note_ended(warehouse, log, run_id)
        return progress
    _say_why(known, log, missed, say)
    stable = {step.table for step in known.steps if step.kind == "dedup"}
    wanted = earlier_days.with_inputs(known, log, _union(missed, _recent(log, stale)))
    first = {table: days for table, days in wanted.items() if table in stable}
    built = _build(progress, known, earlier_days.with_what_follows(known, log, first), log, missed, stable)
    # A type that is there again makes stale what was built without it.
    again = earlier_days.read(warehouse, day) if built else log
    rest = _union(earlier_days.missed(known, again), _recent(again, earlier_days.stale(known, again)))
    rest = {table: days for table, days in rest.items() if table not in stable}
    follows = earlier_days.with_what_follows(known, again, _union(rest, built))
    others = {step.table for step in known.steps} - stable
    built = _union(built, _build(progress, known, follows, again, missed, others))
    for caught_up in sorted({day for table, days in missed.items() for day in days & built.get(table, set())}):
        digest.tell(warehouse, caught_up, say)
    if not progress.failed and not progress.waiting:
        _note_ended(warehouse, log, run_id)
    return progress


def _note_ended(warehouse: Warehouse, log: Log, run_id: str) -> None:
    if any(row["is_exclusion"] for row in log.published):
        exclusions.record_ended(warehouse, log.oldest, run_id)


def _union(*parts: Mapping[str, Collection[date]]) -> DaysOf:
    found: DaysOf = {}
    for part in parts:
        for table, days in part.items():
            found.setdefault(table, set()).update(days)
    return found


def _recent(log: Log, stale: DaysOf) -> DaysOf:
    recent = {table: {day for day in days if day >= log.oldest} for table, days in stale.items()}
    return {table: days for table, days in recent.items() if days}


def _say_why(known: Lineage, log: Log, missed: DaysOf, say: Callable[[str], None]) -> None:
    if late := sorted(day for day in earlier_days.late(known, log) if day >= log.oldest):
        say(f"pings landed late for {', '.join(map(str, late))}: rebuilding what holds them")
    if lacking := sorted(_recent(log, earlier_days.lacking(known, log)).items()):
        days = sorted({day for _, of_table in lacking for day in of_table})
        say(f"{text(days[0], days[-1])} was built without a ping type that is there now: rebuilding what lacks it")
    if missed:
        days = sorted({day for of_table in missed.values() for day in of_table})
        say(f"no night has built {text(days[0], days[-1])}: building {len(missed)} tables of them first")


def _name_too_old(known: Lineage, log: Log, stale: DaysOf, say: Callable[[str], None]) -> None:
    late = earlier_days.late(known, log)
    for step in known.steps:
        old = sorted(day for day in stale.get(step.table, set()) & late if day < log.oldest)
        if old and step.kind == "dedup":
            late_days = ", ".join(text(*days) for days in day_ranges.of_days(old))
            say(
                f"{step.table} {late_days} is not rebuilt, although pings landed late for it: it is more"
                f" than {earlier_days.MOST_DAYS} days old; `./warehouse backfill {old[0]} {old[-1]} --select"
                f" {step.table}+` rebuilds it"
            )


def _build(
    progress: Progress,
    known: Lineage,
    wanted: DaysOf,
    log: Log,
    missed: DaysOf,
    chosen: Collection[str],
) -> DaysOf:
    """Builds the wanted days of the chosen tables as far as they can be; returns those that were."""
    excluded, built = exclusions.in_force(log.published), {}
    for step in known.steps:
        if step.table not in chosen:
            continue
        ready = []
        let_go = excluded.get(step.table, set())
        must = missed.get(step.table, set()) - let_go
        for first, last in day_ranges.of_days(wanted.get(step.table, ())):
            ready += _ready(progress, step, first, last, must)
        # A day that was let go is tried by itself: that it fails again stops nothing.
        for first, last in [*day_ranges.of_days(set(ready) - let_go), *((d, d) for d in ready if d in let_go)]:
            for start, end in runs.chunks(first, last, progress.warehouse.settings.backfill_days):
                built.setdefault(step.table, set()).update(_attempt(progress, step, start, end, must, let_go))
    return built


def _ready(progress: Progress, step: Step, first: date, last: date, must: Collection[date]) -> list[date]:
    """The days of first..last that wait for nothing; the others are noted as waiting, in ranges of one cause.

    A day outside `must` that reads one which stays as it was published stays so too.
    """
    causes: dict[str, list[date]] = {}
    ready = []
    for day in days_of(first, last):
        if cause := waits_for(step, day, day, progress.unbuilt):
            progress.leave(step, day, day, cause)
            if day in must or cause not in progress.left_as_published:
                causes.setdefault(cause, []).append(day)
        else:
            ready.append(day)
    for cause, days in causes.items():
        for start, end in day_ranges.of_days(days):
            progress.wait(step, start, end, cause)
    return ready


def _attempt(
    progress: Progress, step: Step, start: date, end: date, must: Collection[date], let_go: Collection[date]
) -> set[date]:
    """Builds the days of start..end that can be built, in one query where all can; returns those that were.

    `must`: days whose failure is one; a stale day that is refused stays as it was published, and is said.
    """
    days = set(days_of(start, end))
    published = runs.published_around(progress.warehouse, [(step, start, end)])
    reasons = refusals.reasons(progress.warehouse, step, start, end, published)
    if reasons and start < end:
        middle = start + (end - start) // 2
        before = _attempt(progress, step, start, middle, must, let_go)
        return before | _attempt(progress, step, middle + timedelta(days=1), end, must, let_go)
    if days <= set(let_go):
        return days if build_let_go(progress, step, start) else set()
    if reasons and start not in must:
        progress.say(f"{step.table} {start} is not rebuilt: {'; '.join(reasons)}")
        progress.leave(step, start, end, f"{step.table} {start}")
        progress.left_as_published.add(f"{step.table} {start}")
        return set()
    return days if progress.build(step, start, end) else set()


def build_let_go(progress: Progress, step: Step, day: date) -> bool:
    """Tries a stable table's day that others go without; where that fails, nothing waits. True where it is built.

    Raises NotRunning.
    """
    try:
        built = stages.run(progress.warehouse, step, day, day, progress.run_id, progress.say, progress.again)
        progress.outcomes.append(built)
    except NotRunning:
        raise
    except Exception as error:
        progress.say(f"{step.table} {day} is still left out: {one_line(error)}")
        return False
    return True


def again_by_hand(day: date) -> str:
    """The command that runs a night again."""
    return f"./warehouse night {day}"


def cause_of_waiting(warehouse: Warehouse, step: Step, day: date) -> str | None:
    """What must be mended before a table's day can be built: the first table before it that lacks an earlier day."""
    known, log = lineage.load(warehouse.settings), earlier_days.read(warehouse, day)
    return waits_for(step, day, day, earlier_days.not_built(known, log))


def run(
    warehouse: Warehouse,
    day: date,
    run_id: str,
    say: Callable[[str], None] = print,
    without: Collection[TypeName] = (),
    why: str = "",
) -> list[stages.Outcome]:
    """The whole night without Airflow. A table that fails stops what reads it, and nothing else.

    `without`: ping types that the day goes without, and `why`; see exclusions.py. In any case the report is written and
    people are told of the changes that were found. Raises NotAllBuilt, naming every table that failed or waits.
    """
    refusals.refuse_unfinished(day)
    excluded = exclusions.stable_tables(warehouse, without)
    if excluded and not why.strip():
        raise Refused(f"say why {day} may go without {', '.join(map(str, without))}: --why TEXT")
    land_until_past(warehouse, day, say)
    notify_refused_schemas(warehouse, prepare(warehouse, say), say)
    refusals.refuse_before_every_ping(warehouse, day, day)
    if excluded:
        exclusions.record(warehouse, day, excluded, run_id, why)
    try:
        outcomes = _build_tables(warehouse, day, run_id, say, excluded)
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


def _build_tables(
    warehouse: Warehouse, day: date, run_id: str, say: Callable[[str], None], excluded: Collection[str]
) -> list[stages.Outcome]:
    known = lineage.load(warehouse.settings)
    log = earlier_days.read(warehouse, day)
    let_go = {table for table, days in exclusions.in_force(log.published).items() if day in days}
    earlier = rebuild_earlier_days(warehouse, day, run_id, say, log)
    progress = Progress(warehouse, run_id, say, again_by_hand(day))
    if earlier.failed or earlier.waiting:
        progress.unbuilt = earlier_days.not_built(known, earlier_days.read(warehouse, day))
    for number, step in enumerate(known.steps, 1):
        say(f"[{number}/{len(known.steps)}] {step.table}")
        if step.table in excluded:
            say(f"{step.table} {day} is left out")
        elif step.table in let_go:
            build_let_go(progress, step, day)
        else:
            progress.build(step, day, day)
    progress.add(earlier)
    return progress.finish(f"the night of {day}")
