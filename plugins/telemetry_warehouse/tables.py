"""What a table is: columns, partitioning, clustering, retention and the expectations that gate it.

Definitions come from three places and all end here: JSON Schemas (live and stable, see schemas.py), dbt's manifest
(derived, see lineage.py) and `sql/tables/*.yml` (what neither of the two makes).
"""

import re
from dataclasses import dataclass, field
from functools import cache

from google.cloud.bigquery import SchemaField

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.files import read_yaml
from telemetry_warehouse.settings import ROOT

# As BigQuery counts them: a record, and each of its members.
MAX_COLUMNS = 10_000
_SAME_NAMES = ("STRING", "BYTES", "DATE", "TIME", "DATETIME", "TIMESTAMP", "JSON", "NUMERIC", "BIGNUMERIC", "GEOGRAPHY")
_LEGACY_NAMES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_SCALARS = {name: name for name in _SAME_NAMES} | _LEGACY_NAMES


@dataclass(frozen=True)
class Table:
    """A table of the warehouse.

    grain: the columns that name a row, within its day where it has days. merge_key: those of its one MERGE where days
    are not what is published. column_meta: column → config.meta of its YAML. expectations_file: where the expectations
    stand, for people.
    """

    dataset: str
    name: str
    columns: tuple[SchemaField, ...]
    description: str = ""
    partition_field: str | None = None
    require_partition_filter: bool = True
    clustering: tuple[str, ...] = ()
    retention_days: int | None = None
    expectations: tuple[dict, ...] = ()
    merge_key: tuple[str, ...] = ()
    grain: tuple[str, ...] = ()
    column_meta: dict[str, dict] = field(default_factory=dict)
    expectations_file: str = ""

    @property
    def id(self) -> str:
        return f"{self.dataset}.{self.name}"

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def day(self) -> str:
        """The SQL expression of a row's partition."""
        types = {column.name: column.field_type for column in self.columns}
        return self.partition_field if types[self.partition_field] == "DATE" else f"DATE({self.partition_field})"


def column(name: str, data_type: str, description: str = "") -> SchemaField:
    """A column from GoogleSQL type text such as `ARRAY<STRUCT<key STRING, value INT64>>`."""
    import sqlglot

    refusal = WarehouseError(f"column {name} has data_type {data_type!r}, which is no GoogleSQL type")
    try:
        field = _field(name, sqlglot.exp.DataType.build(data_type, dialect="bigquery"), description)
    except (sqlglot.errors.SqlglotError, KeyError):
        raise refusal from None
    # sqlglot reads on past what it does not know; a type that comes back different was not one.
    if _bare(type_text(field)) != _bare(data_type):
        raise refusal
    return field


def _bare(text: str) -> str:
    return re.sub(r"[`\s]", "", text).upper()


def _field(name, parsed, description="") -> SchemaField:
    from sqlglot.expressions import DataType

    mode = "NULLABLE"
    if parsed.this is DataType.Type.ARRAY:
        mode, parsed = "REPEATED", parsed.expressions[0]
    if parsed.this is DataType.Type.STRUCT:
        fields = [_field(f.name, f.args["kind"]) for f in parsed.expressions]
        return SchemaField(name, "RECORD", mode, description=description, fields=fields)
    return SchemaField(name, _SCALARS[parsed.sql(dialect="bigquery")], mode, description=description)


def type_text(field: SchemaField) -> str:
    """A column's GoogleSQL type text; the inverse of `column`."""
    modern = {legacy: name for name, legacy in _LEGACY_NAMES.items()}
    text = modern.get(field.field_type, field.field_type)
    if text == "STRUCT":
        text = "STRUCT<" + ", ".join(f"`{f.name}` {type_text(f)}" for f in field.fields) + ">"
    return f"ARRAY<{text}>" if field.mode == "REPEATED" else text


def quoted(table_id: str) -> str:
    """A table's id as SQL takes it whatever the names are: a dataset's may begin with a digit."""
    return ".".join(f"`{part}`" for part in table_id.split("."))


@cache
def from_file(dataset: str, name: str, file_dataset: str | None = None) -> Table:
    """The table of sql/tables/<dataset>.<name>.yml; `file_dataset` where many datasets share one definition."""
    path = ROOT / "sql" / "tables" / f"{file_dataset or dataset}.{name}.yml"
    definition = read_yaml(path)
    return Table(
        dataset=dataset,
        name=name,
        columns=tuple(column(c["name"], c["data_type"], c["description"]) for c in definition.pop("columns")),
        clustering=tuple(definition.pop("clustering", ())),
        expectations=tuple(definition.pop("expectations", ())),
        **definition,
    )
