"""`FOLDER begin`: jobs on a disk that is full, with a little more room each time; whatever it says of a job is so, now
and, with `FOLDER again`, in a process that knows only what is on the disk."""

import json
import os
import sys

import full_disk
import inside
from inside import rows, run
from local_bigquery import errors
from local_bigquery.api import jobs
from local_bigquery.catalog import metadata, tables
from local_bigquery.engine import database
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import store
from local_bigquery.models import Table

home = inside.begin(sys.argv[1])
# So that jobs begin, and find no room later.
full_disk.LEAST_FREE_BYTES = 0
ballast, said = home.parent / "ballast", home.parent / "said.json"
EXPIRING = "OPTIONS (expiration_timestamp = TIMESTAMP '2999-01-01')"


def fill(left: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        file.truncate(file.tell() - left)


def load(name: str):
    sent = home / "sent.ndjson"
    sent.write_text("".join(f'{{"n": {n}, "name": "{name}"}}\n' for n in range(1000)))
    config = {"destinationTable": {"projectId": "local", "datasetId": "d", "tableId": "loaded"}}
    return lambda: run(load={**config, "sourceUris": [f"file://{sent}"], "sourceFormat": "NEWLINE_DELIMITED_JSON"})


def create(name: str) -> None:
    reference = {"projectId": "local", "datasetId": "d", "tableId": name}
    schema = {"fields": [{"name": "n", "type": "INTEGER"}, {"name": "day", "type": "DATE"}]}
    body = {"tableReference": reference, "schema": schema, "timePartitioning": {"type": "DAY", "field": "day"}}
    tables.create("local", "d", Table.model_validate(body), None)


def attempts(name: str) -> dict:
    """What to do, and how to see that it was done: the name of a table, and the condition of its rows."""
    replace = f"DELETE FROM d.replaced WHERE TRUE; INSERT INTO d.replaced SELECT n, '{name}' FROM d.source"
    return {
        "select": lambda: run("SELECT * FROM d.source"),
        "made": lambda: run(f"CREATE TABLE d.made_{name} PARTITION BY day {EXPIRING} AS SELECT n, day FROM d.source"),
        "view": lambda: run(f"CREATE VIEW d.view_{name} {EXPIRING} AS SELECT n FROM d.source"),
        "inserted": lambda: run(f"INSERT INTO d.inserted SELECT n, '{name}' FROM d.source"),
        "replaced": lambda: run(f"BEGIN TRANSACTION; {replace}; COMMIT TRANSACTION"),
        "loaded": load(name),
        "created": lambda: create(f"created_{name}"),
    }


def succeeds(attempt) -> bool:
    """Whether it was done; where it was not, the error says that the disk is full and nothing else."""
    try:
        job = attempt()
        if not job:
            return True
        error = job.status.errorResult
        if not error:
            jobs.results(job, None, 0, True) if job.configuration.query else None
            return True
        error = BigQueryError(error.reason, error.message)
    except Exception as refused:
        # As the server answers.
        error = errors.from_exception(refused)
    assert error.reason == "quotaExceeded" and f"the disk of {home} is full" in error.message, error.message
    return False


def state() -> dict:
    """What is there of all that was attempted."""
    found = {}
    for table in ("inserted", "replaced", "loaded"):
        for row in rows(f"SELECT name, COUNT(*) AS n FROM d.{table} GROUP BY name"):
            name, count = (cell["v"] for cell in json.loads(row)["f"])
            found[f"{table} {name}"] = count
    for table in tables.list_("local", "d"):
        name = table.tableReference.tableId
        known = metadata.load(Table, "local", "d", name) or Table()
        columns = [field.name for field in tables.fields(tables.load("local", "d", name))]
        found[name] = [str(known.expirationTime), known.timePartitioning and known.timePartitioning.field, columns]
    return found


def begin() -> None:
    run("CREATE SCHEMA d")
    run("CREATE TABLE d.source AS SELECT n, DATE '2026-01-01' AS day FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS n")
    for table in ("inserted", "replaced", "loaded"):
        run(f"CREATE TABLE d.{table} (n INT64, name STRING)")
    last, done, failed = None, set(), 0
    for left in [*range(0, 50_000, 6144), 500_000]:
        for kind, attempt in attempts(f"n{left}").items():
            fill(left)
            if succeeds(attempt):
                done.add(f"{kind} n{left}")
            else:
                failed += 1
            ballast.unlink()
            rows("SELECT 1")  # there is room again, and it works
            if kind == "replaced" and f"replaced n{left}" in done:
                last = f"replaced n{left}"
    found = state()
    for kind in ("inserted", "loaded"):
        assert {key for key in found if key.startswith(f"{kind} ")} == {key for key in done if key.startswith(kind)}
    assert {key for key in found if key.startswith("replaced ")} == {last}
    assert {count for key, count in found.items() if " " in key} == {"1000"}
    for kind in ("made", "view", "created"):
        there = {key.replace("_", " ") for key in found if key.startswith(f"{kind}_")}
        assert there == {key for key in done if key.startswith(kind)}, (there, done)
    assert all("None" not in found[key][:1] for key in found if key.startswith(("made_", "view_")))
    assert all(found[key][1] == "day" for key in found if key.startswith(("made_", "created_")))
    assert failed > 10 and len(done) > 10
    # Not even the last room is left: a job ends all the same, and that is written down later.
    full_disk._reserve().unlink()
    fill(0)
    ended = [run("SELECT 1") for _ in range(10)]
    known = "SELECT count(*) FROM emulator.jobs WHERE state = 'DONE' AND list_contains(?, job_id)"
    ids = [job.jobReference.jobId for job in ended]
    assert any(job.status.errorResult for job in ended) and database.fetch(known, [ids]) < [(10,)]
    ballast.unlink()
    rows("SELECT 1")
    assert database.fetch(known, [ids]) == [(10,)]
    of_jobs = {job.jobReference.jobId: bool(job.status.errorResult) for job in store.list_("local", ["DONE"])}
    said.write_text(json.dumps([found, of_jobs]))
    print(f"{len(done)} done, {failed} failed")
    sys.stdout.flush()
    # As if it was killed.
    os._exit(0)


def again() -> None:
    found, of_jobs = json.loads(said.read_text())
    assert state() == found
    now = {job.jobReference.jobId: bool(job.status.errorResult) for job in store.list_("local", ["DONE"])}
    assert of_jobs.items() <= now.items()
    assert not store.list_("local", ["RUNNING", "PENDING"])


{"begin": begin, "again": again}[sys.argv[2]]()
