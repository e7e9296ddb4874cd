"""Fields that a schema marks as sensitive: dropped, or hashed with a key, before anything is written.

A property's schema says `"x-pii": "drop"` or `"x-pii": "hash"`. A hash is keyed (HMAC-SHA-256): whoever has the tables
and not the key can neither read a value nor test a guess. A UUID becomes a UUID, so that a hashed client_id is still
one and samples still work; any other text becomes 64 hexadecimal digits.

A document is redacted as text: marked values are cut out or replaced where they stand, every time that they stand
there, and all other bytes stay as they were sent.
"""

import copy
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from telemetry_warehouse.errors import SettingsError
from telemetry_warehouse.fields import MARK, SchemaError, follow, resolver
from telemetry_warehouse.json_text import scan, skip_whitespace
from telemetry_warehouse.no_clients import no_clients
from telemetry_warehouse.validators import BACKTRACK_LIMIT, compile_schema

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


class Undecided(Exception):
    """Nobody can say in bounded time whether the schema marks a key."""


class Redaction:
    """What a schema marks, as a function from a document's text to its text without that."""

    def __init__(self, root: dict, source: str, key: str | None):
        self.tree = _Tree(root, source)
        self._key = (key or "").encode()
        self._check(root, source, key)

    @property
    def fingerprint(self) -> str:
        """Changes with the fields that are hashed, and with the key: a kept document is not to be hashed twice."""
        pointers = "\n".join(sorted(path for path, schema in _at_paths(self.tree.root) if schema.get(MARK) == "hash"))
        return hmac.new(self._key, pointers.encode(), hashlib.sha256).hexdigest()[:16]

    def __call__(self, text: str, suspicious: bool = False, hashed: bool = False) -> str:
        """The JSON text without what is marked; the rest of it stays as it is, and in place of no object is null.

        A dropped member goes with its comma, a dropped element becomes null. `suspicious`: the document is not as its
        schema says, so what stands in place of an object or list with marked fields is dropped whole. `hashed`: it has
        been through this before, and only what is to be dropped is. Raises Undecided, for a suspicious one never.
        """
        return _Pass(self, text, suspicious, hashed).redacted()

    def hashed(self, text: str) -> str:
        """The keyed hash of a text; of UUIDs that differ in case only, the same one.

        An id that names no client is itself: hashed, it would be one client's.
        """
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
                    self.tree.patterns[pattern] = _Pattern(pattern)
                except ValueError as error:
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


@dataclass
class _Container:
    """An object or array of the text that is being read: the schemas of its parts, and where these are.

    spans: of each part, where it starts (an object's member with its key), where it ends, and whether it is dropped.
    """

    schemas: list[dict]
    closing: str
    spans: list[tuple[int, int, bool]] = field(default_factory=list)
    start: int = 0

    def edits(self) -> Iterator[tuple[int, int, str]]:
        """What takes the dropped parts out of the text, as (start, end, replacement)."""
        if self.closing == "]":
            yield from ((start, end, "null") for start, end, dropped in self.spans if dropped)
            return
        first = None
        for number, (start, _, dropped) in enumerate(self.spans):
            if dropped:
                first = number if first is None else first
            elif first is not None:
                yield self.spans[first][0], start, ""
                first = None
        if first is not None:
            # The comma before the last members goes with them.
            yield self.spans[first - 1][1] if first else self.spans[0][0], self.spans[-1][1], ""


