"""The way back, written apart from landing/shape.py: a row's typed columns and additional_properties → the document."""

import json

from telemetry_warehouse.fields import Field

ABSENT = object()


def rebuild(fields: tuple[Field, ...], row: dict, rest: object = ABSENT) -> object:
    """The JSON value that a record's columns and its rest say. A missing column, NULL and an empty list are alike."""
    return merge(_record(fields, row), rest)


def document_of(document_type, row: dict) -> object:
    """The document that a whole row of a live table says, its standard columns' properties included."""
    fields = document_type.fields
    standard = {key: row.get(column) for key, column in document_type.standard if row.get(column) is not None}
    rest = row.get("additional_properties")
    return merge(standard | _record(fields, row), ABSENT if rest is None else rest)


def parsed(fields: tuple[Field, ...], row: dict) -> dict:
    """A row as Arrow gives it, with its JSON columns, which are text there, as the values that they say."""
    kinds = {field.column: field for field in fields}
    return {name: _parsed(kinds[name], value) if name in kinds else value for name, value in row.items()}


def _parsed(field: Field, value: object) -> object:
    if value is None:
        return None
    if field.repeated:
        entries = (*field.fields, Field("key", "key", "STRING")) if field.kind == "MAP" else field.fields
        return [parsed(entries, item) if field.fields else item for item in value]
    if field.kind == "RECORD":
        return parsed(field.fields, value)
    return json.loads(value) if field.kind == "JSON" else value


def merge(typed: object, rest: object) -> object:
    if rest is ABSENT:
        return typed
    if isinstance(typed, dict) and isinstance(rest, dict):
        return typed | {key: merge(typed.get(key, ABSENT), value) for key, value in rest.items()}
    if isinstance(typed, list) and isinstance(rest, list):
        assert len(typed) == len(rest)
        return [_element(t, r) for t, r in zip(typed, rest, strict=True)]
    return rest


def _element(typed: dict, rest: object) -> object:
    """Null beside a record without any value is a null, beside another it says that nothing is to be added."""
    if rest is None:
        return typed or None
    return merge(typed, rest)


def same_json(a: object, b: object) -> bool:
    """Equal as JSON: 1 is 1.0, and neither is true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return a == b


def _record(fields, row: dict) -> dict:
    found = {f.key: _value(f, row.get(f.column)) for f in fields}
    return {key: value for key, value in found.items() if value is not ABSENT}


def _value(field: Field, value: object) -> object:
    if value is None or value == [] and field.repeated:
        return ABSENT
    if field.kind == "MAP":
        values = {entry["key"]: _value(field.fields[0], entry.get("value")) for entry in value}
        return {key: None if item is ABSENT else item for key, item in values.items()}
    if field.kind == "RECORD" and field.repeated:
        return [_record(field.fields, item) for item in value]
    if field.kind == "RECORD":
        return _record(field.fields, value) or ABSENT
    if field.kind == "INT64" and isinstance(value, str):
        return int(value)
    if field.kind == "INT64" and field.repeated:
        return [int(item) for item in value]
    return value
