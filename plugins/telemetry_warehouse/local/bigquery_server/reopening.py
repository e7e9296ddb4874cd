"""The database is opened anew from time to time, while nobody uses it: only that gives back all of its memory.

DuckLake keeps what it has read of the catalogue for every change of a definition, one to several megabytes each, until
the change is forgotten or DuckDB's instance is closed.
"""

import contextlib
import functools
import gc
import logging
import os
import shutil
import threading
from pathlib import Path

# Of a log that was not put into its database yet.
_MOST_LOG_BYTES = 16_000_000
# That may have changed definitions: some hundreds of megabytes.
_MOST_JOBS = 300
# What a checkpoint may need beside its logs: a block for each new result.
_CHECKPOINT_BYTES = 100_000_000
_BLOCK_BYTES = 16_384
_WAIT_SECONDS = 2

_changed = threading.Condition()
_uses = 0
_owner: int | None = None
_jobs = 0


@contextlib.contextmanager
def using():
    """For whoever has a cursor; waits while the database is opened anew. May be nested."""
    global _uses
    with _changed:
        while _owner not in (None, threading.get_ident()):
            _changed.wait()
        _uses += 1
    try:
        yield
    finally:
        with _changed:
            _uses -= 1
            _changed.notify_all()


@contextlib.contextmanager
def _alone():
    """Whether nobody used the database within a moment; for the block nobody begins to. Others go on meanwhile."""
    global _owner
    from local_bigquery.engine import sessions

    with _changed:
        # A session has a cursor from job to job.
        free = _changed.wait_for(lambda: not _uses and _owner is None, _WAIT_SECONDS) and not sessions._sessions
        _owner = threading.get_ident() if free else _owner
    try:
        yield free
    finally:
        if free:
            with _changed:
                _owner = None
                _changed.notify_all()


def count_who_uses_the_database() -> None:
    import duckdb
    from local_bigquery.engine import database, sessions
    from local_bigquery.jobs import runner
    from local_bigquery.settings import settings

    cursor, create, execute, connect = database.cursor, sessions.create, runner._execute, database._connect

    @contextlib.contextmanager
    def counted_cursor():
        with using(), cursor() as found:
            yield found

    def create_session(project_id):
        with using():
            return create(project_id)

    def execute_job(*args):
        with using():
            execute(*args)

    @functools.cache
    def connect_without_checkpoints():
        """A commit whose checkpoint finds no room has been made and says that it failed, and the database refuses
        everything from then on. So checkpoints are made by `reopen` alone, where there is room."""
        file = settings.data_dir / "emulator.duckdb"
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            # A result takes a block at least, of a quarter of a megabyte if nothing is said.
            with duckdb.connect() as scratch:
                scratch.execute(f"ATTACH '{file}' AS fresh (BLOCK_SIZE {_BLOCK_BYTES})")
        connection = connect.__wrapped__()
        connection.execute("SET checkpoint_threshold = '1TB'")
        return connection

    database.cursor, sessions.create, runner._execute = counted_cursor, create_session, execute_job
    database._connect = connect_without_checkpoints


def count_job() -> bool:
    """Counts a job that has ended; as `is_time`."""
    global _jobs
    with _changed:
        _jobs += 1
    return is_time()


def is_time() -> bool:
    """Whether enough has come together for the database to be opened anew."""
    return _jobs >= _MOST_JOBS or sum(log.stat().st_size for log in _files(".wal")) > _MOST_LOG_BYTES


def reopen() -> bool:
    """Closes the database and opens it again, unless somebody uses it or there is no room for a checkpoint."""
    global _jobs
    import duckdb
    from local_bigquery.engine import database
    from local_bigquery.settings import settings
    from local_bigquery.sql import js

    with _alone() as is_alone:
        room = shutil.disk_usage(settings.data_dir).free - 2 * sum(log.stat().st_size for log in _files(".wal"))
        if not is_alone or room < _CHECKPOINT_BYTES:
            return False
        connection, attached = database.connection(), ("emulator", *database._attached)
        with connection.cursor() as cursor:
            for name in attached:
                own = name if name == "emulator" else f"__ducklake_metadata_{name}"
                try:
                    cursor.execute(f"CHECKPOINT {database.quote(own)}")
                except duckdb.IOException as error:
                    # Its log has all that it lacks, and is read when it is opened.
                    logging.warning("%s", error)
            for name in attached:
                cursor.execute(f"DETACH {database.quote(name)}")
        connection.close()
        database._connect.cache_clear()
        database._attached.clear()
        # By the number of an object, which the next one may get.
        js._registered.clear()
        gc.collect()
        if held := _open_files() & {os.path.realpath(file) for file in _files()}:
            # Opened twice it would be written twice.
            logging.critical("%s could not be closed; stopping", ", ".join(held))
            os._exit(1)
        database.connection()
        _jobs = 0
    return True


def _files(suffix: str = "") -> list[Path]:
    from local_bigquery.settings import settings

    return [file for kind in ("duckdb", "ducklake") for file in settings.data_dir.glob(f"*.{kind}{suffix}")]


def _open_files() -> set[str]:
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(entry.path))
    return found


ALL = (count_who_uses_the_database,)
