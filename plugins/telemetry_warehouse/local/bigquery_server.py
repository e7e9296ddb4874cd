"""Starts the BigQuery emulator with six corrections that dbt-bigquery and our tables need, and six for speed.

Runs on its own in the emulator's environment (`python -P bigquery_server.py --host ... `, the arguments of
local-bigquery), so it imports nothing of this package.
"""

import contextvars
import gc
import importlib.metadata
import itertools
import re
import sys
import threading

CHECKED_VERSION = "0.3.2"


def give_create_table_as_a_destination() -> None:
    """BigQuery names the new table as the job's destination; dbt-bigquery reads it and fails without one."""
    from local_bigquery.jobs import query

    execute = query.execute

    def execute_with_destination(*args, **kwargs):
        statistics, children, destination = execute(*args, **kwargs)
        if destination is None and statistics.statementType == "CREATE_TABLE_AS_SELECT":
            destination = statistics.ddlTargetTable
        return statistics, children, destination

    query.execute = execute_with_destination


def let_merge_write_where_a_filter_is_required() -> None:
    """The emulator runs a MERGE as several statements that read the target, none with the MERGE's own filter."""
    from local_bigquery.catalog import names
    from local_bigquery.jobs import merge

    run = merge.run
    target_of_merge = contextvars.ContextVar("target_of_merge", default=None)

    def run_merge(cursor, tree, context):
        token = target_of_merge.set(names.reference(tree.this, context.project_id, context.dataset_id))
        try:
            return run(cursor, tree, context)
        finally:
            target_of_merge.reset(token)

    merge.run = run_merge
    _excuse_from_filter(lambda _tree, table: target_of_merge.get() == (table.catalog, table.db, table.name))


def let_merge_run_in_a_transaction() -> None:
    """The emulator tries to begin a transaction of its own, and DuckDB gives up the one that it is in."""
    import duckdb
    from local_bigquery.jobs import merge

    run = merge.run

    class InTransaction:
        def __init__(self, cursor):
            self._cursor = cursor

        def execute(self, sql, *arguments):
            if sql == "BEGIN":
                raise duckdb.TransactionException
            return self._cursor.execute(sql, *arguments)

    def run_merge(cursor, tree, context):
        # Within a transaction DuckDB's clock stands still.
        first, second = (cursor.execute("SELECT epoch_us(transaction_timestamp())").fetchone() for _ in range(2))
        return run(InTransaction(cursor) if first == second else cursor, tree, context)

    merge.run = run_merge


def let_a_view_name_a_table_that_requires_a_filter() -> None:
    """In BigQuery it is the query of the view that needs the filter, not its definition."""
    from sqlglot import exp

    _excuse_from_filter(lambda tree, _table: isinstance(tree, exp.Create) and tree.args.get("kind") == "VIEW")


def _excuse_from_filter(excused) -> None:
    from local_bigquery.errors import BigQueryError
    from local_bigquery.sql.rules import tables

    check = tables._check

    def check_unless_excused(tree, table, is_target):
        try:
            check(tree, table, is_target)
        except BigQueryError as error:
            if "without a filter" not in str(error) or not excused(tree, table):
                raise

    tables._check = check_unless_excused


def load_json_strings_as_they_are() -> None:
    """A load job reads the text of a JSON column's strings as JSON: "12" becomes 12, and "abc" fails the job."""
    from local_bigquery.jobs import load

    read_as_text = load._text
    load._text = lambda field: field if field.type == "JSON" else read_as_text(field)


def change_definitions_one_after_the_other() -> None:
    """A definition is read, compared with the caller's etag and written; of two at once both would pass, and one fail
    with an error that BigQuery does not have."""
    from local_bigquery.catalog import datasets, tables

    lock = threading.Lock()

    def in_turn(change):
        def changed(*args, **kwargs):
            with lock:
                return change(*args, **kwargs)

        return changed

    datasets.create = in_turn(datasets.create)
    tables.create = in_turn(tables.create)
    tables.update = in_turn(tables.update)


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


