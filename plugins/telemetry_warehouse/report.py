"""The report of a day: every table of it, what its gate said, and what it took. For people, as Markdown.

`./warehouse report DATE` prints it; each night writes it to WAREHOUSE_HOME/reports/DATE.md.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from telemetry_warehouse import earlier_days, lineage, tables, verdicts
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import one_line, printable
from telemetry_warehouse.lineage import Lineage
from telemetry_warehouse.progress import waits_for
from telemetry_warehouse.runs import text as range_text
from telemetry_warehouse.verdicts import Judgement

_TIMED = ("build", "gate")
_READING = ("build", "gate", "publish")


def write(warehouse: Warehouse, day: date) -> Path:
    """Writes the report of a day to its file, which it returns; an older one is replaced."""
    path = warehouse.settings.home / "reports" / f"{day}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text(warehouse, day))
    unfinished.replace(path)
    return path


def text(warehouse: Warehouse, day: date, reads: bool = False) -> str:
    """The report of a day: for each table the stage that ended last, and the newest verdicts of its gate.

    `reads`: also the bytes that each stage read, by an estimate that reads them again.
    """
    known = lineage.load(warehouse.settings)
    steps = [step.table for step in known.steps]
    runs = _last_runs(warehouse, day)
    judged = verdicts.judgements(warehouse, day, verdicts.judged_tables(warehouse))
    published = sum(1 for run in runs.values() if run["status"] == "published")
    read = _bytes_read(warehouse, runs) if reads else {}
    lines = [
        f"# {day}",
        f"{published} of {len(steps)} tables are published; as of {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC.",
        "",
        *_stages(steps, runs, _waiting(warehouse, known, runs, day), judged, read),
    ]
    for table in [*(name for name in judged if name not in steps), *steps]:
        if table in runs or table in judged:
            lines += _table(table, runs.get(table), judged.get(table))
    return "\n".join(lines) + "\n"


def _last_runs(warehouse: Warehouse, day: date) -> dict[str, dict]:
    runs = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs)
    rows = warehouse.rows(
        "SELECT table_name, start_date, end_date, token, run, status, row_count, started_at, ended_at, error, checksum,"
        " build_seconds AS build, gate_seconds AS gate"
        f" FROM {runs.id} WHERE start_date <= @day AND end_date >= @day"
        " QUALIFY ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY token DESC, ended_at DESC) = 1",
        {"day": day},
    )
    return {row["table_name"]: row for row in rows}


def _waiting(warehouse: Warehouse, known: Lineage, runs: dict[str, dict], day: date) -> dict[str, str]:
    """The tables that have no stage of the day because they wait, and for what."""
    if runs.keys() >= {step.table for step in known.steps}:
        return {}
    unbuilt = earlier_days.not_built(known, earlier_days.read(warehouse, day))
    found = {}
    for step in known.steps:
        cause = waits_for(step, day, day, unbuilt)
        if step.table not in runs and cause:
            found[step.table] = cause
        elif step.table in runs and runs[step.table]["status"] == "failed":
            cause = f"{step.table} {day}"
        else:
            continue
        unbuilt.setdefault(step.table, {})[day] = cause
    return found


def _bytes_read(warehouse: Warehouse, runs: dict[str, dict]) -> dict[str, dict]:
    from telemetry_warehouse.estimate import stage_estimates

    built = [run for run in runs.values() if run["status"] == "published"]
    return {run["table_name"]: parts for run, parts in zip(built, stage_estimates(warehouse, built), strict=True)}


def _stages(steps: list[str], runs: dict, waiting: dict, judged: dict, read: dict) -> Iterator[str]:
    names = ["table", "outcome", "ended (UTC)", "days", "rows", *(f"{part} (s)" for part in _TIMED), "verdicts"]
    yield from _head(names + [f"{part} reads (bytes)" for part in _READING] * bool(read))
    for table in steps:
        run = runs.get(table)
        if run is None:
            outcome = f"waits for {waiting[table]}" if table in waiting else "never built"
            yield _row([table, outcome, *[""] * (len(names) - 2), *[""] * (len(_READING) * bool(read))])
            continue
        seconds = ["" if run[part] is None else f"{run[part]:.1f}" for part in _TIMED]
        rows = "" if run["row_count"] is None else f"{run['row_count']:,}"
        ended = f"{run['ended_at']:%Y-%m-%d %H:%M:%S}"
        cells = [table, run["status"], ended, range_text(run["start_date"], run["end_date"]), rows, *seconds]
        cells.append(_summary(judged[table]) if table in judged else "")
        if read:
            cells += [f"{read[table][part].bytes:,}" if table in read else "" for part in _READING]
        yield _row(cells)
    yield ""


def _table(table: str, run: dict | None, judgement: Judgement | None) -> Iterator[str]:
    yield f"## {table}"
    if run:
        ended = f"{run['status'].capitalize()} {run['ended_at']:%Y-%m-%d %H:%M:%S} UTC"
        yield f"{ended} by {run['run']}, code {run['checksum']}."
        if run["error"]:
            yield f"\n    {printable(run['error'])}"
    yield ""
    if judgement is None:
        return
    days = range_text(judgement.start, judgement.end)
    yield f"Judged {days} at {judgement.checked_at:%Y-%m-%d %H:%M:%S} UTC for {judgement.run}: {_summary(judgement)}."
    yield ""
    yield from _head(["expectation", "severity", "verdict", "observed", "bound", "examples"])
    for one in judgement.verdicts:
        yield _row([one.expectation, one.severity, one.verdict, one.seen, one.limit, one.rows])
    yield ""
    for one in judgement.verdicts:
        for override in one.overrides:
            yield f"- {one.expectation}: {override.line}"
    if any(one.overrides for one in judgement.verdicts):
        yield ""


def _summary(judgement: Judgement) -> str:
    said = [one.verdict for one in judgement.verdicts]
    counts = {name: said.count(name) for name in ("passed", "warned", "failed", "let through")}
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "passed")


def _head(names: list[str]) -> list[str]:
    return [_row(names), "|---" * len(names) + "|"]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(printable(one_line(cell)).replace("|", "\\|") for cell in cells) + " |"
