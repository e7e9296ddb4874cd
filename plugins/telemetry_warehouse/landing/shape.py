"""A document → the typed columns of its table, and the rest of it for additional_properties.

`compile_shape(fields)` turns a type's fields into nested functions once, so that a document is walked once, by its own
keys. Each function takes a JSON value and returns (typed, rest):

- typed: the value for the column, or MISSING where the column stays NULL (or empty);
- rest: what the column does not say, to be kept at the same place in additional_properties, or MISSING.

Nothing is lost or changed between the two. What a table cannot tell apart stays in the rest: an explicit null, an empty
object, list or map (BigQuery knows neither from an absent value), and whole values that their schema allows and their
column cannot hold (a null among the items of a list of scalars). So the document is what the columns say, merged with
additional_properties: objects key by key; a list of records with a list as long; anything else as it stands in
additional_properties. Only a number that its column's type cannot hold is refused.

A null in a list of records has an empty record in the column, so that the others keep their places, and in the rest a
null. Beside a record with a value a null of the rest adds nothing, beside an empty one it is the document's: an empty
object has an empty object there. A list with nulls has an empty object beside every record that the columns say whole,
so that the nulls of its rest are the document's.
"""

from collections.abc import Callable, Iterable
from typing import Any

from telemetry_warehouse.fields import Field


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()
Shape = Callable[[Any], tuple[Any, Any]]

_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
# Beyond this BigQuery's loader may read an integer through a double: it wants text there.
MAX_EXACT = 2**53
_RECORDS, _RECORDS_AND_NULLS = {dict}, {dict, type(None)}
_TYPES = {"STRING": str, "BOOL": bool, "INT64": int, "FLOAT64": float}


class Unstorable(ValueError):
    """A number that the column of its field cannot hold; `path` leads to it, innermost key first."""

    def __init__(self, message: str):
        super().__init__(message)
        self.path: list[str] = []

    def __str__(self) -> str:
        return f"{'.'.join(reversed(self.path))}: {self.args[0]}"


def compile_shape(fields: Iterable[Field], small: bool = False) -> Shape:
    """The function for an object with these members; anything that is not an object is all rest.

    `small` promises that no integer in it is beyond ±MAX_EXACT, which spares looking at each.
    """
    # A value of exactly this type needs no function: it is what the column holds.
    plain_types = _TYPES if small else {kind: t for kind, t in _TYPES.items() if kind != "INT64"}
    plan = {f.key: (f.column, None if f.repeated else plain_types.get(f.kind), _field(f, small)) for f in fields}
    find = plan.get

    def shape(value):
        if type(value) is not dict or not value:
            return MISSING, value
        typed: dict = {}
        rest: dict = {}
        key = None
        try:
            for key, item in value.items():
                known = find(key)
                if known is None:
                    rest[key] = item
                    continue
                column, plain, convert = known
                if type(item) is plain:
                    typed[column] = item
                    continue
                column_value, item_rest = convert(item)
                if column_value is not MISSING:
                    typed[column] = column_value
                if item_rest is not MISSING:
                    rest[key] = item_rest
        except Unstorable as error:
            error.path.append(key)
            raise
        return typed or MISSING, rest or MISSING

    return shape


def _field(field: Field, small: bool) -> Shape:
    if field.kind == "MAP":
        return _map(field.fields[0], small)
    one = compile_shape(field.fields, small) if field.kind == "RECORD" else _SCALARS[field.kind]
    if not field.repeated:
        return one
    return _records(one) if field.kind == "RECORD" else _list(one, _all_plain(field.kind, small))


def _integer(value):
    # JSON Schema counts 1.0 as an integer.
    if type(value) is float and value.is_integer() and abs(value) <= MAX_EXACT:
        value = int(value)
    if type(value) is int:
        if -MAX_EXACT <= value <= MAX_EXACT:
            return value, MISSING
        if _MIN_INT64 <= value <= _MAX_INT64:
            return str(value), MISSING
        raise Unstorable(f"{value} is outside the range of INT64")
    if type(value) is float and value.is_integer():
        raise Unstorable(f"{value} is too large to be exact as an integer")
    return MISSING, value


def _number(value):
    if type(value) is float:
        return value, MISSING
    if type(value) is int:
        if abs(value) > MAX_EXACT and int(float(value)) != value:
            raise Unstorable(f"{value} is not exact as FLOAT64")
        return value, MISSING
    return MISSING, value


def _string(value):
    return (value, MISSING) if type(value) is str else (MISSING, value)


def _boolean(value):
    return (value, MISSING) if type(value) is bool else (MISSING, value)


def _json(value):
    return (MISSING, None) if value is None else (value, MISSING)


_SCALARS: dict[str, Shape] = {
    "INT64": _integer,
    "FLOAT64": _number,
    "STRING": _string,
    "BOOL": _boolean,
    "JSON": _json,
}


def _all_plain(kind: str, small: bool) -> Callable[[Iterable], bool]:
    """Whether all of several values are what a scalar column holds: one pass in C for what is nearly always so."""
    if kind == "JSON":
        return lambda values: None not in values
    wanted = {_TYPES[kind]}
    if kind == "INT64" and not small:
        return lambda values: set(map(type, values)) == wanted and max(map(abs, values)) <= MAX_EXACT
    return lambda values: set(map(type, values)) == wanted


def _list(one: Shape, all_plain: Callable[[Iterable], bool]) -> Shape:
    def shape(value):
        if type(value) is not list or not value:
            return MISSING, value
        if all_plain(value):
            return value, MISSING
        items = [one(item)[0] for item in value]
        return (MISSING, value) if MISSING in items else (items, MISSING)

    return shape


def _records(one: Shape) -> Shape:
    def shape(value):
        kinds = set(map(type, value)) if type(value) is list else set()
        nulls = kinds == _RECORDS_AND_NULLS
        if not nulls and kinds != _RECORDS:
            return MISSING, value
        pairs = [one(item) for item in value]
        typed = [{} if t is MISSING else t for t, _ in pairs]
        if nulls:
            return typed, [{} if r is MISSING else r for _, r in pairs]
        rest = [None if r is MISSING else r for _, r in pairs]
        return typed, (MISSING if rest.count(None) == len(rest) else rest)

    return shape


def _map(value_field: Field, small: bool) -> Shape:
    convert = _field(value_field, small)
    scalar = value_field.kind in _SCALARS and not value_field.repeated
    all_plain = _all_plain(value_field.kind, small) if scalar else lambda values: False

    def shape(value):
        if type(value) is not dict or not value:
            return MISSING, value
        if all_plain(value.values()):
            return [{"key": key, "value": item} for key, item in value.items()], MISSING
        typed: list = []
        rest: dict = {}
        key = None
        try:
            for key, item in value.items():
                column_value, item_rest = convert(item)
                typed.append({"key": key} if column_value is MISSING else {"key": key, "value": column_value})
                if item_rest is not MISSING:
                    rest[key] = item_rest
        except Unstorable as error:
            error.path.append(key)
            raise
        return typed, rest or MISSING

    return shape
