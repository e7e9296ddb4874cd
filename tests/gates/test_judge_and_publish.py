"""Judging candidates and publishing them, on the real emulator."""

import dataclasses
import threading
import time
from datetime import date

import pytest
from google.api_core.exceptions import BadRequest

from telemetry_warehouse.errors import GateFailed, WarehouseError
from telemetry_warehouse.gates.judge import judge
from telemetry_warehouse.gates.publish import announce, publish
from telemetry_warehouse.tables import Table, column

DAY = date(2013, 2, 1)
ROWS = Table(
    "gates_test",
    "rows_v1",
    (column("submission_date", "DATE"), column("client_id", "STRING"), column("n", "INT64")),
    partition_field="submission_date",
    expectations=(
        {"type": "expect_column_values_to_not_be_null", "column": "client_id"},
        {"type": "expect_column_values_to_be_between", "column": "n", "max_value": 10, "severity": "warning"},
        {
            "name": "one_row_per_client",
            "query": "SELECT client_id, COUNT(*) AS found FROM {candidate} GROUP BY client_id HAVING COUNT(*) > 1",
        },
        {
            "name": "days_in_range",
            "query": "SELECT submission_date FROM {candidate}"
            " WHERE submission_date NOT BETWEEN DATE '{start_date}' AND DATE '{end_date}'",
        },
    ),
)
FIRSTS = Table(
    "gates_test",
    "firsts_v1",
    (column("client_id", "STRING"), column("first_seen_date", "DATE")),
    merge_key=("client_id",),
)


def candidate_of(warehouse, name, *rows, columns="submission_date, client_id, n") -> str:
    warehouse.ensure_dataset("gates_test_candidates")
    names = columns.split(", ")
    selects = (
        "SELECT " + ", ".join(f"{value} AS {column}" for value, column in zip(row, names, strict=True)) for row in rows
    )
    warehouse.query(f"CREATE OR REPLACE TABLE gates_test_candidates.{name} AS " + " UNION ALL ".join(selects))
    return f"gates_test_candidates.{name}"


def published(warehouse, start="2013-01-01", end="2013-12-31") -> list[tuple]:
    rows = warehouse.rows(
        "SELECT submission_date, client_id, n FROM gates_test.rows_v1"
        f" WHERE submission_date BETWEEN '{start}' AND '{end}' ORDER BY submission_date, client_id"
    )
    return [tuple(row.values()) for row in rows]


@pytest.fixture
def rows(warehouse):
    warehouse.drop(ROWS.id)
    warehouse._ensured.clear()
    warehouse.create(ROWS)
    token = time.time_ns() // 1000
    announce(warehouse, ROWS, token, "test")
    return token


def test_a_table_with_json_inside_a_record_can_be_judged(warehouse):
    row = ("DATE '2013-02-01'", "'a'", "11", "[STRUCT('k' AS key, JSON '1' AS value)]")
    candidate = candidate_of(warehouse, "with_json", row, columns="submission_date, client_id, n, scalars")
    results = judge(warehouse, ROWS, candidate, {}, DAY, DAY, "test")
    assert [r.expectation.column for r in results if not r.passed] == ["n"]


def test_a_clean_candidate_passes_and_every_result_is_recorded(warehouse, rows):
    candidate = candidate_of(warehouse, "clean", ("DATE '2013-02-01'", "'a'", 1), ("DATE '2013-02-01'", "'b'", 2))
    results = judge(warehouse, ROWS, candidate, {}, DAY, DAY, "run-clean")
    assert [r.passed for r in results] == [True] * 4
    recorded = warehouse.rows(
        "SELECT expectation, passed FROM monitoring.gate_results"
        " WHERE checked_date >= '2000-01-01' AND run = 'run-clean'"
    )
    assert {r["expectation"] for r in recorded} == {r.expectation.name for r in results}


def test_a_critical_failure_names_the_expectation_and_shows_rows_with_their_keys(warehouse, rows):
    candidate = candidate_of(
        warehouse,
        "bad",
        ("DATE '2013-02-01'", "'a'", 1),
        ("DATE '2013-02-01'", "'a'", 2),
        ("DATE '2013-02-02'", "'c'", 3),
    )
    with pytest.raises(GateFailed) as caught:
        judge(warehouse, ROWS, candidate, {}, DAY, DAY, "run-bad")
    said = str(caught.value)
    assert "one_row_per_client" in said and '"client_id":"a"' in said and "days_in_range" in said
    assert "not_be_null" not in said and candidate in said


def test_a_warning_is_reported_with_its_rows_and_lets_the_candidate_through(warehouse, rows):
    candidate = candidate_of(warehouse, "warned", ("DATE '2013-02-01'", "'a'", 11), ("DATE '2013-02-01'", "'b'", 2))
    [warning] = [r for r in judge(warehouse, ROWS, candidate, {}, DAY, DAY, "run-warned") if not r.passed]
    assert warning.expectation.severity == "warning"
    assert [(e["client_id"], e["n"]) for e in warning.examples] == [("a", 11)]


def test_an_expectation_that_cannot_be_evaluated_is_an_error_and_no_verdict(warehouse, rows):
    table = dataclasses.replace(ROWS, expectations=({"name": "typo", "query": "SELECT no_such FROM {candidate}"},))
    candidate = candidate_of(warehouse, "typo", ("DATE '2013-02-01'", "'a'", 1))
    with pytest.raises(WarehouseError, match="typo on .* could not be evaluated"):
        judge(warehouse, table, candidate, {}, DAY, DAY, "run-typo")


