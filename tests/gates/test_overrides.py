"""Days that fail their gate: what is shown of them, and what a review lets through."""

from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import lineage, night, report, schemas, stages, tables, verdicts
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed, NotAllBuilt, NotPassed, Refused, WarehouseError
from telemetry_warehouse.gates import overrides
from telemetry_warehouse.gates.judge import judge
from telemetry_warehouse.gates.overrides import Override
from telemetry_warehouse.status import print_status
from telemetry_warehouse.tables import Table, column
from tests.support import load_rows

DAY = date(2014, 5, 1)
TODAY = datetime.now(UTC).date()
LIVE, STABLE = "telemetry_live.main_v4", "telemetry_stable.main_v4"


def by_review(day: date = DAY, **changes) -> Override:
    return Override(
        **{"requested_by": "ann", "reviewed_by": "bob", "reason": "a test device"}
        | {"submission_date": day, "until_date": TODAY + timedelta(days=3)}
        | changes
    )


def events(name: str) -> Table:
    """A table with an expectation whose rows tell the day, one whose rows do not, and one that only warns."""
    return Table(
        "overrides_test",
        name,
        (column("submission_date", "DATE"), column("n", "INT64")),
        partition_field="submission_date",
        expectations=(
            {"name": "n_is_small", "query": "SELECT submission_date, n FROM {candidate} WHERE n > 10"},
            {"name": "sum_is_small", "query": "SELECT SUM(n) AS total FROM {candidate} HAVING SUM(n) > 1000"},
            {"name": "n_is_even", "query": "SELECT n FROM {candidate} WHERE MOD(n, 2) = 1", "severity": "warning"},
        ),
    )


def judged(warehouse, table: Table, *values: int) -> dict:
    """Judges a candidate with a row for each day from DAY on; the results by expectation."""
    warehouse.ensure_dataset("overrides_test")
    candidate = f"overrides_test.candidate_{table.name}"
    rows = (
        f"SELECT DATE '{DAY + timedelta(days=n)}' AS submission_date, {value} AS n" for n, value in enumerate(values)
    )
    warehouse.query(f"CREATE OR REPLACE TABLE {candidate} AS {' UNION ALL '.join(rows)}")
    judgement = judge(warehouse, table, candidate, {}, DAY, DAY + timedelta(days=len(values) - 1), "test")
    return {result.expectation.name: result for result in judgement.results}


def recorded(warehouse, table: Table) -> dict[str, str]:
    rows = warehouse.rows(
        "SELECT expectation, verdict FROM monitoring.gate_results"
        f" WHERE checked_date >= '2000-01-01' AND table_name = '{table.id}' ORDER BY checked_at"
    )
    return {row["expectation"]: row["verdict"] for row in rows}


def test_an_override_lets_its_day_and_expectation_through_and_the_result_says_so(warehouse):
    table = events("one_day")
    with pytest.raises(GateFailed) as failed:
        judged(warehouse, table, 21)
    assert (failed.value.table, failed.value.day, failed.value.expectations) == (table.id, DAY, ["n_is_small"])
    assert recorded(warehouse, table) == {"n_is_small": "failed", "sum_is_small": "passed", "n_is_even": "warned"}
    overrides.record(warehouse, table.id, "n_is_small", by_review())
    result = judged(warehouse, table, 21)["n_is_small"]
    assert result.overrides == (by_review(),)
    assert "let through by ann, reviewed by bob" in result.line and "a test device" in result.line
    assert recorded(warehouse, table) == {"n_is_small": "let through", "sum_is_small": "passed", "n_is_even": "warned"}
    with pytest.raises(GateFailed, match="sum_is_small"):
        judged(warehouse, table, 2000)


