"""The schema directories: every document type, its columns, its live and stable tables, its retention.

A type whose schema cannot be used stops no other: `load` gives those that can be, and what is wrong with the rest.

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

and an optional `<type>.<version>.expectations.yml` what its stable table's gate expects beside what it expects of all:
docs/gates.md. That stops no ping: what is wrong with it stops the stage of its own table.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from telemetry_warehouse.errors import one_line
from telemetry_warehouse.fields import Field, SchemaError, from_schema
from telemetry_warehouse.files import FileError, Placed, read_json, read_mappings, read_yaml
from telemetry_warehouse.privacy import redacted_schema, redaction
from telemetry_warehouse.validators import compile_schema

if TYPE_CHECKING:
    from telemetry_warehouse.tables import Table

LIVE_DAYS = 30
_MAX_DAYS = 36_500
STABLE_DAYS = 775
STABLE_CLUSTERING = ("normalized_channel", "sample_id", "client_id")
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
    (
        "normalized_os",
        "STRING",
        "The operating system's family: Windows, Mac, Linux, Android, iOS, BSD, ChromeOS, or Other for any other name;"
        " NULL where none is said",
    ),
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
# BigQuery's limits.
_MAX_COLUMN_DESCRIPTION = 1024
_MAX_TABLE_DESCRIPTION = 16_384
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


@dataclass(frozen=True)
class Fault:
    """Why a type's files cannot be used, in one line that names the file.

    `schema` is its JSON where it says, if anything, which fields are sensitive.
    """

    why: str
    schema: dict | None = None

    def __str__(self) -> str:
        return self.why


class Types(dict[TypeName, DocumentType]):
    """The document types that can be used. `faults`: what is wrong with the others, and with files that name none."""

    def __init__(self):
        super().__init__()
        self.faults: dict[TypeName | Path, Fault] = {}


def fingerprint(directories: Iterable[Path]) -> tuple:
    """What changes when any schema, or what stands beside it, does."""
    return tuple(_state(path) for directory in directories for path in sorted(Path(directory).glob("*/*/*.*")))


def _state(path: Path) -> tuple:
    try:
        state = path.stat()
    except FileNotFoundError:
        # Taken away since the directory was listed, or a link to nothing.
        return path, None, None
    return path, state.st_mtime_ns, state.st_size


def clean(name: str) -> str:
    """A dataset's or table's name from a namespace or a type."""
    return re.sub(r"[.-]", "_", name)


def list_types(directories: Iterable[Path]) -> list[TypeName]:
    """Every document type by the names of the files alone, also of files that cannot be used; opens none of them."""
    files, faults = _files(directories)
    return sorted({*files, *(name for name in faults if isinstance(name, TypeName))})


def expectations_of(directories: Iterable[Path], name: TypeName) -> list[Placed]:
    """What the file beside a type's schema expects of its stable table alone; nothing where there is no such file.

    Raises FileError, naming the line, for a file of another shape.
    """
    path = _files(directories)[0].get(name)
    own = path and path.with_name(_own_expectations(name))
    if own is None or not own.exists():
        return []
    try:
        return read_mappings(own, "expectations")
    except OSError as error:
        raise FileError(f"{own} cannot be read: {error.strerror}") from error


def expectations_without_schema(directories: Iterable[Path]) -> list[str]:
    """What is wrong with the names of files of expectations: a line for each that belongs to no schema."""
    directories = list(directories)
    known = {path.with_name(_own_expectations(name)) for name, path in _files(directories)[0].items()}
    found = [path for directory in directories for path in sorted(Path(directory).glob("*/*/*.expectations.yml"))]
    return [
        f"{path} belongs to no schema beside it; name it <type>.<version>.expectations.yml"
        for path in found
        if path not in known
    ]


def _own_expectations(name: TypeName) -> str:
    return f"{name.type}.{name.version}.expectations.yml"


def load(directories: Iterable[Path]) -> Types:
    """Reads and compiles every schema. What is wrong with one is among the faults of what is returned, and with what
    clashes, both files or both fields by name."""
    files, faults = _files(directories)
    types = Types()
    types.faults |= faults
    for name, path in sorted(files.items()):
        schema = None
        try:
            schema = _read(read_json, path)
            types[name] = _document_type(name, path, schema)
        except SchemaError as error:
            types.faults[name] = Fault(str(error), _with_right_marks(schema))
        except Exception as error:
            # One schema that we are not ready for must not keep the others from their tables.
            why = f"{path} cannot be used: {type(error).__name__} {one_line(error)}"
            types.faults[name] = Fault(why, _with_right_marks(schema))
    return types


def _with_right_marks(schema: object) -> dict | None:
    if not isinstance(schema, dict):
        return None
    try:
        redaction(schema, "", "a key")
    except Exception:
        # A schema that nobody has checked may be anything.
        return None
    return schema


def _files(directories: Iterable[Path]) -> tuple[dict[TypeName, Path], dict[TypeName | Path, Fault]]:
    """The file of each type, and what is wrong with names of files: not ours, or two for one type or one table."""
    files: dict[TypeName, list[Path]] = {}
    faults: dict[TypeName | Path, Fault] = {}
    for directory in directories:
        for path in sorted(Path(directory).glob("*/*/*.schema.json")):
            match = _FILE_NAME.fullmatch(path.name)
            namespace = path.parent.parent.name
            if match and _NAME.fullmatch(match["type"]) and _NAME.fullmatch(namespace):
                files.setdefault(TypeName(namespace, match["type"], match["version"]), []).append(path)
            else:
                wanted = "<namespace>/<type>/<type>.<version>.schema.json"
                faults[path] = Fault(f"{path}: name it {wanted}, in letters, digits and -._")
    by_table: dict[str, list[TypeName]] = {}
    for name, paths in sorted(files.items()):
        by_table.setdefault(f"{clean(name.namespace)}_live.{name.table}".lower(), []).append(name)
        if len(paths) > 1:
            faults[name] = Fault(f"{' and '.join(map(str, paths))} both define {name}; keep one")
    for table, names in by_table.items():
        if len(names) > 1:
            paths = " and ".join(str(path) for name in names for path in files[name])
            faults |= dict.fromkeys(names, Fault(f"{paths} both become the table {table}; rename one"))
    return {name: path for name, [path, *_] in files.items() if name not in faults}, faults


def _document_type(name: TypeName, path: Path, schema: dict) -> DocumentType:
    from telemetry_warehouse.tables import MAX_COLUMNS, Table

    validator = _compiled(schema, path)
    fields = from_schema(schema, str(path))
    # Whatever the key is, the marks are right or wrong.
    if redaction(schema, str(path), "a key"):
        _compiled(redacted_schema(schema, str(path)), path)
    typed = tuple(f for f in fields if f.column not in _RESERVED)
    options = _options(path.with_name(path.name.replace(".schema.json", ".table.yml")))
    first, last = _standard_columns()
    columns = (*first, *map(schema_field, typed), last)
    if (count := column_count(columns)) > MAX_COLUMNS:
        raise SchemaError(
            f"{path} has {count:,} columns, those in records included, and BigQuery takes {MAX_COLUMNS:,} in a table;"
            " let maps and lists hold what has no fixed names"
        )
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
            f"Landed messages of {name}, duplicates possible. {description}"[:_MAX_TABLE_DESCRIPTION],
            partition_field="submission_timestamp",
            retention_days=options["live_days"],
        ),
        stable=Table(
            f"{namespace}_stable",
            name.table,
            columns,
            f"Documents of {name}, no duplicates. {description}"[:_MAX_TABLE_DESCRIPTION],
            partition_field="submission_timestamp",
            retention_days=options["stable_days"],
            grain=("document_id",),
            clustering=STABLE_CLUSTERING,
        ),
        validator=validator,
    )


def column_count(columns: Iterable) -> int:
    """Columns as BigQuery counts them for its limit: a record, and each of its members."""
    return sum(1 + column_count(column.fields) for column in columns)


def _compiled(schema: dict, path: Path):
    import jsonschema_rs

    if not isinstance(schema, dict):
        raise SchemaError(f"{path} is not a usable JSON Schema: it holds no object")
    try:
        return compile_schema(schema)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(f"{path} is not a usable JSON Schema: {str(error).splitlines()[0]}") from error


def _read(read: Callable[[Path], object], path: Path):
    try:
        return read(path)
    except FileError as error:
        raise SchemaError(str(error)) from error
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror}") from error


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
        description=field.description[:_MAX_COLUMN_DESCRIPTION],
        fields=members,
    )


def _options(path: Path) -> dict:
    """What <type>.<version>.table.yml says, with the defaults; raises SchemaError naming what cannot be there."""
    known = ("live_days", "stable_days", "paths", *(f"paths.{name}" for name in DEFAULT_PATHS))
    given = (_read(read_yaml, path) or {}) if path.exists() else {}
    paths = given.get("paths", {}) if isinstance(given, dict) else None
    if not isinstance(paths, dict):
        raise SchemaError(f"{path}: it holds no mapping, or one whose paths are none; it may say {', '.join(known)}")
    options = {"live_days": LIVE_DAYS, "stable_days": STABLE_DAYS} | given | {"paths": {}}
    for key in (*options, *(f"paths.{name}" for name in paths)):
        if key not in known:
            raise SchemaError(f"{path}: {key!r} is not one of {', '.join(known)}")
    for key in ("live_days", "stable_days"):
        if options[key] is not None and not (type(options[key]) is int and 0 < options[key] <= _MAX_DAYS):
            wanted = f"a whole number of days up to {_MAX_DAYS:,}, or null for ever"
            raise SchemaError(f"{path}: {key} is {options[key]!r}; give {wanted}")
    for name, wanted in paths.items():
        tried = [wanted] if isinstance(wanted, str) else wanted
        if not (isinstance(tried, list) and all(isinstance(one, str) for one in tried)):
            raise SchemaError(f"{path}: paths.{name} is {wanted!r}; give a dotted path, or a list of them")
        options["paths"][name] = tuple(tried)
    return options
