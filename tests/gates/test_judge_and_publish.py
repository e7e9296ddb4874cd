"""Judging candidates and publishing them, on the real emulator."""

import dataclasses
from datetime import date, timedelta

import pytest
from google.api_core.exceptions import BadRequest

from telemetry_warehouse import schemas, stages, tables
from telemetry_warehouse.errors import GateFailed, WarehouseError
from telemetry_warehouse.gates import by_day, history
from telemetry_warehouse.gates.judge import judge
from telemetry_warehouse.gates.publish import announce, publish
from telemetry_warehouse.tables import Table, column, quoted
from tests.support import load_rows

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
    token = announce(warehouse, ROWS, "test")
    return token


def test_a_table_with_json_inside_a_record_can_be_judged(warehouse):
    row = ("DATE '2013-02-01'", "'a'", "11", "[STRUCT('k' AS key, JSON '1' AS value)]")
    candidate = candidate_of(warehouse, "with_json", row, columns="submission_date, client_id, n, scalars")
    results = judge(warehouse, ROWS, candidate, {}, DAY, DAY, "test").results
    assert [r.expectation.column for r in results if not r.passed] == ["n"]


def test_a_clean_candidate_passes_and_every_result_is_recorded(warehouse, rows):
    candidate = candidate_of(warehouse, "clean", ("DATE '2013-02-01'", "'a'", 1), ("DATE '2013-02-01'", "'b'", 2))
    results = judge(warehouse, ROWS, candidate, {}, DAY, DAY, "run-clean").results
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
    results = judge(warehouse, ROWS, candidate, {}, DAY, DAY, "run-warned").results
    [warning] = [r for r in results if not r.passed]
    assert warning.failed_days == [DAY]
    assert warning.expectation.severity == "warning"
    assert [(e["client_id"], e["n"]) for e in warning.examples] == [("a", 11)]


def of_days(warehouse, name, *counts: int, broken: dict[int, int] = {}) -> str:  # noqa: B006
    """A candidate of so many clients on each day from DAY on, of whom `broken[d]` have too large an n on day d."""
    warehouse.ensure_dataset("gates_test_candidates")
    days = " UNION ALL ".join(
        f"SELECT DATE_ADD(DATE '{DAY}', INTERVAL {d} DAY) AS submission_date, CAST(x AS STRING) AS client_id,"
        f" IF(x <= {broken.get(d, 0)}, 11, 1) AS n FROM UNNEST(GENERATE_ARRAY(1, {count})) AS x"
        for d, count in enumerate(counts)
    )
    warehouse.query(f"CREATE OR REPLACE TABLE gates_test_candidates.{name} AS {days}")
    return f"gates_test_candidates.{name}"


def day(n: int) -> date:
    return DAY + timedelta(days=n)


MOSTLY = {"name": "mostly_small", "type": "expect_column_values_to_be_between", "column": "n", "max_value": 10}


def test_mostly_holds_on_each_day_and_a_bad_one_does_not_hide_in_a_long_range(warehouse, rows):
    table = dataclasses.replace(ROWS, expectations=(MOSTLY | {"mostly": 0.9},))
    candidate = of_days(warehouse, "mostly", *[100] * 20, broken={3: 12, 7: 40, 11: 40})
    with pytest.raises(GateFailed, match=r'observed "80 of 200 rows" on 2013-02-08, 2013-02-12, for example .*"n":11'):
        judge(warehouse, table, candidate, {}, DAY, day(19), "run-mostly")
    [recorded] = warehouse.rows(
        "SELECT failed_days FROM monitoring.gate_results WHERE checked_date >= '2000-01-01' AND run = 'run-mostly'"
    )
    assert recorded["failed_days"] == [day(7), day(11)]


def test_a_query_that_gives_days_names_them_and_one_that_does_not_names_none(warehouse, rows):
    candidate = of_days(warehouse, "query_days", 3, 3, 3)
    with pytest.raises(GateFailed) as caught:
        judge(warehouse, ROWS, candidate, {}, DAY, day(1), "run-query-days")
    said = str(caught.value)
    assert 'days_in_range (critical): observed "3 rows that should not be" on 2013-02-03' in said
    assert 'one_row_per_client (critical): observed "3 rows that should not be", for example' in said


