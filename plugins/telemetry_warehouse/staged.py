"""A backfill that readers do not see yet: built and gated beside the published days, compared, and published when told.

Every table is built from the staged days of the tables before it and from the published days around them, through views
in the candidates' datasets. Candidates are dropped by BigQuery after a week.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import orjson

from telemetry_warehouse import exclusions, lineage, projection, runs, stages, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.differences import DayDifference, column_notes, differences
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.gates.history import Profile
from telemetry_warehouse.gates.judge import Judgement
from telemetry_warehouse.gates.publish import whole_days
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.plan import Plan, Planned, asked
from telemetry_warehouse.stages import Built
from telemetry_warehouse.tables import quoted


def stage(
    warehouse: Warehouse, planned: Plan, run_id: str, say: Callable[[str], None] = print
) -> dict[str, list[DayDifference]]:
    """Builds and gates what a backfill would, publishes nothing; returns for each table the days that would change.

    Raises Refused where the plan is, or where it has more days than one query may build, GateFailed as such a backfill
    would, and what dbt and BigQuery raise.
    """
    planned.refuse()
    size = warehouse.settings.backfill_days
    if any(len(one.chunks(size)) > 1 for one in planned.tables):
        raise Refused(f"what is staged is built in one query, which takes {size} days at most; stage fewer days")
    instead: dict[str, str] = {}
    found = {}
    staged: list[dict] = []
    for one in planned.tables:
        published = runs.published_around(warehouse, [(one.step, one.start, one.end)])
        step, excluded = stages.without_excluded(warehouse, one.step, published + staged, one.start, one.end)
        inputs = {name: instead.get(one.step.inputs[name], table) for name, table in step.inputs.items()}
        step = replace(step, inputs=inputs)
        staged_at = datetime.now(UTC)
        built = stages.build_and_gate(warehouse, step, one.start, one.end, run_id, time.time_ns() // 1000, excluded)
        staged.append(_as_published(one, staged_at, exclusions.to_text(excluded)))
        instead[one.step.table] = _as_it_would_be(warehouse, built, one.start, one.end)
        found[one.step.table] = differences(warehouse, built.table, built.candidate, one.start, one.end)
        for line in _lines(one.step.table, built.rows, found[one.step.table]):
            say(line)
        _remember(warehouse, planned, one, built, run_id, staged_at, exclusions.to_text(excluded))
    return found


def _lines(table: str, rows: int, days: list[DayDifference]) -> list[str]:
    """What is said of a table: a line, and one more for each day that would change."""
    if not days:
        return [f"{table}: {rows:,} rows, the same as published"]
    lines = [f"{table}: {rows:,} rows, {len(days)} days would change" if days[0].day else f"{table}: {rows:,} rows"]
    for one in days:
        columns = ", ".join(
            f"{name} {count:,}" for name, count in sorted(one.columns.items(), key=lambda c: (-c[1], c[0]))
        )
        lines.append(
            f"  {one.day or 'all days'}: {one.added:,} rows added, {one.removed:,} removed, {one.changed:,} changed"
            + (f" ({columns})" if columns else "")
            + "".join(f"; {name} is no longer built: {count:,} values become NULL" for name, count in one.lost.items())
        )
    return lines


def _as_it_would_be(warehouse: Warehouse, built: Built, start: date, end: date) -> str:
    """A view of the whole table as if the candidate were published; returns its id."""
    table, candidate = built.table, built.candidate
    view = _view(candidate)
    old, rows = projection.both(warehouse, table, candidate)
    if table.merge_key:
        same = " AND ".join(f"__built.`{name}` = {projection.ROW}.`{name}`" for name in table.merge_key)
        kept, new = f"NOT EXISTS (SELECT 1 FROM {quoted(candidate)} AS __built WHERE {same})", "NOT _deleted"
    else:
        kept, new = f"NOT ({whole_days(table, start, end)})", whole_days(table, start, end)
    warehouse.query(
        f"CREATE VIEW {quoted(view)} {stages.EXPIRING} AS {old} WHERE {kept} UNION ALL {rows} WHERE {new}"
    )
    return view


def _view(candidate: str) -> str:
    return f"{candidate}__published"


def _as_published(one: Planned, staged_at: datetime, excluded: str) -> dict:
    """What runs.published would say of a staged table."""
    days = {"start_date": one.start, "end_date": one.end, "started_at": staged_at, "ended_at": staged_at}
    # Newer than whatever is published.
    newest = {"token": math.inf, "excluded": excluded, "is_exclusion": False}
    return {"table_name": one.step.table, "times": 1} | newest | days


def _remember(warehouse, planned, one, built, run_id, staged_at, excluded) -> None:
    staged = tables.from_file("monitoring", "staged")
    warehouse.ensure(staged)
    row = {
        "staged_date": staged_at.date(),
        "staged_at": staged_at,
        "run": run_id,
        "range_start": planned.start,
        "range_end": planned.end,
        "selector": planned.selector,
        "table_name": one.step.table,
        "start_date": one.start,
        "end_date": one.end,
        "candidate": built.candidate,
        "row_count": built.rows,
        "checksum": one.step.code,
        "profile": orjson.dumps(built.judgement.profile).decode(),
        "excluded": excluded,
    }
    warehouse.load_rows(staged, [row])


def publish(
    warehouse: Warehouse, start: date, end: date, selector: str | None = None, say: Callable[[str], None] = print
) -> list[str]:
    """Publishes what was last staged for exactly this range and selector; returns the tables.

    One that was cut short goes on where it was. Raises Refused, before anything is published, where nothing is staged
    or where what it was built from has changed since.
    """
    rows = {row["table_name"]: row for row in _last_staged(warehouse, start, end, selector)}
    if not rows:
        raise Refused(f"nothing is staged for {asked(start, end, selector)}; run it with --stage first")
    steps = [step for step in lineage.load(warehouse.settings).steps if step.table in rows]
    waiting = [step for step in steps if not _is_published(warehouse, rows[step.table])]
    for step in waiting:
        _refuse_changed(warehouse, step, rows[step.table])
    for step in waiting:
        row = rows[step.table]
        days = (row["start_date"], row["end_date"])
        candidate = warehouse.client.get_table(row["candidate"])
        table = stages.as_built(step, stages.definition(warehouse, step), candidate)
        incomplete = exclusions.days_without(exclusions.from_text(row["excluded"]), *days)
        built = Built(table, row["candidate"], row["row_count"], Judgement([], _profile(row)), {}, incomplete)
        read = runs.published_around(warehouse, [(step, *days)])
        with stages.sole_writer(warehouse, built.table, row["run"]) as token:
            record = {
                "token": token,
                "run": row["run"],
                "started_at": row["staged_at"],
                "checksum": row["checksum"],
                "excluded": row["excluded"] or "",
                "inputs_published": runs.inputs_published(read, step, *days),
            }
            stages.publish_built(warehouse, step, built, *days, record)
        warehouse.drop(_view(row["candidate"]))
        say(f"{step.table} {runs.text(*days)}: {row['row_count']:,} rows published")
        for note in column_notes(warehouse, built.table):
            say(f"  note: {note}")
    return [step.table for step in steps]


def _profile(row: dict) -> Profile | None:
    """The profile of what was staged; None where its table has no history to be held against."""
    profile = orjson.loads(row["profile"] or "null")
    return profile and [(day and date.fromisoformat(day), app, counts) for day, app, counts in profile]


def _last_staged(warehouse: Warehouse, start: date, end: date, selector: str | None) -> list[dict]:
    staged = tables.from_file("monitoring", "staged")
    warehouse.ensure(staged)
    return warehouse.rows(
        f"SELECT * FROM {staged.id} WHERE range_start = @start AND range_end = @end"
        " AND IFNULL(selector, '') = @selector QUALIFY run = LAST_VALUE(run) OVER ("
        "ORDER BY staged_at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        {"start": start, "end": end, "selector": selector or ""},
    )


def _is_published(warehouse: Warehouse, row: dict) -> bool:
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    return bool(
        warehouse.rows(
            "SELECT 1 AS one FROM monitoring.pipeline_runs"
            " WHERE status = 'published' AND run = @run AND table_name = @table LIMIT 1",
            {"run": row["run"], "table": row["table_name"]},
        )
    )


def _refuse_changed(warehouse: Warehouse, step: Step, row: dict) -> None:
    range_asked = asked(row["range_start"], row["range_end"], row["selector"])
    again = f"stage it again: `./warehouse backfill {range_asked} --stage`"
    if not warehouse.exists(row["candidate"]):
        raise Refused(f"{step.table}: its candidate {row['candidate']} is gone after a week; {again}")
    if step.code != row["checksum"]:
        raise Refused(f"{step.table}: its code has changed since it was staged; {again}")
    for table in (step.table, *step.inputs.values()):
        later = warehouse.rows(
            "SELECT run, start_date, end_date FROM monitoring.pipeline_runs"
            " WHERE status = 'published' AND table_name = @table AND start_date <= @last AND end_date >= @first"
            " AND ended_at > @staged_at AND run != @run ORDER BY ended_at DESC LIMIT 1",
            {
                "table": table,
                "first": row["start_date"],
                "last": row["end_date"],
                "staged_at": row["staged_at"],
                "run": row["run"],
            },
        )
        if later:
            days = runs.text(later[0]["start_date"], later[0]["end_date"])
            raise Refused(f"{step.table}: {table} {days} was published by {later[0]['run']} since; {again}")