def test_in_a_range_an_override_counts_for_the_day_that_it_names(warehouse):
    table = events("range")
    overrides.record(warehouse, table.id, "n_is_small", by_review(DAY + timedelta(days=1)))
    assert judged(warehouse, table, 2, 20, 2)["n_is_small"].verdict == "let through"
    with pytest.raises(GateFailed) as failed:
        judged(warehouse, table, 2, 20, 20)
    assert failed.value.day == DAY + timedelta(days=1)
    overrides.record(warehouse, table.id, "n_is_small", by_review(DAY + timedelta(days=2)))
    days = [one.submission_date for one in judged(warehouse, table, 2, 20, 20)["n_is_small"].overrides]
    assert days == [DAY + timedelta(days=1), DAY + timedelta(days=2)]


def test_where_rows_do_not_tell_their_day_every_day_of_the_range_must_be_let_through(warehouse):
    table = events("untold")
    for expectation in ("n_is_small", "sum_is_small"):
        overrides.record(warehouse, table.id, expectation, by_review())
    with pytest.raises(GateFailed, match="sum_is_small"):
        judged(warehouse, table, 2000, 2)
    overrides.record(warehouse, table.id, "sum_is_small", by_review(DAY + timedelta(days=1)))
    assert judged(warehouse, table, 2000, 2)["sum_is_small"].verdict == "let through"


def test_an_override_that_has_ended_does_not_count(warehouse):
    table = events("ended")
    overrides.record(warehouse, table.id, "n_is_small", by_review(until_date=TODAY))
    assert judged(warehouse, table, 20)["n_is_small"].verdict == "let through"
    override = by_review(until_date=TODAY - timedelta(days=1)).__dict__
    row = {"table_name": table.id, "expectation": "n_is_small", "overridden_date": TODAY}
    load_rows(warehouse, "monitoring.gate_overrides", [row | {"overridden_at": datetime.now(UTC)} | override])
    with pytest.raises(GateFailed):
        judged(warehouse, table, 20)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reviewed_by": " Ann "}, "ann cannot review an override of their own"),
        ({"reason": " "}, "one of them is empty"),
        ({"reviewed_by": ""}, "one of them is empty"),
        ({"until_date": TODAY - timedelta(days=1)}, f"give a day from {TODAY} on"),
    ],
    ids=["own review", "no reason", "no reviewer", "past"],
)
def test_what_is_no_review_is_refused(warehouse, changes, said):
    with pytest.raises(Refused, match=said):
        overrides.record(warehouse, "derived.any_v1", "any", by_review(**changes))


@pytest.fixture(scope="module")
def failing_day(prepared_home):
    """A day of main pings that fails the gate of its live table."""
    warehouse = Warehouse(prepared_home)
    [live] = [t.live for t in schemas.load(prepared_home.schemas).values() if t.live.id == LIVE]
    warehouse.ensure(live)
    ping = {"document_id": "UPPER", "submission_timestamp": f"{DAY}T10:00:00Z", "sample_id": 55}
    load_rows(warehouse, LIVE, [ping])
    landing, now = tables.from_file("monitoring", "landing"), datetime.now(UTC)
    warehouse.ensure(landing)
    # A night before every ping is refused, and so is a type that has lost its pings of the day. Flights stay for ever.
    of_type = {"document_namespace": "fleet", "document_type": "flight", "document_version": "1"}
    counts = {"submission_date": DAY, "received": 1, "landed": 1, "failed": 0}
    cycle = {"cycle_id": "a flight", "landed_date": now.date(), "started_at": now, "ended_at": now}
    warehouse.load_rows(landing, [cycle | of_type | counts])
    yield
    warehouse.query(f"DELETE FROM {LIVE} WHERE DATE(submission_timestamp) = '{DAY}'")
    warehouse.query(f"DELETE FROM {STABLE} WHERE DATE(submission_timestamp) = '{DAY}'")


def build(warehouse) -> tuple[stages.Outcome, list[str]]:
    said = []
    step = lineage.load(warehouse.settings).step(STABLE)
    return stages.run(warehouse, step, DAY, DAY, "night", said.append), said


def shown(warehouse, table: str, capsys) -> tuple[str, str]:
    """What `./warehouse gate` shows, and the error that makes it exit 1."""
    error = ""
    try:
        verdicts.print_judgement(warehouse, table, DAY)
    except NotPassed as raised:
        error = str(raised)
    return capsys.readouterr().out, error


