"""What a backfill that was cut short has published already, and what of it still stands.

monitoring.backfills says when a backfill began and whether it ended. One of the same range and tables that did not end
is gone on with, for a week. What was published since it began is not built again, unless that would give other rows:
pings landed since, an input was published since, or the code has changed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter

from telemetry_warehouse import runs, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import Counted, Days, covers, merged, overlap
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.plan import Plan

_FORGOTTEN = timedelta(days=7)
Chunk = tuple[str, date, date]


@dataclass(frozen=True)
class Begun:
    """A backfill that is under way: when it began, whether it was cut short, and the chunks that stay published."""

    at: datetime
    resumed: bool
    published: frozenset[Chunk]

    def skipped(self) -> list[tuple[str, str]]:
        """(table, days) of the published chunks."""
        return [(table, runs.text(start, end)) for table, start, end in sorted(self.published)]


def begin(warehouse: Warehouse, plan: Plan, run_id: str) -> Begun:
    """Goes on with the backfill of this plan that did not end, or writes down that it begins."""
    table = tables.from_file("monitoring", "backfills")
    warehouse.ensure(table)
    now = datetime.now(UTC)
    notes = warehouse.rows(
        f"SELECT noted_at, status FROM {table.id} WHERE noted_date >= @oldest AND noted_at >= @since"
        " AND start_date = @start AND end_date = @end AND IFNULL(selector, '') = @selector ORDER BY noted_at",
        {
            "oldest": (now - _FORGOTTEN).date(),
            "since": now - _FORGOTTEN,
            "start": plan.start,
            "end": plan.end,
            "selector": plan.selector or "",
        },
    )
    begun: datetime | None = None
    for note in notes:
        begun = None if note["status"] == "ended" else begun or note["noted_at"]
    if begun is None:
        _note(warehouse, plan, run_id, "begun", now)
        return Begun(now, False, frozenset())
    return Begun(begun, True, _still_right(warehouse, plan, begun))


def end(warehouse: Warehouse, plan: Plan, run_id: str) -> None:
    """Writes down that every table of the plan is published."""
    _note(warehouse, plan, run_id, "ended", datetime.now(UTC))


def _note(warehouse: Warehouse, plan: Plan, run_id: str, status: str, now: datetime) -> None:
    row = {"noted_date": now.date(), "noted_at": now, "run": run_id, "status": status}
    row |= {"start_date": plan.start, "end_date": plan.end, "selector": plan.selector}
    warehouse.load_rows(tables.from_file("monitoring", "backfills"), [row])


def _still_right(warehouse: Warehouse, plan: Plan, since: datetime) -> frozenset[Chunk]:
    """The plan's chunks that were published since then and would be built the same now."""
    published = warehouse.rows(
        "SELECT table_name, start_date, end_date, token, started_at, checksum, inputs_published"
        " FROM monitoring.pipeline_runs WHERE status = 'published' AND started_at >= @since",
        {"since": since},
    )
    by_table: dict[str, list[dict]] = {}
    for row in published:
        by_table.setdefault(row["table_name"], []).append(row)
    newest = {
        one.step.table: runs.newest_stages(by_table.get(one.step.table, ()), (one.start, one.end))
        for one in plan.tables
    }
    built = [(one.step, *days) for one in plan.tables for days in _built(newest[one.step.table])]
    inputs = runs.times_published(runs.published_around(warehouse, built))
    landed = _landed(warehouse, since)
    kept: set[Chunk] = set()
    anew: dict[str, list[Days]] = {}
    for one in plan.tables:
        stages = newest[one.step.table]
        stand = {days: _unchanged(one.step, days, row, landed, inputs) for days, row in _built(stages).items()}
        still = merged(days for days, [row] in stages if stand[row["start_date"], row["end_date"]])
        inputs_anew = anew.keys() & one.step.inputs.values()
        changed = {table: Counted((days, 1) for days in anew[table]) for table in inputs_anew}
        for start, last in one.chunks(warehouse.settings.backfill_days):
            reads = runs.days_read(one.step, start, last)
            own = anew.setdefault(one.step.table, [])
            reads_anew = any(changed[table].touching(days) for table, days in reads.items() if table in changed)
            reads_own = bool(own) and one.step.table in reads and overlap(reads[one.step.table], own[-1])
            if covers(still, (start, last)) and not reads_anew and not reads_own:
                kept.add((one.step.table, start, last))
            else:
                own.append((start, last))
    return frozenset(kept)


def _built(stages: list[tuple[Days, list[dict]]]) -> dict[Days, dict]:
    """The days of the stages that are the newest of any day, each with its row."""
    return {(row["start_date"], row["end_date"]): row for _, [row] in stages}


def _landed(warehouse: Warehouse, since: datetime) -> dict[str, list[tuple[date, datetime]]]:
    """Stable table → the days of which pings were landed since then, in order, and when the last of these were."""
    landed: dict[str, list[tuple[date, datetime]]] = {}
    for row in runs.landed(warehouse, since.date()):
        landed.setdefault(row["table"], []).append((row["submission_date"], row["landed_at"]))
    return {table: sorted(days) for table, days in landed.items()}


def _unchanged(
    step: Step,
    days: Days,
    row: dict,
    landed: Mapping[str, list[tuple[date, datetime]]],
    inputs: Mapping[str, Counted],
) -> bool:
    """Whether a publish would be made of the same inputs by the same code; `inputs` as in runs.times_published."""
    if row["checksum"] != step.code:
        return False
    if step.kind == "dedup":
        [read] = runs.days_read(step, *days).values()
        of_table = landed.get(step.table, [])
        first = bisect_left(of_table, read[0], key=itemgetter(0))
        last = bisect_right(of_table, read[1], key=itemgetter(0))
        return all(landed_at <= row["started_at"] for _, landed_at in of_table[first:last])
    return row["inputs_published"] == runs.inputs_counted(inputs, step, *days)
