"""Up, down, status, and what survives a kill, on real servers."""

import os
import signal
import socket
import subprocess
import sys
import time

import psycopg2
import pytest

from telemetry_warehouse.errors import SettingsError, WarehouseError
from telemetry_warehouse.local import ports, postgres, processes, standins
from telemetry_warehouse.settings import Settings
from tests.conftest import environment_of, temporary_home

UP = """
from telemetry_warehouse.local.standins import up
from telemetry_warehouse.settings import Settings
up(Settings.load())
"""


@pytest.fixture
def home():
    with temporary_home() as settings:
        yield settings


def pids(settings):
    return {row.name: row.pid for row in standins.status(settings) if row.pid}


def of_home(settings):
    """The command lines of every process that works in this home."""
    ours = []
    for process in processes.living():
        try:
            command = processes.Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(settings.home) in command:
            ours.append(command)
    return ours


def test_down_leaves_no_process_and_no_port_and_keeps_the_data(home):
    standins.up(home)
    client = Settings.load({"WAREHOUSE_HOME": str(home.home)}).bigquery_client()
    client.query_and_wait("CREATE SCHEMA kept; CREATE TABLE kept.t AS SELECT 7 AS n")
    assert len(pids(home)) == 3 and of_home(home)
    standins.down(home)
    assert pids(home) == {} and of_home(home) == []
    assert all(ports.is_free(port) for port in ports.remembered(home.home).values())
    assert not home.endpoints_file.exists()

    standins.up(home)
    assert [row.n for row in client.query_and_wait("SELECT n FROM kept.t")] == [7]


def test_two_ups_at_once_start_each_server_once_and_a_third_starts_nothing(home):
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", UP],
            env=environment_of(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [command.communicate(timeout=120) for command in commands]
    assert [command.returncode for command in commands] == [0, 0]
    assert sorted(len(out.splitlines()) for out, _ in said) == [0, 3]
    # gRPC, which one of them speaks, has nothing to do with the processes that it starts.
    assert not any("fork" in errors for _, errors in said)
    before = pids(home)
    standins.up(home, say=pytest.fail)
    assert pids(home) == before
    assert len([c for c in of_home(home) if "/bigquery_server" in c]) == 1


def test_up_starts_again_what_was_killed_and_committed_rows_are_there(home):
    standins.up(home)
    client = Settings.load({"WAREHOUSE_HOME": str(home.home)}).bigquery_client()
    client.query_and_wait("CREATE SCHEMA kept; CREATE TABLE kept.t AS SELECT 1 AS n")
    for number in range(2, 30):
        client.query_and_wait(f"INSERT INTO kept.t VALUES ({number})")
    with psycopg2.connect(Settings.load({"WAREHOUSE_HOME": str(home.home)}).postgres_url) as connection:
        connection.cursor().execute("CREATE TABLE kept (n int)")
        connection.commit()
    before = pids(home)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    while pids(home):
        time.sleep(0.1)

    standins.up(home)
    after = pids(home)
    assert after.keys() == before.keys() and not set(after.values()) & set(before.values())
    assert [row.n for row in client.query_and_wait("SELECT COUNT(*) AS n FROM kept.t")] == [29]
    with psycopg2.connect(Settings.load({"WAREHOUSE_HOME": str(home.home)}).postgres_url) as connection:
        connection.cursor().execute("SELECT * FROM kept")


def test_a_busy_port_is_said_and_nothing_is_left_running(home):
    port = ports.remembered(home.home)["pubsub"]
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        with pytest.raises(ports.PortBusy, match=f"port {port} .* pubsub .*held by another program"):
            standins.up(home)
    assert pids(home) == {} and of_home(home) == []


def test_where_one_server_cannot_start_the_others_are_stopped_again(home, monkeypatch):
    def broken(_home):
        raise WarehouseError("no disk")

    monkeypatch.setattr(postgres, "start", broken)
    with pytest.raises(WarehouseError, match="no disk"):
        standins.up(home)
    assert pids(home) == {} and of_home(home) == [] and not home.endpoints_file.exists()


def test_with_a_project_there_is_nothing_to_start_or_stop(tmp_path):
    cloud = {"WAREHOUSE_HOME": str(tmp_path), "WAREHOUSE_PROJECT": "p", "WAREHOUSE_LOCK_URL": "postgresql://h/d"}
    settings = Settings.load(cloud)
    said = []
    standins.up(settings, said.append)
    assert "WAREHOUSE_PROJECT is p" in said[0]
    with pytest.raises(SettingsError, match="WAREHOUSE_PROJECT is p"):
        standins.down(settings)
    assert standins.status(settings) == [] and not list(tmp_path.iterdir())


def test_another_pubsub_server_than_the_one_that_runs_is_refused(pubsub_home):
    runs = pubsub_home.pubsub_server
    other = {"google": "broker", "broker": "google"}[runs]
    changed = Settings.load({"WAREHOUSE_HOME": str(pubsub_home.home), "WAREHOUSE_PUBSUB_SERVER": other})
    with pytest.raises(WarehouseError, match=f"is {other} and .* runs the other server .{runs}."):
        standins.up(changed)


def test_down_where_nothing_ever_ran_makes_nothing(tmp_path):
    standins.down(Settings.load({"WAREHOUSE_HOME": str(tmp_path / "never")}))
    assert not (tmp_path / "never").exists()