def test_the_cost_of_a_gate_does_not_grow_with_its_days(warehouse, rows):
    def queries(candidate, end) -> list[str]:
        judge(warehouse, table, candidate, {}, DAY, end, "run-cost")
        jobs = [j for j in warehouse.client.list_jobs(all_users=True, max_results=1000) if j.job_type == "query"]
        asked = [job.query.split()[1:3] for job in jobs if f"FROM {quoted(candidate)}" in (job.query or "")]
        return sorted(" ".join(words) for words in asked)

    of_queries = ({"name": f"q{n}", "query": f"SELECT client_id FROM {{candidate}} WHERE {n} = 9"} for n in range(3))
    of_columns = (ROWS.expectations[0], MOSTLY, MOSTLY | {"name": "again"})
    table = dataclasses.replace(ROWS, expectations=(*of_columns, *of_queries))
    assert queries(of_days(warehouse, "one_day", 5), DAY) == ["0 AS", "submission_date AS"]
    assert queries(of_days(warehouse, "many_days", *[5] * 30), day(29)) == ["0 AS", "submission_date AS"]


def test_what_is_remembered_is_what_later_days_are_held_against(warehouse, rows):
    expected = (
        {"type": "expect_row_counts_like_the_weekdays_before", "factor": 2},
        {"type": "expect_nulls_like_the_days_before", "columns": ["client_id"], "points": 0.2, "severity": "warning"},
    )
    table = dataclasses.replace(ROWS, name="history_v1", expectations=expected)
    past = of_days(warehouse, "past", *[300] * 21)
    judgement = judge(warehouse, table, past, {}, DAY, day(20), "a")
    assert all(r.passed for r in judgement.results)
    few = candidate_of(warehouse, "few", (f"DATE '{day(21)}'", "'a'", 1))
    # Nothing is history that was only judged.
    assert all(r.passed for r in judge(warehouse, table, few, {}, day(21), day(21), "not published").results)
    history.remember(warehouse, table, judgement.profile, DAY, day(20))
    with pytest.raises(GateFailed, match=r'unlike the days before" on 2013-02-22, .*"counted":"rows","observed":1'):
        judge(warehouse, table, few, {}, day(21), day(21), "b")
    # What failed is not history: the week after is held against the same weeks.
    usual = of_days(warehouse, "usual", *[300] * 29)
    view = "gates_test_candidates.one_usual"
    warehouse.query(f"CREATE OR REPLACE TABLE {view} AS SELECT * FROM {usual} WHERE submission_date = '{day(28)}'")
    assert all(r.passed for r in judge(warehouse, table, view, {}, day(28), day(28), "c").results)
    nobody = f"SELECT submission_date, CAST(NULL AS STRING) AS client_id, n FROM {usual}"
    warehouse.query(f"CREATE OR REPLACE TABLE {view} AS {nobody} WHERE submission_date = '{day(28)}'")
    [counted, nulls] = judge(warehouse, table, view, {}, day(28), day(28), "d").results
    assert counted.passed and not nulls.passed and nulls.failed_days == [day(28)]


def landed(on: date, received: int, failed: int, landed: int | None = None) -> dict:
    whole = {"received": received, "failed": failed, "landed": received - failed if landed is None else landed}
    name = {"document_namespace": "telemetry", "document_type": "main", "document_version": "4"}
    return {"landed_date": on, "submission_date": on} | name | whole


def test_messages_that_fail_more_than_before_are_seen_until_they_are_landed_again(warehouse):
    [main] = [t for t in schemas.load(warehouse.settings.schemas).values() if t.name.type == "main"]
    live = stages.live_definition(main)
    about_errors = tuple(e for e in live.expectations if "monitoring.landing" in e.get("query", ""))
    candidate = candidate_of(warehouse, "live", ("DATE '2013-02-01'", "'a'", 1))
    warehouse.ensure(tables.from_file("monitoring", "landing"))
    first = date(2016, 3, 1)

    def failing(n: int, severity: str = "critical") -> list[str]:
        of_severity = tuple(e for e in about_errors if e["severity"] == severity)
        table = dataclasses.replace(ROWS, expectations=tuple(e | {"severity": "warning"} for e in of_severity))
        on = first + timedelta(days=n)
        results = judge(warehouse, table, candidate, stages.live_inputs(main), on, on, "run-errors").results
        return [r.expectation.name for r in results if not r.passed]

    days = enumerate([30, 20, 10, 200, 900])
    load_rows(warehouse, "monitoring.landing", [landed(first + timedelta(days=n), 1000, failed) for n, failed in days])
    assert failing(0, "warning") == failing(2, "warning") == []
    assert (failing(3, "warning"), failing(3)) == (["few_messages_fail"], [])
    load_rows(warehouse, "monitoring.landing", [landed(first + timedelta(days=3), 0, 0, 180)])
    assert failing(3, "warning") == []
    assert failing(4) == ["most_messages_land"]


