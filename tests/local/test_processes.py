import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local import processes
from telemetry_warehouse.local.processes import Daemon

# Says that it is ready, and starts a child in a process group of its own, as Airflow's tasks are.
SERVER = """
import os, pathlib, signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], process_group=0)
pathlib.Path("ready").write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path, "server")
    yield daemon
    daemon.stop(grace_seconds=0)


def start(daemon, *arguments):
    daemon.start([sys.executable, "-c", SERVER, *arguments], (daemon.home / "ready").exists)


def test_a_started_daemon_is_found_and_leads_a_session_of_its_own(daemon):
    start(daemon)
    assert daemon.find().session == daemon.find().pid != os.getsid(0)


@pytest.mark.parametrize("how", ["obedient", "stubborn"])
def test_stop_leaves_nothing_of_its_session_behind(daemon, how):
    start(daemon, how)
    session = daemon.find().session
    assert len(processes.members(session)) == 2
    assert daemon.stop(grace_seconds=1)
    assert processes.members(session) == []
    assert daemon.find() is None and not daemon.stop()


def test_stop_ends_the_children_of_a_daemon_that_was_killed(daemon):
    start(daemon)
    session = daemon.find().session
    os.kill(daemon.find().pid, signal.SIGKILL)
    assert daemon.stop()
    assert processes.members(session) == []


def test_another_process_that_got_the_pid_is_neither_found_nor_killed(daemon):
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        try:
            stat = processes.Path(f"/proc/{other.pid}/stat").read_text().split()
            stat[21] = str(int(stat[21]) - 1)  # the recorded one started a tick earlier
            daemon.pid_file.parent.mkdir()
            daemon.pid_file.write_text(" ".join(stat))
            assert daemon.find() is None
            daemon.stop(grace_seconds=0)
            assert other.poll() is None
        finally:
            other.kill()


def test_one_that_dies_while_starting_is_one_line_with_its_last_words_and_its_log(daemon):
    with pytest.raises(WarehouseError, match="server stopped while starting .no room left; log: .*server.log"):
        daemon.start(["sh", "-c", "echo first; echo no room left; exit 3"], lambda: False)


def test_one_that_is_never_ready_is_stopped(daemon):
    with pytest.raises(WarehouseError, match="not ready in 0 s"):
        daemon.start(["sleep", "600"], lambda: False, deadline_seconds=0.3)
    assert daemon.find() is None


def someone_waits_for(file) -> bool:
    """Whether a lock on the file is asked for and not given, by proc_locks(5)."""
    inode = f":{file.stat().st_ino} "
    lines = processes.Path("/proc/locks").read_text().splitlines()
    return any(" -> " in line and inode in line for line in lines)


def test_a_second_command_waits_for_the_first(tmp_path):
    order = []

    def second():
        with processes.only_one(tmp_path):
            order.append("second")

    with processes.only_one(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        while not someone_waits_for(tmp_path / ".lock"):
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
