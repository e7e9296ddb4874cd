"""`FOLDER begin`: what the emulator has forgotten after some days, and what it has not; `FOLDER again`: that it does so
by itself, with its first job."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import forgetting
import inside
import reopening
from inside import page, rows, run
from local_bigquery.catalog import tables
from local_bigquery.engine import database
from local_bigquery.errors import BigQueryError

home = inside.begin(sys.argv[1])
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEPT = "SELECT CAST(n AS STRING) FROM d.kept"


def is_refused(question, why: str) -> bool:
    """Whether it fails, and says so in these words."""
    try:
        question()
    except BigQueryError as error:
        return why in error.message
    return False


def cell(sql: str) -> str:
    [row] = rows(sql)
    return row


def as_of(moment: datetime) -> str:
    return f"{KEPT.replace('d.kept', 'd.changing')} FOR SYSTEM_TIME AS OF TIMESTAMP '{moment.isoformat()}'"


def files(folder: str = "") -> int:
    return sum(1 for _ in (home / "local" / folder).rglob("*.parquet"))


def results_kept() -> int:
    [(count,)] = database.fetch("SELECT count(*) FROM duckdb_tables() WHERE schema_name = ?", [tables.RESULTS])
    return count


def forgets_results() -> None:
    asked = run("SELECT n FROM UNNEST([1, 2, 3]) AS n ORDER BY n")
    assert len(page(asked, most=1)) == 1
    forgetting.forget(datetime.now(UTC) + DAY - HOUR)
    assert len(page(asked, start=1)) == 2
    forgetting.forget(datetime.now(UTC) + DAY + HOUR)
    assert is_refused(lambda: page(asked), "Not found: Table local:_results.")
    assert not results_kept() and not [name for name in database._writers if "_results" in name]


def forgets_what_has_expired() -> None:
    expiring = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 7 DAY))"
    run("CREATE TABLE d.kept AS SELECT 1 AS n")
    run(f"CREATE TABLE d.candidate {expiring} AS SELECT 2 AS n")
    run(f"CREATE VIEW d.beside {expiring} AS SELECT n FROM d.candidate")
    forgetting.forget(datetime.now(UTC) + 7 * DAY - HOUR)
    assert len(tables.list_("local", "d")) == 3
    forgetting.forget(datetime.now(UTC) + 7 * DAY + HOUR)
    assert [table.tableReference.tableId for table in tables.list_("local", "d")] == ["kept"]
    assert [name for name, *_ in database.objects("local", "d")] == ["kept"]
    assert cell(KEPT) == cell("SELECT '1'")


def forgets_what_time_travel_does_not_reach() -> None:
    moments = []
    run("CREATE TABLE d.changing (n INT64)")
    for n in (1, 2, 3):
        run(f"BEGIN TRANSACTION; DELETE FROM d.changing WHERE TRUE; INSERT INTO d.changing VALUES ({n}); COMMIT")
        moments.append(datetime.now(UTC))
    for forgotten, moment in enumerate(moments[:2]):
        forgetting.forget(moment + 7 * DAY)
        # Of an hour that has passed: nobody reads a file any more that was dropped before.
        forgetting.forget(datetime.now(UTC) + 2 * HOUR)
        for n, at in enumerate(moments):
            if at < moment:
                assert is_refused(lambda at=at: rows(as_of(at)), "No snapshot found")
            else:
                assert cell(as_of(at)) == cell(f"SELECT '{n + 1}'")
        assert files("d/changing") == 3 - forgotten


def forgets_files_that_a_killed_job_has_left() -> None:
    half, new = (home / "local" / "d" / "changing" / f"{name}.parquet" for name in ("half", "new"))
    sent = home / "uploads" / "sent"
    sent.parent.mkdir()
    for file in (half, new, sent):
        file.write_bytes(b"PAR1")
    long_ago = (datetime.now(UTC) - 2 * DAY).timestamp()
    for file in (half, sent):
        os.utime(file, (long_ago, long_ago))
    forgetting.forget(datetime.now(UTC))
    assert new.exists() and not half.exists() and not sent.exists()
    assert cell(as_of(datetime.now(UTC))) == cell("SELECT '3'")


def forgets_jobs() -> None:
    for days, known in ((31, True), (33, False)):
        forgetting.forget(datetime.now(UTC) + days * DAY)
        assert bool(database.fetch("SELECT 1 FROM emulator.jobs LIMIT 1")) is known


def gives_back_memory_after_some_jobs() -> None:
    reopening._MOST_JOBS = 60
    assert reopening.reopen()
    first = database.connection()
    before = of_catalogue()
    for n in range(25):
        run(f"CREATE TABLE d.passing{n} AS SELECT 1 AS n")
        run(f"DROP TABLE d.passing{n}")
    assert database.connection() is first and of_catalogue() > before
    for _ in range(10):
        run("SELECT 1")
    forgetting._pool.submit(lambda: None).result()
    assert database.connection() is not first and of_catalogue() <= before
    assert cell(KEPT) == cell("SELECT '1'") and cell(as_of(datetime.now(UTC))) == cell("SELECT '3'")


def of_catalogue() -> int:
    """What DuckLake keeps of the catalogue, in bytes."""
    [(size,)] = database.fetch("SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'OBJECT_CACHE'")
    return size


def breaks_nobody_s_work() -> None:
    def work(number: int) -> list[str]:
        run(f"CREATE TABLE d.by{number} AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 10)) AS n")
        return [cell(f"SELECT COUNT(*) + {n} FROM d.by{number}") for n in range(15)]

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(4)]
        opened = 0
        while not all(future.done() for future in working):
            forgetting.forget(datetime.now(UTC))
            opened += reopening.reopen()
    assert opened
    assert {tuple(future.result()) for future in working} == {tuple(cell(f"SELECT {n}") for n in range(10, 25))}


def waits_while_the_database_is_closed() -> None:
    with ThreadPoolExecutor(1) as pool:
        with reopening._alone() as is_alone:
            assert is_alone
            asked = pool.submit(cell, "SELECT 5")
            while not reopening._changed._waiters:
                assert not asked.done()
        assert asked.result() == cell("SELECT '5'")


def begin() -> None:
    run("CREATE SCHEMA d")
    forgets_results()
    forgets_what_has_expired()
    forgets_what_time_travel_does_not_reach()
    forgets_files_that_a_killed_job_has_left()
    forgets_jobs()
    gives_back_memory_after_some_jobs()
    breaks_nobody_s_work()
    waits_while_the_database_is_closed()
    database.execute("UPDATE emulator.jobs SET creation_time = creation_time - 2 * 86400 * 1000")
    assert results_kept() > 10


def again() -> None:
    assert results_kept() > 10
    run("SELECT 1")
    forgetting._pool.submit(lambda: None).result()
    assert results_kept() == 1


{"begin": begin, "again": again}[sys.argv[2]]()
