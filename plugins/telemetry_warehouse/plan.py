"""What a backfill will do, before it does anything: tables and days, what they read, and what stands against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from telemetry_warehouse import lineage, refusals, runs, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import Days, within
from telemetry_warehouse.differences import column_notes
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.forecast import Forecast, forecast
from telemetry_warehouse.lineage import Lineage, Step
from telemetry_warehouse.runs import text


@dataclass(frozen=True)
class Planned:
    """One table of a backfill and the days it will be built for; `why` where they are others than those asked for."""

    step: Step
    start: date
    end: date
    why: str = ""

    @property
    def line(self) -> str:
        days = (self.end - self.start).days + 1
        return f"{self.step.table}: {self.start}..{self.end} ({days} days){self.why and '; ' + self.why}"

    def chunks(self, size: int) -> list[Days]:
        """The days in pieces of at most `size`, oldest first."""
        return runs.chunks(self.start, self.end, size)


@dataclass(frozen=True)
class Plan:
    """A backfill of start..end.

    `tables` in build order, none where there is nothing to plan; `notes` are worth knowing; one of `refusals` stops it
    all.
    """

    start: date
    end: date
    selector: str | None
    tables: tuple[Planned, ...]
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """The range and the tables as the command line takes them."""
        return asked(self.start, self.end, self.selector)

    def refuse(self) -> None:
        """Raises Refused with everything that stands against it."""
        if self.refusals:
            raise Refused("; ".join(self.refusals))


def asked(start: date, end: date, selector: str | None) -> str:
    return f"{start} {end}" + (f" --select {selector}" if selector else "")


def make(warehouse: Warehouse, start: date, end: date, selector: str | None = None) -> Plan:
    """The plan of a rebuild of start..end.

    It begins with the first ping that its tables are made of, for before that there is nothing. A day that a table
    carries forward (28-day patterns, look-backs) is rebuilt on those later days that are published already. Raises
    Refused where the range is empty.
    """
    if end < start:
        raise Refused(f"the range {start}..{end} is empty: its end is before its start")
    known = lineage.load(warehouse.settings)
    steps = known.select(selector)
    firsts = _first_pings(warehouse, known, steps)
    refused = refusals.unfinished(end) + refusals.before_every_ping(firsts.values(), start, end)
    if not firsts:
        refused.append(f"no ping was landed that {selector or 'any table'} is built from: there is nothing to build")
    begin, until = max([start, *sorted(firsts.values())[:1]]), min(end, refusals.last_ended())
    if begin > until or not firsts:
        return Plan(start, end, selector, (), (), tuple(refused))
    planned: list[Planned] = []
    for step in steps:
        last = carried_until(warehouse, step, until, {one.step.table: one.end for one in planned})
        planned.append(Planned(step, begin, last, f"days after {until} carry what changed" if last > until else ""))
    notes = [
        f"no ping of {name} was landed for a day before {first}: "
        + ("the plan begins there" if first == begin else "those days are built without any")
        for name, first in firsts.items()
        if first > start
    ]
    return checked(warehouse, Plan(start, end, selector, tuple(planned), tuple(notes), tuple(refused)))


def carried_until(warehouse: Warehouse, step: Step, end: date, built: Mapping[str, date]) -> date:
    """The last published day of a table on which a change up to `end` shows, or `end`.

    `built`: table → the last day that it is built for, of those that come before.
    """
    reach = max([end, *(built[table] for table in step.inputs.values() if table in built)])
    last = reach + timedelta(days=step.carries_days)
    if last == end:
        return end
    found = runs.published(warehouse, [step.table], end + timedelta(days=1), last)
    return max((min(run["end_date"], last) for run in found if not run["is_exclusion"]), default=end)


def checked(warehouse: Warehouse, plan: Plan) -> Plan:
    """The plan with what its tables' own days and columns add to its notes and refusals."""
    notes, refused = list(plan.notes), list(plan.refusals)
    published = runs.published_around(warehouse, [(one.step, one.start, one.end) for one in plan.tables])
    before: dict[str, Days] = {}
    for one in plan.tables:
        refused += refusals.reasons(warehouse, one.step, one.start, one.end, published, before)
        before[one.step.table] = (one.start, one.end)
    for one in plan.tables:
        if one.step.kind != "dedup":
            notes += column_notes(warehouse, stages.definition(warehouse, one.step))
    return Plan(plan.start, plan.end, plan.selector, plan.tables, tuple(notes), tuple(dict.fromkeys(refused)))


def _first_pings(warehouse: Warehouse, known: Lineage, steps: list[Step]) -> dict[str, date]:
    """Document type → the day of its first landed ping, for the types that tables are built from."""
    used = {table for step in steps for table in known.stable_before(step.table)}
    firsts = refusals.first_pings(warehouse)
    return {str(name): first for name, first in firsts.items() if lineage.stable_table(name) in used}


def show(warehouse: Warehouse, plan: Plan, say: Callable[[str], None]) -> None:
    """Says every table with its days, what it reads and how much; then what is worth knowing, and what is refused.

    Says nothing of a plan without tables: that it is refused is all there is to know.
    """
    if not plan.tables:
        return
    say(f"the plan of {text(plan.start, plan.end)}:")
    size = warehouse.settings.backfill_days
    queries = stages.selects(warehouse, [(one.step, one.start, one.end) for one in plan.tables])
    around = (plan.tables[0].start, max(one.end for one in plan.tables))
    found = forecast(warehouse, queries, around)
    for number, one in enumerate(plan.tables, 1):
        chunks = len(one.chunks(size))
        say(f"{number}. {one.line}" + (f", in {chunks} chunks" if chunks > 1 else ""))
        say(f"   reads {_reading(found[one.step.table])}")
    total = sum(one.bytes or 0 for one in found.values())
    at_least = "at least " if any(one.bytes is None for one in found.values()) else ""
    say(f"the builds read {at_least}{amount(total)} of what is there now, by an estimate" + _unbuilt(warehouse, plan))
    for note in plan.notes:
        say(f"note: {note}")
    for reason in plan.refusals:
        say(f"refused: {reason}")


def _reading(one: Forecast) -> str:
    if one.bytes is None:
        return f"an unknown amount: {one.unknown}"
    parts = [f"{table} {_bounds(*days)}" for table, days in one.days.items()]
    return f"{', '.join(parts)}: {amount(one.bytes)}" if parts else "nothing: no ping of its type was ever landed"


def _bounds(first: date | None, last: date | None) -> str:
    if first and last:
        return text(first, last)
    return f"{first} and later" if first else f"{last} and earlier" if last else "(all of it)"


def _unbuilt(warehouse: Warehouse, plan: Plan) -> str:
    """The caveat of an estimate: tables that are read, and of which days are still to be built for the first time."""
    planned = {one.step.table: one for one in plan.tables}
    read = [table for one in plan.tables for table in one.step.inputs.values() if table in planned]
    if not read:
        return ""
    last = max(one.end for one in plan.tables)
    missing = runs.never_built(warehouse, dict.fromkeys(read), plan.tables[0].start, last)
    names = [table for table, days in missing.items() if within(days, (planned[table].start, planned[table].end))]
    return f"; days that are built for the first time are not in it: {', '.join(names)}" if names else ""


def amount(size: int) -> str:
    """Bytes as a person reads them: 12.3 MB."""
    value, units = float(size), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:,.0f} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"
