"""What the gates said of a day, from monitoring, and the overrides that people give for it.

For `./warehouse gate` and the report of the day.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

import orjson

from telemetry_warehouse import lineage, refusals, tables
from telemetry_warehouse.bigquery import Warehouse, text_literal
from telemetry_warehouse.errors import NotPassed, Refused, WarehouseError
from telemetry_warehouse.gates import overrides
from telemetry_warehouse.gates.overrides import Override
from telemetry_warehouse.querying import print_grid


@dataclass(frozen=True)
class Verdict:
    """What one expectation said. verdict: passed, warned, failed or let through; the texts are JSON but for a query."""

    expectation: str
    severity: str
    verdict: str
    observed: str
    bound: str
    examples: str
    overrides: tuple[Override, ...]

    @property
    def seen(self) -> str:
        """What was observed, for the eye: a text without its quotes."""
        observed = orjson.loads(self.observed)
        return observed if isinstance(observed, str) else self.observed

    @property
    def limit(self) -> str:
        """The bound for the eye: arguments without braces; of a query, that it must give nothing."""
        if not self.bound.startswith("{"):
            return "no rows of its query"
        return ", ".join(f"{name} {_json(value)}" for name, value in orjson.loads(self.bound).items())

    @property
    def rows(self) -> str:
        """The example rows, or nothing."""
        return "" if self.examples == "[]" else self.examples


@dataclass(frozen=True)
class Judgement:
    """The newest time that a gate judged a day of `table`; start and end are those of the candidate."""

    table: str
    start: date
    end: date
    run: str
    candidate: str
    checked_at: datetime
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return all(one.verdict != "failed" for one in self.verdicts)


def judged_tables(warehouse: Warehouse) -> list[str]:
    """The ids of all tables that have a gate: live tables and what the night builds."""
    steps = lineage.load(warehouse.settings).steps
    return [step.inputs["live"] for step in steps if step.kind == "dedup"] + [step.table for step in steps]


def judgements(warehouse: Warehouse, day: date, judged: Iterable[str]) -> dict[str, Judgement]:
    """The newest judgement of each of these tables' days; a table whose day was never judged is left out."""
    results = tables.from_file("monitoring", "gate_results")
    warehouse.ensure(results)
    names = ", ".join(map(text_literal, judged))
    rows = warehouse.rows(
        "SELECT table_name, start_date, end_date, run, candidate, checked_at, expectation, severity, observed, bound,"
        # Rows from before there were overrides have no verdict.
        " IFNULL(verdict, IF(passed, 'passed', IF(severity = 'warning', 'warned', 'failed'))) AS verdict,"
        f" examples, overrides FROM {results.id}"
        f" WHERE checked_date >= @day AND start_date <= @day AND end_date >= @day AND table_name IN ({names})"
        " ORDER BY checked_at, expectation",
        {"day": day},
    )
    newest = {row["table_name"]: row for row in rows}
    found = {}
    for table, last in newest.items():
        verdicts = tuple(_verdict(row) for row in rows if row["candidate"] == last["candidate"])
        about = {name: last[f"{name}_date"] for name in ("start", "end")}
        about |= {name: last[name] for name in ("run", "candidate", "checked_at")}
        found[table] = Judgement(table, verdicts=verdicts, **about)
    return found


def judgement(warehouse: Warehouse, name: str, day: date) -> Judgement:
    """The newest judgement of a table's day.

    The table is given with its dataset, or without where the night builds it. Raises WarehouseError naming a table
    that has no gate, Refused where the day was never judged.
    """
    known = judged_tables(warehouse)
    table = name if "." in name else lineage.load(warehouse.settings).step(name).table
    if table not in known:
        raise WarehouseError(f"no table {name!r} has a gate; there are {', '.join(known)}")
    found = judgements(warehouse, day, [table]).get(table)
    if found is None:
        again = f"backfill {day} {day}" if day < refusals.last_ended() else f"night {day}"
        firsts = refusals.first_pings(warehouse).values()
        never = refusals.unfinished(day) + refusals.before_every_ping(firsts, day, day)
        what = never[0] if never else f"`./warehouse {again}` builds and judges it"
        raise Refused(f"no gate has judged {table} {day}; {what}")
    return found


