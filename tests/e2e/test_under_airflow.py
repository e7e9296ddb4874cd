"""The DAGs under the real scheduler: what lands is there after the night, and any DAG can be run by hand."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import lineage, schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.local import airflow
from telemetry_warehouse.local.airflow_api import AirflowApi
from telemetry_warehouse.publishing import publish_file
from telemetry_warehouse.simulate.population import simulate
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


def test_airflow_backfill_create_runs_two_nights_that_publish_the_truth(api, warehouse, truth):
    succeed(warehouse.settings, "backfill", FIRST, NIGHTS[0] - timedelta(days=1))
    options = ["--dag-id", "night", "--from-date", NIGHTS[0], "--to-date", NIGHTS[-1], "--max-active-runs", 1]
    api.pause("night", False)
    subprocess.run(
        [sys.executable, "-m", "airflow", "backfill", "create", *map(str, options)],
        env=airflow.environment(warehouse.settings),
        check=True,
        capture_output=True,
    )
    days = [str(day) for day in NIGHTS]
    runs = [run for run in api.runs("night") if run["logical_date"][:10] in days]
    for run in sorted(runs, key=lambda run: run["logical_date"]):
        state = api.wait_for_run("night", run["dag_run_id"], 400)
        assert state == "success", failed_tasks(api, "night", run["dag_run_id"])
    assert len(runs) == 2
    assert "a backfill tells nobody" in api.log("night", runs[0]["dag_run_id"], "tell_changes")
    tasks = set(api.tasks("night", runs[0]["dag_run_id"]))
    assert tasks >= {step.table for step in lineage.load(warehouse.settings).steps}
    usage = {row["submission_date"]: (row["dau"], row["mau"]) for row in truth.usage}
    for day in NIGHTS:
        assert users_of(warehouse, truth, day) == usage[day.isoformat()]


def test_the_backfill_dag_gives_the_bytes_of_those_nights(api, warehouse, truth):
    before = checksums(warehouse, FIRST, NIGHTS[-1])
    api.pause("backfill", False)
    run = api.trigger("backfill", conf={"start_date": str(NIGHTS[0]), "end_date": str(NIGHTS[-1])})
    assert api.wait_for_run("backfill", run, 400) == "success", failed_tasks(api, "backfill", run)
    assert checksums(warehouse, FIRST, NIGHTS[-1]) == before
    [row] = warehouse.rows(
        "SELECT COUNT(DISTINCT table_name) AS n FROM monitoring.pipeline_runs"
        f" WHERE run = '{run}' AND status = 'published'"
    )
    assert row["n"] == len(before)


def test_a_night_whose_table_fails_ends_as_failed_and_with_its_report(api, warehouse):
    day = date(2014, 7, 1)
    [live] = [t.live for t in schemas.load(warehouse.settings.schemas).values() if t.live.name == "main_v4"]
    warehouse.ensure(live)
    warehouse.load_rows(live.id, [{"document_id": "UPPER", "submission_timestamp": f"{day}T10:00:00Z"}])
    try:
        api.pause("night", False)
        run = api.trigger("night", datetime(2014, 7, 2, tzinfo=UTC))
        assert api.wait_for_run("night", run, 400) == "failed"
    finally:
        warehouse.query(f"DELETE FROM {live.id} WHERE DATE(submission_timestamp) = '{day}'")
    states = api.tasks("night", run)
    assert states["telemetry_stable.main_v4"] == "failed"
    assert states["derived.clients_daily_v1"] == "upstream_failed"
    assert states["write_report"] == "success"
    assert states["tell_changes"] == "upstream_failed"
    report = (warehouse.settings.home / "reports" / f"{day}.md").read_text()
    assert "| telemetry_stable.main_v4 | failed |" in report and '"UPPER"' in report
    told = warehouse.rows(
        "SELECT body FROM monitoring.notifications WHERE notified_date >= '2000-01-01'"
        f" AND table_name = 'telemetry_stable.main_v4' AND start_date = '{day}'"
    )
    assert len(told) == 1 and f"./warehouse night {day}" in told[0]["body"]
