"""A stage makes one table's days: build a candidate, gate it, publish it, under the table's lock.

Night, backfill, DAG tasks and the command line all come through `run`. Whatever point it is killed at, readers have all
of the old days or all of the new ones, and running it again does the whole stage anew on a candidate of its own.
"""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import yaml
from google.cloud import bigquery

from telemetry_warehouse import dbt, dedup, lineage, schemas, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.gates.judge import judge
from telemetry_warehouse.gates.publish import announce, publish, whole_days
from telemetry_warehouse.lineage import LOOK_BACK_DAYS, Step
from telemetry_warehouse.locks import table_lock
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.tables import Table

CANDIDATE_DAYS = 7


@dataclass(frozen=True)
class Outcome:
    """What a stage did: rows of the candidate, warnings of the gate as lines, seconds a part."""

    table: str
    rows: int
    expectations: int
    warnings: list[str]
    seconds: dict[str, float]


def run(
    warehouse: Warehouse, step: Step, start: date, end: date, run_id: str, say: Callable[[str], None] = print
) -> Outcome:
    """Builds, gates and publishes `step`'s table for start..end.

    Raises Refused (sources missing or expired, or the table locked), GateFailed (nothing published), or what dbt and
    BigQuery raise; every ending is a row of monitoring.pipeline_runs.
    """
    table = definition(warehouse, step)
    refuse_bad_range(warehouse, step, start, end)
    holder = f"{run_id} on {socket.gethostname()}-{os.getpid()}"
    with table_lock(warehouse.settings, table.id, holder) as token:
        announce(warehouse, table, token, holder)
        record = {
            "table_name": table.id,
            "start_date": start,
            "end_date": end,
            "token": token,
            "run": run_id,
            "started_at": datetime.now(UTC),
            "checksum": _checksum(step),
        }
        try:
            outcome = _build_gate_publish(warehouse, step, table, start, end, run_id, token)
        except Exception as error:
            _record(warehouse, record | {"status": "failed", "error": " ".join(str(error).split())[:2000]})
            raise
        seconds = {f"{part}_seconds": value for part, value in outcome.seconds.items()}
        _record(warehouse, record | {"status": "published", "row_count": outcome.rows} | seconds)
        if step.kind == "dedup":
            dedup.record_distances(warehouse, _document_type(warehouse, step).live, table, start, end)
    took = sum(outcome.seconds.values())
    say(
        f"{table.id} {_days(start, end)}: {outcome.rows:,} rows, {outcome.expectations} expectations held,"
        f" published in {took:.1f} s"
    )
    for line in outcome.warnings:
        say(f"  warning: {line}")
    return outcome


def definition(warehouse: Warehouse, step: Step) -> Table:
    """The table that a step publishes, with the expectations of its gate."""
    if step.kind == "dedup":
        return _with_expectations(_document_type(warehouse, step).stable, "dedup")
    node = step.node
    config = node["config"]
    meta = config.get("meta") or node.get("meta", {})
    partition = config.get("partition_by") or meta.get("partition_by")
    cluster = config.get("cluster_by") or meta.get("cluster_by") or ()
    return Table(
        dataset=step.table.split(".")[0],
        name=step.name,
        columns=tuple(tables.column(c["name"], c["data_type"], c["description"]) for c in node["columns"].values()),
        description=node["description"],
        partition_field=partition["field"] if partition else None,
        clustering=(cluster,) if isinstance(cluster, str) else tuple(cluster),
        expectations=tuple(meta.get("expectations", ())),
        merge_key=tuple(meta.get("merge_key", ())),
    )


def _document_type(warehouse: Warehouse, step: Step) -> schemas.DocumentType:
    [found] = [t for t in schemas.load(warehouse.settings.schemas).values() if t.stable.id == step.table]
    return found


def _with_expectations(table: Table, name: str) -> Table:
    """The table with the expectations of sql/<name>.yml, which all document types share."""
    return replace(
        table, expectations=tuple(yaml.safe_load((ROOT / "sql" / f"{name}.yml").read_text())["expectations"])
    )


def _build_gate_publish(warehouse, step, table, start, end, run_id, token) -> Outcome:
    times = [time.monotonic()]
    warehouse.create(table)
    candidate = f"{table.dataset}_candidates.{table.name}__{start:%Y%m%d}_{end:%Y%m%d}__{token}"
    warehouse.ensure_dataset(f"{table.dataset}_candidates")
    inputs = _BUILDERS[step.kind](warehouse, step, table, candidate, start, end, run_id)
    built = warehouse.client.get_table(candidate)
    if step.kind == "dedup":
        # A column stays when its schema has dropped the property: days built again keep what it had.
        table = replace(table, columns=tuple(built.schema))
    times.append(time.monotonic())
    results = judge(warehouse, table, candidate, inputs, start, end, run_id)
    times.append(time.monotonic())
    publish(warehouse, table, candidate, start, end, token)
    warehouse.drop(candidate)
    times.append(time.monotonic())
    seconds = dict(zip(("build", "gate", "publish"), (b - a for a, b in pairwise(times)), strict=True))
    warnings = [r.line for r in results if not r.passed]
    return Outcome(table.id, built.num_rows, len(results) - len(warnings), warnings, seconds)


