"""What the emulator forgets, and what it gives back of its memory, without a restart and after one."""

import os
import subprocess
from pathlib import Path

from telemetry_warehouse.local import servers

HERE = Path(__file__).parent
# For the scripts of tests/local/emulator, which run in the emulator's environment.
IN_EMULATOR = {
    "HOME": str(servers.EMULATOR / "home"),
    "PYTHONPATH": str(Path(servers.__file__).with_name("bigquery_server")),
}


def test_what_is_too_old_goes_and_nothing_else_does(tmp_path):
    for part in ("begin", "again"):
        ran = subprocess.run(
            [servers.EMULATOR / "bin" / "python", HERE / "emulator" / "forgets.py", tmp_path / "home", part],
            capture_output=True,
            text=True,
            env=os.environ | IN_EMULATOR,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
