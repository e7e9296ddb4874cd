"""A schema that cannot be applied stops its own type's new pings; its days, and all other types, go on."""

import dataclasses
import uuid
from datetime import date

import pytest

from telemetry_warehouse import lineage, stages, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.notify import notify_refused_schemas
from telemetry_warehouse.schemas import TypeName
from tests.test_schemas import write

DAY = date(2026, 11, 20)
FOR_EVER = "live_days: null\nstable_days: null\n"


def of(kind: str) -> dict:
    return {"type": "object", "properties": {"n": {"type": kind}}}


@pytest.fixture
def warehouse(prepared_home, tmp_path) -> Warehouse:
    """The prepared home with a schema directory of the test's own."""
    return Warehouse(dataclasses.replace(prepared_home, schemas=(tmp_path,)))


@pytest.fixture
def left_out(warehouse):
    """What a test of this home counts as not there is there again."""
    yield
    lineage.set_types_without_table(warehouse.settings, [])


@pytest.mark.parametrize("broken", ["{", of("string")], ids=["no JSON", "a changed type"])
def test_days_that_have_landed_are_deduplicated_with_the_columns_that_are_there(warehouse, tmp_path, left_out, broken):
    name = TypeName(f"type{uuid.uuid4().hex[:12]}", "ping", "1")
    write(tmp_path, str(name), of("integer"), FOR_EVER)
    assert type_tables.apply(warehouse) == {}
    [document_type] = type_tables.load(warehouse)
    type_tables.ensure(warehouse, document_type)
    rows = [{"document_id": "d", "submission_timestamp": f"{DAY}T12:00:00Z", "n": n} for n in (1, 1)]
    warehouse.load_rows(document_type.live, rows)
    write(tmp_path, str(name), broken, FOR_EVER)

    assert type_tables.apply(warehouse).keys() == {name}
    assert type_tables.faults(warehouse).keys() == {name}
    step = lineage.load(warehouse.settings).step(lineage.stable_table(name))
    stages.run(warehouse, step, DAY, DAY, "test", lambda _: None)
    found = warehouse.rows(f"SELECT n FROM {step.table} WHERE DATE(submission_timestamp) = '{DAY}'")
    assert [row["n"] for row in found] == [1]


def test_a_type_that_never_had_a_table_is_left_out_until_its_schema_is_mended(warehouse, tmp_path, left_out):
    name, good = (TypeName(f"type{uuid.uuid4().hex[:12]}", "ping", "1") for _ in range(2))
    write(tmp_path, str(name), "{")
    write(tmp_path, str(good), of("integer"))

    def steps():
        return {step.table for step in lineage.load(warehouse.settings).steps if step.kind == "dedup"}

    assert type_tables.apply(warehouse).keys() == {name}
    assert steps() == {lineage.stable_table(good)}
    write(tmp_path, str(name), of("integer"))
    assert type_tables.apply(warehouse) == {}
    assert steps() == {lineage.stable_table(name), lineage.stable_table(good)}


def test_a_night_says_each_cause_and_people_are_told_once(warehouse):
    names = [TypeName("acme", uuid.uuid4().hex, "1") for _ in range(3)]
    faults = {names[0]: f"both become {names[0]}", names[1]: f"both become {names[0]}", names[2]: f"no JSON {names[2]}"}
    for _ in range(2):
        said = []
        notify_refused_schemas(warehouse, faults, said.append)
        assert len(said) == 2 and all(sum(str(name) in line for line in said) >= 1 for name in names)
    told = warehouse.rows(
        "SELECT failure FROM monitoring.notifications WHERE notified_date >= '2000-01-01' AND table_name = 'schemas'"
    )
    assert len([row for row in told if any(str(name) in row["failure"] for name in names)]) == 2