def look_at_one_table_without_listing_all() -> None:
    """Every statement asks several times what a table is. With 60 tables that took a third of a small job's time, and
    more with every query, because the result of each is a table too."""
    import duckdb
    from local_bigquery.engine import database

    fetch = database.fetch

    def fetch_by_the_shorter_way(sql, params=None):
        listing = next((part for part in _IN_DUCKLAKE if part in sql), None)
        # A listing of all tables of a dataset has no table's name.
        if listing is None or None in params:
            return fetch(sql, params)
        if params[0] in database._attached:
            return fetch(_IN_DUCKLAKE[listing].format(catalogue=_catalogue(params[0])), params[1:])
        if params[0] == "emulator" and listing in _IN_RESULTS:
            text = "'" + params[2].replace("'", "''") + "'"
            try:
                return fetch(_IN_RESULTS[listing].format(text=text, table=database.quote(*params)))
            except duckdb.CatalogException:
                return []
        return fetch(sql, params)

    database.fetch = fetch_by_the_shorter_way


def _catalogue(project_id: str) -> str:
    return f'"__ducklake_metadata_{project_id}"'


# By project, the versions that a statement being translated has seen, which itself changes nothing.
_in_this_translation = contextvars.ContextVar("in_this_translation", default=None)


def look_again_only_after_a_change() -> None:
    """What a table is stays the same until DuckLake's next snapshot, and what columns it has until its next change of a
    definition: one short question where each took three to thirteen milliseconds."""
    from local_bigquery.catalog import tables
    from local_bigquery.engine import database

    fetch, columns = database.fetch, tables.columns
    # By project, and by whether it is about definitions alone: as of which version, and what is known.
    answers: dict[tuple[str, bool], tuple[int, dict]] = {}

    def versions(project_id):
        latest = f"FROM {_catalogue(project_id)}.ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1"
        asked = _in_this_translation.get()
        if asked is None:
            return fetch(f"SELECT snapshot_id, schema_version {latest}")[0]
        if project_id not in asked:
            asked[project_id] = fetch(f"SELECT snapshot_id, schema_version {latest}")[0]
        return asked[project_id]

    def known(project_id, of_definitions, question, answer):
        version = versions(project_id)[of_definitions]
        as_of, said = answers.get((project_id, of_definitions), (None, None))
        if as_of != version:
            said = {}
            answers[project_id, of_definitions] = version, said
        if question not in said:
            said[question] = answer()
        return said[question]

    def fetch_once(sql, params=None):
        listing = next((part for part in _IN_DUCKLAKE if part in sql), None)
        if listing is None or None in params or params[0] not in database._attached:
            return fetch(sql, params)
        of_definitions = listing != "FROM duckdb_tables()"
        return known(params[0], of_definitions, (listing, *params), lambda: fetch(sql, params))

    def columns_once(project_id, dataset_id, table_id):
        def look():
            return columns(project_id, dataset_id, table_id)

        if dataset_id == tables.RESULTS or project_id not in database._attached:
            return look()
        return known(project_id, True, (dataset_id, table_id), look)

    database.fetch, tables.columns = fetch_once, columns_once


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

    def save_in_both(resource, *keys):
        with lock:
            saved = save(resource, *keys)
            all_of(type(resource))[keys] = saved
            return saved

    def delete_from_both(model, *keys):
        with lock:
            delete(model, *keys)
            known[model] = {of: found for of, found in all_of(model).items() if of[: len(keys)] != keys}

    def secured():
        with lock:
            return frozenset(of[:3] for of in all_of(RowAccessPolicy))

    metadata.list_, metadata.save, metadata.delete = list_from_memory, save_in_both, delete_from_both
    row_access.secured = secured


