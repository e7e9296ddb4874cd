"""What shape makes of a document: typed columns, the rest, and the way back."""

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from telemetry_warehouse.fields import from_schema
from telemetry_warehouse.landing.shape import MISSING, Unstorable, compile_shape
from tests.landing.json_values import DOCUMENT_SCHEMAS, allowed
from tests.landing.rebuild import ABSENT, rebuild, same_json


def shaped(schema: dict, document: object, small: bool = False) -> tuple[object, object]:
    """(typed, rest) of a document whose top-level properties are `schema`'s."""
    return compile_shape(from_schema({"type": "object", "properties": schema}, "test"), small)(document)


def through_json(value: object) -> object:
    return value if value is MISSING else orjson.loads(orjson.dumps(value))


@st.composite
def schema_and_document(draw):
    schema = draw(DOCUMENT_SCHEMAS)
    return schema, draw(allowed(schema))


@settings(max_examples=400, deadline=None)
@given(schema_and_document())
@example(({"type": "object", "properties": {}}, {}))
def test_the_columns_and_the_rest_give_the_document_back(case):
    schema, document = case
    fields = from_schema(schema, "test")
    typed, rest = map(through_json, compile_shape(fields)(document))
    back = rebuild(fields, {} if typed is MISSING else typed, ABSENT if rest is MISSING else rest)
    assert same_json(back, document)


@settings(max_examples=200, deadline=None)
@given(schema_and_document())
def test_the_shape_for_small_integers_gives_the_same(case):
    schema, document = case
    try:
        orjson.dumps(document, option=orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError:
        return
    fields = from_schema(schema, "test")
    assert compile_shape(fields, small=True)(document) == compile_shape(fields)(document)


def test_a_number_that_no_pattern_speaks_of_must_fit_the_columns_type_too():
    """A map has one type of value, whatever its keys."""
    with pytest.raises(Unstorable, match="9007199254740994.0 is too large to be exact as an integer"):
        shaped({"a": {"type": "object", "patternProperties": {"^a": {"type": "integer"}}}}, {"a": {"b": 2.0**53 + 2}})


HISTOGRAMS = {
    "histograms": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "sum": {"type": "integer"},
                "values": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
        },
    }
}


@pytest.mark.parametrize("small", [True, False])
def test_a_map_becomes_entries_and_what_is_unnamed_within_stays_at_its_place(small):
    document = {"histograms": {"A": {"sum": 3, "values": {"0": 1, "-15": 2}, "log_sum": 0.5}, "B": {"sum": 1.0}}}
    typed, rest = shaped(HISTOGRAMS, document, small)
    assert typed == {
        "histograms": [
            {"key": "A", "value": {"sum": 3, "values": [{"key": "0", "value": 1}, {"key": "-15", "value": 2}]}},
            {"key": "B", "value": {"sum": 1}},
        ]
    }
    assert rest == {"histograms": {"A": {"log_sum": 0.5}}}
    assert type(typed["histograms"][1]["value"]["sum"]) is int


def test_unnamed_properties_of_listed_records_stay_in_a_list_beside_them():
    schema = {"items": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
    typed, rest = shaped(schema, {"items": [{"a": 1}, {"a": 2, "b": {"c": 3}}, {}]})
    assert typed == {"items": [{"a": 1}, {"a": 2}, {}]}
    assert rest == {"items": [None, {"b": {"c": 3}}, {}]}


@pytest.mark.parametrize(
    "schema, value",
    [
        ({"type": ["integer", "null"]}, None),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": ["integer", "null"]}}, [1, None]),
        ({"type": "array", "items": {"properties": {"a": {}}}}, [{"a": 1}, 2]),
        ({"type": "object", "properties": {"a": {}}}, {}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {}),
        ({"properties": {"a": {}}}, "not an object"),
        ({"items": {"type": "integer"}}, 7),
    ],
)
def test_what_a_column_cannot_say_stays_whole(schema, value):
    assert shaped({"x": schema}, {"x": value}) == (MISSING, {"x": value})


def test_a_json_column_keeps_any_value():
    values = [3.5, "3.5", True, [1, None], {"a": {}}, 2**64 - 1]
    for value in values:
        assert shaped({"x": {}}, {"x": value}) == ({"x": value}, MISSING)


@pytest.mark.parametrize(
    "schema, value",
    [
        ({"type": "integer"}, 2**63),
        ({"type": "integer"}, -(2**63) - 1),
        ({"type": "integer"}, 1e19),
        ({"type": "number"}, 2**53 + 1),
        ({"type": "array", "items": {"type": "integer"}}, [1, 2**63]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"k": 2**63}),
    ],
)
def test_a_number_too_large_for_its_column_is_refused_by_name(schema, value):
    with pytest.raises(Unstorable, match=r"^outer\.x(\.k)?: .* (INT64|FLOAT64|integer)"):
        shaped({"outer": {"type": "object", "properties": {"x": schema}}}, {"outer": {"x": value}})


def test_integers_that_a_double_cannot_hold_are_written_as_text():
    schema = {"x": {"type": "integer"}, "l": {"type": "array", "items": {"type": "integer"}}}
    assert shaped(schema, {"x": 2**63 - 1, "l": [1, -(2**63)]}) == (
        {"x": "9223372036854775807", "l": [1, "-9223372036854775808"]},
        MISSING,
    )


def test_true_is_not_one():
    assert shaped({"x": {"type": ["integer", "null"]}}, {"x": True}) == (MISSING, {"x": True})