class _Pass:
    """One document's way through a redaction. Not recursive, because a document may be nested deeper than Python."""

    def __init__(self, redaction: Redaction, text: str, suspicious: bool, hashed: bool):
        self._redaction = redaction
        self._tree = redaction.tree
        self._text = text
        self._suspicious = suspicious
        self._hashed = hashed
        self._edits: list[tuple[int, int, str]] = []
        self._open: list[_Container] = []

    def redacted(self) -> str:
        start = skip_whitespace(self._text, 0)
        if self._text[start] != "{":
            return "null"
        position = self._enter([self._tree.outlook(self._tree.root)], start)
        while self._open:
            container = self._open[-1]
            if self._text[position] == container.closing:
                self._edits += container.edits()
                self._open.pop()
                position = self._end_of_part(position + 1, dropped=False)
            else:
                position = self._part(container, position)
        return self._edited()

    def _part(self, container: _Container, position: int) -> int:
        """Reads a member or an element, or enters it; returns where to read on."""
        container.start = position
        if container.closing == "}":
            key, position = scan(self._text, position)
            position = skip_whitespace(self._text, skip_whitespace(self._text, position) + 1)
            tree, suspicious = self._tree, self._suspicious
            schemas = [found for schema in container.schemas for found in tree.members(schema, key, suspicious)]
        else:
            schemas = [found for schema in container.schemas for found in _items(schema, len(container.spans))]
        marked = [self._tree.outlook(schema) for schema in schemas if self._tree.has_marks(schema)]
        action = min((outlook.mark for outlook in marked if outlook.mark), default=None)
        kind = self._text[position]
        if action is None and self._suspicious and kind != "n" and not all(o.expects(kind) for o in marked):
            action = "drop"
        if action is None and marked and kind in "{[":
            return self._enter(marked, position)
        value, end = scan(self._text, position)
        if action == "hash" and value is not None and not self._hashed:
            secret = value if isinstance(value, str) else self._text[position:end]
            self._edits.append((position, end, f'"{self._redaction.hashed(secret)}"'))
        return self._end_of_part(end, dropped=action == "drop")

    def _enter(self, outlooks: "list[_Outlook]", position: int) -> int:
        parts = [part for outlook in outlooks for part in outlook.parts]
        self._open.append(_Container(parts, "}" if self._text[position] == "{" else "]"))
        return skip_whitespace(self._text, position + 1)

    def _end_of_part(self, end: int, dropped: bool) -> int:
        if not self._open:
            return end
        container = self._open[-1]
        container.spans.append((container.start, end, dropped))
        position = skip_whitespace(self._text, end)
        return skip_whitespace(self._text, position + 1) if self._text[position] == "," else position

    def _edited(self) -> str:
        pieces, position = [], 0
        for start, end, replacement in sorted(self._edits):
            pieces += self._text[position:start], replacement
            position = end
        return "".join([*pieces, self._text[position:]])


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
        dropped = {key for key, s in schema.get("properties", {}).items() if tree.outlook(s).mark == "drop"}
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


@dataclass(frozen=True)
class _Outlook:
    """What a schema and its branches say of a value.

    mark: what is to be done to the value; to drop goes before to hash. parts: the schemas in which marked parts of it
    are looked up. objects, lists: whether marked fields can be within an object, or within a list.
    """

    mark: str | None
    parts: tuple[dict, ...]
    objects: bool
    lists: bool

    def expects(self, kind: str) -> bool:
        """Whether its marked fields would be found in a value that begins with `kind`."""
        return self.objects if kind == "{" else self.lists if kind == "[" else False


class _Pattern:
    """A pattern, matched as the validator matches it."""

    def __init__(self, pattern: str):
        self._pattern = pattern
        self._matched = compile_schema({"pattern": pattern})
        self._unmatched = compile_schema({"not": {"pattern": pattern}})

    def matches(self, key: str, suspicious: bool) -> bool:
        """Raises Undecided where that takes too many steps; in a suspicious document the key counts as matched then."""
        if self._matched.is_valid(key):
            return True
        if self._unmatched.is_valid(key):
            return False
        if suspicious:
            return True
        raise Undecided(f"the pattern {self._pattern!r} takes more than {BACKTRACK_LIMIT:,} steps on a key")


class _Tree:
    """A schema with its references followed."""

    def __init__(self, root: dict, source: str):
        self.root = root
        self.patterns: dict[str, _Pattern] = {}
        self._resolve = resolver(root, source)
        self._marked: dict[int, bool] = {}
        self._outlooks: dict[int, _Outlook] = {}

    def target(self, schema: object) -> dict:
        return follow(schema, self._resolve)

    def outlook(self, schema: object) -> _Outlook:
        schema = self.target(schema)
        if id(schema) not in self._outlooks:
            branches = tuple(self._with_branches(schema))
            keywords = {keyword for branch in branches for keyword in branch}
            self._outlooks[id(schema)] = _Outlook(
                mark=min((branch[MARK] for branch in branches if MARK in branch), default=None),
                parts=tuple(branch for branch in branches if self.has_marks(branch)),
                objects=not keywords.isdisjoint(_OF_OBJECTS),
                lists=not keywords.isdisjoint(_OF_LISTS),
            )
        return self._outlooks[id(schema)]

    def _with_branches(self, schema: dict) -> Iterator[dict]:
        # Branches can lead in a circle.
        waiting, seen = [schema], set()
        while waiting:
            part = self.target(waiting.pop())
            if id(part) not in seen:
                seen.add(id(part))
                yield part
                waiting += [] if MARK in part else _branches(part)

    def has_marks(self, schema: object) -> bool:
        schema = self.target(schema)
        if id(schema) not in self._marked:
            self._marked[id(schema)] = any(MARK in s for s in self.reached(schema))
        return self._marked[id(schema)]

    def members(self, schema: dict, key: str, suspicious: bool) -> list:
        """The schemas that a member of an object has to pass."""
        properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        named = [properties[key]] if key in properties else []
        named += [found for pattern, found in patterns.items() if self.patterns[pattern].matches(key, suspicious)]
        return named or [schema.get("additionalProperties")]

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
