"""No name that a ping type may have is taken for one of ours: every alias of our SQL is tried as a property's name."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
import sqlglot
from google.cloud.bigquery import SchemaField
from sqlglot import exp

from telemetry_warehouse import dedup, fields, lineage, projection, revert, schemas, staged, stages
from telemetry_warehouse.bigquery import Warehouse, render
from telemetry_warehouse.differences import differences
from telemetry_warehouse.tables import Table, quoted
from tests.dbt import project
from tests.googlesql import sent
from tests.googlesql import warehouse as googlesql_warehouse

DAY = date(2026, 11, 28)
RESERVED_WORDS = ("select", "from", "group", "order", "by", "end", "hash", "array", "struct", "with", "rows", "null")
# Words that are no aliases today, or are the names of tables.
OTHERS = ("messages", "day", "app", "submissionDate", "row_count", "m0", "kept", "old", "new", "t", "every_name_v1")
# What a schema says of these is about the standard columns themselves.
STANDARD = {"document_id", "submission_timestamp", "client_id", "sample_id", "metadata", "additional_properties"}


def aliases(statements: Iterable[str]) -> set[str]:
    """The names that statements give to columns, tables and queries."""
    found = set()
    for statement in statements:
        for tree in sqlglot.parse(statement, dialect="bigquery"):
            if tree is not None:
                found |= {node.alias for node in tree.find_all(exp.Alias)}
                for node in tree.find_all(exp.TableAlias):
                    found |= {node.name, *(column.name for column in node.columns)}
    return found - {""}


@pytest.fixture(scope="module")
def ours(prepared_home) -> list[str]:
    """Every alias of the SQL that reads or writes tables of pings, which a property's column may be called like."""
    warehouse = Warehouse(prepared_home)
    live = googlesql_warehouse.live_tables(prepared_home)[0]
    days = {"start_date": DAY, "end_date": DAY, "most_days": dedup.DISTANCE_DAYS}
    statements = [
        *dedup.selects(live.id, DAY, DAY),
        render("duplicates", live=live.id, slice="TRUE", **days),
        *googlesql_warehouse.gate_queries(prepared_home).values(),
        *project.compiled(prepared_home).values(),
    ]
    for script in sent.by_publishing(prepared_home).values():
        # The parser does not know ASSERT, which is of monitoring alone.
        statements += [part for part in script.split(";") if part.strip().startswith(("INSERT INTO `", "MERGE"))]
    with sent._written_down(and_sent=True) as texts:
        stable = next(t for t in googlesql_warehouse.night_tables(prepared_home).values() if "_stable" in t.dataset)
        warehouse.ensure(stable)
        differences(warehouse, stable, stable.id, DAY, DAY)
    statements += texts.values()
    names = {name.lower() for name in aliases(statements)}
    return sorted({name for name in names if fields.snake_case(name) == name} - STANDARD)


def test_the_names_that_ours_begin_with_are_no_columns(ours):
    assert fields.snake_case("__messages") is fields.snake_case("__day") is None
    assert {"submission_date", "is_built"} < set(ours) and len(ours) > 100


def test_tables_with_every_alias_as_a_column_are_accepted_by_the_analyser(googlesql, prepared_home, compiled, ours):
    names = [*ours, *RESERVED_WORDS, *(fields.snake_case(name) for name in OTHERS)]

    def widened(table: Table) -> Table:
        if not table.dataset.endswith(("_live", "_stable")):
            return table
        there = {name.lower() for name in table.column_names} | {table.name}
        more = [SchemaField(name, "STRING") for name in dict.fromkeys([*names, table.name]) if name not in there]
        return replace(table, columns=table.columns + (SchemaField(table.name, "STRING"), *more))

    known = googlesql_warehouse.Known(googlesql, prepared_home, compiled, widened)
    statements = dict(compiled.models) | googlesql_warehouse.gate_queries(prepared_home)
    for live in googlesql_warehouse.live_tables(prepared_home):
        [statements[live.id]] = dedup.selects(f"{live.id} {googlesql_warehouse.FROZEN}", DAY, DAY)
        days = {"start_date": DAY, "end_date": DAY, "most_days": dedup.DISTANCE_DAYS}
        statements[f"distances in {live.id}"] = render("duplicates", live=live.id, slice="TRUE", **days)
    for table in map(widened, googlesql_warehouse.night_tables(prepared_home).values()):
        if table.dataset.endswith("_stable"):
            candidate = googlesql_warehouse.candidate(table)
            statements[f"rows of {table.id}"] = projection.select(candidate.id, candidate.columns, table)
    assert known.complaints(statements) == []


