"""What the emulator asks of its catalogue around a statement, asked less often and of less."""

import contextlib
import contextvars
import gc
import itertools
import logging
import threading

# What DuckLake's own tables say of one table or view; DuckDB's listings load every table with all its columns first.
_OF_TABLE = """
    FROM {catalogue}.ducklake_table JOIN {catalogue}.ducklake_schema USING (schema_id)
    LEFT JOIN {catalogue}.ducklake_table_stats USING (table_id)
    WHERE ducklake_table.end_snapshot IS NULL AND ducklake_schema.end_snapshot IS NULL
    AND schema_name = $1 AND table_name = $2
"""
_OF_VIEW = """
    FROM {catalogue}.ducklake_view JOIN {catalogue}.ducklake_schema USING (schema_id)
    WHERE ducklake_view.end_snapshot IS NULL AND ducklake_schema.end_snapshot IS NULL
    AND schema_name = $1 AND view_name = $2
"""
_OF_COLUMNS = f"""
    FROM {{catalogue}}.ducklake_column
    WHERE end_snapshot IS NULL AND parent_column IS NULL AND table_id IN (SELECT table_id {_OF_TABLE})
"""
# By a part of the listing's SQL: what asks DuckLake for one table or dataset, and what asks for one result.
_IN_DUCKLAKE = {
    "SELECT 1 FROM duckdb_schemas()": "SELECT 1 FROM {catalogue}.ducklake_schema"
    " WHERE end_snapshot IS NULL AND schema_name = $1",
    "FROM duckdb_tables()": f"SELECT table_name, 'TABLE', coalesce(record_count, 0) {_OF_TABLE}"
    f" UNION ALL SELECT view_name, 'VIEW', 0 {_OF_VIEW}",
    "AND NOT is_nullable": f"SELECT column_name {_OF_COLUMNS} AND NOT nulls_allowed",
    "AND column_name = ?": f"SELECT 1 {_OF_COLUMNS} AND column_name = $3",
}
_IN_RESULTS = {
    "FROM duckdb_tables()": "SELECT {text}, 'TABLE', count(*) FROM {table}",
    "AND NOT is_nullable": "SELECT column_name FROM (DESCRIBE {table}) WHERE \"null\" = 'NO'",
}


# By project, the snapshot that a statement being translated has seen: translating changes nothing.
in_this_translation: contextvars.ContextVar[dict] = contextvars.ContextVar("in_this_translation")


def look_at_one_table_and_again_only_after_a_change() -> None:
    """Every statement asks several times what a table is. To list all tables for it took a third of a small job's time
    with 60 tables, and more with every query, because the result of each is a table too. What a table is stays the same
    until DuckLake's next snapshot, and what columns it has until its next change of a definition."""
    import duckdb
    from local_bigquery.catalog import tables
    from local_bigquery.engine import database

    fetch, columns = database.fetch, tables.columns
    # By project, and by whether it is about definitions alone: as of which version, and what is known.
    answers: dict[tuple[str, bool], tuple[int, dict]] = {}

    def catalogue(project_id):
        return f'"__ducklake_metadata_{project_id}"'

    def versions(project_id):
        seen = in_this_translation.get({})
        if project_id not in seen:
            snapshots = f"{catalogue(project_id)}.ducklake_snapshot"
            latest = f"SELECT snapshot_id, schema_version FROM {snapshots} ORDER BY snapshot_id DESC LIMIT 1"
            [seen[project_id]] = fetch(latest)
        return seen[project_id]

    def known(project_id, of_definitions, question, answer):
        version = versions(project_id)[of_definitions]
        as_of, said = answers.get((project_id, of_definitions), (None, None))
        if as_of != version:
            said = {}
            answers[project_id, of_definitions] = version, said
        if question not in said:
            said[question] = answer()
        return said[question]

    def fetch_by_the_shorter_way(sql, params=None):
        listing = next((part for part in _IN_DUCKLAKE if part in sql), None)
        # A listing of all tables of a dataset has no table's name.
        if listing is None or None in params:
            return fetch(sql, params)
        if params[0] in database._attached:
            shorter = _IN_DUCKLAKE[listing].format(catalogue=catalogue(params[0]))
            of_definitions = listing != "FROM duckdb_tables()"
            return known(params[0], of_definitions, (listing, *params), lambda: fetch(shorter, params[1:]))
        if params[0] == "emulator" and listing in _IN_RESULTS:
            text = "'" + params[2].replace("'", "''") + "'"
            try:
                return fetch(_IN_RESULTS[listing].format(text=text, table=database.quote(*params)))
            except duckdb.CatalogException:
                return []
        return fetch(sql, params)

    def columns_once(project_id, dataset_id, table_id):
        def look():
            return columns(project_id, dataset_id, table_id)

        if dataset_id == tables.RESULTS or project_id not in database._attached:
            return look()
        return known(project_id, True, (dataset_id, table_id), look)

    database.fetch, tables.columns = fetch_by_the_shorter_way, columns_once


