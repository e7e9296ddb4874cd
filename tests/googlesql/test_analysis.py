"""All SQL of the project before GoogleSQL's own analyser, on a catalogue of the real tables, views and functions.

Each test gathers what it asks about, so that a model, a function, an expectation or a page of the cookbook is asked
about by being merged. BigQuery's demand for a filter on partitions is asked of the same statements.
"""

import pytest

from telemetry_warehouse import dedup
from telemetry_warehouse.bigquery import render
from telemetry_warehouse.settings import ROOT
from tests.googlesql import sent
from tests.googlesql.warehouse import DAY, FROZEN, gate_queries, live_tables

USERS = "telemetry.active_users"
LAST_SEEN = "`local`.`telemetry`.`clients_last_seen`"
DAYS = "submission_date = DATE '2026-01-01'"


def test_every_model_is_accepted_and_reads_named_days(known, compiled):
    assert known.complaints(compiled.models) == []


def test_every_view_is_accepted_and_passes_a_filter_on_its_days_through(known):
    assert known.views_refused == {}


def test_every_function_body_has_the_type_that_it_is_declared_to_return(known, compiled):
    definitions = {}
    for name, (node, body) in compiled.functions.items():
        arguments = ", ".join(f"{a['name']} {a['data_type']}" for a in node["arguments"])
        declared = node["returns"]["data_type"]
        returns = "" if declared == "ANY TYPE" else f"RETURNS {declared}"
        definitions[name] = f"CREATE FUNCTION udf.{name}({arguments}) {returns} AS (\n{body}\n)"
    assert known.complaints(definitions) == []


def test_deduplication_is_accepted_and_reads_named_days(known, warehouse_home):
    statements = {}
    for live in live_tables(warehouse_home):
        [statements[live.id]] = dedup.selects(f"{live.id} {FROZEN}", DAY, DAY)
        days = {"start_date": DAY, "end_date": DAY, "most_days": dedup.DISTANCE_DAYS}
        statements[f"distances in {live.id}"] = render("duplicates", live=live.id, slice="TRUE", **days)
    assert known.complaints(statements) == []


def test_every_data_test_is_accepted_and_reads_named_days(known, compiled):
    assert compiled.tests and known.complaints(compiled.tests) == []


def test_publishing_each_table_is_accepted_and_touches_named_days(known, warehouse_home):
    assert known.complaints(sent.by_publishing(warehouse_home)) == []


def test_every_query_of_a_gate_is_accepted_and_reads_named_days(known, warehouse_home):
    assert known.complaints(gate_queries(warehouse_home)) == []


def test_what_commands_and_nights_ask_is_accepted_and_reads_named_days(known, prepared_home):
    assert known.complaints(sent.by_commands(prepared_home)) == []


def test_the_cookbook_is_accepted_and_reads_named_days(known):
    pages = {path.name: path.read_text() for path in sorted((ROOT / "sql" / "cookbook").glob("*.sql"))}
    assert known.complaints(pages) == []


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        (f"SELECT dua FROM {USERS} WHERE {DAYS}", "Unrecognized name: dua"),
        (f"SELECT dau FROM telemetry.active_user WHERE {DAYS}", "Table not found: telemetry.active_user"),
        ("SELECT udf.bits28_to_string('1')", "BITS28_TO_STRING for argument types: STRING"),
        ("SELECT udf.bits28_range(1, 0)", "Number of arguments does not match for function"),
        (f"SELECT client_id + 1 FROM {LAST_SEEN} WHERE {DAYS}", "No matching signature for operator +"),
        ("SELECT 1; SELECT 1 +", "Syntax error"),
        ("SELECT CAST(1 AS INT32)", "Type not found: INT32"),
        ("CREATE FUNCTION udf.f(x INT64) RETURNS DATE AS (x)", "declared to return DATE"),
    ],
)
def test_a_statement_that_bigquery_would_not_compile_is_refused(known, sql, complaint):
    [found] = known.complaints({"": sql})
    assert complaint in found


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT dau FROM {USERS} WHERE {DAYS}",
        f"SELECT dau FROM {USERS} WHERE @first <= submission_date AND submission_date < CURRENT_DATE()",
        f"SELECT dau FROM {USERS} WHERE app_name = 'x' AND (submission_date IN ('2026-01-01') OR {DAYS})",
        f"SELECT dau FROM (SELECT * FROM {USERS}) WHERE {DAYS}",
        f"WITH users AS (SELECT * FROM {USERS}) SELECT dau FROM users WHERE {DAYS}",
        f"SELECT 1 FROM (SELECT {DAYS[:15]} FROM {USERS} UNION ALL SELECT {DAYS[:15]} FROM {LAST_SEEN}) WHERE {DAYS}",
        f"SELECT 1 FROM {LAST_SEEN} AS a LEFT JOIN {USERS} AS b ON a.os = b.os AND b.{DAYS} WHERE a.{DAYS}",
        "SELECT 1 FROM telemetry_live.main_v4 WHERE DATE(submission_timestamp) BETWEEN '2026-01-01' AND '2026-01-02'",
        f"DELETE FROM derived.active_users_v1 WHERE {DAYS}",
        "SELECT 1 FROM telemetry.clients_first_seen",
    ],
)
def test_days_that_are_named_are_seen(known, sql):
    assert known.complaints({"": sql}) == []


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT dau FROM {USERS}",
        f"SELECT dau FROM {USERS} WHERE app_name = '2026-01-01'",
        f"SELECT dau FROM {USERS} WHERE {DAYS} OR dau = 1",
        f"SELECT dau FROM {USERS} WHERE NOT {DAYS}",
        f"SELECT dau FROM {USERS} WHERE submission_date = DATE_ADD(submission_date, INTERVAL 0 DAY)",
        f"SELECT dau FROM {USERS} WHERE submission_date = (SELECT MAX(day) FROM UNNEST([DATE '2026-01-01']) AS day)",
        f"SELECT dau FROM {USERS} WHERE DATE_ADD(submission_date, INTERVAL 1 DAY) = DATE '2026-01-01'",
        f"SELECT dau FROM {USERS} QUALIFY {DAYS} AND ROW_NUMBER() OVER () = 1",
        f"WITH users AS (SELECT * FROM {USERS}) SELECT 1 FROM users WHERE {DAYS} UNION ALL SELECT 1 FROM users",
        f"SELECT 1 FROM {LAST_SEEN} JOIN {USERS} USING (submission_date) WHERE {DAYS}",
        f"SELECT 1 FROM {LAST_SEEN} AS a LEFT JOIN {USERS} AS b ON a.os = b.os AND a.{DAYS} WHERE b.{DAYS}",
        f"SELECT 1 FROM {LAST_SEEN} AS a WHERE {DAYS} AND EXISTS (SELECT 1 FROM {USERS} WHERE a.{DAYS})",
        f"SELECT 1 FROM {LAST_SEEN} WHERE client_id IN (SELECT os FROM {USERS} WHERE {DAYS})",
        "DELETE FROM derived.active_users_v1 WHERE TRUE",
        f"BEGIN TRANSACTION; DELETE FROM derived.active_users_v1 WHERE {DAYS} AND dau IN (SELECT dau FROM {USERS})",
    ],
)
def test_days_that_are_not_named_are_refused(known, sql):
    [found] = known.complaints({"": sql})
    assert found.startswith("no constant filter on the partitions of")