def keep_jobs_in_memory() -> None:
    """A job was written twice and read three times, in all half as long as a small job took. It is written once, when
    it is done; one that only reads, or is a statement of a script, is known as long as the server runs."""
    from local_bigquery.engine import database
    from local_bigquery.jobs import store

    write, read, list_written, delete = store.save, store.load, store.list_, store.delete
    known: dict[tuple[str, str], object] = {}
    written_before: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def of_before():
        with lock:
            if not known:
                written_before.update(database.fetch("SELECT project_id, job_id FROM emulator.jobs"))
        return written_before

    def save(job):
        of_before()
        key = job.jobReference.projectId, job.jobReference.jobId
        query = job.statistics.query
        only_reads = query and query.statementType == "SELECT" and not job.status.errorResult
        if job.status.state == "DONE" and not only_reads and not job.statistics.parentJobId:
            write(job)
        known[key] = job
        return job

    def load(project_id, job_id):
        if (project_id, job_id) in known:
            return known[project_id, job_id]
        return read(project_id, job_id) if (project_id, job_id) in of_before() else None

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

        before = list_written(project_id, states, parent_job_id, min_creation_time, max_creation_time)
        found = {(project_id, job.jobReference.jobId): job for job in before}
        found |= {key: job for key, job in list(known.items()) if is_asked_for(job)}
        return sorted(found.values(), key=lambda job: (-int(job.statistics.creationTime), job.jobReference.jobId))

    def forget(project_id, job_id):
        delete(project_id, job_id)
        written_before.discard((project_id, job_id))
        for key, job in list(known.items()):
            if key == (project_id, job_id) or (key[0] == project_id and job.statistics.parentJobId == job_id):
                del known[key]

    store.save, store.load, store.list_, store.delete = save, load, list_, forget


def learn_the_columns_of_a_result_without_its_rows() -> None:
    """DuckDB runs a query with parameters when it is asked what columns it has: twice, before it ran for its rows."""
    from local_bigquery.catalog import tables

    write = tables.write

    class Asked:
        def __init__(self, cursor, query):
            self._cursor, self._query = cursor, query

        def __getattr__(self, name):
            return getattr(self._cursor, name)

        def sql(self, text, params=None):
            asks_for_columns = params and text == self._query
            return self._cursor.sql(f"SELECT * FROM ({text}) LIMIT 0" if asks_for_columns else text, params=params)

    def write_once(cur, query, *args, **kwargs):
        return write(Asked(cur, query), query, *args, **kwargs)

    tables.write = write_once


def translate_without_copies() -> None:
    """A statement's tree was copied once more for its text, with the types of all its parts, and types were read from
    their names for each statement: main pings have types of a thousand words."""
    from local_bigquery.jobs import merge, query
    from local_bigquery.sql import script, translate
    from local_bigquery.sql.dialect import DuckDBDialect
    from sqlglot.schema import MappingSchema

    def translate_once(tree, context):
        token = _in_this_translation.set({})
        try:
            context.used.clear()
            tree = tree.copy()
            for rule in translate.STATEMENT_RULES:
                tree = rule(tree, context)
            tree = translate._rewrite(tree, context)
            sql = tree.sql(dialect=DuckDBDialect, copy=False)
        finally:
            _in_this_translation.reset(token)
        return sql, {name: context.values[name] for name in context.used}

    read_type = MappingSchema._to_data_type
    types: dict[tuple, object] = {}

    def type_read_once(schema, text, dialect=None):
        key = text, dialect or schema.dialect.__class__
        if key not in types:
            types[key] = read_type(schema, text, dialect)
        return types[key]

    query.translate = merge.translate = script.translate = translate_once
    MappingSchema._to_data_type = type_read_once


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