def print_judgement(warehouse: Warehouse, name: str, day: date, say: Callable[[str], None] = print) -> None:
    """Shows every expectation's newest verdict on a table's day, and how the stages since then have ended.

    Raises NotPassed where the day did not pass, or a later stage of it did not come as far as this gate.
    """
    found = judgement(warehouse, name, day)
    days = "" if found.start == found.end else f", as part of {found.start}..{found.end}"
    say(f"{found.table} {day}{days}: judged {found.checked_at:%Y-%m-%d %H:%M:%S} UTC for {found.run}")
    rows = [(v.expectation, v.severity, v.verdict, v.seen, v.limit) for v in found.verdicts]
    print_grid(["expectation", "severity", "verdict", "observed", "bound"], rows)
    for verdict in found.verdicts:
        if verdict.rows:
            say(f"{verdict.expectation}, for example: {verdict.rows}")
        for override in verdict.overrides:
            say(f"{verdict.expectation}: {override.line}")
    stages = _stages_since(warehouse, found, day)
    for stage in stages:
        say(f"{stage['table_name']} {stage['status']} {stage['ended_at']:%Y-%m-%d %H:%M:%S} UTC by {stage['run']}")
    if not found.passed:
        gone = "" if warehouse.exists(found.candidate) else ", which is gone by now"
        failed = ", ".join(v.expectation for v in found.verdicts if v.verdict == "failed")
        raise NotPassed(f"{found.table} {day} did not pass its gate: {failed}; candidate: {found.candidate}{gone}")
    if stages and stages[-1]["status"] == "failed":
        raise NotPassed(f"{found.table} {day} passed this gate, but its last stage failed: {stages[-1]['error']}")


def let_through(
    warehouse: Warehouse, name: str, expectation: str, override: Override, say: Callable[[str], None] = print
) -> None:
    """Records that a table's day may be published although this expectation failed for it.

    Raises Refused where the expectation did not fail there, or the override is not one.
    """
    day = override.submission_date
    found = judgement(warehouse, name, day)
    verdicts = {one.expectation: one.verdict for one in found.verdicts}
    if expectation not in verdicts:
        raise Refused(f"{found.table} has no expectation {expectation!r}; there are {', '.join(verdicts)}")
    if verdicts[expectation] in ("passed", "warned"):
        raise Refused(f"{expectation} {verdicts[expectation]} for {found.table} {day}: there is nothing to let through")
    overrides.record(warehouse, found.table, expectation, override)
    say(f"recorded: {found.table}, {expectation}: {override.line}")
    say(f"nothing is published yet; run it again: ./warehouse {_again(warehouse, found)}")


def _again(warehouse: Warehouse, found: Judgement) -> str:
    """The command that judges the same days again and publishes them, or stages them, as the run meant to.

    Runs of the command line are named after it (cli._run_id); of a night under Airflow it is the night by hand.
    """
    if found.start == found.end and not found.run.startswith(("backfill-", "stage-")):
        return f"night {found.start}"
    table = _built_with(warehouse).get(found.table, found.table).split(".")[1]
    staged = " --stage" if found.run.startswith("stage-") else ""
    return f"backfill {found.start} {found.end} --select {table}+{staged}"


def _built_with(warehouse: Warehouse) -> dict[str, str]:
    """Live table → the stable table in whose stage it is judged."""
    steps = lineage.load(warehouse.settings).steps
    return {step.inputs["live"]: step.table for step in steps if step.kind == "dedup"}


def _stages_since(warehouse: Warehouse, found: Judgement, day: date) -> list[dict]:
    """The stages of the day that ended after it was judged; a live table is judged in its stable table's."""
    runs = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs)
    stable = _built_with(warehouse)
    return warehouse.rows(
        f"SELECT table_name, status, ended_at, run, error FROM {runs.id} WHERE table_name = @table"
        " AND start_date <= @day AND end_date >= @day AND ended_at >= @checked ORDER BY ended_at",
        {"table": stable.get(found.table, found.table), "day": day, "checked": found.checked_at},
    )


def _verdict(row: dict) -> Verdict:
    own = {name: row[name] for name in ("expectation", "severity", "verdict", "observed", "bound", "examples")}
    return Verdict(**own, overrides=tuple(Override(**override) for override in row["overrides"]))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
