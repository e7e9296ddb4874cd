"""Start and stop servers that outlive the command that started them. Linux only: it reads /proc.

A daemon is the leader of a session of its own. Everything it starts stays in that session, even what moves to a
process group of its own (Airflow's tasks do), so the session is what is stopped.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local.home import make_home

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """One process as /proc/PID/stat describes it; (pid, started) names it for as long as the machine runs."""

    pid: int
    session: int
    started: int  # clock ticks since the machine started
    parent: int = field(compare=False)  # changes when the parent dies


@dataclass(frozen=True)
class Daemon:
    """A server of a home: its log is HOME/logs/NAME.log, its pid file HOME/run/NAME.stat."""

    home: Path
    name: str

    @property
    def log(self) -> Path:
        return self.home / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.home / "run" / f"{self.name}.stat"

    def find(self) -> Process | None:
        """The running process, or None. A process that got the same pid later is not it."""
        try:
            recorded = _parse(self.pid_file.read_text())
        except FileNotFoundError:
            return None
        return recorded if recorded and _read(recorded.pid) == recorded else None

    def start(
        self,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        *,
        env: Mapping[str, str] = os.environ,
        deadline_seconds: float = 60,
    ) -> None:
        """Starts it and waits until `ready()`. Raises WarehouseError with the log's path and last line when it dies
        or is not ready in time; then nothing of it is left running."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        # The child itself writes its pid file, before it becomes the server: nothing can be started and not recorded.
        record_then_run = 'cat /proc/$$/stat > "$0" && exec "$@"'
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                ["/bin/sh", "-c", record_then_run, self.pid_file, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(env),
                cwd=self.home,
                start_new_session=True,
            )
        deadline = time.monotonic() + deadline_seconds
        while not ready():
            if child.poll() is not None:
                self.stop(grace_seconds=0)
                raise WarehouseError(f"{self.name} stopped while starting ({self._last_words()})")
            if time.monotonic() > deadline:
                self.stop(grace_seconds=1)
                raise WarehouseError(f"{self.name} was not ready in {deadline_seconds:.0f} s ({self._last_words()})")
            time.sleep(POLL_SECONDS)

    def stop(self, grace_seconds: float = 8) -> bool:
        """TERM to its session, KILL to what is left after the grace, and waits until all is gone. Whether
        something ran."""
        try:
            recorded = _parse(self.pid_file.read_text())
        except FileNotFoundError:
            return False
        ran = False
        # Where the leader died its children may live on, and keep the number from being used again. Once all are gone
        # it can be the pid of another program: one that started at another time.
        if recorded and _read(recorded.pid) in (None, recorded):
            ran = stop_session(recorded.session, grace_seconds)
        self.pid_file.unlink(missing_ok=True)
        return ran

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"{lines[-1].strip() if lines else 'it said nothing'}; log: {self.log}"


def stop_session(session: int, grace_seconds: float) -> bool:
    """Ends every process of a session; whether there was one. Returns when none is left."""
    if not members(session):
        return False
    _signal_all(session, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while members(session):
        if time.monotonic() > deadline:
            _signal_all(session, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    return True


def members(session: int) -> list[Process]:
    """The living processes of a session."""
    return [process for process in living() if process.session == session]


def living() -> list[Process]:
    """Every process of the machine that runs."""
    found = (_read(int(entry.name)) for entry in os.scandir("/proc") if entry.name.isdigit())
    return [process for process in found if process]


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keeps two commands that start or stop servers of one home apart; the second waits. Makes the home where it is
    missing; raises WarehouseError for a folder that is none."""
    make_home(home)
    with (home / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _signal_all(session: int, number: int) -> None:
    for process in members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _read(pid: int) -> Process | None:
    try:
        return _parse(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parse(stat: str) -> Process | None:
    """One line of /proc/PID/stat (proc(5)); None for a zombie, which nobody has waited for yet, and for a line cut
    short by a full disk."""
    pid, _, rest = stat.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return Process(int(pid), session=int(fields[3]), started=int(fields[19]), parent=int(fields[1]))
