"""Fields that a schema marks as sensitive: dropped, or hashed with a key, before anything is written.

A property's schema says `"x-pii": "drop"` or `"x-pii": "hash"`. A hash is keyed (HMAC-SHA-256): whoever has the tables
and not the key can neither read a value nor test a guess. A UUID becomes a UUID, so that a hashed client_id is still
one and samples still work; any other text becomes 64 hexadecimal digits.
"""

import copy
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterator

from telemetry_warehouse.errors import SettingsError
from telemetry_warehouse.fields import MARK, SchemaError, follow, resolver
from telemetry_warehouse.no_clients import no_clients

_ACTIONS = ("drop", "hash")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_STRINGS = ("string", ["string"], ["string", "null"], ["null", "string"])
_BRANCHES = ("allOf", "anyOf", "oneOf")
_CONDITIONS = ("if", "then", "else")
_OF_OBJECTS = ("properties", "patternProperties", "additionalProperties")
_OF_LISTS = ("items", "prefixItems")
_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "definitions", "$defs")
# Keywords that hold schemas and that a redaction does not follow.
_NOT_FOLLOWED = (
    "additionalItems",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "dependentSchemas",
    "dependencies",
    "not",
    "$dynamicRef",
    "$recursiveRef",
)
_BESIDE_A_REFERENCE = {"$ref", MARK, "title", "description", "$comment", "examples", "default"}
# Branches can lead in a circle.
_DEEPEST = 20


class Redaction:
    """What a schema marks, as a function that changes a parsed document in place."""

    def __init__(self, root: dict, source: str, key: str | None):
        self.tree = _Tree(root, source)
        self._key = (key or "").encode()
        self._check(root, source, key)

    @property
    def fingerprint(self) -> str:
        """Changes with the fields that are hashed, and with the key: a kept document is not to be hashed twice."""
        pointers = "\n".join(sorted(path for path, schema in _at_paths(self.tree.root) if schema.get(MARK) == "hash"))
        return hmac.new(self._key, pointers.encode(), hashlib.sha256).hexdigest()[:16]

    def __call__(self, document: dict, suspicious: bool = False, hashed: bool = False) -> None:
        """`suspicious`: the document is not as its schema says, so what stands in place of an object or list with
        marked fields is taken out whole. `hashed`: it has been through this before; only what is to be dropped is."""
        _Pass(self, suspicious, hashed).within(self.tree.root, document)

    def hashed(self, value: object) -> str:
        """The keyed hash of a value; of UUIDs that differ in case only, the same one.

        An id that names no client is itself: hashed, it would be one client's.
        """
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        if text.lower() in no_clients().values():
            return text
        is_uuid = _UUID.fullmatch(text)
        digest = hmac.new(self._key, (text.lower() if is_uuid else text).encode(), hashlib.sha256).digest()
        # As UUIDs made from names have it; Python 3.13 does not know version 8, for the writer's own bits.
        return str(uuid.UUID(bytes=digest[:16], version=5)) if is_uuid else digest.hex()

    def _check(self, root: dict, source: str, key: str | None) -> None:
        reached = {id(schema) for schema in self.tree.reached(root)}
        for schema in _schemas(root):
            for keyword in _NOT_FOLLOWED:
                if keyword in schema:
                    raise SchemaError(f"{source}: in a schema with {MARK}, {keyword} cannot be used")
            if "$ref" in schema and not schema.keys() <= _BESIDE_A_REFERENCE:
                more = sorted(schema.keys() - _BESIDE_A_REFERENCE)[0]
                raise SchemaError(f"{source}: in a schema with {MARK}, {more} cannot stand beside a $ref; use allOf")
            for pattern in schema.get("patternProperties", {}):
                try:
                    re.compile(pattern)
                except re.PatternError as error:
                    raise SchemaError(f"{source}: in a schema with {MARK}, the pattern {pattern!r}: {error}") from None
            if MARK not in schema:
                continue
            mark = schema[MARK]
            if mark not in _ACTIONS:
                raise SchemaError(f"{source}: {MARK} is {mark!r}; it may be {' or '.join(_ACTIONS)}")
            if schema is root or id(schema) not in reached:
                raise SchemaError(f"{source}: {MARK} stands where it marks no property of the document; move it")
            if mark == "hash" and schema.get("type") not in _STRINGS:
                raise SchemaError(f"{source}: only a string can be hashed, and one is {schema.get('type')!r}")
            if mark == "hash" and not key:
                raise SettingsError(f"{source} marks a field to be hashed; set WAREHOUSE_PII_KEY to the secret key")


class _Pass:
    """One document's way through a redaction."""

    def __init__(self, redaction: Redaction, suspicious: bool, hashed: bool):
        self._redaction = redaction
        self._tree = redaction.tree
        self._suspicious = suspicious
        # A field may be marked in several branches, and is hashed once.
        self._done: set[tuple[int, str | int]] = set()
        self._hashed = hashed

    def at(self, schema: object, container: dict | list, key: str | int) -> None:
        """Applies `schema` to container[key]."""
        mark = self._tree.mark(schema)
        value = container[key]
        if mark == "hash":
            if value is not None and not self._hashed and (id(container), key) not in self._done:
                self._done.add((id(container), key))
                container[key] = self._redaction.hashed(value)
        elif mark == "drop" or (self._suspicious and value is not None and not self._tree.expects(schema, value)):
            if isinstance(container, dict):
                del container[key]
            else:
                container[key] = None
        else:
            self.within(schema, value)

    def within(self, schema: object, value: object) -> None:
        if not isinstance(value, dict | list) or not self._tree.has_marks(schema):
            return
        schema = self._tree.target(schema)
        if isinstance(value, dict):
            for key in list(value):
                for found in _members(schema, key):
                    if key in value:
                        self.at(found, value, key)
        else:
            for position in range(len(value)):
                for found in _items(schema, position):
                    self.at(found, value, position)
        for branch in _branches(schema):
            self.within(branch, value)