def ask_of_a_job_only_what_is_needed() -> None:
    """Every job listed all tables to find the temporary ones, of which a connection of its own has none, and wrote into
    a table that it had begun to run. A job that runs says that it is pending: either way it is not done."""
    from local_bigquery.jobs import query, runner

    execute, save = query.execute, runner.store.save

    class WithoutTemporaryTables:
        def __init__(self, cursor):
            self._cursor = cursor

        def __getattr__(self, name):
            return getattr(self._cursor, name)

        def sql(self, text, **arguments):
            listing = text.endswith("FROM duckdb_tables() WHERE temporary")
            return self._cursor.sql("SELECT '' LIMIT 0" if listing else text, **arguments)

    def execute_without_listing(cursor, *args, session=None, **kwargs):
        return execute(cursor if session else WithoutTemporaryTables(cursor), *args, session=session, **kwargs)

    query.execute = execute_without_listing
    runner.store.save = lambda job: job if job.status.state == "RUNNING" else save(job)


def look_for_implicit_arrays_in_joins_alone() -> None:
    """For `FROM t, t.array` the parser copied what any FROM reads, subqueries and all, joined or not."""
    from sqlglot.parser import Parser

    make_explicit = Parser._implicit_unnests_to_explicit
    Parser._implicit_unnests_to_explicit = lambda parser, select: (
        make_explicit(parser, select) if select.args.get("joins") else select
    )


def unnest_in_the_select_list() -> None:
    """DuckDB joins a table with an array of its own by the hash of every row as soon as something filters the two, and
    takes the array apart in the SELECT list with no join: a tenth of the time on long arrays."""
    from local_bigquery.sql.rules import NODE_RULES
    from sqlglot import exp

    def rewrite(node, _context):
        joins = node.args.get("joins") if isinstance(node, exp.Select) else None
        if not joins or len(joins) > 1 or not _is_plain_unnest(joins[0]) or not _is_table(node.args["from_"].this):
            return node
        array, table = joins[0].this, node.args["from_"].this
        name = table.alias_or_name or "_t"
        element = array.args["alias"].columns[0].name
        if _may_mean_another_column(node, name, element) or _is_an_expression(node):
            return node
        source = table if table.alias_or_name else exp.alias_(table, name, table=True)
        taken_apart = exp.alias_(exp.Unnest(expressions=array.expressions), element, quoted=True)
        # The element comes first: where the table has a column of its name, BigQuery means the element.
        node.args["from_"].set("this", exp.select(taken_apart, exp.Star()).from_(source).subquery(name))
        node.set("joins", [])
        return node

    NODE_RULES.append(rewrite)


def make_arrays_of_arrays_in_place() -> None:
    """ARRAY(SELECT ... FROM UNNEST(array) AS element) is a query for each row to DuckDB, which asks it even where
    nothing reads the result. Where it says nothing more than that, it is a list_transform."""
    from local_bigquery.sql.rules import NODE_RULES
    from sqlglot import exp

    clauses = {"expressions", "from_", "kind"}
    # Macros and functions of others are anonymous: they may aggregate, or ask.
    refused = (exp.AggFunc, exp.Window, exp.Star, exp.Query, exp.Subquery, exp.Exists, exp.Anonymous)
    numbers = itertools.count()

    def rewrite(node, _context):
        select = node.expressions[0] if isinstance(node, exp.Array) and node.expressions else None
        if not isinstance(select, exp.Select) or {key for key, value in select.args.items() if value} - clauses:
            return node
        values, kind = select.expressions, select.args.get("kind")
        if not select.args.get("from_") or not _is_plain_array(select.args["from_"].this):
            return node
        if any(value.find(*refused) for value in values):
            return node
        if kind == "STRUCT" and all(value.alias for value in values):
            fields = [exp.PropertyEQ(this=exp.to_identifier(v.alias), expression=v.unalias()) for v in values]
            made = exp.Struct(expressions=fields)
        elif len(values) == 1 and not kind:
            made = values[0].unalias()
        else:
            return node
        array = select.args["from_"].this
        # A name of its own: DuckDB takes one that a table or a column has too for theirs.
        name = f"_element_{next(numbers)}"
        _rename_first_part(made, array.args["alias"].columns[0].name, name)
        each = exp.Lambda(this=made, expressions=[exp.to_identifier(name)])
        return exp.func("coalesce", exp.func("list_transform", array.expressions[0], each), exp.Array(expressions=[]))

    NODE_RULES.append(rewrite)


