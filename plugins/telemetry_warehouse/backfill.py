"""The run of a planned backfill: one query per table for the whole range, or for each chunk of it.

A chunk is built, gated and published by itself, oldest first. A backfill that was cut short goes on where it was: see
resume.py.
"""

from collections.abc import Callable
from datetime import date, timedelta

from telemetry_warehouse import exclusions, plan, resume, runs, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import of_days, within, without
from telemetry_warehouse.plan import Plan
from telemetry_warehouse.progress import Progress


def run(
    warehouse: Warehouse, planned: Plan, run_id: str, say: Callable[[str], None] = print, again: str = ""
) -> list[stages.Outcome]:
    """Builds, gates and publishes every planned table. A chunk that fails stops what reads it, and nothing else.

    `again`: what people are told to run where one failed; the same command line, if nothing is given. Raises
    Refused before anything is built where any table could not be complete, and NotAllBuilt in the end, naming every
    table that failed or waits.
    """
    planned.refuse()
    size = warehouse.settings.backfill_days
    begun = resume.begin(warehouse, planned, run_id)
    if begun.resumed:
        skipped = ", ".join(f"{table} {days}" for table, days in begun.skipped()) or "nothing"
        say(f"this goes on with the backfill begun at {begun.at:%Y-%m-%d %H:%M:%S} UTC; already published: {skipped}")
    progress = Progress(warehouse, run_id, say, again or f"./warehouse backfill {planned.asked}")
    let_go = _let_go(warehouse, planned)
    built: dict[str, date] = {}
    for number, one in enumerate(planned.tables, 1):
        say(f"[{number}/{len(planned.tables)}] {one.line}")
        left_out = within(of_days(let_go.get(one.step.table, ())), (one.start, one.end))
        for first, last in left_out:
            again = f"`./warehouse backfill {first} {last} --select {one.step.table}`"
            say(f"{one.step.table} {runs.text(first, last)} is left out; to try it: {again}")
        for start, end in one.chunks(size):
            if (one.step.table, start, end) not in begun.published:
                for first, last in without([(start, end)], left_out):
                    progress.build(one.step, first, last)
        built[one.step.table] = one.end
        # A night may meanwhile have built a later day from what was there before; now that this is published, none can.
        last = plan.carried_until(warehouse, one.step, planned.end, built)
        if last > one.end:
            later = plan.Planned(one.step, one.end + timedelta(days=1), last)
            for start, end in later.chunks(size):
                progress.build(one.step, start, end)
            built[one.step.table] = last
    outcomes = progress.finish(f"the backfill of {planned.asked}")
    resume.end(warehouse, planned, run_id)
    return outcomes


def _let_go(warehouse: Warehouse, planned: Plan) -> dict[str, set[date]]:
    """The days of stable tables that go without their type, unless the backfill is of such a table."""
    stable = [one.step.table for one in planned.tables if one.step.kind == "dedup"]
    if not stable or planned.selector:
        return {}
    last = max(one.end for one in planned.tables)
    return exclusions.in_force(runs.published(warehouse, stable, planned.start, last))
