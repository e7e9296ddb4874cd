"""Run a query file, load a batch, keep a table's definition, read Arrow: all that the rooms ask of BigQuery."""

import io
import string
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import BinaryIO

import orjson
from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, QueryJobConfig, ScalarQueryParameter

from telemetry_warehouse.errors import Refused
from telemetry_warehouse.settings import ROOT, Settings
from telemetry_warehouse.tables import Table

# How many others may change one table at the same time as we do.
_MOST_RIVALS = 10
_ROWS_AT_ONCE = 10_000
_DAY_IN_MS = 24 * 60 * 60 * 1000


def render(name: str, **values: object) -> str:
    """The text of sql/<name>.sql with each ${placeholder} filled in; raises KeyError for one that is left."""
    return string.Template((ROOT / "sql" / f"{name}.sql").read_text()).substitute(values)


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
            labels=labels or {},
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

    def load(
        self, table_id: str, ndjson: bytes | BinaryIO, *, job_id: str | None = None, labels: dict | None = None
    ) -> int:
        """Appends newline-delimited JSON in one load job and waits; returns the rows written.

        A job id that exists already is the same batch sent before: its job is waited for instead, so that a retry
        never loads twice. Raises google.api_core exceptions where the job failed.
        """
        config = LoadJobConfig(
            source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND", labels=labels or {}
        )
        data = io.BytesIO(ndjson) if isinstance(ndjson, bytes) else ndjson
        try:
            job = self.client.load_table_from_file(data, table_id, job_id=job_id, job_config=config, rewind=True)
        except Conflict:
            job = self.client.get_job(job_id)
        return job.result().output_rows

    def load_rows(self, table_id: str, rows: Iterable[dict]) -> int:
        """Appends rows given as dicts; dates and timestamps as Python objects or text. Nothing is sent for no rows."""
        lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        return self.load(table_id, lines) if lines else 0

    def exists(self, table_id: str) -> bool:
        try:
            self.client.get_table(table_id)
        except NotFound:
            return False
        return True

    def drop(self, table_id: str) -> None:
        self.client.delete_table(table_id, not_found_ok=True)

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

        Raises Refused where a column exists with another type.
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
        merged = _merged(table, existing.schema, table.columns)
        if merged != list(existing.schema):
            existing.schema = merged
            changes.append("schema")
        partitioning = self._definition(table).time_partitioning
        if partitioning and existing.time_partitioning is None:
            raise Refused(f"{table.id} is there without partitions; move it away, and it is made anew")
        if partitioning and existing.time_partitioning.expiration_ms != partitioning.expiration_ms:
            existing.time_partitioning = partitioning
            changes.append("time_partitioning")
        if changes:
            self.client.update_table(existing, changes)

    def missing_columns(self, table: Table) -> list[str] | None:
        """The columns of `table` that BigQuery's does not have yet, records' members as a.b; None for a new table.

        Raises Refused as `ensure` would.
        """
        try:
            existing = self.client.get_table(table.id).schema
        except NotFound:
            return None
        before = set(_paths(existing))
        return [path for path in _paths(_merged(table, existing, table.columns)) if path not in before]

    def _definition(self, table: Table) -> bigquery.Table:
        definition = bigquery.Table(f"{self.settings.project_id}.{table.id}", schema=table.columns)
        definition.description = table.description
        if table.clustering:
            definition.clustering_fields = list(table.clustering)
        if table.partition_field:
            partitioning = bigquery.TimePartitioning(field=table.partition_field)
            # None is said outright, which the constructor does not: a retention that is left out would stay.
            partitioning.expiration_ms = table.retention_days and table.retention_days * _DAY_IN_MS
            definition.time_partitioning = partitioning
            definition.require_partition_filter = table.require_partition_filter
        return definition


def _paths(fields, prefix: str = "") -> Iterator[str]:
    for field in fields:
        yield prefix + field.name
        yield from _paths(field.fields, f"{prefix}{field.name}.")


def _merged(table: Table, existing, wanted) -> list:
    """The existing columns and, at their end, the wanted ones that are new; records are merged field by field."""
    by_name = {field.name.lower(): field for field in wanted}
    merged = []
    for field in existing:
        new = by_name.pop(field.name.lower(), None)
        if new is not None and (new.field_type, new.mode) != (field.field_type, field.mode):
            raise Refused(
                f"{table.id}: column {field.name} is {field.field_type} {field.mode} and cannot become "
                f"{new.field_type} {new.mode}; give the changed column a new name or the table a new version"
            )
        if new is not None and new.fields:
            fields = _merged(table, field.fields, new.fields)
            if fields != list(field.fields):
                field = bigquery.SchemaField(
                    field.name, field.field_type, field.mode, field.default_value_expression, field.description, fields
                )
        merged.append(field)
    return merged + list(by_name.values())
