"""On a full disk a job ends, with one line that says so, and the next one works as soon as there is room again."""

import errno
import functools
import logging
import os
import shutil
import sys
from pathlib import Path

# Nothing begins with less: the end of what runs must still be written down, and PostgreSQL stops where it cannot write.
LEAST_FREE_BYTES = 64_000_000
# Given up for what must be written down with no room left at all.
_RESERVE_BYTES = 1_000_000
_FULL = errno.ENOSPC, errno.EDQUOT


def is_full(error: BaseException) -> bool:
    """Whether something could not be written for want of room."""
    import duckdb

    if isinstance(error, duckdb.Error):
        return any(os.strerror(number) in str(error) for number in _FULL)
    return isinstance(error, OSError) and error.errno in _FULL


def refusal():
    """The error of a job that finds no room. BigQuery's `quotaExceeded` comes nearest: it blames no row and no SQL, and
    clients do not try again by themselves."""
    from local_bigquery.errors import BigQueryError
    from local_bigquery.settings import settings

    free, least = _free() / 1e6, LEAST_FREE_BYTES / 1e6
    return BigQueryError(
        "quotaExceeded",
        f"the disk of {settings.data_dir} is full: {free:,.1f} MB are free, and jobs begin with {least:,.0f} MB;"
        " nothing was published; free some space there and run it again",
    )


def require_room() -> None:
    """Raises `refusal()` where there is too little room to begin anything, even without what can be forgotten."""
    import forgetting

    if _free() < LEAST_FREE_BYTES:
        forgetting.make_room()
        if _free() < LEAST_FREE_BYTES:
            raise refusal()
    if not _reserve().exists() and _free() > 2 * _RESERVE_BYTES:
        _reserve().write_bytes(bytes(_RESERVE_BYTES))


def say_that_the_disk_is_full() -> None:
    """What found no room was an error in the SQL, or in the rows of a load, which a lander then takes for bad pings."""
    import contextlib

    import duckdb
    from local_bigquery import errors
    from local_bigquery.catalog import tabledata
    from local_bigquery.grpc import server
    from local_bigquery.jobs import load

    errors.STATUSES["quotaExceeded"] = (403, "RESOURCE_EXHAUSTED")
    server.CODES["quotaExceeded"] = server.grpc.StatusCode.RESOURCE_EXHAUSTED

    def put_into_words(convert):
        def converted(error, *context):
            return refusal() if is_full(error) else convert(error, *context)

        return converted

    for name in ("from_exception", "from_duckdb"):
        convert = getattr(errors, name)
        for module in list(sys.modules.values()):
            if getattr(module, name, None) is convert:
                setattr(module, name, put_into_words(convert))

    reading, insert = load._reading, tabledata._insert

    @contextlib.contextmanager
    def reading_with_room(locations):
        with reading(locations):
            try:
                yield
            except (duckdb.Error, OSError) as error:
                if is_full(error):
                    raise refusal() from error
                raise

    def insert_with_room(table, schema, rows):
        """Rows that are streamed are tried one by one after any error, and each is then said to be invalid."""
        failed = insert(table, schema, rows)
        if any(os.strerror(errno.ENOSPC) in error["message"] for row in failed for error in row["errors"]):
            raise refusal()
        return failed

    load._reading, tabledata._insert = reading_with_room, insert_with_room


def begin_nothing_without_room() -> None:
    """A table that was made and whose description found no room would be there without partitions, for good."""
    from local_bigquery.api import uploads
    from local_bigquery.catalog import datasets, tabledata, tables
    from local_bigquery.jobs import runner

    submit = runner.submit

    def with_room(begin):
        @functools.wraps(begin)
        def begun(*args, **kwargs):
            require_room()
            return begin(*args, **kwargs)

        return begun

    def submit_with_room(project_id, job_id, configuration, upload=None):
        try:
            if not configuration.dryRun:
                require_room()
            return submit(project_id, job_id, configuration, upload)
        except Exception:
            # Only a job removes the file that was sent with it.
            if upload:
                Path(upload).unlink(missing_ok=True)
            raise

    runner.submit = submit_with_room
    uploads._file = with_room(uploads._file)
    datasets.create, datasets.update = with_room(datasets.create), with_room(datasets.update)
    tables.create, tables.update = with_room(tables.create), with_room(tables.update)
    tabledata.insert_all = with_room(tabledata.insert_all)


def write_down_with_the_last_room() -> None:
    """A job that has filled the disk up to the last byte has a table to describe, and its own end to write down."""
    import duckdb
    from local_bigquery.catalog import metadata
    from local_bigquery.jobs import store

    def with_reserve(write):
        @functools.wraps(write)
        def written(*args):
            try:
                return write(*args)
            except duckdb.Error as error:
                if not is_full(error) or not _reserve().exists():
                    raise
            _reserve().unlink(missing_ok=True)
            return write(*args)

        return written

    metadata.save, metadata.delete = with_reserve(metadata.save), with_reserve(metadata.delete)
    store.save, store.delete = with_reserve(store.save), with_reserve(store.delete)


def end_every_job() -> None:
    """A job whose end could not be put into words, or not be written down, ran for ever."""
    from local_bigquery.errors import BigQueryError
    from local_bigquery.jobs import runner, store
    from local_bigquery.models import JobStatistics

    execute = runner._execute

    def execute_to_an_end(job, job_type, session, running, upload):
        key = job.jobReference.projectId, job.jobReference.jobId
        try:
            execute(job, job_type, session, running, upload)
        except Exception as error:
            logging.exception("job %s", key[1])
            failed = BigQueryError("dontRetry", f"Internal error: {error!r}")
            store.save(runner._done(job, JobStatistics.model_validate({job_type: {}}), failed))
        finally:
            runner._running.pop(key, None)

    runner._execute = execute_to_an_end


def _free() -> int:
    from local_bigquery.settings import settings

    return shutil.disk_usage(settings.data_dir).free


def _reserve() -> Path:
    from local_bigquery.settings import settings

    return settings.data_dir / "reserve"


ALL = (
    say_that_the_disk_is_full,
    begin_nothing_without_room,
    write_down_with_the_last_room,
    end_every_job,
)
