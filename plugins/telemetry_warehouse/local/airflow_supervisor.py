"""Keeps Airflow's three processes running: restarts what dies, and takes with it what it left behind.

Run as a daemon by `airflow.py`. A killed scheduler, or executor worker, leaves task processes that go on beside their
own retry. Such orphans come to this process, which is their subreaper (prctl(2)), and are killed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from telemetry_warehouse.local.processes import living

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
COMPONENTS = {
    "scheduler": [sys.executable, "-P", "-m", "telemetry_warehouse.local.airflow_scheduler"],
    "dag-processor": [AIRFLOW, "dag-processor"],
    "api-server": [AIRFLOW, "api-server"],
}
POLL_SECONDS = 0.5
GRACE_SECONDS = 5
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1, 30
# More deaths than this within the time mean that a restart does not help.
MOST_DEATHS, DEATHS_SECONDS = 5, 300
PR_SET_CHILD_SUBREAPER = 36


class GivenUp(Exception):
    """A component dies again and again."""


@dataclass
class Component:
    name: str
    command: list[str]
    log: Path
    child: subprocess.Popen | None = None
    deaths: list[float] = field(default_factory=list)
    start_at: float = 0.0

    def keep_running(self, now: float) -> None:
        """Starts it, or starts it again when its delay is over. Raises GivenUp."""
        if self.child and self.child.poll() is not None:
            self.deaths = [death for death in self.deaths if now - death < DEATHS_SECONDS] + [now]
            if len(self.deaths) > MOST_DEATHS:
                raise GivenUp(
                    f"{self.name} died {len(self.deaths)} times in {DEATHS_SECONDS} s, giving up; its log: {self.log}"
                )
            delay = min(FIRST_DELAY_SECONDS * 2 ** (len(self.deaths) - 1), LONGEST_DELAY_SECONDS)
            say(f"{self.name} ended with {self.child.returncode}, starting it again in {delay} s; its log: {self.log}")
            self.child, self.start_at = None, now + delay
        if self.child is None and now >= self.start_at:
            with self.log.open("ab") as log:
                self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            say(f"{self.name} started, pid {self.child.pid}")


def supervise(components: list[Component]) -> None:
    """Until TERM; raises GivenUp. Nothing of Airflow is left running either way."""
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        while not stopping:
            for component in components:
                component.keep_running(time.monotonic())
            end_orphans({component.child.pid for component in components if component.child})
            time.sleep(POLL_SECONDS)
    finally:
        end([component.child for component in components if component.child])
        say("stopped")


def end_orphans(own: set[int]) -> None:
    """Kills and waits for what was left to this process by its own children."""
    for process in living():
        if process.parent == os.getpid() and process.pid not in own:
            say(f"ending pid {process.pid}, left behind by a process that died")
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, 0)


def end(children: list[subprocess.Popen]) -> None:
    """TERM, and KILL after the grace. What they leave behind is ended too, generation by generation."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    while any(process.parent == os.getpid() for process in living()):
        end_orphans(set())


def say(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def main() -> None:
    logs = Path(sys.argv[1])
    components = [Component(name, command, logs / f"airflow-{name}.log") for name, command in COMPONENTS.items()]
    try:
        supervise(components)
    except GivenUp as error:
        say(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
