"""A test run that is ended from outside leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from telemetry_warehouse.local import processes
from telemetry_warehouse.settings import ROOT

# Each file is another worker's. It says which processes work for it, and takes for ever.
TESTS = """
import json, os, signal
from pathlib import Path
from telemetry_warehouse.local import standins
from tests.conftest import environment_of
from tests.support import Command

def test_that_never_ends(warehouse_home):
    command = Command(signal.sigwait, [signal.SIGUSR1], environment_of(warehouse_home))
    servers = [row.pid for row in standins.status(warehouse_home) if row.pid]
    assert len(servers) == 3
    told = Path(__file__).with_suffix(".new")
    told.write_text(json.dumps([str(warehouse_home.home), [os.getpid(), command.pid, *servers]]))
    told.rename(told.with_suffix(".json"))
    signal.pause()
"""


def begin_run(folder: Path, workers: int) -> subprocess.Popen:
    for number in range(max(workers, 1)):
        (folder / f"test_{number}.py").write_text(TESTS)
    # The options stand after the file's own: `-p` names a plugin, which is what this project's conftest is here.
    line = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-p", "tests.conftest", folder]
    line += ["-p", "no:cacheprovider", "--basetemp", folder / "temp", "--dist", "loadscope", "-n", str(workers)]
    with (folder / "said").open("w") as said:
        return subprocess.Popen(line, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)


def told(folder: Path, run: subprocess.Popen) -> list[tuple[Path, list[processes.Process]]]:
    """The home and the processes of each test file, once all of them wait to be ended."""
    files = [path.with_suffix(".json") for path in folder.glob("test_*.py")]
    while not all(file.exists() for file in files):
        assert run.poll() is None, (folder / "said").read_text()
        time.sleep(0.05)
    return [(Path(home), pids) for home, pids in (json.loads(file.read_text()) for file in files)]


def work_in(homes: list[Path]) -> list[str]:
    """The command lines of all that works in these homes, the processes of PostgreSQL among them."""
    found = []
    for process in processes.living():
        try:
            line = Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " ")
            place = os.readlink(f"/proc/{process.pid}/cwd")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # another user's
            place = ""
        if any(str(home) in line or str(home) in place for home in homes):
            found.append(line)
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_a_terminated_run_leaves_no_process_and_no_folder(tmp_path, workers):
    run = begin_run(tmp_path, workers)
    homes, pids = zip(*told(tmp_path, run), strict=True)
    assert len(work_in(homes)) > 3 * len(homes)
    run.send_signal(signal.SIGTERM)
    assert run.wait() == 143, (tmp_path / "said").read_text()
    assert work_in(homes) == []
    assert not {pid for of_file in pids for pid in of_file} & {process.pid for process in processes.living()}
    assert not any(home.parent.exists() for home in homes)


def test_a_killed_run_leaves_nothing_either(tmp_path):
    run = begin_run(tmp_path, 2)
    homes, _ = zip(*told(tmp_path, run), strict=True)
    run.kill()
    run.wait()
    # The guard outlives the run by as long as it takes to end all the others, and its folder goes last.
    while any(home.parent.exists() for home in homes):
        time.sleep(0.05)
    assert work_in(homes) == []