HOLDS = {"name": "holds", "query": "SELECT client_id FROM {candidate} WHERE FALSE"}
AS_IT_RUNS = "SELECT client_id FROM {candidate} WHERE ERROR(CONCAT('as it runs ', client_id)) > 0"
REGEX = {"type": "expect_column_values_to_match_regex", "column": "client_id"}
STANDS_OUT = {"type": "expect_no_row_to_stand_out", "share": 0.1, "severity": "warning"}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": "wrong", "query": "SELECT no_such FROM {candidate}"}, "no_such"),
        ({"name": "wrong", "query": AS_IT_RUNS}, "as it runs a"),
        # These are counted in one query with the other types.
        (REGEX | {"name": "wrong", "regex": "(a"}, "missing ): (a"),
        (STANDS_OUT | {"name": "wrong", "of": "no_such"}, "Unrecognized name: no_such"),
        (STANDS_OUT | {"name": "wrong", "of": "CAST(ERROR('as it runs') AS INT64)"}, "as it runs"),
        ({"name": "wrong", "type": "expect_column_values_to_not_be_null", "column": "gone"}, '"gone"'),
    ],
)
def test_an_expectation_that_cannot_be_evaluated_is_named_with_its_reason_once(warehouse, rows, wrong, reason):
    table = dataclasses.replace(
        ROWS,
        columns=(*ROWS.columns, column("gone", "STRING")),
        expectations=(*ROWS.expectations, HOLDS, wrong),
        expectations_file="sql/rows.yml",
    )
    candidate = candidate_of(warehouse, "wrong", ("DATE '2013-02-01'", "'a'", 1))
    with pytest.raises(WarehouseError) as raised:
        judge(warehouse, table, candidate, {}, DAY, DAY, "run-wrong")
    said = str(raised.value)
    assert said.startswith(f"{ROWS.id} {DAY}..{DAY}: expectation wrong could not be evaluated: ")
    assert said.count(reason) == 1 and "SELECT" not in said and said.count("evaluated") == 1
    assert "; see sql/rows.yml. The candidate is kept: " in said


def test_only_what_is_wrong_with_a_query_itself_is_looked_for_in_one_expectation():
    said = {"invalidQuery": "Unrecognized name: x", "bytesBilledLimitExceeded": "Query exceeded limit"}
    failed = {
        why: by_day.QueryFailed(BadRequest(text, [{"reason": why, "message": text}])) for why, text in said.items()
    }
    assert {why: str(one) for why, one in failed.items()} == said
    assert [one.is_refusal for one in failed.values()] == [True, False]
    assert not by_day.QueryFailed(ConnectionError("no answer")).is_refusal


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
    announce(warehouse, ROWS, "the retry")
    with pytest.raises(BadRequest, match="newer holder"):
        publish(warehouse, ROWS, candidate_of(warehouse, "late", ("DATE '2013-02-01'", "'b'", 1)), DAY, DAY, rows)
    assert [client for _, client, _ in published(warehouse)] == ["a"]


def recorded(warehouse, table: Table, token: int) -> list[dict]:
    return warehouse.rows(
        "SELECT status, run, row_count, start_date, end_date FROM monitoring.pipeline_runs"
        " WHERE table_name = @table AND token = @token",
        {"table": table.id, "token": token},
    )


def test_a_publish_and_its_record_are_there_together_or_not_at_all(warehouse, rows):
    candidate = candidate_of(warehouse, "kept", ("DATE '2013-02-01'", "'a'", 1))
    publish(warehouse, ROWS, candidate, DAY, DAY, rows, {"run": "a night", "row_count": 1})
    row = {"status": "published", "run": "a night", "row_count": 1, "start_date": DAY, "end_date": DAY}
    assert recorded(warehouse, ROWS, rows) == [row]
    late = candidate_of(warehouse, "broken", ("DATE '2013-02-01'", "'b'", 1))
    # The last statement of the transaction fails: the days were replaced and are as before again.
    with pytest.raises(BadRequest):
        publish(warehouse, ROWS, late, DAY, DAY, rows, {"run": "a broken night", "no_such_column": 1})
    assert [client for _, client, _ in published(warehouse)] == ["a"]
    announce(warehouse, ROWS, "the retry")
    with pytest.raises(BadRequest, match="newer holder"):
        publish(warehouse, ROWS, late, DAY, DAY, rows, {"run": "a late night"})
    assert recorded(warehouse, ROWS, rows) == [row]


