"""What is expected of one ping type alone, in a file beside its schema: it stops that type's days and nothing else."""

import uuid
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from telemetry_warehouse import lineage, schema_check, schemas, stages, type_tables, verdicts
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed, NotPassed, Refused, WarehouseError
from telemetry_warehouse.gates import sense
from telemetry_warehouse.schemas import TypeName
from tests.test_schemas import write

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FOR_EVER = "live_days: null\nstable_days: null\n"
SMALL = """\
expectations:
  - name: n_is_small
    query: >
      select date(submission_timestamp) as submission_date, n from {candidate} where n > 10
  - {type: expect_column_values_to_not_be_null, column: n, severity: warning}
"""


def expect(schema: Path, text: str) -> Path:
    """Writes what is expected of the type of a schema beside it."""
    path = schema.with_name(schema.name.replace(".schema.json", ".expectations.yml"))
    path.write_text(text)
    return path


@pytest.fixture
def warehouse(prepared_home, tmp_path) -> Warehouse:
    """The prepared home with a schema directory outside the project."""
    return Warehouse(replace(prepared_home, schemas=(tmp_path,)))


@pytest.fixture
def names() -> list[TypeName]:
    """Two types that no other test knows."""
    namespace = f"own{uuid.uuid4().hex[:12]}"
    return [TypeName(namespace, kind, "1") for kind in ("first", "second")]


def build(warehouse: Warehouse, name: TypeName, day: date) -> stages.Outcome:
    step = lineage.load(warehouse.settings).step(lineage.stable_table(name))
    return stages.run(warehouse, step, day, day, "test", lambda _: None)


def test_a_day_that_breaks_it_is_not_published_and_other_types_and_days_are(warehouse, names, tmp_path, capsys):
    expected, other = names
    expect(write(tmp_path, str(expected), SCHEMA, FOR_EVER), SMALL)
    write(tmp_path, str(other), SCHEMA, FOR_EVER)
    assert type_tables.apply(warehouse) == {}
    for document_type in type_tables.load(warehouse):
        type_tables.ensure(warehouse, document_type)
        rows = [(DAY, 11), (NEXT, 3)]
        rows = [{"document_id": f"d{n}", "submission_timestamp": f"{day}T12:00:00Z", "n": n} for day, n in rows]
        warehouse.load_rows(document_type.live, rows)
    with pytest.raises(GateFailed, match=rf'n_is_small \(critical\): observed "1 rows .* on {DAY}, .*"n":11') as failed:
        build(warehouse, expected, DAY)
    assert failed.value.expectations == ["n_is_small"]
    assert build(warehouse, other, DAY).rows == build(warehouse, expected, NEXT).rows == 1
    table = lineage.stable_table(expected)
    assert warehouse.rows(f"SELECT n FROM {table} WHERE DATE(submission_timestamp) >= '{DAY}'") == [{"n": 3}]

    with pytest.raises(NotPassed, match="did not pass its gate: n_is_small"):
        verdicts.print_judgement(warehouse, table, DAY)
    shown = capsys.readouterr().out
    assert "n_is_small" in shown and "expect_column_values_to_not_be_null(n)" in shown


def test_what_is_expected_is_no_code_as_in_a_model(warehouse, names, tmp_path):
    """Days that were built before it changed would be built the same now."""
    schema = write(tmp_path, str(names[0]), SCHEMA)
    codes = set()
    for text in (SMALL, SMALL.replace("10", "20")):
        expect(schema, text)
        codes.add(lineage.load(warehouse.settings).step(lineage.stable_table(names[0])).code)
    assert len(codes) == 1


