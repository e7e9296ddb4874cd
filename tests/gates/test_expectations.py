import dataclasses

import pytest

from telemetry_warehouse import schemas, stages
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.gates import sense
from telemetry_warehouse.gates.expectations import parse, pings
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.tables import Table, column

TABLE = Table(
    "derived",
    "demo_v1",
    (column("day", "DATE"), column("client_id", "STRING"), column("n_sum", "INT64"), column("m_sum", "INT64")),
    partition_field="day",
    column_meta={"client_id": {}, "n_sum": {"rule": "sum", "when": "n > 1"}, "m_sum": {"rule": "sum"}},
    expectations_file="dbt_project/models/demo_v1.yml",
)
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "column": "client_id"}
BETWEEN = {"type": "expect_column_values_to_be_between", "column": "n_sum"}
WEEKDAYS = {"type": "expect_row_counts_like_the_weekdays_before"}


def expecting(*entries: dict) -> Table:
    return dataclasses.replace(TABLE, expectations=entries)


def query_of(text: str) -> str:
    [expectation] = parse(expecting({"name": "own", "query": text}), {"clients_daily_v1"})
    return expectation.query


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "expect_miracles"}, "is of type 'expect_miracles', which neither Great Expectations has nor we"),
        ({"name": "nothing"}, "has neither a `type` nor a `query`"),
        ({"type": "expect_table_row_count_to_equal", "value": 3}, "which looks at a range as a whole"),
        ({"type": "expect_column_values_to_be_unique", "column": "client_id"}, "which looks at a range as a whole"),
        (
            {"type": "expect_column_values_to_match_strftime_format", "column": "client_id", "strftime_format": "%Y"},
            "'expect_column_values_to_match_strftime_format', which Great Expectations cannot ask in SQL",
        ),
        (NOT_NULL | {"column": "clientid"}, "names column 'clientid', which the table does not have"),
        (NOT_NULL | {"severity": "mild"}, "has severity 'mild'; give one of critical, warning"),
        (BETWEEN | {"min": 3}, "does not take: min: extra fields not permitted"),
        ({"type": NOT_NULL["type"]}, "does not take: column: field required"),
        (WEEKDAYS | {"factr": 2}, "does not take: factor: field required; factr: extra fields not permitted"),
        (
            {"type": "expect_nulls_like_the_days_before", "columns": ["client_id", "os"], "points": 0.2},
            "names column 'os', which the table does not have",
        ),
        ({"query": "SELECT 1 FROM {candidate}"}, "has a query and no `name`"),
        ({"name": "own", "query": "SELECT 1 FROM {candidate}", "mostly": 0.9}, "says mostly, and one with a query"),
        (
            {"name": "own", "query": "SELECT * FROM {candidate} JOIN {clients_dayly_v1} USING (day)"},
            "uses {clients_dayly_v1}; it may use candidate, clients_daily_v1, end_date, start",
        ),
        ({"name": "own", "query": "SELECT {columns *_bits} FROM {candidate}"}, "about columns *_bits, and"),
        ({"name": "own", "query": "SELECT {each rule=mean: {of}} FROM {candidate}"}, "columns with rule=mean in"),
        ({"name": "own", "query": "SELECT {each rule=sum: {when}}"}, "uses {when}, which config.meta of m_sum"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named_with_its_file(entry, said):
    with pytest.raises(WarehouseError) as caught:
        parse(expecting(entry), {"clients_daily_v1"})
    assert str(caught.value).startswith("dbt_project/models/demo_v1.yml: derived.demo_v1: expectation ")
    assert said in str(caught.value)


def test_two_expectations_of_one_name_are_refused():
    with pytest.raises(WarehouseError, match="is there twice; give one of the two another `name`"):
        parse(expecting(WEEKDAYS | {"factor": 2}, WEEKDAYS | {"factor": 3}), ())


def test_severity_is_critical_unless_said_otherwise():
    [expectation] = parse(expecting(NOT_NULL), ())
    assert (expectation.severity, expectation.name) == ("critical", "expect_column_values_to_not_be_null(client_id)")


@pytest.mark.parametrize(
    ("text", "written_out"),
    [
        ("{columns *_sum}", "n_sum, m_sum"),
        ("{columns *_sum except m_sum}", "n_sum"),
        ("{each rule=sum: sum({of}) as {column}}", "sum(n) as n_sum, sum(m) as m_sum"),
        ("{any when: {when} and {of_day|day} = day}", "n > 1 and day = day"),
        ("{any rule=sum: {column} < 0}", "n_sum < 0 or m_sum < 0"),
        ("regexp_contains(x, r'^[A-Z]{2}$')", "regexp_contains(x, r'^[A-Z]{2}$')"),
    ],
)
def test_lists_of_columns_are_written_out(text, written_out):
    assert query_of(text) == written_out


def test_values_of_great_expectations_are_taken_as_they_are_written():
    regex = {"type": "expect_column_values_to_match_regex", "column": "client_id", "regex": "{columns x_*}{each a: b}"}
    [one, other] = parse(expecting(regex, BETWEEN | {"min_value": 2**60 + 1}), ())
    assert one.condition["values"]["regex"] == regex["regex"]
    assert other.condition["values"]["min_value"] == 2**60 + 1


def test_pings_are_those_of_every_stable_table_that_is_read():
    inputs = {"main_v4": "telemetry_stable.main_v4", "new_v1": "other_stable.new_v1", "a": "derived.a_v1"}
    sql = pings(inputs, "2026-01-01", "2026-01-02")
    assert sql.count("UNION ALL") == 1 and "FROM `other_stable`.`new_v1`" in sql and "derived" not in sql
    assert pings({"daily": "derived.clients_daily_v1"}, "2026-01-01", "2026-01-02") is None


@pytest.mark.parametrize("beside", ["__20260101_20260102__7", "__20260101_20260102__7__published", "__without__7_8"])
def test_what_stands_in_for_a_stable_table_has_its_ping_type(beside):
    sql = pings({"new_v1": f"`other_stable_candidates`.`new_v1{beside}`"}, "2026-01-01", "2026-01-02")
    assert "'other_stable.new_v1' AS ping_type" in sql and f"FROM `other_stable_candidates`.`new_v1{beside}`" in sql


def test_the_expectations_of_live_tables_make_sense():
    for document_type in schemas.load(Settings.load().schemas).values():
        table = stages.live_definition(document_type)
        assert "critical" in {e.severity for e in parse(table, stages.live_inputs(document_type))}
        assert table.expectations_file == "sql/live.yml"


def test_the_expectations_of_single_types_make_sense():
    directories = Settings.load().schemas
    own = {str(t.name): sense.own_expectations(t, directories) for t in schemas.load(directories).values()}
    assert own["fleet/flight/1"] == 2 and schemas.expectations_without_schema(directories) == []