@pytest.fixture(scope="module")
def every_name(prepared_home, tmp_path_factory, ours):
    """A type with every alias and many other words as properties, in a namespace that begins with a digit, and its rows
    of live: three messages of two documents."""
    folder = tmp_path_factory.mktemp("schemas")
    names = [name for name in dict.fromkeys([*ours, *RESERVED_WORDS, *OTHERS]) if name != "submission_date"]
    of_type = folder / "2acme" / "every-name"
    of_type.mkdir(parents=True)
    record = {"type": "object", "properties": {"from": {"type": "string"}, "day": {"type": "string"}}}
    properties = {name: {"type": "string"} for name in names} | {"list": {"type": "array", "items": record}}
    (of_type / "every-name.1.schema.json").write_text(json.dumps({"type": "object", "properties": properties}))
    (of_type / "every-name.1.table.yml").write_text("live_days: null\nstable_days: null\n")
    settings = replace(prepared_home, schemas=(*prepared_home.schemas, folder))
    warehouse = Warehouse(settings)
    [document_type] = [t for t in schemas.load(settings.schemas).values() if t.name.namespace == "2acme"]
    warehouse.ensure(document_type.live)
    columns = [fields.snake_case(name) for name in names]
    values = {name: f"{name}'s" for name in columns} | {"list": [{"from": "x", "day": "y"}]}
    rows = [
        values | {"document_id": document, "submission_timestamp": f"{DAY}T0{hour}:00:00Z", "sample_id": 7}
        for document, hour in (("a", 1), ("b", 2), ("b", 2))
    ]
    warehouse.load_rows(document_type.live, rows)
    return warehouse, lineage.load(settings).step(document_type.stable.id), values


@pytest.mark.parametrize("slices", [1, 2])
def test_a_type_with_every_alias_as_a_property_is_deduplicated_gated_published_and_reverted(every_name, slices):
    warehouse, step, values = every_name
    warehouse = Warehouse(replace(warehouse.settings, dedup_slices=slices))
    stable = stages.definition(warehouse, step)

    def rows() -> list[dict]:
        days = f"DATE(submission_timestamp) = '{DAY}'"
        found = warehouse.rows(f"SELECT * FROM `2acme_stable`.`every_name_v1` WHERE {days}")
        return sorted(({name: row[name] for name in ("document_id", *values)} for row in found), key=repr)

    expected = [{"document_id": document} | values for document in "ab"]
    for run in ("first", "second"):
        began = datetime.now(UTC)
        with stages.sole_writer(warehouse, stable, run) as token:
            built = stages.build_and_gate(warehouse, step, DAY, DAY, run, token)
            assert built.rows == 2 and [r.line for r in built.judgement.results if r.verdict == "failed"] == []
            view = staged._as_it_would_be(warehouse, built, DAY, DAY)
            days = f"DATE(submission_timestamp) = '{DAY}'"
            seen = warehouse.rows(f"SELECT document_id FROM {quoted(view)} WHERE {days}")
            assert len(seen) == 2
            changed = differences(warehouse, built.table, built.candidate, DAY, DAY)
            assert bool(changed) == (rows() == [])
            record = {"token": token, "run": run, "started_at": began, "checksum": step.code}
            stages.publish_built(warehouse, step, built, DAY, DAY, record)
        assert rows() == expected
    revert.revert(warehouse, step, DAY, DAY, "undo", lambda _: None)
    assert rows() == expected
