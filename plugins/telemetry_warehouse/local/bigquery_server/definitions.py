"""Definitions of tables, and what is written into them, held to each other as BigQuery does: down to the last field."""

import json
from collections.abc import Iterator


def add_fields_within_records() -> None:
    """An update of a table's schema added top-level columns alone: a field that is new within a record was dropped
    without a word, and so were changes that BigQuery refuses."""
    from local_bigquery.catalog import names, tables
    from local_bigquery.engine import database

    def alter(project_id, dataset_id, table_id, fields):
        reference = project_id, dataset_id, table_id
        current = tables.fields(tables.load(*reference))
        prefix = f"Provided Schema does not match Table {names.label(*reference)}. "
        changes = list(_changes(current, fields, prefix))
        with database.cursor() as cursor:
            cursor.execute("BEGIN")
            for change in changes:
                cursor.execute(f"ALTER TABLE {tables.name(*reference)} {change}")
            cursor.execute("COMMIT")

    tables._alter = alter


def add_fields_that_a_write_brings() -> None:
    """What appends rows dropped the fields within records that its table does not have, even where it may add them."""
    from local_bigquery.catalog import tables
    from local_bigquery.engine import types
    from local_bigquery.errors import BigQueryError

    def evolve(cursor, reference, relation, options, prefix):
        given = [types.field(name, kind) for name, kind in zip(relation.columns, relation.types, strict=True)]
        added = list(_additions(tables.columns(*reference), given))
        if added and "ALLOW_FIELD_ADDITION" not in (options or []):
            raise BigQueryError("invalid", f"{prefix}Cannot add fields (field: {_dotted(*added[0])})")
        for path, field in added:
            cursor.execute(f"ALTER TABLE {tables.name(*reference)} {_add_column(path, field)}")

    tables.evolve = evolve


def load_what_the_schema_names() -> None:
    """A load without a schema guessed one from its rows, where BigQuery takes the table's: text such as 2026-1-5 became
    a date. And a row's field that the schema does not name was dropped, where BigQuery refuses the row."""
    from local_bigquery.catalog import names, tables
    from local_bigquery.errors import BigQueryError
    from local_bigquery.jobs import load, runner
    from local_bigquery.models import TableSchema

    run, read = load.run, load._reader

    def with_schema(config):
        said = config.schema_ and config.schema_.fields
        if said or config.autodetect or (config.sourceFormat or "CSV") not in load.TEXT_FORMATS:
            return config
        reference = tables.reference(config.destinationTable)
        fields = tables.fields(tables.load(*reference)) if tables.exists(*reference) else []
        if not fields:
            raise BigQueryError("invalid", f"No schema specified on job or table {names.label(*reference)}.")
        return config.replace(schema=TableSchema(fields=fields))

    def read_known_fields(cursor, files, config, fields):
        if config.sourceFormat == "NEWLINE_DELIMITED_JSON" and fields and not config.ignoreUnknownValues:
            known = _members(fields)
            rows = cursor.execute(f"SELECT CAST(json AS VARCHAR) FROM read_ndjson_objects({files})")
            for number, text in enumerate(_texts(rows), start=1):
                if unknown := _unknown(json.loads(text), known):
                    raise BigQueryError(
                        "invalid",
                        "Error while reading data, error message: JSON table encountered too many errors, giving up."
                        f" JSON parsing error in row {number}: No such field: {unknown}.",
                    )
        return read(cursor, files, config, fields)

    load._reader = read_known_fields
    runner.HANDLERS["load"] = lambda cursor, config, upload: run(cursor, with_schema(config), upload)


def _texts(result) -> Iterator[str]:
    while rows := result.fetchmany(1_000):
        yield from (text for (text,) in rows)


def _members(fields) -> tuple[set[str], dict[str, tuple]]:
    """The names of fields, and by the name of each record what is in it."""
    return {field.name for field in fields}, {field.name: _members(field.fields) for field in fields if field.fields}


def _unknown(value, known: tuple, path: str = "") -> str | None:
    """The first path of a row, or of a list of records, that no field has. Values are many, so this is kept short."""
    if type(value) is list:
        for element in value:
            if found := _unknown(element, known, path):
                return found
    elif type(value) is dict:
        names, records = known
        if not value.keys() <= names:
            # Names may be in another case.
            by_name = {name.casefold(): name for name in names}
            for key in value:
                if key.casefold() not in by_name:
                    return path + key
            value = {by_name[key.casefold()]: member for key, member in value.items()}
        for name, of_record in records.items():
            member = value.get(name)
            if member is not None and (found := _unknown(member, of_record, f"{path}{name}.")):
                return found
    return None


def _changes(current, given, prefix: str, path: tuple = ()) -> Iterator[str]:
    """What ALTER TABLE has to do so that fields become those given; BigQueryError for what BigQuery does not do."""
    from local_bigquery.engine import types
    from local_bigquery.engine.database import quote
    from local_bigquery.errors import BigQueryError

    def refuse(field, what: str) -> BigQueryError:
        return BigQueryError("invalid", f"{prefix}Field {_dotted(path, field)} {what}")

    by_name = {field.name.casefold(): field for field in given}
    for old in current:
        new = by_name.pop(old.name.casefold(), None)
        if new is None:
            raise refuse(old, "is missing in new schema")
        modes = old.mode or "NULLABLE", new.mode or "NULLABLE"
        if modes[0] != modes[1] and modes != ("REQUIRED", "NULLABLE"):
            raise refuse(old, f"has changed mode from {modes[0]} to {modes[1]}")
        if (
            bool(old.fields) != bool(new.fields)
            or not old.fields
            and types.duckdb_type(old) != types.duckdb_type(new.replace(mode=old.mode))
        ):
            raise refuse(old, f"has changed type from {old.type} to {new.type}")
        if old.fields:
            yield from _changes(old.fields, new.fields, prefix, (*path, old))
        # DuckDB knows of no member of a record that must be there.
        if modes == ("REQUIRED", "NULLABLE") and not path:
            yield f"ALTER COLUMN {quote(old.name)} DROP NOT NULL"
    for field in by_name.values():
        if field.mode == "REQUIRED":
            raise BigQueryError(
                "invalid", f"{prefix}Cannot add required fields to an existing schema. (field: {_dotted(path, field)})"
            )
        yield _add_column(path, field)


def _additions(current, given, path: tuple = ()) -> Iterator[tuple]:
    """The fields that are given and not there yet, each after the records that it is in."""
    by_name = {field.name.casefold(): field for field in current}
    for new in given:
        old = by_name.get(new.name.casefold())
        if old is None:
            yield path, new
        elif old.fields and new.fields:
            yield from _additions(old.fields, new.fields, (*path, old))


def _add_column(path: tuple, field) -> str:
    from local_bigquery.engine import types
    from local_bigquery.engine.database import quote

    within = "".join(f"{quote(record.name)}.{'element.' if record.mode == 'REPEATED' else ''}" for record in path)
    return f"ADD COLUMN {within}{types.column(field, nested=True)}"


def _dotted(path: tuple, field) -> str:
    return ".".join(part.name for part in (*path, field))


ALL = (
    add_fields_within_records,
    add_fields_that_a_write_brings,
    load_what_the_schema_names,
)