def test_a_failed_day_is_told_shown_let_through_by_a_review_and_seen_as_such(failing_day, told, webhook, capsys):
    with pytest.raises(NotAllBuilt, match="ids_are_lower_case"):
        night.run(told, DAY, "night", lambda _: None)
    [notice] = webhook.received
    assert '"UPPER"' in notice["message"] and f"./warehouse gate {LIVE} {DAY}" in notice["message"]

    text, error = shown(told, LIVE, capsys)
    assert "ids_are_lower_case" in text and '"UPPER"' in text and "failed" in text
    assert "did not pass its gate: ids_are_lower_case" in error and "candidate: telemetry_live_candidates." in error
    # The night has written it although it failed.
    day = (told.settings.home / "reports" / f"{DAY}.md").read_text()
    for part in (f"| {STABLE} | failed |", "| ids_are_lower_case | critical | failed |", '"document_id":"UPPER"'):
        assert part in day

    with pytest.raises(Refused, match="has no expectation 'upper'; there are .*ids_are_lower_case"):
        verdicts.let_through(told, LIVE, "upper", by_review())
    with pytest.raises(Refused, match="passed for .* nothing to let through"):
        verdicts.let_through(told, LIVE, "expect_column_values_to_not_be_null(document_id)", by_review())
    with pytest.raises(Refused, match="no gate has judged"):
        verdicts.let_through(told, LIVE, "ids_are_lower_case", by_review(DAY + timedelta(days=1)))
    verdicts.let_through(told, LIVE, "ids_are_lower_case", by_review())
    assert f"./warehouse night {DAY}" in capsys.readouterr().out

    outcome, _ = build(told)
    assert outcome.rows == 1
    text, error = shown(told, LIVE, capsys)
    assert error == "" and "let through by ann, reviewed by bob" in text
    [published] = told.rows(
        f"SELECT * FROM telemetry.published_days WHERE submission_date = '{DAY}' AND table_name = '{STABLE}'"
    )
    assert (published["row_count"], published["run"], published["warnings"]) == (1, "night", [])
    [override] = published["overrides"]
    assert override == {"expectation": "ids_are_lower_case"} | {
        name: value for name, value in by_review().__dict__.items() if name != "submission_date"
    }
    assert "ids_are_lower_case: 2014-05-01 let through by ann" in report.text(told, DAY)
    print_status(told.settings, reads=False)
    assert "Published days that a review let through" in capsys.readouterr().out

    load_rows(told, LIVE, [{"document_id": "b", "submission_timestamp": f"{DAY}T11:00:00Z", "sample_id": 200}])
    with pytest.raises(GateFailed, match="sample_id"):
        build(told)
    assert len(webhook.received) == 2
    text, error = shown(told, STABLE, capsys)
    assert "one_row_per_document_and_day" in text and "passed this gate, but its last stage failed" in error


@pytest.mark.parametrize(
    ("run", "again"),
    [
        ("night-2014-05-01-host-1", f"night {DAY}"),
        ("scheduled__2014-05-02", f"night {DAY}"),
        (f"backfill-{DAY}-{DAY}-host-1", f"backfill {DAY} {DAY} --select main_v4+"),
        ("stage-1", f"backfill {DAY} {DAY} --select main_v4+ --stage"),
    ],
)
def test_what_was_let_through_is_run_again_by_what_ran_it(prepared_home, warehouse, run, again):
    found = verdicts.Judgement(LIVE, DAY, DAY, run, "", datetime.now(UTC), ())
    assert verdicts._again(warehouse, found) == again


def test_a_table_without_a_gate_is_named(prepared_home, warehouse):
    for name in ("derived.nothing_v1", "nothing_v1"):
        with pytest.raises(WarehouseError, match="nothing_v1.*there are .*derived.clients_daily_v1"):
            verdicts.judgement(warehouse, name, DAY)
