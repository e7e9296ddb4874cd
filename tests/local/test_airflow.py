"""Airflow under its supervisor: what is open to whom, what tasks see, and what a kill does."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from telemetry_warehouse.errors import NotRunning, SettingsError, WarehouseError
from telemetry_warehouse.local import airflow, airflow_supervisor, ports, processes
from telemetry_warehouse.local.airflow_api import AirflowApi
from telemetry_warehouse.settings import Settings
from tests.support import command, succeed


@pytest.fixture
def api(airflow_home):
    api = AirflowApi(airflow_home)
    api.wait_for_dag("probe")
    api.pause("probe", False)
    return api


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return answer


def title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def of_session(settings, word):
    return [p.pid for p in processes.members(airflow.daemon(settings).find().session) if word in title(p.pid)]


def gone(pid):
    return pid not in {process.pid for process in processes.living()}


def test_a_stranger_and_the_default_password_are_refused(airflow_home):
    url = airflow.url(airflow_home)
    login = json.dumps({"username": "admin", "password": "admin"}).encode()
    for path, data in (("/api/v2/dags", None), ("/auth/token", login)):
        request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 401


def test_secrets_are_for_their_owner_only(airflow_home):
    for name in ("passwords.json", "jwt_secret", "secret_key", "fernet_key"):
        assert (airflow_home.home / "airflow" / name).stat().st_mode & 0o077 == 0
    assert len((airflow_home.home / "airflow" / "jwt_secret").read_text()) >= 64


def test_it_listens_on_this_machine_only(airflow_home):
    sockets = set()
    for process in processes.members(airflow.daemon(airflow_home).find().session):
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                sockets.add(found[1])
    listening = []
    for table in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        listening += [row[1] for row in rows if row[3] == "0A" and row[9] in sockets]
    port = ports.remembered(airflow_home.home)["airflow"]
    assert listening == [f"0100007F:{port:04X}"]


def test_airflows_own_command_works_in_the_home_as_it_runs(airflow_home, api):
    listed = succeed(airflow_home, "airflow", "dags", "list", "--output", "json")
    # Before it Airflow may write of what it has not found.
    assert "probe" in {dag["dag_id"] for dag in json.loads(listed.stdout.splitlines()[-1])}
    # Airflow of this home was started with another folder than the project's.
    config = succeed(airflow_home, "airflow", "config", "get-value", "core", "dags_folder")
    folder = config.stdout.splitlines()[-1]
    assert (Path(folder) / "probe.py").exists()


def test_arguments_of_airflow_are_its_own_and_so_is_its_exit_status(airflow_home):
    helped = succeed(airflow_home, "airflow", "dags", "list", "--help")
    assert "airflow dags list" in helped.stdout and "./warehouse" not in helped.stdout
    refused = command(airflow_home, "airflow", "dags", "nonsense", "--")
    assert refused.returncode == 2 and "nonsense" in refused.stderr and "warehouse:" not in refused.stderr


def test_without_a_database_of_airflow_a_line_says_what_to_do(airflow_home):
    with airflow._database(airflow_home) as cursor:
        cursor.execute("COMMENT ON DATABASE airflow IS NULL")
        try:
            done = command(airflow_home, "airflow", "dags", "list")
        finally:
            cursor.execute("COMMENT ON DATABASE airflow IS %s", (airflow._installed(),))
    assert done.returncode == 1 and done.stdout == ""
    assert f"Airflow's database of {airflow_home.home} was never prepared" in done.stderr and "make run" in done.stderr


def test_where_no_airflow_of_the_home_is_meant_a_line_says_so(tmp_path):
    home = {"WAREHOUSE_HOME": str(tmp_path)}
    with pytest.raises(NotRunning, match=f"PostgreSQL of {tmp_path} is not running; start it with `./warehouse up`"):
        airflow.run_command(Settings.load(home), ["dags", "list"])
    cloud = {"WAREHOUSE_PROJECT": "acme", "WAREHOUSE_LOCK_URL": "postgresql://locks/warehouse"}
    with pytest.raises(SettingsError, match="WAREHOUSE_PROJECT is acme: Airflow is your own there"):
        airflow.run_command(Settings.load(home | cloud), ["dags", "list"])


def test_a_start_while_it_runs_leaves_it_as_it_is(airflow_home):
    before = airflow.daemon(airflow_home).find()
    airflow.start(airflow_home, say=pytest.fail)
    assert airflow.daemon(airflow_home).find() == before


def test_what_airflow_refuses_is_one_line_with_its_reason(api):
    with pytest.raises(WarehouseError, match="refused POST .*/nothing/dagRuns with 404"):
        api.trigger("nothing")


def test_a_task_sees_the_home_and_the_imports_and_its_orphan_is_ended_before_its_retry(airflow_home, api, tmp_path):
    told = tmp_path / "told"
    run = api.trigger("probe", conf={"to": str(told)})
    first = Path(f"{told}.first")
    task, worker = map(int, eventually(lambda: first.exists() and first.read_text()).split())
    seen = json.loads(told.read_text())
    assert seen["WAREHOUSE_HOME"] == str(airflow_home.home)
    assert seen["imported"] == ["dbt.cli.main", "google.cloud.bigquery", "great_expectations"]

    os.kill(worker, signal.SIGKILL)
    eventually(lambda: gone(task), seconds=10)
    assert api.wait_for_run("probe", run, deadline_seconds=240) == "success"


def test_a_killed_scheduler_is_started_again_without_its_former_workers(airflow_home, api, tmp_path):
    (scheduler,) = of_session(airflow_home, "airflow_scheduler")
    workers = of_session(airflow_home, "LocalExecutor")
    assert workers
    os.kill(scheduler, signal.SIGKILL)
    eventually(lambda: all(map(gone, workers)), seconds=10)
    eventually(lambda: of_session(airflow_home, "LocalExecutor"), seconds=120)
    told = tmp_path / "told"
    Path(f"{told}.first").touch()
    assert api.wait_for_run("probe", api.trigger("probe", conf={"to": str(told)}), deadline_seconds=120) == "success"


def test_stop_leaves_no_process_and_no_port(airflow_home):
    session = airflow.daemon(airflow_home).find().session
    assert airflow.stop(airflow_home)
    assert processes.members(session) == []
    assert ports.is_free(ports.remembered(airflow_home.home)["airflow"])
    assert not airflow.stop(airflow_home)


def component(tmp_path, *command):
    return airflow_supervisor.Component("scheduler", list(command), tmp_path / "scheduler.log")


def test_what_ends_is_started_again_after_a_delay_that_grows(tmp_path, capsys):
    ending = component(tmp_path, "false")
    starts, now = [], 0.0
    while len(starts) < 4:
        before = ending.child
        ending.keep_running(now)
        if ending.child and ending.child is not before:
            starts.append(now)
            ending.child.wait()
        now += 0.5
    gaps = [later - earlier for earlier, later in zip(starts, starts[1:], strict=False)]
    assert gaps == sorted(gaps) and gaps[-1] >= 4 * airflow_supervisor.FIRST_DELAY_SECONDS
    assert "scheduler ended with 1" in capsys.readouterr().out


def test_what_ends_again_and_again_is_given_up_with_a_line_that_names_its_log(tmp_path):
    ending = component(tmp_path, "false")
    with pytest.raises(airflow_supervisor.GivenUp, match="scheduler died 6 times .* its log: .*scheduler.log"):
        for now in range(0, airflow_supervisor.DEATHS_SECONDS):
            ending.keep_running(float(now))
            if ending.child:
                ending.child.wait()