def keep_descriptions_in_memory() -> None:
    """What was said of datasets and tables is JSON in a table, which every statement reads several times."""
    from local_bigquery.catalog import metadata, row_access
    from local_bigquery.engine import database
    from local_bigquery.models import RowAccessPolicy

    save, delete = metadata.save, metadata.delete
    known: dict[type, dict[tuple[str, ...], object]] = {}
    lock = threading.RLock()

    def all_of(model):
        if model not in known:
            rows = database.fetch(f"SELECT * FROM emulator.{metadata.KINDS[model]}")
            known[model] = {tuple(keys): model.model_validate_json(resource) for *keys, resource in rows}
        return known[model]

    def list_from_memory(model, *keys):
        with lock:
            if len(keys) == len(database.RESOURCES[metadata.KINDS[model]]):
                found = all_of(model).get(keys)
                return [] if found is None else [found]
            return [found for of, found in all_of(model).items() if of[: len(keys)] == keys]

    @contextlib.contextmanager
    def change_of(model):
        with lock:
            try:
                yield
            except Exception:
                # How much of it was written, the table knows.
                known.pop(model, None)
                raise

    def save_in_both(resource, *keys):
        with change_of(type(resource)):
            saved = save(resource, *keys)
            all_of(type(resource))[keys] = saved
            return saved

    def delete_from_both(model, *keys):
        with change_of(model):
            delete(model, *keys)
            known[model] = {of: found for of, found in all_of(model).items() if of[: len(keys)] != keys}

    def secured():
        with lock:
            return frozenset(of[:3] for of in all_of(RowAccessPolicy))

    metadata.list_, metadata.save, metadata.delete = list_from_memory, save_in_both, delete_from_both
    row_access.secured = secured


# About two nights' jobs; one that loads main pings holds their schema, a third of a megabyte.
_JOBS_IN_MEMORY = 1_000
# By project and id: what runs, what has ended lately, and what has ended and could not be written down yet.
jobs_in_memory: dict[tuple[str, str], object] = {}