def test_a_merge_and_its_record_are_there_together_or_not_at_all(warehouse):
    warehouse.drop(FIRSTS.id)
    warehouse.create(FIRSTS)
    token = announce(warehouse, FIRSTS, "test")
    columns = "client_id, first_seen_date, _deleted"
    candidate = candidate_of(warehouse, "merged", ("'a'", "DATE '2013-02-01'", "FALSE"), columns=columns)
    with pytest.raises(BadRequest):
        publish(warehouse, FIRSTS, candidate, DAY, DAY, token, {"no_such_column": 1})
    assert warehouse.rows(f"SELECT client_id FROM {FIRSTS.id}") == []
    publish(warehouse, FIRSTS, candidate, DAY, DAY, token, {"run": "a night"})
    assert [row["run"] for row in recorded(warehouse, FIRSTS, token)] == ["a night"]


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
    token = announce(warehouse, FIRSTS, "test")
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
    announce(warehouse, FIRSTS, "newer")
    with pytest.raises(BadRequest, match="newer holder"):
        publish(warehouse, FIRSTS, "gates_test_candidates.merge1", DAY, DAY, token)


def patterns(*names: str) -> Table:
    columns = [column("submission_date", "DATE"), column("app_name", "STRING")]
    return Table(
        "gates_test",
        f"patterns_of_{DAY:%Y%m%d}_v1",
        (*columns, *(column(f"days_{name}_bits", "INT64") for name in names)),
        partition_field="submission_date",
        expectations=(
            {
                "name": "carried_over",
                "type": "expect_days_to_continue_the_day_before",
                "columns": "{columns days_*_bits}",
                "brought": "SUM({column} - ({column} & 1))",
                "left": "SUM(({column} & 134217727) << 1)",
            },
        ),
    )


def test_a_new_pattern_is_judged_from_its_second_day(warehouse):
    def judged(table: Table, n: int, *rows: tuple) -> str:
        columns = ", ".join(table.column_names)
        named = [(f"DATE '{day(n)}'", f"'{app}'", *bits) for app, *bits in rows]
        candidate = candidate_of(warehouse, f"patterns_{n}", *named, columns=columns)
        try:
            profile = judge(warehouse, table, candidate, {}, day(n), day(n), "patterns").profile
        except GateFailed as error:
            return str(error)
        history.remember(warehouse, table, profile, day(n), day(n))
        return "passed"

    before, after = patterns("seen"), patterns("seen", "active")
    assert judged(before, 0, ("Firefox", 1)) == "passed"
    # The day comes again, with an application that was late.
    assert judged(before, 0, ("Firefox", 1), ("Fleet", 5)) == "passed"
    assert '"counted":"days_seen_bits"' in judged(after, 1, ("Firefox", 2, 2), ("Fleet", 12, 2))
    assert judged(after, 1, ("Firefox", 2, 2), ("Fleet", 10, 10)) == "passed"
    assert '"counted":"days_active_bits"' in judged(after, 2, ("Firefox", 4, 4), ("Fleet", 20, 4))
    assert judged(after, 2, ("Firefox", 4, 4), ("Fleet", 20, 20)) == "passed"


def test_the_most_frequent_values_are_remembered_and_invented_ones_are_not(warehouse, rows):
    table = dataclasses.replace(
        ROWS,
        expectations=(
            {
                "name": "clients_as_before",
                "type": "expect_values_of_the_days_before",
                "columns": ["client_id"],
                "share": 0.05,
            },
            {
                "name": "weights",
                "type": "expect_weights_like_the_days_before",
                "columns": ["client_id"],
                "factor": 2,
                "weight": "n",
            },
        ),
    )
    invented = [("DATE '2013-02-01'", f"'{name * 70}'", 1) for name in map(chr, range(ord("A"), ord("A") + 26))]
    often = [("DATE '2013-02-01'", "'it\\'s 100%'", 3)] * 3
    candidate = candidate_of(warehouse, "values", *invented, *often, ("DATE '2013-02-01'", "NULL", 7))
    [(_, _, counts)] = judge(warehouse, table, candidate, {}, DAY, DAY, "values").profile
    values = {name: count for name, count in counts.items() if name.startswith("client_id: ")}
    assert len(values) == 20 and values.pop("client_id: it's 100%") == 3
    assert set(values) == {f"client_id: {chr(ord('A') + n) * 64}" for n in range(19)}
    assert (counts["values of client_id"], counts["weight of client_id: it's 100%"]) == (29, 9)
