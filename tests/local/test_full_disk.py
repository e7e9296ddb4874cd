"""A disk that is full: what has no room ends and says so, nothing is half done, and with room again it works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry_warehouse.local.servers import EMULATOR
from tests.local.test_forgetting import IN_EMULATOR

HERE = Path(__file__).parent
# In a namespace of its own, a mount is gone with the processes that see it, however they end.
AS_ROOT, AS_ANYBODY = ["--mount"], ["--user", "--map-current-user", "--keep-caps", "--mount"]


@pytest.fixture
def small(tmp_path):
    """Runs a command in a shell that has made `tmp_path` a file system of so many megabytes."""

    def run(megabytes: int, *command: object, **environment: str) -> subprocess.CompletedProcess:
        mount = f"mount -t tmpfs -o size={megabytes}m,mode=755 tmpfs {tmp_path}"
        options = AS_ROOT if os.geteuid() == 0 else AS_ANYBODY
        shell = ["unshare", *options, "sh", "-c", f'{mount} || exit 77; "$@"', "sh"]
        ran = subprocess.run(
            [*shell, *map(str, command)], capture_output=True, text=True, env=os.environ | environment
        )
        if ran.returncode == 77 or "unshare:" in ran.stderr:
            pytest.skip(f"this machine lets nobody mount a small file system: {ran.stderr.strip()}")
        assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
        return ran

    return run


def test_whatever_a_full_disk_lets_a_job_do_is_said_and_is_on_the_disk(small, tmp_path):
    python, script = EMULATOR / "bin" / "python", HERE / "emulator" / "on_a_full_disk.py"
    both = f'mkdir {tmp_path}/home; for part in begin again; do "$@" {tmp_path}/home $part || exit 1; done'
    small(40, "sh", "-c", both, "sh", python, script, **IN_EMULATOR)


def test_landing_building_and_publishing_on_a_full_disk(small, tmp_path):
    """The tests of small_disk.py."""
    options = ["-q", "-p", "no:cacheprovider"]
    small(256, sys.executable, "-m", "pytest", *options, HERE / "small_disk.py", SMALL_DISK=str(tmp_path))
