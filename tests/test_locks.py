import subprocess
import sys
import threading

import pytest

from telemetry_warehouse.errors import Busy, NotRunning
from telemetry_warehouse.locks import table_lock
from telemetry_warehouse.settings import Settings

HOLD = """
import sys, time
from telemetry_warehouse.locks import table_lock
from telemetry_warehouse.settings import Settings
with table_lock(Settings.load(), "derived.locked_v1", "the other process"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_waits_and_is_then_told_who_holds_the_table(warehouse_home):
    with (
        table_lock(warehouse_home, "derived.locked_v1", "night-2013-02-01"),
        pytest.raises(Busy, match="night-2013-02-01"),
        table_lock(warehouse_home, "derived.locked_v1", "backfill", wait_seconds=0.1),
    ):
        pass


def test_another_table_is_free_meanwhile(warehouse_home):
    with (
        table_lock(warehouse_home, "derived.locked_v1", "one"),
        table_lock(warehouse_home, "derived.other_v1", "two", wait_seconds=0),
    ):
        pass


def test_a_writer_gets_in_as_soon_as_the_holder_leaves(warehouse_home):
    entered = threading.Event()

    def wait():
        with table_lock(warehouse_home, "derived.locked_v1", "second"):
            entered.set()

    with table_lock(warehouse_home, "derived.locked_v1", "first"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(1)
    waiting.join(20)
    assert entered.is_set()


def test_the_lock_is_free_once_its_holder_is_killed(warehouse_home, warehouse_environment):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=warehouse_environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(Busy, match="the other process"),
        table_lock(warehouse_home, "derived.locked_v1", "me", wait_seconds=0),
    ):
        pass
    holder.kill()
    holder.wait()
    with table_lock(warehouse_home, "derived.locked_v1", "me", wait_seconds=20):
        pass


def test_a_lock_server_that_does_not_answer_is_one_clear_line():
    settings = Settings.load({"WAREHOUSE_LOCK_URL": "postgresql://127.0.0.1:1/nothing"})
    with pytest.raises(NotRunning, match="WAREHOUSE_LOCK_URL"), table_lock(settings, "d.t", "me"):
        pass