def _build_dedup(warehouse, step, table, candidate, start, end, run_id) -> dict[str, str]:
    live = _with_expectations(_document_type(warehouse, step).live, "live")
    warehouse.ensure(live)
    _gate_live(warehouse, live, start, end, run_id)
    # Landing goes on meanwhile: what is built and what it is judged against are live at one and the same moment.
    [moment] = warehouse.rows("SELECT FORMAT_TIMESTAMP('%F %H:%M:%E6S+00', CURRENT_TIMESTAMP()) AS now")
    frozen = f"{live.id} FOR SYSTEM_TIME AS OF TIMESTAMP '{moment['now']}'"
    first, *others = dedup.selects(frozen, start, end, warehouse.settings.dedup_slices)
    partition = "PARTITION BY DATE(submission_timestamp)"
    expiration = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {CANDIDATE_DAYS} DAY)"
    warehouse.query(
        f"CREATE TABLE {candidate} {partition} OPTIONS (expiration_timestamp = {expiration}) AS\n{first}",
        labels={"table": table.name, "stage": "build"},
    )
    for select in others:
        warehouse.query(f"INSERT INTO {candidate}\n{select}", labels={"table": table.name, "stage": "build"})
    return {"live": frozen}


def _gate_live(warehouse, live, start, end, run_id) -> None:
    """Judges the days of a live table as a whole, through a view that admits just them."""
    dataset = f"{live.dataset}_candidates"
    warehouse.ensure_dataset(dataset)
    view = f"{dataset}.{live.name}__{start:%Y%m%d}_{end:%Y%m%d}__{os.getpid()}_{time.time_ns()}"
    expiration = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {CANDIDATE_DAYS} DAY)"
    options = f"OPTIONS (expiration_timestamp = {expiration})"
    warehouse.query(f"CREATE VIEW {view} {options} AS SELECT * FROM {live.id} WHERE {whole_days(live, start, end)}")
    judge(warehouse, live, view, {}, start, end, run_id)
    warehouse.drop(view)


def _build_model(warehouse, step, table, candidate, start, end, run_id) -> dict[str, str]:
    dbt.run(
        warehouse.settings,
        step.node["name"],
        {
            "start_date": start.isoformat(),
            "end_date": end.isoformat(),
            "candidate": candidate.split(".")[1],
        },
    )
    return step.inputs


def _build_changes(warehouse, step, table, candidate, start, end, run_id) -> dict[str, str]:
    from telemetry_warehouse.changes.table import WINDOW_DAYS, changes_rows

    source = step.inputs["histogram_aggregates_v1"]
    first = start - timedelta(days=WINDOW_DAYS)
    # What a stage read is found by the candidate's name in the SQL of its jobs (estimate.py).
    whose, labels = f"-- For {candidate}.\n", {"table": table.name, "stage": "build"}
    aggregates = warehouse.arrow(
        f"{whose}SELECT * FROM {source} WHERE submission_date BETWEEN DATE '{first}' AND DATE '{end}'", labels
    )
    previous = warehouse.query(
        f"{whose}SELECT * FROM {table.id} WHERE detected_date >= DATE '{first}' AND detected_date < DATE '{start}'",
        labels=labels,
    )
    _create_candidate(warehouse, table, candidate)
    warehouse.load_rows(candidate, changes_rows(aggregates, [dict(row) for row in previous], start, end))
    return step.inputs


def _create_candidate(warehouse, table, candidate) -> None:
    made = bigquery.Table(f"{warehouse.settings.project_id}.{candidate}", schema=table.columns)
    made.expires = datetime.now(UTC) + timedelta(days=CANDIDATE_DAYS)
    warehouse.client.create_table(made)


_BUILDERS = {"dedup": _build_dedup, "model": _build_model, "changes": _build_changes}


def refuse_unfinished(day: date) -> None:
    """Raises Refused for a day that is not over in UTC: its tables could still change."""
    today = datetime.now(UTC).date()
    if day >= today:
        raise Refused(f"{day} has not ended yet (UTC); the last day that can be built is {today - timedelta(days=1)}")


