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
from telemetry_warehouse.fields import MARK, SchemaError, resolver

_ACTIONS = ("drop", "hash")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_STRINGS = ("string", ["string"], ["string", "null"], ["null", "string"])
_BRANCHES = ("allOf", "anyOf", "oneOf")
# References and branches can lead in a circle.
_DEEPEST = 20


class Redaction:
    """What a schema marks, as a function that changes a parsed document in place."""

    def __init__(self, root: dict, source: str, key: str | None):
        self._tree = _Tree(root, source)
        self._key = (key or "").encode()
        self._check(root, source, key)

    def __call__(self, document: dict) -> None:
        self._within(self._tree.root, document)

    def hashed(self, value: object) -> str:
        """The keyed hash of a value; of UUIDs that differ in case only, the same one."""
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        is_uuid = _UUID.fullmatch(text)
        digest = hmac.new(self._key, (text.lower() if is_uuid else text).encode(), hashlib.sha256).digest()
        # As UUIDs made from names have it; Python 3.13 does not know version 8, for the writer's own bits.
        return str(uuid.UUID(bytes=digest[:16], version=5)) if is_uuid else digest.hex()

    def _check(self, root: dict, source: str, key: str | None) -> None:
        reached = list(self._tree.reached(root))
        for schema in _marked(root):
            mark = schema[MARK]
            if mark not in _ACTIONS:
                raise SchemaError(f"{source}: {MARK} is {mark!r}; it may be {' or '.join(_ACTIONS)}")
            if schema is root or not any(schema is other for other in reached):
                raise SchemaError(f"{source}: {MARK} stands where it marks no property of the document; move it")
            if mark == "hash" and schema.get("type") not in _STRINGS:
                raise SchemaError(f"{source}: only a string can be hashed, and one is {schema.get('type')!r}")
            if mark == "hash" and not key:
                raise SettingsError(f"{source} marks a field to be hashed; set WAREHOUSE_PII_KEY to the secret key")

    def _at(self, schema: object, container: dict | list, key: str | int) -> None:
        """Applies `schema` to container[key]."""
        mark = self._tree.mark(schema)
        if mark == "hash":
            if container[key] is not None:
                container[key] = self.hashed(container[key])
        elif mark == "drop" and isinstance(container, dict):
            del container[key]
        elif mark == "drop":
            container[key] = None
        else:
            self._within(schema, container[key])

    def _within(self, schema: object, value: object) -> None:
        if not isinstance(value, dict | list) or not self._tree.has_marks(schema):
            return
        schema = self._tree.target(schema)
        if isinstance(value, dict):
            for key in list(value):
                for found in _members(schema, key):
                    if key in value:
                        self._at(found, value, key)
        else:
            for position in range(len(value)):
                for found in _items(schema, position):
                    self._at(found, value, position)
        for branch in _branches(schema):
            self._within(branch, value)


def redaction(root: dict, source: str, key: str | None) -> Redaction | None:
    """The schema's Redaction, or None where it marks nothing.

    Raises SchemaError for a mark that cannot be, SettingsError where a field is to be hashed and there is no key.
    """
    return Redaction(root, source, key) if any(True for _ in _marked(root)) else None


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
    for schema in list(_marked(after)):
        schema.clear()
    return after


class _Tree:
    """A schema with its references followed."""

    def __init__(self, root: dict, source: str):
        self.root = root
        self._resolve = resolver(root, source)
        self._known: dict[int, bool] = {}

    def target(self, schema: object) -> dict:
        followed = 0
        while isinstance(schema, dict) and "$ref" in schema and MARK not in schema and followed < _DEEPEST:
            schema = self._resolve(schema["$ref"])
            followed += 1
        return schema if isinstance(schema, dict) else {}

    def mark(self, schema: object, depth: int = 0) -> str | None:
        """What is to be done to a value of this schema, or of one of its branches."""
        schema = self.target(schema)
        if MARK in schema or depth > _DEEPEST:
            return schema.get(MARK)
        return next((found for b in _branches(schema) if (found := self.mark(b, depth + 1))), None)

    def has_marks(self, schema: object) -> bool:
        schema = self.target(schema)
        if id(schema) not in self._known:
            self._known[id(schema)] = any(MARK in s for s in self.reached(schema))
        return self._known[id(schema)]

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
    return [b for name in _BRANCHES for b in schema.get(name, ())] + [
        schema[name] for name in ("if", "then", "else") if name in schema
    ]


def _marked(node: object) -> Iterator[dict]:
    """Every schema with a mark, wherever it stands in the file; a property may be called x-pii itself."""
    if isinstance(node, dict):
        if isinstance(node.get(MARK), str) or (MARK in node and not isinstance(node[MARK], dict | bool)):
            yield node
        for child in node.values():
            yield from _marked(child)
    elif isinstance(node, list):
        for child in node:
            yield from _marked(child)