def keep_jobs_in_memory() -> None:
    """A job was written three times and read three times, in all half as long as a small job took. It is written once,
    when it is done, and read from memory while it is new. What a script's statements said is known only that long."""
    import duckdb
    from local_bigquery.jobs import store

    write, read, list_written, delete = store.save, store.load, store.list_, store.delete
    known, lock, writing = jobs_in_memory, threading.Lock(), threading.Lock()
    unwritten: dict[tuple[str, str], object] = {}

    def write_down(key, job):
        """A job has ended whether or not that can be written down, on a full disk for one; the next that can be writes
        down those before it too."""
        with writing:
            unwritten[key] = job
            try:
                for late, ended in list(unwritten.items()):
                    write(ended)
                    del unwritten[late]
            except duckdb.Error as error:
                # Unlike print, it does not fail where the log is on the same disk.
                logging.warning("job %s has ended and is not written down yet: %s", late[1], error)

    def save(job):
        key = job.jobReference.projectId, job.jobReference.jobId
        if job.status.state == "DONE" and not job.statistics.parentJobId:
            write_down(key, job)
        with lock:
            known[key] = job
            for old in list(itertools.islice(known, max(len(known) - _JOBS_IN_MEMORY, 0))):
                if known[old].status.state == "DONE" and old not in unwritten:
                    del known[old]
        return job

    def load(project_id, job_id):
        return known.get((project_id, job_id)) or read(project_id, job_id)

    def list_(project_id, states=None, parent_job_id=None, min_creation_time=None, max_creation_time=None):
        def is_asked_for(job):
            created = int(job.statistics.creationTime)
            return (
                job.jobReference.projectId == project_id
                and job.statistics.parentJobId == parent_job_id
                and (states is None or job.status.state in states)
                and (min_creation_time is None or created >= min_creation_time)
                and (max_creation_time is None or created <= max_creation_time)
            )

        with lock:
            of_memory = {key: job for key, job in known.items() if is_asked_for(job)}
        older = list_written(project_id, states, parent_job_id, min_creation_time, max_creation_time)
        found = {(project_id, job.jobReference.jobId): job for job in older} | of_memory
        return sorted(found.values(), key=lambda job: (-int(job.statistics.creationTime), job.jobReference.jobId))

    def forget(project_id, job_id):
        with writing:
            unwritten.pop((project_id, job_id), None)
            delete(project_id, job_id)
        with lock:
            for key, job in list(known.items()):
                if key == (project_id, job_id) or (key[0] == project_id and job.statistics.parentJobId == job_id):
                    del known[key]

    store.save, store.load, store.list_, store.delete = save, load, list_, forget


class _Cursor:
    """A cursor of which a subclass does something otherwise."""

    def __init__(self, cursor):
        self._cursor = cursor

    def __getattr__(self, name):
        return getattr(self._cursor, name)


def look_for_temporary_tables_in_sessions_alone() -> None:
    """Every job listed all tables to find the temporary ones, of which a connection of its own has none."""
    from local_bigquery.jobs import query

    execute = query.execute

    class WithoutTemporaryTables(_Cursor):
        def sql(self, text, **arguments):
            listing = text.endswith("FROM duckdb_tables() WHERE temporary")
            return self._cursor.sql("SELECT '' LIMIT 0" if listing else text, **arguments)

    def execute_without_listing(cursor, *args, session=None, **kwargs):
        return execute(cursor if session else WithoutTemporaryTables(cursor), *args, session=session, **kwargs)

    query.execute = execute_without_listing


def learn_the_columns_of_a_result_without_its_rows() -> None:
    """DuckDB runs a query with parameters when it is asked what columns it has: twice, before it ran for its rows."""
    from local_bigquery.catalog import tables

    write = tables.write

    def write_once(cur, query, *args, **kwargs):
        class Asked(_Cursor):
            def sql(self, text, params=None):
                asks_for_columns = params and text == query
                return self._cursor.sql(f"SELECT * FROM ({text}) LIMIT 0" if asks_for_columns else text, params=params)

        return write(Asked(cur), query, *args, **kwargs)

    tables.write = write_once


def read_a_result_without_looking_it_up() -> None:
    """A result's page asked for all that is known of it as a table, twice for its columns."""
    from local_bigquery.catalog import tabledata, tables
    from local_bigquery.engine import database, results

    list_rows = tabledata.list_rows

    def list_rows_of_results(project_id, dataset_id, table_id, max_results, start, selected, int64_timestamps):
        if dataset_id != tables.RESULTS or selected:
            return list_rows(project_id, dataset_id, table_id, max_results, start, selected, int64_timestamps)
        fields = tables.columns(project_id, dataset_id, table_id)
        with database.cursor() as cursor:
            table = tables.name(project_id, dataset_id, table_id)
            names = [field.name.casefold() for field in fields]
            return results.page(cursor, table, max_results, start, names, int64_timestamps), fields

    tabledata.list_rows = list_rows_of_results


def collect_garbage_seldom() -> None:
    """Parsed statements are many small objects, and looking through them time and again took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


ALL = (
    look_at_one_table_and_again_only_after_a_change,
    keep_descriptions_in_memory,
    keep_jobs_in_memory,
    look_for_temporary_tables_in_sessions_alone,
    learn_the_columns_of_a_result_without_its_rows,
    read_a_result_without_looking_it_up,
    collect_garbage_seldom,
)
