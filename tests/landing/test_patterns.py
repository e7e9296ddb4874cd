"""Patterns of schemas that backtrack without end elsewhere: their batch lands, and what they cannot decide does not."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import schemas, validators
from telemetry_warehouse.landing.document import Steps
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.privacy import Redaction
from tests.test_schemas import write

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ID = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
# A backtracking engine tries all 2**59 ways to part them.
TEXT = "a" * 60 + "!"
LINEAR = ["^(a+)+$", "^(a|a)*$", "^(a?){60}a{60}$", "(.*a){25}$"]
BACKTRACKING = ["^((?=a)a+)+$", "^(?!data)((a+)(?=.|$))+$", r"^((a+)\2?)+$"]
DROPPED = {"x-pii": "drop"}


def rows(folder, property_schema: dict, values: list) -> list:
    schema = {"type": "object", "properties": {"a": property_schema, "secret": DROPPED}}
    write(folder, "app/ping/1", schema, "live_days: null")
    steps = Steps(schemas.load([folder]))
    attributes = {"uri": f"/submit/app/ping/1/{ID}"}
    return [steps.row(Message(orjson.dumps({"a": value}), attributes, "1", NOW), NOW) for value in values]


@pytest.mark.parametrize("pattern", LINEAR)
@pytest.mark.parametrize("value", [DROPPED, {"type": "string"}])
def test_a_linear_pattern_decides_whatever_the_text(tmp_path, pattern, value):
    refused, landed = rows(tmp_path, {"type": "string", "pattern": pattern}, [TEXT, "a" * 60])
    assert (refused.error_type, landed.error_type) == ("schema", None)

    keys = {"type": "object", "patternProperties": {pattern: value}, "additionalProperties": {"type": "string"}}
    long, short = rows(tmp_path, keys, [{TEXT: "kept"}, {"a" * 60: "kept"}])
    assert long.error_type is short.error_type is None
    assert b"kept" in long.data and (b"kept" in short.data) == (value != DROPPED)


@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_a_text_that_takes_too_many_steps_does_not_pass_and_others_land(tmp_path, pattern):
    for asked in ({"pattern": pattern}, {"not": {"pattern": pattern}}, {"patternProperties": {pattern: False}}):
        assert not validators.compile_schema(asked).is_valid({TEXT: 1} if "patternProperties" in asked else TEXT)
    undecided, landed = rows(tmp_path, {"type": "string", "pattern": pattern}, [TEXT, "aaa"])
    assert (undecided.error_type, landed.error_type) == ("schema", None)


@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_a_key_that_nobody_can_tell_from_a_marked_one_is_dropped_with_an_error(tmp_path, pattern):
    keys = {"type": "object", "patternProperties": {pattern: DROPPED}, "additionalProperties": {"type": "string"}}
    values = [{TEXT: "secret", "b": "kept"}, {"aaa": "secret", "b": "kept"}]
    undecided, landed = rows(tmp_path, keys, values)
    assert (undecided.error_type, landed.error_type) == ("schema", None)
    assert undecided.data == landed.data == b'{"a":{"b":"kept"}}'
    kept = Message(undecided.data, {"uri": f"/submit/app/ping/1/{ID}"}, "1", NOW, redaction=undecided.redaction)
    assert Steps(schemas.load([tmp_path])).row(kept, NOW).error_type == "schema"


def test_the_patterns_of_glean_take_long_texts():
    validator = validators.compile_schema({"pattern": r"^((?!data)([a-zA-Z][a-zA-Z0-9-\+\.]*):(.*))$"})
    assert validator.is_valid("https:" + "x" * 100_000) and not validator.is_valid("data:" + "x" * 100_000)


@pytest.mark.parametrize("pattern", ["(", "(?>a)", r"\Z", "a{1000000}", "[b-a]"])
@pytest.mark.parametrize("keyword", ["pattern", "patternProperties"])
def test_a_pattern_that_no_engine_takes_is_refused_with_its_file(tmp_path, pattern, keyword):
    asked = {"pattern": pattern} if keyword == "pattern" else {"patternProperties": {pattern: {}}}
    write(tmp_path, "app/ping/1", {"type": "object", "properties": {"a": asked}})
    [fault] = schemas.load([tmp_path]).faults.values()
    assert "ping.1.schema.json is not a usable JSON Schema" in str(fault)


PATTERNS = [
    r"^\d+$",
    r"\w",
    r"^\S$",
    "^a$",
    "^.$",
    r"\p{L}",
    r"\bé",
    r"^(?!a)",
    r"(?<=a)b",
    "[^a]",
    r"\u0061",
    "",
    r"\s",
]


@given(st.sampled_from(PATTERNS), st.text(st.sampled_from("ab1٣é\n\u2028_ 𝔘-"), max_size=3))
def test_redaction_matches_what_the_validator_matches(pattern, key):
    schema = {"type": "object", "patternProperties": {pattern: DROPPED}}
    matched = not validators.compile_schema({"patternProperties": {pattern: False}}).is_valid({key: 1})
    redacted = Redaction(schema, "file.json", None)(orjson.dumps({key: 1}).decode())
    assert (orjson.loads(redacted) == {}) == matched
