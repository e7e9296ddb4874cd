"""Days whose night never ran, because the machine was off: found by what was published before and what failed since."""

from collections.abc import Callable
from datetime import date, timedelta

from telemetry_warehouse import lineage, plan, runs, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.plan import Plan, Planned
from telemetry_warehouse.runs import Days, overlap, text


def missed(warehouse: Warehouse, before: date, oldest: date, say: Callable[[str], None]) -> Plan | None:
    """The plan that builds each table from the day after its last published one to the day before `before`.

    None where nothing was missed. A table that was last published before `oldest`, or never, begins anew. One whose own
    gate, or that of a table it is made from, has said no for such a day is left to a person, and said.
    """
    steps = lineage.load(warehouse.settings).steps
    yesterday = before - timedelta(days=1)
    last: dict[str, date] = {}
    for run in runs.published(warehouse, [step.table for step in steps], oldest - timedelta(days=1), yesterday):
        end = min(run["end_date"], yesterday)
        last[run["table_name"]] = max(end, last.get(run["table_name"], end))
    found = {
        step.table: (last[step.table] + timedelta(days=1), yesterday)
        for step in steps
        if step.table in last and last[step.table] < yesterday
    }
    if not found:
        return None
    waiting = _waiting(warehouse, steps, found)
    for table in waiting:
        say(f"{table} {text(*found[table])} is not caught up: a gate said no, and nobody has mended it")
    wanted = _with_inputs(warehouse, steps, {table: days for table, days in found.items() if table not in waiting})
    if not wanted:
        return None
    chosen = tuple(Planned(step, *wanted[step.table]) for step in steps if step.table in wanted)
    start = min(one.start for one in chosen)
    return plan.checked(warehouse, Plan(start, yesterday, None, chosen))


def _waiting(warehouse: Warehouse, steps: list[Step], found: dict[str, Days]) -> list[str]:
    """The tables whose missed days a failed gate has stopped, theirs or that of a table before them."""
    results = tables.from_file("monitoring", "gate_results")
    warehouse.ensure(results)
    failed = warehouse.rows(
        f"SELECT DISTINCT table_name, start_date, end_date FROM {results.id} WHERE checked_date >= '2000-01-01'"
        " AND NOT passed AND severity = 'critical' AND end_date >= @first",
        {"first": min(start for start, _ in found.values())},
    )
    stopped: list[str] = []
    for step in steps:
        if step.table not in found:
            continue
        # Live tables are judged too, before dedup.
        judged = {step.table} | ({step.inputs["live"]} if step.kind == "dedup" else set())
        own = any(
            row["table_name"] in judged and overlap(found[step.table], (row["start_date"], row["end_date"]))
            for row in failed
        )
        if own or any(table in stopped for table in step.inputs.values()):
            stopped.append(step.table)
    return stopped


def _with_inputs(warehouse: Warehouse, steps: list[Step], wanted: dict[str, Days]) -> dict[str, Days]:
    """The days of each table, and those of its inputs that were never built: such as a type's that is new."""
    known = {step.table for step in steps}
    for step in reversed(steps):
        inputs = [table for table in step.inputs.values() if table in known]
        if step.table not in wanted or not inputs:
            continue
        for table, days in runs.never_built(warehouse, inputs, *wanted[step.table]).items():
            if days:
                start, end = wanted.get(table, (days[0], days[-1]))
                wanted[table] = (min(start, days[0]), max(end, days[-1]))
    return wanted