def test_publishing_replaces_exactly_the_days_of_the_range(warehouse, rows):
    first = candidate_of(warehouse, "first", *((f"DATE '2013-02-0{day}'", f"'old{day}'", day) for day in (1, 2, 3)))
    publish(warehouse, ROWS, first, date(2013, 2, 1), date(2013, 2, 3), rows)
    second = candidate_of(warehouse, "second", *((f"DATE '2013-02-0{day}'", "'new'", day) for day in (1, 2, 3)))
    publish(warehouse, ROWS, second, date(2013, 2, 2), date(2013, 2, 2), rows)
    assert [client for _, client, _ in published(warehouse)] == ["old1", "new", "old3"]


def test_an_empty_candidate_empties_its_days(warehouse, rows):
    publish(warehouse, ROWS, candidate_of(warehouse, "full", ("DATE '2013-02-01'", "'a'", 1)), DAY, DAY, rows)
    empty = candidate_of(warehouse, "empty", ("DATE '2013-05-05'", "'a'", 1))
    publish(warehouse, ROWS, empty, DAY, DAY, rows)
    assert published(warehouse) == []


def test_a_holder_that_lost_the_lock_cannot_publish(warehouse, rows):
    publish(warehouse, ROWS, candidate_of(warehouse, "mine", ("DATE '2013-02-01'", "'a'", 1)), DAY, DAY, rows)
    announce(warehouse, ROWS, rows + 1, "the retry")
    with pytest.raises(BadRequest, match="newer holder"):
        publish(warehouse, ROWS, candidate_of(warehouse, "late", ("DATE '2013-02-01'", "'b'", 1)), DAY, DAY, rows)
    assert [client for _, client, _ in published(warehouse)] == ["a"]


def test_a_new_column_appears_at_publish_and_not_before(warehouse, rows):
    wider = dataclasses.replace(ROWS, columns=(*ROWS.columns, column("extra", "STRING")))
    candidate = candidate_of(
        warehouse, "wide", ("DATE '2013-02-01'", "'a'", 1, "'x'"), columns="submission_date, client_id, n, extra"
    )
    warehouse.create(wider)
    assert "extra" not in [field.name for field in warehouse.client.get_table(ROWS.id).schema]
    publish(warehouse, wider, candidate, DAY, DAY, rows)
    assert warehouse.rows("SELECT extra FROM gates_test.rows_v1 WHERE submission_date = '2013-02-01'") == [
        {"extra": "x"}
    ]


def test_a_merge_inserts_updates_and_deletes_by_key_and_leaves_the_rest(warehouse):
    warehouse.drop(FIRSTS.id)
    warehouse.create(FIRSTS)
    columns = "client_id, first_seen_date, _deleted"
    token = time.time_ns() // 1000
    announce(warehouse, FIRSTS, token, "test")
    publish(
        warehouse,
        FIRSTS,
        candidate_of(warehouse, "merge1", *((f"'{c}'", "DATE '2013-02-01'", "FALSE") for c in "abc"), columns=columns),
        DAY,
        DAY,
        token,
    )
    publish(
        warehouse,
        FIRSTS,
        candidate_of(
            warehouse,
            "merge2",
            ("'a'", "DATE '2013-02-01'", "TRUE"),
            ("'b'", "DATE '2013-01-01'", "FALSE"),
            ("'d'", "DATE '2013-03-01'", "FALSE"),
            ("'e'", "DATE '2013-03-01'", "TRUE"),
            columns=columns,
        ),
        DAY,
        DAY,
        token,
    )
    rows = warehouse.rows("SELECT client_id, first_seen_date FROM gates_test.firsts_v1 ORDER BY client_id")
    assert [(r["client_id"], r["first_seen_date"].isoformat()) for r in rows] == [
        ("b", "2013-01-01"),
        ("c", "2013-02-01"),
        ("d", "2013-03-01"),
    ]
    announce(warehouse, FIRSTS, token + 1, "newer")
    with pytest.raises(BadRequest, match="newer holder"):
        publish(warehouse, FIRSTS, "gates_test_candidates.merge1", DAY, DAY, token)


def test_a_reader_never_sees_a_day_half_replaced(warehouse, rows):
    """A reader polls while a day of 2,000 rows is replaced again and again: always all of one version."""

    def version(number):
        warehouse.query(
            f"CREATE OR REPLACE TABLE gates_test_candidates.version{number} AS"
            " SELECT DATE '2013-02-01' AS submission_date,"
            f" CAST(x AS STRING) AS client_id, {number} AS n FROM UNNEST(GENERATE_ARRAY(1, 2000)) AS x"
        )
        return f"gates_test_candidates.version{number}"

    warehouse.ensure_dataset("gates_test_candidates")
    candidates = [version(0), version(1)]
    publish(warehouse, ROWS, candidates[0], DAY, DAY, rows)
    seen, stop = [], threading.Event()

    def poll():
        while not stop.is_set():
            seen.append(
                warehouse.rows(
                    "SELECT COUNT(*) AS found, COUNT(DISTINCT n) AS versions FROM gates_test.rows_v1"
                    " WHERE submission_date = '2013-02-01'"
                )[0]
            )

    reader = threading.Thread(target=poll)
    reader.start()
    turns = 0
    while reader.is_alive() and (turns < 8 or len(seen) < 8):
        turns += 1
        publish(warehouse, ROWS, candidates[turns % 2], DAY, DAY, rows)
    stop.set()
    reader.join()
    assert len(seen) >= 8
    assert {(row["found"], row["versions"]) for row in seen} == {(2000, 1)}
