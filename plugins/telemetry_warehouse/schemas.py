"""The schema directories: every document type, its columns, its live and stable tables, its retention.

A type is `<dir>/<namespace>/<type>/<type>.<version>.schema.json`; an optional `<type>.<version>.table.yml` beside it
says how long its rows are kept and where the normalised columns come from:

    live_days: 30            # null: for ever
    stable_days: 775         # null: for ever
    paths:                   # dotted paths in the document, one or a list tried in order
      client_id: clientId
      app_name: application.name
      channel: application.channel
      os: environment.system.os.name
      country: country
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from telemetry_warehouse.fields import Field, SchemaError, from_schema

if TYPE_CHECKING:
    from telemetry_warehouse.tables import Table

LIVE_DAYS = 30
STABLE_DAYS = 775
# A step takes about 15 ns. Patterns that are in use need tens, or one for each character of a text.
BACKTRACK_LIMIT = 10_000
DEFAULT_PATHS = {
    "client_id": ("clientId", "client_id", "client_info.client_id"),
    "app_name": ("application.name", "app_name"),
    "channel": ("application.channel", "channel", "client_info.app_channel"),
    "os": ("environment.system.os.name", "os", "client_info.os"),
    "country": ("country",),
}
ADDITIONAL = "additional_properties"
STANDARD_COLUMNS = (
    ("document_id", "STRING", "The document's UUID, lower-case, from the submission's URI"),
    ("submission_timestamp", "TIMESTAMP", "When the server received it (UTC); the only clock that decides the day"),
    ("client_id", "STRING", "The client's UUID, lower-case; NULL where there is none"),
    ("sample_id", "INT64", "CRC-32 of client_id, mod 100; NULL where there is no client_id"),
    ("normalized_app_name", "STRING", "The application"),
    ("normalized_channel", "STRING", "The release channel"),
    ("normalized_os", "STRING", "The operating system, one name for each family"),
    ("normalized_country_code", "STRING", "Two letters, upper-case; NULL where unknown"),
    (
        "metadata",
        "STRUCT<geo STRUCT<country STRING, subdivision1 STRING, city STRING>, "
        "header STRUCT<date STRING, x_debug_id STRING, x_source_tags STRING>, user_agent STRING, uri STRING>",
        "What the server added to the submission",
    ),
)
ADDITIONAL_COLUMN = (
    ADDITIONAL,
    "JSON",
    "What the schema does not name and what a column cannot tell apart (an explicit null, an empty list), in place",
)
_RESERVED = frozenset(name for name, *_ in (*STANDARD_COLUMNS, ADDITIONAL_COLUMN))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FILE_NAME = re.compile(r"(?P<type>.+)\.(?P<version>\d+)\.schema\.json")


class TypeName(NamedTuple):
    """What a submission's URI says a document is."""

    namespace: str
    type: str
    version: str

    @property
    def table(self) -> str:
        return clean(f"{self.type}_v{self.version}")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.type}/{self.version}"


@dataclass(frozen=True, eq=False)
class DocumentType:
    """A document type and what landing needs to know of it.

    `fields` are the typed columns; `standard` pairs the properties whose name is a standard column's with that column;
    `paths` gives, for each normalised column, the paths to try in the document; `validator` is its compiled schema.
    """

    name: TypeName
    path: Path
    schema: dict
    fields: tuple[Field, ...]
    standard: tuple[tuple[str, str], ...]
    paths: dict[str, tuple[tuple[str, ...], ...]]
    live: "Table"
    stable: "Table"
    validator: object

    @property
    def namespace(self) -> str:
        return self.name.namespace

    @property
    def type(self) -> str:
        return self.name.type

    @property
    def version(self) -> str:
        return self.name.version


def compile_schema(schema: dict):
    """The validator of a JSON Schema, whose time is bounded whatever its patterns are and whatever it validates.

    Patterns are matched in linear time. Where one has a lookaround or a back-reference, which that cannot do, no match
    takes more than BACKTRACK_LIMIT steps; a text that needs more does not pass, be it under `not`.
    Raises ValueError, TypeError or jsonschema_rs.ReferencingError for a bad schema.
    """
    import jsonschema_rs

    bounded = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACK_LIMIT)
    # offline: a schema must never make the warehouse fetch something from the network.
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except jsonschema_rs.ValidationError:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=bounded)


def fingerprint(directories: Iterable[Path]) -> tuple:
    """What changes when any schema, or what stands beside it, does."""
    paths = [path for directory in directories for path in sorted(Path(directory).glob("*/*/*.*"))]
    states = [path.stat() for path in paths]
    return tuple((path, state.st_mtime_ns, state.st_size) for path, state in zip(paths, states, strict=True))


def clean(name: str) -> str:
    """A dataset's or table's name from a namespace or a type."""
    return re.sub(r"[.-]", "_", name)


