"""What a backfill that was cut short has published already, and what of it still stands.

monitoring.backfills says when a backfill began and whether it ended. One of the same range and tables that did not end
is gone on with, for a week. What was published since it began is not built again, unless that would give other rows:
pings landed since, an input was published since, or the code has changed.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import runs, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.plan import Plan
from telemetry_warehouse.runs import overlap

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
    built = [
        (one.step, row["start_date"], row["end_date"])
        for one in plan.tables
        for row in published
        if row["table_name"] == one.step.table and overlap((row["start_date"], row["end_date"]), (one.start, one.end))
    ]
    inputs = runs.published_around(warehouse, built)
    landed = runs.landed(warehouse, since.date())
    kept: set[Chunk] = set()
    anew: list[Chunk] = []
    for one in plan.tables:
        own = [row for row in published if row["table_name"] == one.step.table]
        for start, last in one.chunks(warehouse.settings.backfill_days):
            newest = [_newest(own, day) for day in days_of(start, last)]
            reads = runs.days_read(one.step, start, last)
            if (
                None not in newest
                and not any(name in reads and overlap(reads[name], (a, b)) for name, a, b in anew)
                and all(_unchanged(one.step, row, landed, inputs) for row in {id(r): r for r in newest}.values())
            ):
                kept.add((one.step.table, start, last))
            else:
                anew.append((one.step.table, start, last))
    return frozenset(kept)


def _newest(rows: list[dict], day: date) -> dict | None:
    covering = [row for row in rows if row["start_date"] <= day <= row["end_date"]]
    return max(covering, key=lambda row: row["token"], default=None)


def _unchanged(step: Step, row: dict, landed: list[dict], inputs: list[dict]) -> bool:
    """Whether a publish would be made of the same inputs by the same code; `inputs` as in runs.published_around."""
    days = (row["start_date"], row["end_date"])
    if row["checksum"] != step.code:
        return False
    if step.kind == "dedup":
        [read] = runs.days_read(step, *days).values()
        return not any(
            one["table"] == step.table
            and overlap(read, (one["submission_date"], one["submission_date"]))
            and one["landed_at"] > row["started_at"]
            for one in landed
        )
    return row["inputs_published"] == runs.inputs_published(inputs, step, *days)
