"""A stage makes one table's days: build a candidate, gate it, publish it, under the table's lock.

Night, backfill, DAG tasks and the command line all come through `run`. Whatever point it is killed at, readers have all
of the old days or all of the new ones, and running it again does the whole stage anew on a candidate of its own.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from google.cloud import bigquery

from telemetry_warehouse import dbt, dedup, detection, exclusions, runs, schemas, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.differences import column_notes
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.exclusions import Excluded
from telemetry_warehouse.files import read_yaml
from telemetry_warehouse.gates import history
from telemetry_warehouse.gates.judge import Judgement, judge
from telemetry_warehouse.gates.publish import announce, publish, whole_days
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.locks import table_lock
from telemetry_warehouse.notify import notify_failed_stage
from telemetry_warehouse.refusals import refuse_bad_range
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.tables import Table
from telemetry_warehouse.type_tables import TypeTables

CANDIDATE_DAYS = 7
# Of a candidate, or a view beside it, that SQL makes.
EXPIRING = f"OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {CANDIDATE_DAYS} DAY))"


@dataclass(frozen=True)
class Outcome:
    """What a stage did: rows of the candidate, warnings of the gate as lines, seconds a part."""

    table: str
    rows: int
    expectations: int
    warnings: list[str]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Built:
    """A candidate that has passed its gate, and the table that it is for. incomplete: days without a ping type."""

    table: Table
    candidate: str
    rows: int
    judgement: Judgement
    seconds: dict[str, float]
    incomplete: frozenset[date] = frozenset()


def run(
    warehouse: Warehouse,
    step: Step,
    start: date,
    end: date,
    run_id: str,
    say: Callable[[str], None] = print,
    again: str = "",
) -> Outcome:
    """Builds, gates and publishes `step`'s table for start..end.

    `again`: what people are told to run where it fails; a backfill of the table and what follows, if nothing is given.
    Raises Refused (sources missing or expired, or the table locked), GateFailed (nothing published), or what dbt and
    BigQuery raise; every ending is a row of monitoring.pipeline_runs, and of a failure people are told once.
    """
    try:
        return _run(warehouse, step, start, end, run_id, say)
    except Exception as error:
        again = again or f"./warehouse backfill {start} {end} --select {step.name}+"
        notify_failed_stage(warehouse, step.table, start, end, error, again, say)
        raise


def _run(warehouse: Warehouse, step: Step, start: date, end: date, run_id: str, say: Callable[[str], None]) -> Outcome:
    # Asked before the lock is there: of what is published meanwhile the record may count too little, never too much, so
    # a backfill that goes on may build this again, and never keeps it wrongly.
    published = runs.published_around(warehouse, [(step, start, end)])
    refuse_bad_range(warehouse, step, start, end, published)
    record = {
        "table_name": step.table,
        "start_date": start,
        "end_date": end,
        "run": run_id,
        "started_at": datetime.now(UTC),
        "checksum": step.code,
        "inputs_published": runs.inputs_published(published, step, start, end),
    }
    try:
        table = definition(warehouse, step)
    except WarehouseError as error:
        runs.record_failure(warehouse, record, error)
        raise
    with sole_writer(warehouse, table, run_id) as token:
        record |= {"token": token, "started_at": datetime.now(UTC)}
        try:
            reading, excluded = without_excluded(warehouse, step, published, start, end)
            record["excluded"] = exclusions.to_text(excluded)
            built = build_and_gate(warehouse, reading, start, end, run_id, token, excluded)
            began = time.monotonic()
            publish_built(warehouse, step, built, start, end, record)
            for view in set(reading.inputs.values()) - set(step.inputs.values()):
                warehouse.drop(view)
        except Exception as error:
            runs.record_failure(warehouse, record, error)
            raise
    seconds = built.seconds | {"publish": time.monotonic() - began}
    results = built.judgement.results
    warnings = [r.line for r in results if not r.passed]
    outcome = Outcome(step.table, built.rows, len(results) - len(warnings), warnings, seconds)
    say(
        f"{step.table} {runs.text(start, end)}: {outcome.rows:,} rows, {outcome.expectations} expectations held,"
        f" published in {sum(seconds.values()):.1f} s"
    )
    for line in warnings:
        say(f"  warning: {line}")
    for note in column_notes(warehouse, built.table):
        say(f"  note: {note}")
    return outcome


@contextlib.contextmanager
def sole_writer(warehouse: Warehouse, table: Table, run_id: str) -> Iterator[int]:
    """Holds the table's lock for the block and gives the token to publish with; raises what table_lock raises."""
    holder = f"{run_id} on {socket.gethostname()}-{os.getpid()}"
    with table_lock(warehouse.settings, table.id, holder):
        yield announce(warehouse, table, holder)


