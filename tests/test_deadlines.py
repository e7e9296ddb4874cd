"""Servers that are stopped, not dead: they take connections and never answer. Nothing may wait for them in silence."""

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from telemetry_warehouse import cli, dbt, deadlines, locks
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import NightUnfinished, NotRunning, WarehouseError
from telemetry_warehouse.landing import land, pull
from telemetry_warehouse.local import processes, standins
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.watch import watch

NOON = datetime(2024, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch):
    monkeypatch.setattr(deadlines, "REQUEST_SECONDS", 2)
    monkeypatch.setattr(deadlines, "RETRY_SECONDS", 1)
    monkeypatch.setattr(pull, "_ANSWER_SECONDS", 2)
    monkeypatch.setattr(locks, "_ANSWER_SECONDS", 1)


@contextlib.contextmanager
def stopped(settings, name: str) -> Iterator[str]:
    """The server does nothing for the block; gives the address that an error must name."""
    [server] = [row for row in standins.status(settings) if row.name == name]
    session = next(process.session for process in processes.living() if process.pid == server.pid)
    members = [process.pid for process in processes.members(session)]
    for pid in members:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield server.address
    finally:
        for pid in members:
            os.kill(pid, signal.SIGCONT)


def test_a_query_of_a_warehouse_that_hangs_names_it_and_the_next_one_works_again(warehouse_home):
    warehouse = Warehouse(warehouse_home)
    with stopped(warehouse_home, "bigquery") as address:
        for _ in range(2):
            with pytest.raises(NotRunning) as raised:
                warehouse.rows("SELECT 1 AS one")
            assert address.split(",")[0] in str(raised.value) and "run the command again" in str(raised.value)
    assert warehouse.rows("SELECT 1 AS one") == [{"one": 1}]


def test_a_read_session_and_a_stream_that_hang_are_errors(warehouse_home):
    warehouse = Warehouse(warehouse_home)
    client = warehouse_home.storage_client()
    table = warehouse.query("SELECT * FROM UNNEST(GENERATE_ARRAY(1, 10)) AS n")
    assert table.to_arrow(bqstorage_client=client).num_rows == 10
    rows = warehouse.client.query("SELECT 1 AS n").result()
    session = client.create_read_session(
        parent="projects/local",
        read_session={"table": f"projects/local/datasets/{rows._table.dataset_id}/tables/{rows._table.table_id}",
                      "data_format": "ARROW"},
        max_stream_count=1,
    )  # fmt: skip
    with stopped(warehouse_home, "bigquery"):
        with pytest.raises(NotRunning, match="CreateReadSession has not been answered"):
            client.create_read_session(parent="projects/local", read_session=session, max_stream_count=1)
        with pytest.raises(NotRunning, match="ReadRows has sent nothing"):
            list(client.read_rows(session.streams[0].name))


def test_watch_raises_its_alarm_where_the_warehouse_hangs(prepared_home):
    said = []
    with stopped(prepared_home, "bigquery") as address, pytest.raises(NightUnfinished) as raised:
        watch(Warehouse(prepared_home), NOON, said.append)
    assert address.split(",")[0] in str(raised.value) and "2024-03-01" in str(raised.value)
    assert any(line.startswith("notice: the night of 2024-03-01 is late") for line in said)


def test_dbt_ends_where_the_warehouse_hangs(prepared_home):
    with stopped(prepared_home, "bigquery"), pytest.raises(WarehouseError, match="has not answered within"):
        dbt.run_tests(prepared_home, date(2024, 3, 1), date(2024, 3, 1))


@pytest.mark.parametrize("until_empty", [True, False])
def test_a_pubsub_that_hangs_is_no_empty_one(warehouse_home, until_empty):
    warehouse = Warehouse(warehouse_home)
    publish(warehouse_home, [(b"{}", {"uri": "/submit/nobody/knows/1/x"})])
    with stopped(warehouse_home, "pubsub") as address:
        with pytest.raises(NotRunning) as raised:
            land(warehouse, until_empty=until_empty)
        assert address.split(" ")[0] in str(raised.value) and "stay there" in str(raised.value)
        with pytest.raises(NotRunning, match="0 messages are published"):
            publish(warehouse_home, [(b"{}", {})])
    assert land(warehouse, until_empty=True).failed


def test_a_lander_says_one_line_and_no_traceback_where_pubsub_dies(warehouse_home, capfd, monkeypatch):
    """Its server is gone when it has loaded a batch and is about to acknowledge it."""
    publish(warehouse_home, [(b"{}", {"uri": "/submit/nobody/knows/1/y"})])
    acknowledge = pull.Subscription.acknowledge
    with contextlib.ExitStack() as gone:

        def of_a_stopped_server(*arguments):
            gone.enter_context(stopped(warehouse_home, "pubsub"))
            acknowledge(*arguments)

        monkeypatch.setattr(pull.Subscription, "acknowledge", of_a_stopped_server)
        monkeypatch.setenv("WAREHOUSE_HOME", str(warehouse_home.home))
        monkeypatch.setenv("WAREHOUSE_PUBSUB_SERVER", warehouse_home.pubsub_server)
        assert cli.main(["land", "--until-empty"]) == 1
    monkeypatch.undo()
    err = capfd.readouterr().err
    assert err.startswith("warehouse: Pub/Sub at ") and err.count("\n") == 1, err


def test_a_lock_server_that_hangs_is_named(warehouse_home):
    with (
        stopped(warehouse_home, "postgres"),
        pytest.raises(NotRunning, match="the lock server does not answer"),
        locks.table_lock(warehouse_home, "a.table", "somebody"),
    ):
        pytest.fail("nobody gave the lock")
    with locks.table_lock(warehouse_home, "a.table", "somebody"):
        pass
