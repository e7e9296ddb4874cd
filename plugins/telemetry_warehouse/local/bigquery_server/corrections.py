"""What dbt-bigquery and our tables need and local-bigquery does otherwise than BigQuery."""

import contextvars
import re
import sys
import threading


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


def name_places_in_the_sql_as_it_was_sent() -> None:
    """A statement is parsed without what comes before it, comments and other statements, and its errors named a place
    in that text; for some errors a column before the first."""
    from local_bigquery.errors import BigQueryError
    from local_bigquery.jobs import query
    from local_bigquery.sql import translate

    parse, execute = translate.parse, query.execute
    statement = contextvars.ContextVar("statement", default="")

    def parse_and_remember(sql):
        statement.set(sql.strip())
        return parse(sql)

    def execute_and_place(cursor, project_id, job_id, config, **options):
        statement.set("")
        try:
            return execute(cursor, project_id, job_id, config, **options)
        except BigQueryError as error:
            error.message = placed(error.message, config.query, statement.get(), error.__cause__)
            raise

    for module in list(sys.modules.values()):
        if getattr(module, "parse", None) is parse:
            module.parse = parse_and_remember
    query.execute = execute_and_place


_PLACE = re.compile(r" at \[(-?\d+):(-?\d+)\]")


def placed(message: str, sent: str, statement: str, cause: Exception | None) -> str:
    """The message with its place, which is one of `statement`, as that of the SQL that was sent; without, where none is
    known. `cause`: what the parser or DuckDB raised."""
    found = _PLACE.search(message)
    if not found:
        return message
    line, column = int(found[1]), int(found[2])
    if column < 1 and getattr(cause, "errors", None):
        line, column = cause.errors[0]["line"], cause.errors[0]["col"]
    # DuckDB's syntax errors are about the SQL that it was given, which nobody has typed.
    ours = not (type(cause).__module__.startswith("_duckdb") and message.startswith("Syntax error"))
    before = sent[: max(sent.find(statement), 0)]
    if line == 1:
        column += len(before) - (before.rfind("\n") + 1)
    line += before.count("\n")
    lines = sent.split("\n")
    exists = 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1
    return _PLACE.sub(f" at [{line}:{column}]" if ours and exists else "", message, count=1)


ALL = (
    give_create_table_as_a_destination,
    let_merge_write_where_a_filter_is_required,
    let_merge_run_in_a_transaction,
    let_a_view_name_a_table_that_requires_a_filter,
    load_json_strings_as_they_are,
    change_definitions_one_after_the_other,
    name_places_in_the_sql_as_it_was_sent,
)
