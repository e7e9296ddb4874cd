"""One writer per table: an advisory lock in PostgreSQL.

The lock is a session's own, so that it is free at once when its holder dies. A holder that was only cut off from
PostgreSQL does not know that it lost the lock; the token that it left in BigQuery does (gates/publish.py): tokens only
grow, each holder leaves one before it builds, and the publish transaction refuses where a larger one is there.
"""

import hashlib
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import psycopg2.extensions

from telemetry_warehouse.errors import Busy, NotRunning
from telemetry_warehouse.settings import Settings

_POLL_SECONDS = 0.5
# Far more than the lock server needs for an answer.
_ANSWER_SECONDS = 60


@contextmanager
def table_lock(settings: Settings, table_id: str, holder: str, wait_seconds: float = 600) -> Iterator[None]:
    """Holds the table's lock for the block.

    Raises Busy naming the holder where the lock was not free within `wait_seconds`, NotRunning where PostgreSQL
    cannot be reached.
    """
    key = int.from_bytes(hashlib.sha256(table_id.encode()).digest()[:8], signed=True)
    with _answering():
        # A plain connection waits for a server that has stopped answering for ever.
        connection = psycopg2.connect(settings.postgres_url, application_name=f"warehouse {holder}"[:63], async_=True)
        _wait(connection)
    try:
        with connection.cursor() as cursor:
            with _answering():
                _acquire(cursor, key, table_id, wait_seconds)
            yield
    finally:
        connection.close()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except psycopg2.OperationalError as error:
        line = str(error).splitlines()[0]
        raise NotRunning(f"the lock server does not answer: {line}; check WAREHOUSE_LOCK_URL") from None


def _wait(connection) -> None:
    """Returns when the server has answered; raises OperationalError where it does not."""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        sides = ([connection], []) if state == psycopg2.extensions.POLL_READ else ([], [connection])
        if not any(select.select(*sides, [], _ANSWER_SECONDS)):
            raise psycopg2.OperationalError(f"no answer within {_ANSWER_SECONDS} s")


def _ask(cursor, sql: str, parameters: list) -> tuple | None:
    """The first row of the answer."""
    cursor.execute(sql, parameters)
    _wait(cursor.connection)
    return cursor.fetchone()


def _acquire(cursor, key: int, table_id: str, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        if _ask(cursor, "SELECT pg_try_advisory_lock(%s)", [key])[0]:
            return
        if time.monotonic() >= deadline:
            raise Busy(
                f"{table_id} is being written by {_holder(cursor, key)}; waited {wait_seconds:.0f} s for it to finish"
            )
        time.sleep(_POLL_SECONDS)


def _holder(cursor, key: int) -> str:
    row = _ask(
        cursor,
        "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = %s",
        [key],
    )
    return row[0] if row else "a holder that has just left"