def list_types(directories: Iterable[Path]) -> list[TypeName]:
    """Every document type by the names of the files alone; opens none of them. Raises SchemaError on a bad name."""
    return sorted(_files(directories))


def load(directories: Iterable[Path]) -> dict[TypeName, DocumentType]:
    """Reads and compiles every schema. Raises SchemaError naming the file, and both files or both fields in a clash."""
    types = {name: _document_type(name, path) for name, path in sorted(_files(directories).items())}
    by_table: dict[str, DocumentType] = {}
    for document_type in types.values():
        other = by_table.setdefault(document_type.live.id.lower(), document_type)
        if other is not document_type:
            both = f"{other.path} and {document_type.path}"
            raise SchemaError(f"{both} both become the table {document_type.live.id}; rename one")
    return types


def _files(directories: Iterable[Path]) -> dict[TypeName, Path]:
    files: dict[TypeName, Path] = {}
    for directory in directories:
        for path in sorted(Path(directory).glob("*/*/*.schema.json")):
            match = _FILE_NAME.fullmatch(path.name)
            namespace = path.parent.parent.name
            if not match or not _NAME.fullmatch(match["type"]) or not _NAME.fullmatch(namespace):
                wanted = "<namespace>/<type>/<type>.<version>.schema.json"
                raise SchemaError(f"{path}: name it {wanted}, in letters, digits and -._")
            name = TypeName(namespace, match["type"], match["version"])
            if name in files:
                raise SchemaError(f"{files[name]} and {path} both define {name}; keep one")
            files[name] = path
    return files


def _document_type(name: TypeName, path: Path) -> DocumentType:
    import jsonschema_rs

    from telemetry_warehouse.tables import Table

    try:
        schema = json.loads(path.read_text())
        validator = compile_schema(schema)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(f"{path} is not a usable JSON Schema: {str(error).splitlines()[0]}") from error
    fields = from_schema(schema, str(path))
    typed = tuple(f for f in fields if f.column not in _RESERVED)
    options = _options(path.with_name(path.name.replace(".schema.json", ".table.yml")))
    first, last = _standard_columns()
    columns = (*first, *map(schema_field, typed), last)
    description = str(schema.get("description") or schema.get("title") or name)
    namespace = clean(name.namespace)
    return DocumentType(
        name=name,
        path=path,
        schema=schema,
        fields=typed,
        standard=tuple((f.key, f.column) for f in fields if f.column in _RESERVED),
        paths={
            target: tuple(tuple(p.split(".")) for p in options["paths"].get(target, default))
            for target, default in DEFAULT_PATHS.items()
        },
        live=Table(
            f"{namespace}_live",
            name.table,
            columns,
            f"Landed messages of {name}, duplicates possible. {description}",
            partition_field="submission_timestamp",
            retention_days=options["live_days"],
        ),
        stable=Table(
            f"{namespace}_stable",
            name.table,
            columns,
            f"Documents of {name}, no duplicates. {description}",
            partition_field="submission_timestamp",
            retention_days=options["stable_days"],
            grain=("document_id",),
            clustering=("normalized_channel", "sample_id", "client_id"),
        ),
        validator=validator,
    )


@cache
def _standard_columns() -> tuple[tuple, object]:
    """The columns before a schema's own, and the one after them."""
    from telemetry_warehouse.tables import column

    return tuple(column(*c) for c in STANDARD_COLUMNS), column(*ADDITIONAL_COLUMN)


def schema_field(field: Field):
    """The BigQuery column of a field."""
    from google.cloud.bigquery import SchemaField

    legacy = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "MAP": "RECORD"}
    members = tuple(map(schema_field, field.fields))
    if field.kind == "MAP":
        members = (SchemaField("key", "STRING"), *members)
    return SchemaField(
        field.column,
        legacy.get(field.kind, field.kind),
        "REPEATED" if field.repeated else "NULLABLE",
        description=field.description[:1024],
        fields=members,
    )


def _options(path: Path) -> dict:
    """What <type>.<version>.table.yml says, with the defaults; raises SchemaError naming a key that is not one."""
    import yaml

    given = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    options = {"live_days": LIVE_DAYS, "stable_days": STABLE_DAYS, "paths": {}} | given
    known = ("live_days", "stable_days", "paths", *(f"paths.{name}" for name in DEFAULT_PATHS))
    for key in (*options, *(f"paths.{name}" for name in options["paths"])):
        if key not in known:
            raise SchemaError(f"{path}: {key!r} is not one of {', '.join(known)}")
    for key in ("live_days", "stable_days"):
        if options[key] is not None and not (type(options[key]) is int and options[key] > 0):
            raise SchemaError(f"{path}: {key} is {options[key]!r}; give a whole number of days, or null for ever")
    options["paths"] = {k: (v,) if isinstance(v, str) else tuple(v) for k, v in options["paths"].items()}
    return options
