"""JSON Schema → a tree of fields: which property becomes which column, and of what type.

The rules are SEMANTICS.md's: an object with properties is a RECORD, a map with one kind of value is
ARRAY<STRUCT<key, value>>, an array is REPEATED, a nullable union is its other half, and what BigQuery cannot type
is JSON. A field's type never decides whether a document lands: a value that the schema allows and the column cannot
hold stays in additional_properties (landing/shape.py).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from telemetry_warehouse.errors import WarehouseError

# BigQuery nests records at most 15 deep, and refuses longer names and these beginnings.
MAX_RECORD_DEPTH = 15
# A property's schema says with it that its values are dropped or hashed (privacy.py).
MARK = "x-pii"
# References can lead in a circle.
_LONGEST_WAY = 20
MAX_NAME_LENGTH = 300
# What the names in our SQL over tables of pings begin with, so that they are no column's.
OURS = "__"
_RESERVED_NAME = re.compile(
    r"_table_|_file_|_partition|_row_timestamp|_colidentifier|_change_sequence_number|_change_type|_change_timestamp"
)
_SCALARS = {"integer": "INT64", "number": "FLOAT64", "boolean": "BOOL", "string": "STRING"}


class SchemaError(WarehouseError):
    """A schema that cannot become a table, naming the file and what is wrong with it."""


@dataclass(frozen=True)
class Field:
    """A property `key` and its column. kind: INT64, FLOAT64, BOOL, STRING, JSON, RECORD or MAP.

    `fields` are a RECORD's members; a MAP has exactly one, the field of its values.
    """

    key: str
    column: str
    kind: str
    repeated: bool = False
    fields: tuple["Field", ...] = ()
    description: str = field(default="", compare=False)


def snake_case(name: str) -> str | None:
    """The column name of a property: `subsessionLength` → subsession_length, `memoryMB` → memory_mb, `2d` → _2d.

    None where nothing is left that BigQuery takes as a name, or one with our own two underscores at its beginning; such
    a property has no column.
    """
    words = _words(name)
    return None if words is None or _beyond(words) else words


def _words(name: str) -> str | None:
    words = re.sub(r"[^A-Za-z0-9_]+", "_", name)
    if not words.strip("_"):
        return None
    if not name.startswith("_") and words.startswith("_"):
        words = words[1:]
    words = re.sub(r"([A-Za-z]\d*)(?=[A-Z][a-z])", r"\1_", words)
    words = re.sub(r"([a-z]\d*)(?=[A-Z])", r"\1_", words).lower()
    return re.sub(r"^(?=\d)", "_", words)


def _beyond(column: str) -> str | None:
    """Which limit, of BigQuery's or our own, keeps this from being a column's name, if one does."""
    if len(column) > MAX_NAME_LENGTH:
        return f"its name has {len(column)} characters, and BigQuery takes {MAX_NAME_LENGTH}"
    if reserved := _RESERVED_NAME.match(column):
        return f"BigQuery keeps names that begin with {reserved[0].upper()} for itself"
    if column.startswith(OURS):
        return f"names that begin with {OURS} are those of the warehouse's own SQL"
    return None


def from_schema(schema: dict, source: str) -> tuple[Field, ...]:
    """The top-level fields of a JSON Schema (draft 4 to 2020-12); `source` names it in errors.

    Raises SchemaError for two properties that map to one column and for a $ref that leaves the file.
    """
    return _Reader(schema, source).document()


def beyond_limits(schema: dict, source: str) -> list[str]:
    """What of a JSON Schema is beyond BigQuery's limits for names and nesting, a line for each with number and limit.

    Its values are kept all the same: without a column in additional_properties, without a type as JSON. Raises
    SchemaError as `from_schema` does.
    """
    reader = _Reader(schema, source)
    reader.document()
    return reader.beyond


def resolver(root: dict, source: str) -> Callable[[str], object]:
    """What a $ref of this schema names; raises SchemaError for one that leaves the file."""
    reader = _Reader(root, source)
    return lambda reference: reader.resolve(reference, ())


def follow(schema: object, resolve: Callable[[str], object]) -> dict:
    """The schema at the end of its references, or the first on the way that is marked; {} for one that is a boolean."""
    followed = 0
    while isinstance(schema, dict) and "$ref" in schema and MARK not in schema and followed < _LONGEST_WAY:
        schema = resolve(schema["$ref"])
        followed += 1
    return schema if isinstance(schema, dict) else {}


@dataclass(frozen=True)
class _Type:
    kind: str
    repeated: bool = False
    fields: tuple[Field, ...] = ()


_JSON = _Type("JSON")


class _Reader:
    def __init__(self, root: dict, source: str):
        self.root = root
        self.source = source
        self.beyond: list[str] = []

    def document(self) -> tuple[Field, ...]:
        found = self.type_of(self.root, (), 0, frozenset())
        return found.fields if found.kind == "RECORD" and not found.repeated else ()

    def type_of(self, schema, path: tuple[str, ...], depth: int, references: frozenset[str]) -> _Type:
        """The type of the values that `schema` allows, inside `depth` records and while resolving `references`."""
        while isinstance(schema, dict) and "$ref" in schema:
            reference = schema["$ref"]
            if reference in references:
                return _JSON
            references |= {reference}
            schema = self.resolve(reference, path)
        if not isinstance(schema, dict):
            return _JSON
        kinds = _declared(schema)
        if not kinds:
            half = _nullable_half(schema)
            return _JSON if half is None else self.type_of(half, path, depth, references)
        if kinds <= {"integer", "number"}:
            return _Type("FLOAT64" if "number" in kinds else "INT64")
        if len(kinds) > 1:
            return _JSON
        (kind,) = kinds
        if kind == "object":
            return self.object_type(schema, path, depth, references)
        if kind == "array":
            return self.array_type(schema, path, depth, references)
        return _Type(_SCALARS[kind]) if kind in _SCALARS else _JSON

    def object_type(self, schema, path, depth, references) -> _Type:
        # A map needs a second record for values that are records; its own check below sees to that.
        if depth > MAX_RECORD_DEPTH:
            if any(schema.get(keyword) for keyword in ("properties", "patternProperties", "additionalProperties")):
                deep = f"is a record {depth} deep, and BigQuery nests records {MAX_RECORD_DEPTH} deep"
                self.beyond.append(f"{'.'.join(path)} {deep}: it stays JSON")
            return _JSON
        if schema.get("properties"):
            members = self.members(schema["properties"], path, depth + 1, references)
            return _Type("RECORD", fields=members) if members else _JSON
        candidates = [*schema.get("patternProperties", {}).values()]
        if isinstance(schema.get("additionalProperties"), dict):
            candidates.append(schema["additionalProperties"])
        types = {self.type_of(c, (*path, "*"), depth + 1, references) for c in candidates}
        if len(types) != 1:
            return _JSON
        (value,) = types
        if value == _JSON and not any(isinstance(c, dict) and c for c in candidates):
            return _JSON
        return _Type("MAP", repeated=True, fields=(Field("value", "value", value.kind, value.repeated, value.fields),))

    def members(self, properties, path, depth, references) -> tuple[Field, ...]:
        members: dict[str, Field] = {}
        for key, schema in properties.items():
            column = snake_case(key)
            if schema is False or self.is_dropped(schema, (*path, key)):
                continue
            if column is None:
                if reason := _beyond(_words(key) or ""):
                    self.beyond.append(f"{'.'.join((*path, key))[:80]} gets no column: {reason}")
                continue
            if column in members:
                here = ".".join(path) or "the document"
                raise SchemaError(
                    f"{self.source}: in {here} the properties {members[column].key!r} and {key!r} both become the "
                    f"column {column}; rename one"
                )
            found = self.type_of(schema, (*path, key), depth, references)
            description = schema.get("description", "") if isinstance(schema, dict) else ""
            members[column] = Field(key, column, found.kind, found.repeated, found.fields, str(description))
        return tuple(members.values())

    def is_dropped(self, schema, path) -> bool:
        return follow(schema, lambda reference: self.resolve(reference, path)).get(MARK) == "drop"

    def array_type(self, schema, path, depth, references) -> _Type:
        if "prefixItems" in schema or not isinstance(schema.get("items"), dict):
            return _JSON
        item = self.type_of(schema["items"], (*path, "[]"), depth, references)
        return _JSON if item.repeated or item.kind == "JSON" else replace(item, repeated=True)

    def resolve(self, reference: str, path) -> object:
        """What a $ref within the file names: by JSON pointer, or by anchor."""
        base = str(self.root.get("$id") or self.root.get("id") or "").partition("#")[0]
        target, _, fragment = str(reference).partition("#")
        here = f"{self.source}: {'.'.join(path) or 'the document'} refers to {reference}"
        if target not in ("", base):
            raise SchemaError(f"{here}, which is not in the file")
        if fragment and not fragment.startswith("/"):
            for schema in _subschemas(self.root):
                names = (schema.get("$anchor"), schema.get("$dynamicAnchor"), schema.get("$id"), schema.get("id"))
                if fragment in names[:2] or f"#{fragment}" in names[2:]:
                    return schema
            raise SchemaError(f"{here}, which does not exist")
        node = self.root
        for part in unquote(fragment).split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaError(f"{here}, which does not exist") from None
        return node


def _declared(schema: dict) -> set[str]:
    """The JSON types that a schema allows, null aside; empty where it does not say."""
    if "type" in schema:
        named = schema["type"]
        return set([named] if isinstance(named, str) else named) - {"null"} or {"null"}
    if "enum" in schema or "const" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return {_type_name(value) for value in values} - {"null"}
    if "properties" in schema or "patternProperties" in schema or isinstance(schema.get("additionalProperties"), dict):
        return {"object"}
    return {"array"} if isinstance(schema.get("items"), dict) else set()


def _type_name(value) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _nullable_half(schema: dict):
    """T of an anyOf or oneOf [T, null], or None."""
    for keyword in ("anyOf", "oneOf"):
        branches = [b for b in schema.get(keyword, ()) if b != {"type": "null"}]
        if len(branches) == 1:
            return branches[0]
    return None


def _subschemas(node) -> Iterable[dict]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _subschemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from _subschemas(child)
