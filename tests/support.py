"""What tests of several rooms need: days, checksums and the rows of a warehouse."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pkgutil import resolve_name

import pytest

from telemetry_warehouse import cli, lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.tables import Table
from tests.conftest import environment_of


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


@dataclass(frozen=True)
class Point:
    """A moment of a command's work: the `nth` call of a function, or its return, as the place that calls it names it.

    Given `sql`, only calls that return a BigQuery job with this in its text count.
    """

    function: str  # module:name or module:Class.name
    after: bool = False
    nth: int = 1
    sql: str | None = None

    def install(self, reached: Callable[[], None]) -> None:
        """Lets `reached` be called at this moment, in this process."""
        place, _, name = self.function.replace(":", ".").rpartition(".")
        owner, wrapped = resolve_name(place), resolve_name(self.function)
        calls = 0

        @functools.wraps(wrapped)
        def stopping(*arguments, **options):
            nonlocal calls
            if not self.after:
                calls += 1
                if calls == self.nth:
                    reached()
                return wrapped(*arguments, **options)
            given = wrapped(*arguments, **options)
            if self.sql is None or self.sql in given.query:
                calls += 1
                if calls == self.nth:
                    reached()
            return given

        setattr(owner, name, stopping)


def sent(sql: str, nth: int = 1) -> Point:
    """Where BigQuery has been sent the nth query with this in its text, works on it, and its asker is about to wait."""
    return Point("google.cloud.bigquery._job_helpers:query_jobs_insert", after=True, nth=nth, sql=sql)


class Command:
    """A command in a process of its own, forked from one that has imported what commands use, which takes longer than
    most of them do. Like subprocess.Popen with text pipes, as far as tests need it. It stops at `stop_at`, if given."""

    def __init__(
        self,
        run: Callable[..., object],
        arguments: Iterable[str],
        environment: Mapping[str, str],
        stop_at: Point | None = None,
    ):
        forked = _forkserver()
        (out, their_out), (err, their_err) = forked.Pipe(duplex=False), forked.Pipe(duplex=False)
        self._stop, their_stop = forked.Pipe()
        work = (run, [*arguments], dict(environment), their_out, their_err, stop_at, their_stop)
        # As a daemon it does not outlive this process, which would otherwise wait for it.
        self._process = forked.Process(target=_run, args=work, daemon=True)
        self._process.start()
        their_out.close(), their_err.close(), their_stop.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno()), "r") for end in (out, err))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait_until_stopped(self) -> None:
        """Returns when it stands at its point; fails where it has ended without having come there."""
        try:
            self._stop.recv()
        except EOFError:
            out, err = self.communicate()
            pytest.fail(f"it never came to its point:\n{out[-2000:]}{err[-2000:]}")

    def go_on(self) -> None:
        """Lets it go on from its point."""
        self._stop.send(None)

    def kill_at_its_point(self) -> None:
        """Kills it where it is to stop, and waits until it is gone."""
        self.wait_until_stopped()
        self.kill()
        self.communicate()
        assert self.returncode == -signal.SIGKILL

    def communicate(self) -> tuple[str, str]:
        """What is left of its output and its errors, once it has ended."""
        with ThreadPoolExecutor(1) as beside, self.stdout, self.stderr:
            errors = beside.submit(self.stderr.read)
            said = self.stdout.read(), errors.result()
        self._process.join()
        return said


@functools.cache
def _forkserver() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    with pytest.MonkeyPatch.context() as patch:
        # The server looks for what it imports here alone, and says nothing of what it does not find.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def _run(run, arguments, environment, out, err, stop_at: Point | None, stop: Connection) -> None:
    for end, number in ((out, 1), (err, 2)):
        os.dup2(end.fileno(), number)
        end.close()
    os.environ.clear()
    os.environ.update(environment)
    if stop_at:
        stop_at.install(lambda: (stop.send(None), stop.recv()))
    sys.exit(run(arguments))


def command(settings: Settings, *arguments: object) -> subprocess.CompletedProcess:
    """`./warehouse ARGUMENTS` in a process of its own, whatever becomes of it."""
    process = begin(settings, *arguments)
    out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def begin(settings: Settings, *arguments: object, stop_at: Point | None = None, **environment: object) -> Command:
    """`./warehouse ARGUMENTS` in a process that goes on by itself, until it ends or comes to `stop_at`."""
    variables = environment_of(settings) | {name: str(value) for name, value in environment.items()}
    return Command(cli.main, map(str, arguments), variables, stop_at)


def succeed(settings: Settings, *arguments: object) -> subprocess.CompletedProcess:
    """`./warehouse ARGUMENTS`, which must not fail."""
    done = command(settings, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def load_rows(warehouse: Warehouse, table_id: str, rows: Iterable[dict]) -> None:
    """Appends rows to a table that is there, by the columns that it has."""
    dataset, name = table_id.split(".")
    there = Table(dataset, name, tuple(warehouse.client.get_table(table_id).schema))
    warehouse.load_rows(there, rows)


def wait_for_jobs(warehouse: Warehouse) -> None:
    """Returns when nothing runs any more, not even what a killed command has left to BigQuery."""
    while any(warehouse.client.list_jobs(state_filter="running")):
        time.sleep(0.05)


def checksum(warehouse: Warehouse, table: str, condition: str = "TRUE") -> tuple[int, str]:
    """(rows, digest) of a table's rows whatever their order."""
    [found] = warehouse.rows(
        "SELECT COUNT(*) AS n, TO_HEX(MD5(IFNULL(STRING_AGG(digest, '' ORDER BY digest), ''))) AS digest"
        f" FROM (SELECT TO_HEX(MD5(TO_JSON_STRING(t))) AS digest FROM {table} AS t WHERE {condition})"
    )
    return found["n"], found["digest"]


def checksums(warehouse: Warehouse, first: date, last: date) -> dict[str, tuple[int, str]]:
    """The checksum of every table that the night builds, over the days first..last (all rows where it has no days)."""
    found = {}
    for step in lineage.load(warehouse.settings).steps:
        table = stages.definition(warehouse, step)
        condition = f"{table.day} BETWEEN '{first}' AND '{last}'" if table.partition_field else "TRUE"
        found[table.id] = checksum(warehouse, table.id, condition)
    return found