def without_excluded(
    warehouse: Warehouse, step: Step, published: list[dict], start: date, end: date
) -> tuple[Step, list[Excluded]]:
    """The step as it reads its inputs where days go without a ping type, and what it is then built without.

    `published` is as in runs.published_around.
    """
    excluded = exclusions.of_stage(published, step, start, end, exclusions.names_of(warehouse))
    views = exclusions.inputs_without(warehouse, step, published, start, end) if excluded else {}
    return replace(step, inputs={name: views.get(table, table) for name, table in step.inputs.items()}), excluded


def definition(warehouse: Warehouse, step: Step) -> Table:
    """The table that a step publishes, with the expectations of its gate."""
    if step.kind == "dedup":
        return stable_definition(type_tables.of(warehouse, step.table), warehouse.settings.schemas)
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
        grain=_grain(node, meta),
        column_meta={name: c["config"].get("meta", {}) for name, c in node["columns"].items()},
        expectations_file=f"dbt_project/{_yaml_of(node)}",
    )


def stable_definition(tables_of_type: schemas.DocumentType | TypeTables, directories: Iterable[Path]) -> Table:
    """A stable table, with the expectations of all types and those of its own type."""
    table = _with_expectations(tables_of_type.stable, "dedup")
    own = schemas.expectations_of(directories, tables_of_type.name)
    return replace(table, expectations=(*table.expectations, *own))


def live_definition(tables_of_type: schemas.DocumentType | TypeTables) -> Table:
    """A live table, with the expectations that its days meet before they are deduplicated."""
    return _with_expectations(tables_of_type.live, "live")


def live_inputs(tables_of_type: schemas.DocumentType | TypeTables) -> dict[str, str]:
    """What the gate of a live table may name: its type, as monitoring.landing has it."""
    name = tables_of_type.name
    return {"document_namespace": name.namespace, "document_type": name.type, "document_version": name.version}


def _yaml_of(node: dict) -> str:
    """The YAML in which a model or a source stands, in the dbt project."""
    return (node.get("patch_path") or node["original_file_path"]).split("://")[-1]


def _grain(node: dict, meta: dict) -> tuple[str, ...]:
    grain = meta.get("grain") or meta.get("merge_key")
    if not grain:
        raise WarehouseError(
            f"dbt_project/{_yaml_of(node)}: {node['name']} does not say what a row is;"
            " give its config.meta `grain: [the columns that name a row within its day]`"
        )
    return tuple(grain)


def selects(warehouse: Warehouse, wanted: list[tuple[Step, date, date]]) -> dict[str, list[str]]:
    """Table → the queries that its build for these days will be made of; nothing is run but dbt's compiler."""
    found: dict[str, list[str]] = {}
    compiled: dict[tuple[date, date], dict[str, str]] = {}
    for step, start, end in wanted:
        if step.kind == "dedup":
            live, slices = step.inputs["live"], warehouse.settings.dedup_slices
            # Live is there from its first landing on.
            found[step.table] = dedup.selects(tables.quoted(live), start, end, slices) if warehouse.exists(live) else []
        elif step.kind in detection.KINDS:
            found[step.table] = detection.selects(step, start, end)
        else:
            if (start, end) not in compiled:
                days = {"start_date": start.isoformat(), "end_date": end.isoformat()}
                compiled[start, end] = dbt.compile(warehouse.settings, days)
            found[step.table] = [compiled[start, end][step.table]]
    return found


def _with_expectations(table: Table, name: str) -> Table:
    """The table with the expectations of sql/<name>.yml, which all document types share."""
    file = f"sql/{name}.yml"
    expectations = tuple(read_yaml(ROOT / file)["expectations"])
    return replace(table, expectations=expectations, expectations_file=file)


def new_candidate(warehouse: Warehouse, table: Table, start: date, end: date, token: int) -> str:
    """The id for a candidate of the table's days start..end; its dataset is there, the table is not yet."""
    warehouse.ensure_dataset(f"{table.dataset}_candidates")
    return f"{table.dataset}_candidates.{table.name}__{start:%Y%m%d}_{end:%Y%m%d}__{token}"


def build_and_gate(
    warehouse: Warehouse,
    step: Step,
    start: date,
    end: date,
    run_id: str,
    token: int,
    excluded: Collection[Excluded] = (),
) -> Built:
    """Builds the days from the tables that `step.inputs` names and judges them; publishes nothing.

    `excluded`: what `step.inputs` leave out. Days without a ping type are not held against the days before. Raises
    GateFailed, or what dbt and BigQuery raise.
    """
    incomplete = exclusions.days_without(excluded, start, end)
    table = definition(warehouse, step)
    times = [time.monotonic()]
    warehouse.create(table)
    candidate = new_candidate(warehouse, table, start, end, token)
    inputs = _BUILDERS[step.kind](warehouse, step, table, candidate, start, end, run_id)
    built = warehouse.client.get_table(candidate)
    table = as_built(step, table, built)
    times.append(time.monotonic())
    judgement = judge(warehouse, table, candidate, inputs, start, end, run_id, incomplete)
    times.append(time.monotonic())
    seconds = dict(zip(("build", "gate"), (b - a for a, b in pairwise(times)), strict=True))
    return Built(table, candidate, built.num_rows, judgement, seconds, incomplete)


