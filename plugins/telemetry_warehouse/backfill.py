"""What a range needs, what it touches, and the run itself: one query per table, whatever the number of days."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from telemetry_warehouse import lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.lineage import Step


@dataclass(frozen=True)
class Planned:
    """One table of a backfill and the days it will be built for; `why` where they go past the range asked for."""

    step: Step
    start: date
    end: date
    why: str = ""

    @property
    def line(self) -> str:
        days = (self.end - self.start).days + 1
        reads = ", ".join(self.step.inputs.values())
        return f"{self.step.table}: {self.start}..{self.end} ({days} days) from {reads}{self.why and '; ' + self.why}"


def plan(warehouse: Warehouse, start: date, end: date, selector: str | None = None) -> list[Planned]:
    """The tables and days that a rebuild of start..end touches, in build order.

    A day that a table carries forward (28-day patterns, look-backs) is rebuilt on those later days that are published
    already. Raises Refused where the range is empty or has not ended.
    """
    stages.refuse_unfinished(end)
    if end < start:
        raise Refused(f"the range {start}..{end} is empty: its end is before its start")
    planned: dict[str, Planned] = {}
    for step in lineage.load(warehouse.settings).select(selector):
        parents = [planned[table] for table in step.inputs.values() if table in planned]
        reach = max([end] + [parent.end for parent in parents])
        last = reach + timedelta(days=step.carries_days)
        if last > end:
            last = max(end, _last_published(warehouse, step, end, last))
        why = f"days after {end} carry what changed" if last > end else ""
        planned[step.table] = Planned(step, start, last, why)
    return list(planned.values())


def run(
    warehouse: Warehouse,
    start: date,
    end: date,
    run_id: str,
    selector: str | None = None,
    say: Callable[[str], None] = print,
) -> list[stages.Outcome]:
    """Builds, gates and publishes every planned table; stops at the first that fails, what came before is published.

    Raises Refused before the first is built where any of them could not be complete.
    """
    outcomes = []
    planned = plan(warehouse, start, end, selector)
    for number, one in enumerate(planned, 1):
        say(f"[{number}/{len(planned)}] {one.line}")
        built_before = [other.step.table for other in planned[: number - 1]]
        stages.refuse_bad_range(warehouse, one.step, one.start, one.end, built_before)
    for one in planned:
        outcomes.append(stages.run(warehouse, one.step, one.start, one.end, run_id, say))
    return outcomes


def _last_published(warehouse: Warehouse, step: Step, after: date, until: date) -> date:
    """The last day of after+1..until that was ever published, empty or not, else `after`."""
    runs = stages.published(warehouse, [step.table], after + timedelta(days=1), until)
    return max((min(run["end_date"], until) for run in runs), default=after)