def refuse_bad_range(
    warehouse: Warehouse, step: Step, start: date, end: date, built_before: Collection[str] = ()
) -> None:
    """Raises Refused where start..end cannot be complete: unfinished, or its sources are missing or expired.

    `built_before` are the tables that the same run builds for these days first.
    """
    refuse_unfinished(end)
    types = schemas.load(warehouse.settings.schemas).values()
    for document_type in types:
        if step.kind == "dedup" and document_type.stable.id == step.table:
            _refuse_expired(
                warehouse, step, document_type, document_type.live, start - timedelta(days=LOOK_BACK_DAYS), end
            )
        elif document_type.stable.id in step.inputs.values():
            _refuse_expired(warehouse, step, document_type, document_type.stable, start, end)
    # What dedup reads is landed and not built.
    if step.kind != "dedup":
        _refuse_missing_inputs(warehouse, step, start, end, built_before)
    if step.reads_yesterday:
        _refuse_gap(warehouse, step, start)


def _refuse_expired(warehouse: Warehouse, step: Step, document_type, source: Table, first: date, last: date) -> None:
    """A source that held pings of first..last and has lost them by its retention gives no complete table."""
    if source.retention_days is None:
        return
    oldest_kept = datetime.now(UTC).date() - timedelta(days=source.retention_days - 1)
    if first >= oldest_kept:
        return
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    name = document_type.name
    [lost] = warehouse.rows(
        f"SELECT MIN(submission_date) AS first, MAX(submission_date) AS last FROM {landing.id}"
        " WHERE landed_date >= '2000-01-01' AND landed > 0 AND submission_date BETWEEN @first AND @last"
        " AND document_namespace = @namespace AND document_type = @type AND document_version = @version",
        {
            "first": first,
            "last": min(last, oldest_kept - timedelta(days=1)),
            "namespace": name.namespace,
            "type": name.type,
            "version": name.version,
        },
    )
    if lost["first"]:
        raise Refused(
            f"{step.table} {_days(first, last)} needs {source.id}, which keeps {source.retention_days} days and has"
            f" lost those of {_days(lost['first'], lost['last'])}; the first day it still has is {oldest_kept}"
        )


def _refuse_missing_inputs(warehouse, step: Step, start: date, end: date, built_before: Collection[str]) -> None:
    """Every day of the tables that a step reads must have been built, or its own days would lack theirs."""
    known = {other.table for other in lineage.load(warehouse.settings).steps}
    wanted = [table for table in step.inputs.values() if table in known and table not in built_before]
    if not wanted:
        return
    for table, missing in never_built(warehouse, wanted, start, end).items():
        if missing:
            raise Refused(
                f"{step.table} {_days(start, end)} reads {table}, which was never built for"
                f" {_days(missing[0], missing[-1])}; run `./warehouse backfill {missing[0]} {missing[-1]}` first"
            )


def never_built(warehouse: Warehouse, wanted: Collection[str], first: date, last: date) -> dict[str, list[date]]:
    """For each table, the days of first..last for which it was never published."""
    runs = published(warehouse, wanted, first, last)
    built = {table: set() for table in wanted}
    for run in runs:
        built[run["table_name"]].update(_each(run["start_date"], run["end_date"]))
    return {table: [day for day in _each(first, last) if day not in days] for table, days in built.items()}


def published(warehouse: Warehouse, wanted: Collection[str], first: date, last: date) -> list[dict]:
    """table_name, start_date and end_date of the published stages of these tables that touch first..last."""
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    names = ", ".join(f"'{table}'" for table in wanted)
    return warehouse.rows(
        "SELECT DISTINCT table_name, start_date, end_date FROM monitoring.pipeline_runs WHERE status = 'published'"
        f" AND start_date <= @last AND end_date >= @first AND table_name IN ({names})",
        {"first": first, "last": last},
    )


def _refuse_gap(warehouse: Warehouse, step: Step, start: date) -> None:
    """A table that continues from its own yesterday needs it, unless nothing near it was ever built."""
    yesterday, oldest = start - timedelta(days=1), start - timedelta(days=step.carries_days + 1)
    runs = published(warehouse, (step.table, *step.inputs.values()), oldest, yesterday)
    own = [r["end_date"] for r in runs if r["table_name"] == step.table]
    if not runs or (own and max(own) >= yesterday):
        return
    first = max(own) + timedelta(days=1) if own else max(oldest, min(r["start_date"] for r in runs))
    raise Refused(
        f"{step.table} {start} continues from {yesterday}, and its days {_days(first, yesterday)} were not built;"
        f" run `./warehouse backfill {first} {yesterday}` first"
    )


def _record(warehouse: Warehouse, row: dict) -> None:
    runs = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs)
    warehouse.load_rows(runs.id, [row | {"started_date": row["started_at"].date(), "ended_at": datetime.now(UTC)}])


def _checksum(step: Step) -> str:
    if step.kind == "model":
        return step.node["checksum"]["checksum"][:16]
    source = (ROOT / "sql" / "dedup.sql").read_text() if step.kind == "dedup" else step.kind
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _each(start: date, end: date) -> list[date]:
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def _days(start: date, end: date) -> str:
    return str(start) if start == end else f"{start}..{end}"