def _rename_first_part(node, old: str, new: str) -> None:
    """Renames what columns in it begin with: `old` alone, or before a field."""
    from sqlglot import exp

    for column in node.find_all(exp.Column):
        part = next(key for key in ("catalog", "db", "table", "this") if column.args.get(key))
        if column.args[part].name.casefold() == old.casefold():
            column.set(part, exp.to_identifier(new))


def _is_plain_unnest(join) -> bool:
    """CROSS JOIN UNNEST(array) AS element, without an offset."""
    return not (join.side or join.args.get("on") or join.args.get("using")) and _is_plain_array(join.this)


def _is_plain_array(array) -> bool:
    """UNNEST(array) AS element, without an offset, of elements whose fields are named after the element alone."""
    from sqlglot import exp

    return (
        isinstance(array, exp.Unnest)
        and not array.args.get("offset")
        and not array.args.get("explode_array")
        and len(array.expressions) == 1
        and array.args.get("alias") is not None
        and len(array.args["alias"].columns) == 1
    )


def _is_table(source) -> bool:
    """A table or a subquery, not a join or an array."""
    from sqlglot import exp

    return isinstance(source, exp.Table) or isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query)


def _may_mean_another_column(select, name: str, element: str) -> bool:
    """Whether the select says * or the table's name for a row, where the element would be one column too many, or names
    a column of the table that the element, or DuckDB's name for a second column of its name, would hide."""
    from sqlglot import exp

    name, element = name.casefold(), element.casefold()
    second = re.compile(re.escape(element) + r"_\d+")
    own = [star for star in select.find_all(exp.Star) if star.find_ancestor(exp.Select) is select]
    if any(not isinstance(star.parent, exp.Count) for star in own):
        return True
    for column in select.find_all(exp.Column):
        said, of = column.name.casefold(), column.table.casefold()
        if (of == name and (said == element or column.is_star)) or (said == name and not of):
            return True
        if second.fullmatch(said):
            return True
    return False


def _is_an_expression(select) -> bool:
    """Whether it is asked for each row of another query, or in a function: DuckDB refuses the SELECT list there."""
    from sqlglot import exp

    tables = (exp.Select, exp.Subquery, exp.From, exp.Join, exp.CTE, exp.With, exp.SetOperation, exp.Insert)
    around = select.parent
    while isinstance(around, tables):
        around = around.parent
    return not (around is None or isinstance(around, exp.Create) and around.args.get("kind") in ("TABLE", "VIEW"))


def main() -> None:
    version = importlib.metadata.version("local-bigquery")
    if version != CHECKED_VERSION:
        sys.exit(
            f"local-bigquery is {version} and the corrections in {__file__} were checked on {CHECKED_VERSION}; "
            "run tests/local/test_bigquery_server.py on the new version, then change CHECKED_VERSION"
        )
    give_create_table_as_a_destination()
    let_merge_write_where_a_filter_is_required()
    let_merge_run_in_a_transaction()
    let_a_view_name_a_table_that_requires_a_filter()
    load_json_strings_as_they_are()
    change_definitions_one_after_the_other()
    look_at_one_table_without_listing_all()
    look_again_only_after_a_change()
    keep_descriptions_in_memory()
    keep_jobs_in_memory()
    learn_the_columns_of_a_result_without_its_rows()
    translate_without_copies()
    read_a_result_without_looking_it_up()
    ask_of_a_job_only_what_is_needed()
    collect_garbage_seldom()
    look_for_implicit_arrays_in_joins_alone()
    unnest_in_the_select_list()
    make_arrays_of_arrays_in_place()

    from local_bigquery import cli

    cli.main()


if __name__ == "__main__":
    main()
