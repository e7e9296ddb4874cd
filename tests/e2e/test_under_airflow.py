"""The DAGs under the real scheduler: what lands is there after a backfill and after the nights, to the byte."""

from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import lineage, schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.local.airflow_api import AirflowApi
from telemetry_warehouse.publishing import publish, publish_file
from telemetry_warehouse.simulate.population import simulate
from tests.e2e.test_one_types_bad_day import a_flight
from tests.support import checksums, succeed

TODAY = datetime.now(UTC).date()
FIRST, NIGHTS = TODAY - timedelta(days=5), [TODAY - timedelta(days=2), TODAY - timedelta(days=1)]


@pytest.fixture(scope="module")
def warehouse(warehouse_home) -> Warehouse:
    succeed(warehouse_home, "up")
    return Warehouse(warehouse_home)


@pytest.fixture(scope="module")
def truth(warehouse, tmp_path_factory):
    folder = tmp_path_factory.mktemp("airflow")
    truth = simulate(folder, clients=25, first_day=FIRST, days=5, seed=11)
    publish_file(warehouse.settings, folder / "messages.ndjson")
    return truth


@pytest.fixture
def api(airflow_home, truth) -> AirflowApi:
    api = AirflowApi(airflow_home)
    for dag in ("land", "night", "backfill"):
        api.wait_for_dag(dag)
    return api


def failed_tasks(api, dag, run) -> str:
    return "; ".join(
        f"{task}: {api.log(dag, run, task)[-1500:]}" for task, state in api.tasks(dag, run).items() if state == "failed"
    )


def users_of(warehouse, truth, day: date) -> tuple[int, int]:
    """Daily and monthly users among the simulated clients, for other tests share this home."""
    clients = {document["client_id"] for document in truth.documents()}
    rows = warehouse.rows(
        f"SELECT client_id, days_seen_bits FROM derived.clients_last_seen_v1 WHERE submission_date = '{day}'"
    )
    bits = [row["days_seen_bits"] for row in rows if row["client_id"] in clients]
    return sum(b & 1 for b in bits), len(bits)


def tables(warehouse) -> set[str]:
    return {step.table for step in lineage.load(warehouse.settings).steps}


def published(warehouse, run: str, last: date) -> set[str]:
    """The tables whose days up to `last` a run has published."""
    rows = warehouse.rows(
        "SELECT DISTINCT table_name FROM monitoring.pipeline_runs"
        " WHERE run = @run AND end_date = @last AND status = 'published'",
        {"run": run, "last": last},
    )
    return {row["table_name"] for row in rows}


def test_the_land_dag_moves_what_waits_to_live(api, warehouse, truth):
    api.pause("land", False)
    run = api.trigger("land", datetime.now(UTC))
    assert api.wait_for_run("land", run, 300) == "success", failed_tasks(api, "land", run)
    api.pause("land", True)
    [row] = warehouse.rows(
        "SELECT COUNT(*) AS n FROM telemetry_live.main_v4"
        f" WHERE DATE(submission_timestamp) BETWEEN '{FIRST}' AND '{NIGHTS[-1]}'"
    )
    assert row["n"] >= truth.totals["landed"]


def test_the_backfill_dag_publishes_the_truth_of_all_days(api, warehouse, truth):
    api.pause("backfill", False)
    run = api.trigger("backfill", conf={"start_date": str(FIRST), "end_date": str(NIGHTS[-1])})
    assert api.wait_for_run("backfill", run, 400) == "success", failed_tasks(api, "backfill", run)
    assert published(warehouse, run, NIGHTS[-1]) == tables(warehouse)
    usage = {row["submission_date"]: (row["dau"], row["mau"]) for row in truth.usage}
    for day in NIGHTS:
        assert users_of(warehouse, truth, day) == usage[day.isoformat()]


def test_airflow_backfill_create_runs_two_nights_that_give_the_bytes_of_that_backfill(api, warehouse, truth):
    before = checksums(warehouse, FIRST, NIGHTS[-1])
    options = ["--dag-id", "night", "--from-date", NIGHTS[0], "--to-date", NIGHTS[-1], "--max-active-runs", 1]
    api.pause("night", False)
    succeed(warehouse.settings, "airflow", "backfill", "create", *options)
    runs = {run["logical_date"][:10]: run["dag_run_id"] for run in api.runs("night")}
    for day in NIGHTS:
        run = runs[str(day)]
        assert api.wait_for_run("night", run, 400) == "success", failed_tasks(api, "night", run)
        assert published(warehouse, run, day) == tables(warehouse)
        assert set(api.tasks("night", run)) >= tables(warehouse)
    # The scheduler may have begun yesterday's night by itself.
    assert "a backfill tells nobody" in api.log("night", runs[str(NIGHTS[0])], "tell_changes")
    assert checksums(warehouse, FIRST, NIGHTS[-1]) == before


def test_a_night_whose_table_fails_builds_the_others_and_ends_as_failed_with_its_report(api, warehouse):
    day = date(2014, 7, 1)
    publish(warehouse.settings, [a_flight(day, 0xF1)])
    [live] = [t.live for t in schemas.load(warehouse.settings.schemas).values() if t.live.name == "main_v4"]
    warehouse.ensure(live)
    warehouse.load_rows(live, [{"document_id": "UPPER", "submission_timestamp": f"{day}T10:00:00Z"}])
    try:
        api.pause("night", False)
        run = api.trigger("night", datetime(2014, 7, 2, tzinfo=UTC))
        assert api.wait_for_run("night", run, 400) == "failed"
    finally:
        warehouse.query(f"DELETE FROM {live.id} WHERE DATE(submission_timestamp) = '{day}'")
    states = api.tasks("night", run)
    assert states["telemetry_stable.main_v4"] == "failed"
    assert states["fleet_stable.flight_v1"] == states["check_earlier_days"] == "success"
    assert states["derived.clients_daily_v1"] == "upstream_failed"
    assert states["write_report"] == "success"
    assert states["tell_changes"] == "upstream_failed"
    report = (warehouse.settings.home / "reports" / f"{day}.md").read_text()
    assert "| telemetry_stable.main_v4 | failed |" in report and '"UPPER"' in report
    told = warehouse.rows(
        "SELECT body FROM monitoring.notifications WHERE notified_date >= '2000-01-01'"
        f" AND table_name = 'telemetry_stable.main_v4' AND start_date = '{day}'"
    )
    again = f"Run again: clear telemetry_stable.main_v4 of {run} in Airflow, or ./warehouse night {day}"
    assert len(told) == 1 and again in told[0]["body"]
