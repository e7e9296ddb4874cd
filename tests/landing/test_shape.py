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


RECORD = {"type": ["object", "null"], "properties": {"a": {"type": "integer"}, "in": {"properties": {"s": {}}}}}
RECORDS = {"type": "array", "items": RECORD}


@pytest.mark.parametrize(
    "value, typed, rest",
    [
        ([{"a": 1}, None, {"a": 3}], [{"a": 1}, {}, {"a": 3}], [{}, None, {}]),
        ([None, {"a": 1}], [{}, {"a": 1}], [None, {}]),
        ([{"a": 1}, None, None], [{"a": 1}, {}, {}], [{}, None, None]),
        ([{"a": 1, "b": 2}, None, {}, {"b": 3}], [{"a": 1}, {}, {}, {}], [{"b": 2}, None, {}, {"b": 3}]),
        ([{}, None], [{}, {}], [{}, None]),
        ([{"in": {"s": "t"}}, {"in": {}}, None], [{"in": {"s": "t"}}, {}, {}], [{}, {"in": {}}, None]),
        ([None, None], MISSING, [None, None]),
        # What the column cannot hold even in part stays whole.
        ([{"a": 1}, None, 2], MISSING, [{"a": 1}, None, 2]),
        ([{"a": 1}, None, []], MISSING, [{"a": 1}, None, []]),
    ],
)
def test_a_null_among_records_leaves_the_others_typed_and_is_kept_in_its_place(value, typed, rest):
    assert shaped({"x": RECORDS}, {"x": value}) == (MISSING if typed is MISSING else {"x": typed}, {"x": rest})


@pytest.mark.parametrize(
    "schema, wrap",
    [
        (RECORDS, lambda x: x),
        ({"type": "object", "properties": {"deep": RECORDS}}, lambda x: {"deep": x}),
        ({"type": "object", "additionalProperties": RECORDS}, lambda x: {"k": x, "l": None, "m": [None]}),
        ({"type": "array", "items": {"type": "object", "properties": {"in": RECORDS}}}, lambda x: [{"in": x}, None]),
        ({"type": "array", "items": RECORDS}, lambda x: [x, None]),
        ({"type": "array", "items": {"type": "object", "additionalProperties": RECORD}}, lambda x: [{"k": x[0]}, None]),
        ({"type": "object", "additionalProperties": RECORD}, lambda x: dict(zip("abc", x, strict=True))),
    ],
)
def test_a_null_wherever_a_record_may_stand_comes_back(schema, wrap):
    fields = from_schema({"type": "object", "properties": {"x": schema}}, "test")
    document = {"x": wrap([{"a": 1}, None, {"a": 3, "b": {}}])}
    typed, rest = map(through_json, compile_shape(fields)(document))
    assert same_json(rebuild(fields, typed, ABSENT if rest is MISSING else rest), document)
    assert "3" in str(typed) or schema["type"] == "array" and fields[0].kind == "JSON"


RECORD_LISTS = st.lists(
    st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "a": st.none() | st.integers(-9, 9),
            "b": st.none() | st.text(max_size=3),
            "in": st.none() | st.dictionaries(st.sampled_from("st"), st.none() | st.integers(0, 9)),
        },
    ),
    max_size=5,
)


@settings(max_examples=300, deadline=None)
@given(RECORD_LISTS)
def test_a_list_of_records_and_nulls_is_typed_as_without_the_nulls_and_comes_back(value):
    record = {"properties": {"a": {"type": ["integer", "null"]}, "in": {"properties": {"s": {}}}}}
    fields = from_schema({"properties": {"x": {"type": "array", "items": record}}}, "test")
    typed, rest = map(through_json, compile_shape(fields)({"x": value}))
    back = rebuild(fields, {} if typed is MISSING else typed, ABSENT if rest is MISSING else rest)
    assert same_json(back, {"x": value})
    records = [item for item in value if item is not None]
    if records:
        alone, _ = compile_shape(fields)({"x": records})
        assert [t for t, item in zip(typed["x"], value, strict=True) if item is not None] == alone["x"]
        places = [place for place, item in enumerate(value) if item is None]
        kept = [place for place, item in enumerate(rest["x"]) if item is None] if places else []
        assert kept == places, "the nulls of a list with nulls are its own"


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