def redaction(root: dict, source: str, key: str | None) -> Redaction | None:
    """The schema's Redaction, or None where it marks nothing.

    Raises SchemaError for a mark that cannot be, SettingsError where a field is to be hashed and there is no key.
    """
    return Redaction(root, source, key) if any(MARK in schema for schema in _schemas(root)) else None


def redacted_schema(root: dict, source: str) -> dict:
    """What a document of this schema is after its redaction: dropped properties are not required, hashes are text."""
    after = copy.deepcopy(root)
    tree = _Tree(after, source)
    for schema in list(tree.reached(after)):
        dropped = {key for key, s in schema.get("properties", {}).items() if tree.mark(s) == "drop"}
        if dropped & set(schema.get("required", ())):
            schema["required"] = [name for name in schema["required"] if name not in dropped]
            # Draft 4 wants at least one.
            if not schema["required"]:
                del schema["required"]
    for schema in [s for s in _schemas(after) if MARK in s]:
        kept = {"type": schema["type"]} if schema[MARK] == "hash" else {}
        schema.clear()
        schema |= kept
    return after


class _Tree:
    """A schema with its references followed."""

    def __init__(self, root: dict, source: str):
        self.root = root
        self._resolve = resolver(root, source)
        self._known: dict[int, bool] = {}

    def target(self, schema: object) -> dict:
        return follow(schema, self._resolve)

    def mark(self, schema: object, depth: int = 0) -> str | None:
        """What is to be done to a value of this schema, or of one of its branches; to drop goes before to hash."""
        schema = self.target(schema)
        if MARK in schema or depth > _DEEPEST:
            return schema.get(MARK)
        marks = {self.mark(branch, depth + 1) for branch in _branches(schema)} - {None}
        return min(marks, default=None)

    def has_marks(self, schema: object) -> bool:
        schema = self.target(schema)
        if id(schema) not in self._known:
            self._known[id(schema)] = any(MARK in s for s in self.reached(schema))
        return self._known[id(schema)]

    def expects(self, schema: object, value: object) -> bool:
        """Whether a value is of a kind in which the schema's marked fields would be found, if it has any."""
        if not self.has_marks(schema):
            return True
        wanted = _OF_OBJECTS if isinstance(value, dict) else _OF_LISTS if isinstance(value, list) else ()
        waiting, seen = [self.target(schema)], set()
        while waiting:
            found = waiting.pop()
            if any(keyword in found for keyword in wanted):
                return True
            if id(found) not in seen:
                seen.add(id(found))
                waiting += map(self.target, _branches(found))
        return False

    def reached(self, schema: object) -> Iterator[dict]:
        """The schema and all that a document's parts are looked up in."""
        waiting, seen = [schema], set()
        while waiting:
            found = self.target(waiting.pop())
            if found and id(found) not in seen:
                seen.add(id(found))
                yield found
                for name in ("properties", "patternProperties"):
                    waiting += found.get(name, {}).values()
                items = found.get("items")
                waiting += items if isinstance(items, list) else [items]
                waiting += [found.get("additionalProperties"), *found.get("prefixItems", ()), *_branches(found)]


def _members(schema: dict, key: str) -> list:
    """The schemas that a member of an object has to pass."""
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    named = [properties[key]] if key in properties else []
    named += [found for pattern, found in patterns.items() if re.search(pattern, key)]
    return named or [schema.get("additionalProperties")]


def _items(schema: dict, position: int) -> list:
    items = schema.get("items")
    first = items if isinstance(items, list) else schema.get("prefixItems", ())
    if position < len(first):
        return [first[position]]
    return [] if isinstance(items, list) else [items]


def _branches(schema: dict) -> list:
    return [b for name in _BRANCHES for b in schema.get(name, ())] + [schema[n] for n in _CONDITIONS if n in schema]


def _schemas(root: object) -> Iterator[dict]:
    """Every schema in the file, wherever it stands."""
    return (schema for _, schema in _at_paths(root))


def _at_paths(root: object) -> Iterator[tuple[str, dict]]:
    """Every schema in the file with the path to it. A property may have any name, so only keywords are followed."""
    waiting = [("", root)]
    while waiting:
        path, schema = waiting.pop()
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for keyword, value in schema.items():
            here = f"{path}/{keyword}"
            if keyword in (*_MAPS_OF_SCHEMAS, "dependentSchemas", "dependencies") and isinstance(value, dict):
                waiting += [(f"{here}/{name}", child) for name, child in value.items()]
            elif keyword in (*_BRANCHES, *_CONDITIONS, *_OF_LISTS, "additionalProperties", *_NOT_FOLLOWED):
                children = value if isinstance(value, list) else [value]
                waiting += [(f"{here}/{number}", child) for number, child in enumerate(children)]