def as_built(step: Step, table: Table, candidate: bigquery.Table) -> Table:
    """The table as a candidate of it is judged and published."""
    if step.kind != "dedup":
        return table
    # A column stays when its schema has dropped the property: days built again keep what it had.
    return replace(table, columns=tuple(candidate.schema))


def publish_built(warehouse: Warehouse, step: Step, built: Built, start: date, end: date, record: dict) -> None:
    """Makes what was built what readers see, with `record` in monitoring.pipeline_runs, and drops the candidate."""
    # Before the publish, for what is published is done with: nobody would count again.
    history.remember(warehouse, built.table, built.judgement.profile, start, end, built.incomplete)
    seconds = {f"{part}_seconds": value for part, value in built.seconds.items()}
    known = record | {"row_count": built.rows} | seconds
    publish(warehouse, built.table, built.candidate, start, end, record["token"], known)
    warehouse.drop(built.candidate)


def _build_dedup(warehouse, step, table, candidate, start, end, run_id) -> dict[str, str]:
    tables_of_type = type_tables.of(warehouse, step.table)
    live = live_definition(tables_of_type)
    # With columns that it cannot take, the days that it has are built all the same; night.prepare has said so.
    with contextlib.suppress(*type_tables.REFUSALS):
        warehouse.ensure(live)
    _gate_live(warehouse, live, live_inputs(tables_of_type), start, end, run_id)
    # Landing goes on meanwhile: what is built and what it is judged against are live at one and the same moment.
    [moment] = warehouse.rows("SELECT FORMAT_TIMESTAMP('%F %H:%M:%E6S+00', CURRENT_TIMESTAMP()) AS now")
    frozen = f"{tables.quoted(live.id)} FOR SYSTEM_TIME AS OF TIMESTAMP '{moment['now']}'"
    first, *others = dedup.selects(frozen, start, end, warehouse.settings.dedup_slices)
    partition = "PARTITION BY DATE(submission_timestamp)"
    warehouse.query(
        f"CREATE TABLE {tables.quoted(candidate)} {partition} {EXPIRING} AS\n{first}",
        labels={"table": table.name, "stage": "build"},
    )
    columns = ", ".join(f"`{column.name}`" for column in warehouse.client.get_table(candidate).schema) if others else ""
    for select in others:
        warehouse.query(
            f"INSERT INTO {tables.quoted(candidate)} ({columns}) SELECT {columns} FROM (\n{select})",
            labels={"table": table.name, "stage": "build"},
        )
    # The gate asks how many documents the look-back does not reach.
    dedup.record_distances(warehouse, live, table, start, end)
    return {"live": frozen}


def _gate_live(warehouse, live, inputs, start, end, run_id) -> None:
    """Judges the days of a live table as a whole, through a view that admits just them."""
    dataset = f"{live.dataset}_candidates"
    warehouse.ensure_dataset(dataset)
    view = f"{dataset}.{live.name}__{start:%Y%m%d}_{end:%Y%m%d}__{os.getpid()}_{time.time_ns()}"
    days = f"SELECT * FROM {tables.quoted(live.id)} WHERE {whole_days(live, start, end)}"
    warehouse.query(f"CREATE VIEW {tables.quoted(view)} {EXPIRING} AS {days}")
    warehouse.ensure(tables.from_file("monitoring", "landing"))
    history.remember(warehouse, live, judge(warehouse, live, view, inputs, start, end, run_id).profile, start, end)
    warehouse.drop(view)


def _build_model(warehouse, step, table, candidate, start, end, run_id) -> dict[str, str]:
    shapes = dbt.run(
        warehouse.settings,
        step.node["name"],
        {
            "start_date": start.isoformat(),
            "end_date": end.isoformat(),
            "candidate": candidate.split(".")[1],
        },
        step.inputs,
    )
    return _as_sql(step.inputs) | shapes


def _build_detection(warehouse, step, table, candidate, start, end, run_id) -> dict[str, str]:
    rows = detection.rows(warehouse, step, candidate, start, end)
    create_candidate(warehouse, table, candidate)
    dataset, name = candidate.split(".")
    warehouse.load_rows(replace(table, dataset=dataset, name=name), rows)
    return _as_sql(step.inputs)


def _as_sql(inputs: dict[str, str]) -> dict[str, str]:
    """The tables that a stage reads, as the queries of its gate name them."""
    return {name: tables.quoted(table) for name, table in inputs.items()}


def create_candidate(warehouse: Warehouse, table: Table, candidate: str) -> None:
    """An empty candidate with the table's columns."""
    made = bigquery.Table(f"{warehouse.settings.project_id}.{candidate}", schema=table.columns)
    made.expires = datetime.now(UTC) + timedelta(days=CANDIDATE_DAYS)
    warehouse.client.create_table(made)


_BUILDERS = {"dedup": _build_dedup, "model": _build_model} | dict.fromkeys(detection.KINDS, _build_detection)
