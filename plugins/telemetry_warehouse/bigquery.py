"""Run a query file, load a batch, keep a table's definition, read Arrow: all that the rooms ask of BigQuery."""

import io
import string
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property

import orjson
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import LoadJob, LoadJobConfig, QueryJobConfig, ScalarQueryParameter

from telemetry_warehouse.errors import Refused, WarehouseError
from telemetry_warehouse.settings import ROOT, Settings
from telemetry_warehouse.tables import MAX_COLUMNS, Table

# How many others may change one table at the same time as we do.
_MOST_RIVALS = 10
_ROWS_AT_ONCE = 10_000
_MAX_LABEL = 63
DAY_IN_MS = 24 * 60 * 60 * 1000


def render(name: str, **values: object) -> str:
    """The text of sql/<name>.sql with each ${placeholder} filled in; raises KeyError for one that is left."""
    return string.Template((ROOT / "sql" / f"{name}.sql").read_text()).substitute(values)


def text_literal(text: str) -> str:
    """Text as a GoogleSQL string literal, for where a statement cannot take a parameter."""
    return "'" + "".join(map(_in_quotes, text)) + "'"


def _in_quotes(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"


class Warehouse:
    """BigQuery as the pipeline uses it, on whatever endpoint the settings name."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._ensured: set[tuple] = set()

    @cached_property
    def client(self) -> bigquery.Client:
        return self.settings.bigquery_client()

    def query(self, sql: str, parameters: dict | None = None, labels: dict | None = None, page_size: int | None = None):
        """Runs a statement or script and waits; returns its RowIterator. Raises google.api_core exceptions."""
        kinds = {int: "INT64", str: "STRING", float: "FLOAT64", bool: "BOOL", datetime: "TIMESTAMP"}
        config = QueryJobConfig(
            query_parameters=[
                ScalarQueryParameter(name, kinds.get(type(value), type(value).__name__.upper()), value)
                for name, value in (parameters or {}).items()
            ],
            labels=_labels(labels),
            maximum_bytes_billed=self.settings.max_bytes,
        )
        return self.client.query(sql, job_config=config, job_retry=None).result(page_size=page_size)

    def rows(self, sql: str, parameters: dict | None = None) -> list[dict]:
        # Asked for at once, the first rows come with the answer that the query is done, and not with one of their own.
        return [dict(row) for row in self.query(sql, parameters, page_size=_ROWS_AT_ONCE)]

    def statement_type(self, sql: str) -> str | None:
        """What BigQuery takes SQL for, such as SELECT, DELETE or SCRIPT, without running it."""
        return self.client.query(sql, job_config=QueryJobConfig(dry_run=True), job_retry=None).statement_type

    def arrow(self, sql: str, labels: dict | None = None):
        """The result as a pyarrow.Table, through the Storage Read API."""
        return self.query(sql, labels=labels).to_arrow(bqstorage_client=self.settings.storage_client())

    def load(self, table: Table, ndjson: bytes) -> int:
        """Appends newline-delimited JSON to an existing table in one load job and waits; returns the rows written.

        The values have the types that the definition says: BigQuery guesses none. Raises google.api_core exceptions
        where the job failed, as it does for a field that the definition does not name.
        """
        job = self.client.load_table_from_file(io.BytesIO(ndjson), table.id, job_config=load_config(table))
        return written(job, table, ndjson.count(b"\n"))

    def load_rows(self, table: Table, rows: Iterable[dict]) -> int:
        """Appends rows given as dicts; dates and timestamps as Python objects or text. Nothing is sent for no rows."""
        lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        return self.load(table, lines) if lines else 0

    def exists(self, table_id: str) -> bool:
        try:
            self.client.get_table(table_id)
        except NotFound:
            return False
        return True

    def drop(self, table_id: str) -> None:
        self.client.delete_table(table_id, not_found_ok=True)
        self._ensured = {key for key in self._ensured if key[0] != table_id}

    def ensure_dataset(self, dataset: str) -> None:
        reference = bigquery.Dataset(f"{self.settings.project_id}.{dataset}")
        reference.location = self.settings.location
        self.client.create_dataset(reference, exists_ok=True)

    def create(self, table: Table) -> None:
        """Makes the dataset and the table where they are missing; a table that exists stays as it is."""
        if not self.exists(table.id):
            self.ensure_dataset(table.dataset)
            self.client.create_table(self._definition(table), exists_ok=True)

    def ensure(self, table: Table) -> None:
        """Makes the dataset and the table, or adds the columns that it lacks and sets its retention.

        Asks BigQuery once per definition.

        Raises Refused where a column exists with another type, and where a new one is not there after the update.
        """
        key = (table.id, table.columns, table.retention_days)
        rivals = 0
        while key not in self._ensured:
            try:
                self._ensure(table)
                self._ensured.add(key)
            except PreconditionFailed:
                # Somebody else changed the table between our look at it and our change: look again.
                rivals += 1
                if rivals > _MOST_RIVALS:
                    raise

    def _ensure(self, table: Table) -> None:
        self.create(table)
        existing = self.client.get_table(table.id)
        changes = []
        columns = _within_limit(table, merged(table, existing.schema, table.columns))
        if columns != list(existing.schema):
            existing.schema = columns
            changes.append("schema")
        partitioning = self._definition(table).time_partitioning
        if partitioning and existing.time_partitioning is None:
            raise Refused(f"{table.id} is there without partitions; move it away, and it is made anew")
        if partitioning and existing.time_partitioning.expiration_ms != partitioning.expiration_ms:
            existing.time_partitioning = partitioning
            changes.append("time_partitioning")
        if changes:
            self.client.update_table(existing, changes)
        if "schema" in changes and (missing := self.missing_columns(table)):
            raise Refused(f"{table.id}: BigQuery accepted the new columns and does not have {', '.join(missing)}")

    def differs(self, table: Table) -> bool:
        """Whether BigQuery's table has other columns (by name, type, mode or order) or another layout; False where
        there is none."""
        try:
            existing = self.client.get_table(table.id)
        except NotFound:
            return False
        return _layout(existing) != _layout(self._definition(table))

    def missing_columns(self, table: Table) -> list[str] | None:
        """The columns of `table` that BigQuery's does not have yet, records' members as a.b; None for a new table.

        Raises Refused as `ensure` would.
        """
        try:
            existing = self.client.get_table(table.id).schema
        except NotFound:
            return None
        before = set(paths(existing))
        columns = _within_limit(table, merged(table, existing, table.columns))
        return [path for path in paths(columns) if path not in before]

    def _definition(self, table: Table) -> bigquery.Table:
        definition = bigquery.Table(f"{self.settings.project_id}.{table.id}", schema=table.columns)
        definition.description = table.description
        if table.clustering:
            definition.clustering_fields = list(table.clustering)
        if table.partition_field:
            partitioning = bigquery.TimePartitioning(field=table.partition_field)
            # None is said outright, which the constructor does not: a retention that is left out would stay.
            partitioning.expiration_ms = table.retention_days and table.retention_days * DAY_IN_MS
            definition.time_partitioning = partitioning
            definition.require_partition_filter = table.require_partition_filter
        return definition


def load_config(table: Table) -> LoadJobConfig:
    """How newline-delimited JSON is appended to a table: by the definition, so that BigQuery guesses no type."""
    return LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND", schema=table.columns)


def written(job: LoadJob, table: Table, sent: int) -> int:
    """Waits for a load job that this process has sent; returns the rows written.

    Raises google.api_core exceptions where it failed, WarehouseError where it wrote another number of rows.
    """
    rows = job.result().output_rows
    if rows != sent:
        raise WarehouseError(f"{table.id}: load job {job.job_id} wrote {rows} rows of the {sent} that were sent")
    return rows


def _labels(labels: dict[str, str] | None) -> dict[str, str]:
    """Labels as BigQuery takes them: in lower case, and at most 63 characters."""
    return {key: value.lower()[:_MAX_LABEL] for key, value in (labels or {}).items()}


def _layout(table: bigquery.Table) -> tuple:
    partitioning = table.time_partitioning
    return (
        _shapes(table.schema),
        partitioning and (partitioning.field, partitioning.type_),
        tuple(table.clustering_fields or ()),
        bool(table.require_partition_filter),
    )


def _shapes(fields) -> tuple:
    return tuple((field.name, field.field_type, field.mode, _shapes(field.fields)) for field in fields)


def paths(fields, prefix: str = "") -> Iterator[str]:
    """The names of columns and, after their record's, of its members: a, a.b."""
    for field in fields:
        yield prefix + field.name
        yield from paths(field.fields, f"{prefix}{field.name}.")


def _within_limit(table: Table, columns: list) -> list:
    count = sum(1 for _ in paths(columns))
    if count > MAX_COLUMNS:
        raise Refused(
            f"{table.id} would have {count:,} columns, with those in records and those of earlier schemas, and"
            f" BigQuery takes {MAX_COLUMNS:,} in a table; give the document type a new version"
        )
    return columns


def merged(table: Table, existing, wanted) -> list:
    """The existing columns and, at their end, the wanted ones that are new; records are merged field by field.

    Raises Refused where a column exists with another type; `table` is the one that it names.
    """
    by_name = {field.name.lower(): field for field in wanted}
    columns = []
    for field in existing:
        new = by_name.pop(field.name.lower(), None)
        if new is not None and (new.field_type, new.mode) != (field.field_type, field.mode):
            raise Refused(
                f"{table.id}: column {field.name} is {field.field_type} {field.mode} and cannot become "
                f"{new.field_type} {new.mode}; give the changed column a new name or the table a new version"
            )
        if new is not None and new.fields:
            fields = merged(table, field.fields, new.fields)
            if fields != list(field.fields):
                field = bigquery.SchemaField(
                    field.name, field.field_type, field.mode, field.default_value_expression, field.description, fields
                )
        columns.append(field)
    return columns + list(by_name.values())
