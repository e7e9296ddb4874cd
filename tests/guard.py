"""`python -m tests.guard FOLDER`: ends what a test run has started and left running, however the run ended.

A run makes its homes in a folder of its own and names the folder in the environment of all that it starts. The guard
waits until its standard input closes, which a killed run does too, ends those processes and removes the folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from telemetry_warehouse.local.processes import POLL_SECONDS, living
from telemetry_warehouse.settings import ROOT

VARIABLE = "TELEMETRY_TEST_RUN"
# PostgreSQL's quick end, after which it leaves no shared memory behind; then it is killed like all others.
_GRACE_SECONDS = 5


class Guard:
    """The guard of this process, and the folder of its run."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="warehouse-tests-"))
        self.folder.chmod(0o711)  # PostgreSQL's own user, where root runs the tests, passes through it
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT)])}
        environment.pop(VARIABLE, None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.guard", self.folder],
            stdin=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # what is sent to the run's whole group must not end it
        )
        os.environ[VARIABLE] = str(self.folder)

    def end(self) -> None:
        """Ends what is left of the run but this process, and waits for it."""
        self._process.stdin.close()
        self._process.wait()


def of_run(folder: Path) -> list[int]:
    """The processes that a run has started, wherever they moved to."""
    return [process.pid for process in living() if _is_of_run(process.pid, folder)]


def _is_of_run(pid: int, folder: Path) -> bool:
    # PostgreSQL, as a user of its own, may have another environment; its first process names its folder.
    try:
        return f"{VARIABLE}={folder}" in _words(pid, "environ") or (
            _is_postgres(pid) and any(word.startswith(f"{folder}/") for word in _words(pid, "cmdline"))
        )
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _is_resource_tracker(pid: int) -> bool:
    """Python's own: it ends with the process that it works for, which would otherwise complain."""
    try:
        return any("multiprocessing.resource_tracker" in word for word in _words(pid, "cmdline"))
    except (FileNotFoundError, ProcessLookupError):
        return False


def _words(pid: int, file: str) -> list[str]:
    return os.fsdecode(Path(f"/proc/{pid}/{file}").read_bytes()).split("\0")


def _is_postgres(pid: int) -> bool:
    return Path(_words(pid, "cmdline")[0]).name.startswith("postgres")


def _end(pid: int, *, at_once: bool) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(pid, signal.SIGQUIT if _is_postgres(pid) and not at_once else signal.SIGKILL)


def main() -> None:
    folder, run = Path(sys.argv[1]), os.getppid()
    sys.stdin.buffer.read()
    quick_until = time.monotonic() + _GRACE_SECONDS
    while left := [pid for pid in of_run(folder) if pid != run and not _is_resource_tracker(pid)]:
        for pid in left:
            _end(pid, at_once=time.monotonic() > quick_until)
        time.sleep(POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