BROKEN = [
    ("- {name: a, query: select 1}", 1, "this is no mapping"),
    ("", 1, "this is no mapping"),
    ("{}", 1, "this is empty"),
    ("expectations: []\nlive: []", 2, "'live' is none of its keys; it holds `expectations:`"),
    ("expectations: {name: a}", 1, "expectations is no list"),
    ("expectations:\n- {name: a, query: select 1}\n- a", 3, "'a' is no mapping of names"),
    ("expectations:\n- name: a\n  query: select 1\n  1: x", 2, "is no mapping of names"),
    ("expectations:\n- name: a\n  type: expect_miracles", 3, "is of type 'expect_miracles', which neither"),
    ("expectations:\n- type: expect_column_values_to_not_be_null\n  column: m", 3, "names column 'm', which the table"),
    ("expectations:\n- name: a\n  columns: [n, m]\n  type: expect_nulls_like_the_days_before\n  points: 1", 3, "'m'"),
    ("expectations:\n- name: a\n\n  query: select {clients_daily_v1}", 4, "uses {clients_daily_v1}; it may use"),
    ("expectations:\n- name: a\n  query: select 1\n  colum: n", 4, "says colum, and one with a query"),
    ("expectations:\n- name: a\n  query: select 1\n  severity: mild", 4, "has severity 'mild'"),
    (
        "expectations:\n- type: expect_column_values_to_be_between\n  column: n\n  max_valeu: 3",
        4,
        "max_valeu: extra fields not permitted",
    ),
    ("expectations:\n- name: documents_as_in_live\n  query: select 1", 2, "is there twice"),
    ("expectations:\n- {name: a, query: select 1}\n- {name: a, query: select 2}", 3, "is there twice"),
]


@pytest.mark.parametrize(("text", "line", "said"), BROKEN)
def test_what_makes_no_sense_is_refused_with_its_file_and_line(tmp_path, text, line, said):
    path = expect(write(tmp_path, "acme/ping/1", SCHEMA), text)
    [document_type] = schemas.load([tmp_path]).values()
    with pytest.raises(WarehouseError) as raised:
        sense.own_expectations(document_type, [tmp_path])
    assert str(raised.value).startswith(f"{path}:{line}: ") and said in str(raised.value)


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path):
    path = expect(write(tmp_path, "acme/ping/1", SCHEMA), "expectations:\n- name: a\n  query: select 1\n  name: b")
    [document_type] = schemas.load([tmp_path]).values()
    with pytest.raises(WarehouseError, match=f"^{path} has the key 'name' twice, in lines 2 and 4; keep one$"):
        sense.own_expectations(document_type, [tmp_path])


def test_schemas_are_checked_with_what_is_expected_of_them(warehouse, names, tmp_path):
    first, second = names
    expect(write(tmp_path, str(first), SCHEMA), SMALL)
    broken = expect(write(tmp_path, str(second), SCHEMA), SMALL.replace("column: n", "column: m"))
    alone = broken.with_name("second.2.expectations.yml")
    alone.write_text(SMALL)
    said = []
    with pytest.raises(Refused) as raised:
        schema_check.check(warehouse, [tmp_path], said.append)
    assert said[0].startswith(f"{first}: new, ") and said[0].endswith("; 2 expectations of its own")
    assert said[1].startswith(f"{second}: refused: {broken}:5: ") and "names column 'm'" in said[1]
    assert said[2] == f"refused: {alone} belongs to no schema beside it; name it <type>.<version>.expectations.yml"
    assert str(broken) in str(raised.value) and str(alone) in str(raised.value)


def test_a_night_goes_on_without_a_type_whose_expectations_make_no_sense(warehouse, names, tmp_path):
    """It says so each time, for that type's stage fails, and pings of the type land."""
    first, second = names
    write(tmp_path, str(first), SCHEMA, FOR_EVER)
    schema = write(tmp_path, str(second), SCHEMA, FOR_EVER)
    broken = expect(schema, "expectations:\n- a")
    assert type_tables.apply(warehouse) == type_tables.faults(warehouse) == {}
    for _ in range(2):
        said = []
        sense.check(warehouse, said.append)
        [line] = said
        assert line.startswith(f"EXPECTATION REFUSED: {broken}:2: 'a' is no mapping of names")
        assert line.endswith(f"; {lineage.stable_table(second)} is not built until that is mended")
    for document_type in type_tables.load(warehouse):
        type_tables.ensure(warehouse, document_type)
    build(warehouse, first, DAY)
    with pytest.raises(WarehouseError, match=f"^{broken}:2: 'a' is no mapping of names"):
        build(warehouse, second, DAY)
    expect(schema, SMALL)
    said = []
    sense.check(warehouse, said.append)
    assert said == [] and build(warehouse, second, DAY).rows == 0
