"""The run of a planned backfill: one query per table for the whole range, or for each chunk of it.

A chunk is built, gated and published by itself, oldest first. A backfill that was cut short goes on where it was: see
resume.py.
"""

from collections.abc import Callable
from datetime import date, timedelta

from telemetry_warehouse import plan, resume, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.plan import Plan


def run(warehouse: Warehouse, planned: Plan, run_id: str, say: Callable[[str], None] = print) -> list[stages.Outcome]:
    """Builds, gates and publishes every planned table; stops at the first chunk that fails, with what came before
    published.

    Raises Refused before anything is built where any table could not be complete.
    """
    planned.refuse()
    size = warehouse.settings.backfill_days
    begun = resume.begin(warehouse, planned, run_id)
    if begun.resumed:
        skipped = ", ".join(f"{table} {days}" for table, days in begun.skipped()) or "nothing"
        say(f"this goes on with the backfill begun at {begun.at:%Y-%m-%d %H:%M:%S} UTC; already published: {skipped}")
    outcomes = []
    built: dict[str, date] = {}
    for number, one in enumerate(planned.tables, 1):
        say(f"[{number}/{len(planned.tables)}] {one.line}")
        for start, end in one.chunks(size):
            if (one.step.table, start, end) not in begun.published:
                outcomes.append(stages.run(warehouse, one.step, start, end, run_id, say))
        built[one.step.table] = one.end
        # A night may meanwhile have built a later day from what was there before; now that this is published, none can.
        last = plan.carried_until(warehouse, one.step, planned.end, built)
        if last > one.end:
            later = plan.Planned(one.step, one.end + timedelta(days=1), last)
            for start, end in later.chunks(size):
                outcomes.append(stages.run(warehouse, one.step, start, end, run_id, say))
            built[one.step.table] = last
    resume.end(warehouse, planned, run_id)
    return outcomes
