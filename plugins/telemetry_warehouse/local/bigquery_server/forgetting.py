"""What BigQuery forgets in time is forgotten here too: results, expired tables, snapshots, jobs."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import reopening

RESULTS = timedelta(days=1)
TIME_TRAVEL = timedelta(days=7)
# Longer than Pub/Sub keeps a message (31 days at most): a batch that comes again finds the job that has loaded it.
JOBS = timedelta(days=32)
# Files that no snapshot names any more may still be read by a query that began with the last one that did.
_READING = timedelta(hours=1)
_EVERY_SECONDS = 3600
_WITHOUT_ROOM_EVERY_SECONDS = 60
# Rows that are streamed, without a job, are committed sooner.
_COMMITTING = timedelta(minutes=1)
# A file that nobody has added to for so long is not part of a job to come.
_SENDING = timedelta(days=1)

_pool = ThreadPoolExecutor(1, "forgetting")
_forgetting = threading.Lock()
_began: float | None = None


def forget_after_jobs() -> None:
    """At the end of a job, for without jobs there is nothing to forget; its asker does not wait for it."""
    from local_bigquery.jobs import runner

    execute = runner._execute

    def execute_then_forget(*args):
        execute(*args)
        if (reopening.count_job() or _is_due(_EVERY_SECONDS)) and not _forgetting.locked():
            _pool.submit(_in_turn, _EVERY_SECONDS)

    runner._execute = execute_then_forget


def make_room() -> None:
    """Forgets because the disk is full, unless that was just done."""
    if _is_due(_WITHOUT_ROOM_EVERY_SECONDS):
        _in_turn(_WITHOUT_ROOM_EVERY_SECONDS)


def _is_due(seconds: float) -> bool:
    return _began is None or time.monotonic() - _began > seconds


def _in_turn(seconds: float) -> None:
    """Forgets where that was not done for so many seconds, and opens the database anew where it is time to."""
    global _began
    with _forgetting:
        if _is_due(seconds):
            _began = time.monotonic()
            forget(datetime.now(UTC))
        try:
            if reopening.is_time():
                reopening.reopen()
        except Exception:
            logging.exception("the database could not be opened anew")


def forget(now: datetime) -> None:
    """Drops all that is too old at `now`. What one step cannot do keeps no other from it, on a full disk for one."""
    with reopening.using():
        for step in (_results, _expired, _jobs, _transfers, _snapshots, _files):
            try:
                step(now)
            except Exception:
                logging.exception("what is old was not all forgotten; the next time tries again")


def _results(now: datetime) -> None:
    from bookkeeping import jobs_in_memory
    from local_bigquery.catalog import tables
    from local_bigquery.engine import database
    from local_bigquery.jobs import runner

    oldest = _milliseconds(now - RESULTS)
    kept = {*database.fetch("SELECT project_id, job_id FROM emulator.jobs WHERE creation_time > ?", [oldest])}
    kept |= runner._running.keys()
    kept |= {key for key, job in list(jobs_in_memory.items()) if int(job.statistics.creationTime) > oldest}
    found = database.fetch(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'emulator' AND schema_name = $1", [tables.RESULTS]
    )
    for project, _, job in (name.partition(":") for (name,) in found):
        if (project, job) not in kept:
            database.execute(f"DROP TABLE IF EXISTS {tables.name(project, tables.RESULTS, job)}")
    for name in list(database._writers):
        if len(name) == 3 and name[1] == tables.RESULTS and not database._writers[name].locked():
            del database._writers[name]


def _expired(now: datetime) -> None:
    from local_bigquery.catalog import metadata, tables
    from local_bigquery.models import Table

    for table in metadata.list_(Table):
        key = tables.reference(table.tableReference)
        # It is dropped as soon as it is looked at, where it has expired by the clock.
        if table.expirationTime and int(table.expirationTime) <= _milliseconds(now) and tables.exists(*key):
            tables.delete(*key)


def _jobs(now: datetime) -> None:
    from local_bigquery.engine import database

    database.execute("DELETE FROM emulator.jobs WHERE creation_time < ?", [_milliseconds(now - JOBS)])


def _snapshots(now: datetime) -> None:
    """The newest before the limit stays: it is what the tables were at the limit, and for a while after."""
    from local_bigquery.engine import database

    for project in list(database._attached):
        snapshots = f"{database.quote(f'__ducklake_metadata_{project}')}.ducklake_snapshot"
        before = f"snapshot_time <= {_literal(now - TIME_TRAVEL)}"
        [(kept,)] = database.fetch(f"SELECT max(snapshot_time)::VARCHAR FROM {snapshots} WHERE {before}")
        if kept:
            _call("ducklake_expire_snapshots", project, f"TIMESTAMPTZ '{kept}'")


def _files(now: datetime) -> None:
    """Those that no snapshot names any more, and those that a job has left which failed or was killed."""
    from bookkeeping import jobs_in_memory
    from local_bigquery.engine import database, sessions
    from local_bigquery.jobs import runner

    running = [int(jobs_in_memory[key].statistics.creationTime) for key in list(runner._running)]
    began = min([_milliseconds(datetime.now(UTC)), *running])
    for project in list(database._attached):
        _call("ducklake_cleanup_old_files", project, _literal(now - _READING))
        # A session may have written what it has not committed yet.
        if not sessions._sessions:
            oldest = datetime.fromtimestamp(began / 1000, UTC) - _COMMITTING
            _call("ducklake_delete_orphaned_files", project, _literal(oldest))


def _call(function: str, project: str, older_than: str) -> None:
    from local_bigquery.engine import database

    name = project.replace("'", "''")
    # Counted, so that all of it is done.
    database.fetch(f"SELECT count(*) FROM {function}('{name}', older_than => {older_than})")


def _transfers(now: datetime) -> None:
    """What is known of rows that are read or sent in several requests, of which nobody says when they are over."""
    from local_bigquery.api import uploads
    from local_bigquery.grpc import read
    from local_bigquery.settings import settings

    for name, stream in list(read._streams.items()):
        if stream.made < now - read.SESSION_LIFETIME:
            read._streams.pop(name, None)
    for file in settings.data_dir.glob("uploads/*"):
        if datetime.fromtimestamp(file.stat().st_mtime, UTC) < now - _SENDING:
            uploads._resumable.pop(file.name, None)
            file.unlink(missing_ok=True)


def note_when_a_stream_was_made() -> None:
    from local_bigquery.grpc import read

    make = read._stream

    def make_with_time(name, stream):
        stream.made = datetime.now(UTC)
        return make(name, stream)

    read._stream = make_with_time


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _literal(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.isoformat(sep=' ')}'"


ALL = (
    forget_after_jobs,
    note_when_a_stream_was_made,
)
