"""Hypothesis strategies: JSON values, JSON Schemas, and for each schema documents that it allows."""

from hypothesis import strategies as st

# No surrogates: JSON text cannot carry them, and the parser refuses them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# What a column of any type can hold.
STORABLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-(2.0**53), 2.0**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# Few enough that named and unnamed properties meet, odd enough to matter; no two become one column.
KEYS = st.sampled_from(["a", "bC", "d.e", "2f", "g h", "key", "value", "$", "additional_properties", "é"])

_SCALARS = st.sampled_from(
    [
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "string"},
        {"type": ["integer", "null"]},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "number"}, {"type": "null"}]},
        {"type": ["string", "integer"]},
        {},
    ]
)


def _containers(inner):
    properties = st.dictionaries(KEYS, inner, max_size=4)
    return st.one_of(
        properties.map(lambda p: {"type": "object", "properties": p}),
        properties.map(lambda p: {"type": ["object", "null"], "properties": p}),
        # Without a type, anything that is not an object passes too.
        properties.map(lambda p: {"properties": p}),
        inner.map(lambda s: {"type": "object", "additionalProperties": s}),
        inner.map(lambda s: {"type": "object", "patternProperties": {"^a": s}}),
        inner.map(lambda s: {"type": "array", "items": s}),
        inner.map(lambda s: {"type": ["array", "null"], "items": s}),
    )


SCHEMAS = st.recursive(_SCALARS, _containers, max_leaves=8)
DOCUMENT_SCHEMAS = st.dictionaries(KEYS, SCHEMAS, max_size=5).map(lambda p: {"type": "object", "properties": p})


@st.composite
def allowed(draw, schema: dict):
    """A value that the schema allows (as these schemas go)."""
    if "anyOf" in schema:
        return draw(st.none() | allowed(schema["anyOf"][0]))
    kinds = schema.get("type")
    if kinds is None:
        return draw(_object(schema) | VALUES if "properties" in schema else VALUES)
    kind = kinds if isinstance(kinds, str) else draw(st.sampled_from(kinds))
    if kind == "object":
        return draw(_object(schema))
    if kind == "array":
        return draw(st.lists(allowed(schema["items"]), max_size=3))
    return draw(
        {
            "integer": st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9).map(float),
            # Larger integers are not exact as FLOAT64 and refused; a test of its own says so.
            "number": st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
            "boolean": st.booleans(),
            "string": TEXT,
            "null": st.none(),
        }[kind]
    )


@st.composite
def _object(draw, schema: dict):
    # What no pattern speaks of shares a map with what one does; a test of its own says what does not fit is refused.
    extra = draw(st.dictionaries(KEYS, STORABLE if "patternProperties" in schema else VALUES, max_size=2))
    if "properties" in schema:
        named = {k: draw(allowed(s)) for k, s in schema["properties"].items() if draw(st.booleans())}
        return {key: value for key, value in extra.items() if key not in schema["properties"]} | named
    if "additionalProperties" in schema:
        return draw(st.dictionaries(KEYS, allowed(schema["additionalProperties"]), max_size=3))
    pattern = draw(
        st.dictionaries(st.sampled_from(["a", "ab"]), allowed(schema["patternProperties"]["^a"]), max_size=2)
    )
    return {key: value for key, value in extra.items() if not key.startswith("a")} | pattern
