"""What a schema marks as sensitive is in no table: dropped or hashed, whichever way the document goes."""

import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import schemas
from telemetry_warehouse.errors import SettingsError
from telemetry_warehouse.fields import SchemaError
from telemetry_warehouse.landing.document import Steps
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.landing.normalise import sample_id
from telemetry_warehouse.privacy import Redaction, redaction
from tests.test_schemas import write

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CLIENT = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
DROPPED, HASHED = {"type": "string", "x-pii": "drop"}, {"type": ["string", "null"], "x-pii": "hash"}
SCHEMA = {
    "type": "object",
    "required": ["email"],
    "properties": {
        "clientId": HASHED | {"pattern": "^[0-9a-fA-F-]{36}$"},
        "email": DROPPED,
        "n": {"type": "integer"},
        "account": {"$ref": "#/definitions/account"},
        "friends": {"type": "array", "items": {"$ref": "#/definitions/account"}},
        "byDevice": {"type": "object", "additionalProperties": {"$ref": "#/definitions/account"}},
        "either": {"anyOf": [{"type": "object", "properties": {"secret": {"x-pii": "drop"}}}, {"type": "integer"}]},
        "nested": {"$ref": "#/definitions/node"},
    },
    "definitions": {
        "account": {"type": "object", "properties": {"name": HASHED, "age": {"type": "integer"}}},
        "node": {"type": "object", "properties": {"of": {"$ref": "#/definitions/node"}, "name": DROPPED}},
    },
}
SECRET = "s3cret"
DOCUMENT = {
    "clientId": CLIENT.upper(),
    "email": f"{SECRET}@example.org",
    "n": 1,
    "account": {"name": SECRET, "age": 4, "more": 1},
    "friends": [{"name": SECRET}, {"name": None}, {"age": 3}],
    "byDevice": {"phone": {"name": SECRET}},
    "either": {"secret": SECRET, "open": 1},
    "nested": {"of": {"of": {"name": SECRET}}},
}


@pytest.fixture
def types(tmp_path) -> dict:
    write(tmp_path, "app/ping/1", SCHEMA, "live_days: null")
    return schemas.load([tmp_path])


def row_of(types, document: dict | bytes, key: str = "key", document_id: str = CLIENT, **kept):
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    message = Message(data, {"uri": f"/submit/app/ping/1/{document_id}"}, "1", NOW, **kept)
    return Steps(types, key).row(message, NOW)


def test_what_lands_has_hashes_and_nothing_of_what_is_dropped(types):
    row = row_of(types, DOCUMENT)
    assert row.error_type is None and SECRET.encode() not in row.line + row.data
    line = orjson.loads(row.line)
    name = line["account"]["name"]
    assert len(name) == 64 and line["friends"][0]["name"] == name
    assert line["by_device"] == [{"key": "phone", "value": {"name": name}}]
    assert line["account"]["age"] == 4 and line["additional_properties"]["account"] == {"more": 1}
    assert line["either"] == {"open": 1}
    assert "email" not in {column.name for column in types["app", "ping", "1"].live.columns}


def test_a_hashed_client_id_is_a_uuid_with_its_sample_and_the_same_for_either_case(types):
    line = orjson.loads(row_of(types, DOCUMENT).line)
    assert str(uuid.UUID(line["client_id"])) == line["client_id"] != CLIENT
    assert line["sample_id"] == sample_id(line["client_id"])
    assert orjson.loads(row_of(types, DOCUMENT | {"clientId": CLIENT}).line)["client_id"] == line["client_id"]
    assert orjson.loads(row_of(types, DOCUMENT, "other key").line)["client_id"] != line["client_id"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": "text"},
        {"email": {"text": SECRET}},
        {"clientId": SECRET},
        {"account": [{"name": SECRET}]},
        {"account": SECRET},
        {"friends": {"name": SECRET}},
        {"byDevice": [[SECRET]]},
        {"either": [SECRET]},
    ],
)
def test_a_document_that_its_schema_refuses_is_kept_without_what_is_sensitive(types, wrong):
    row = row_of(types, DOCUMENT | wrong)
    assert row.error_type == "schema" and row.redaction
    assert SECRET.encode() not in row.line + row.data
    assert orjson.loads(row.line)["error_message"].startswith("not as ")


def test_what_another_step_refuses_is_kept_without_what_is_sensitive(types):
    bad_id = row_of(types, DOCUMENT, document_id="no-uuid")
    twice = row_of(types, orjson.dumps(DOCUMENT)[:-1] + b',"email":"s3cret 2"}')
    number = row_of(types, orjson.dumps(DOCUMENT)[:-1] + b', "phone": 4917612345678901234.5}')
    too_large = row_of(types, DOCUMENT | {"n": 2**63})
    assert [r.error_type for r in (bad_id, twice, number, too_large)] == ["uri", "parse", "parse", "shape"]
    for row in (bad_id, twice, number, too_large):
        assert SECRET.encode() not in row.line + row.data and row.redaction
        message = orjson.loads(row.line)["error_message"]
        assert "49176" not in message and "email" not in message and str(2**63) not in message


def test_what_was_kept_lands_again_to_the_same_row(types):
    first = row_of(types, DOCUMENT)
    for landed in (True, False):
        again = row_of(types, first.data, redaction=first.redaction, landed=landed)
        assert again.error_type is None and again.data == first.data
        assert orjson.loads(again.line) == orjson.loads(first.line)


def test_what_was_kept_under_other_marks_or_another_key_does_not_land(types, tmp_path):
    first = row_of(types, DOCUMENT)
    assert row_of(types, first.data, "other key", redaction=first.redaction).error_type == "privacy"
    more = SCHEMA | {"properties": SCHEMA["properties"] | {"phone": HASHED}}
    write(tmp_path, "app/ping/1", more, "live_days: null")
    again = row_of(schemas.load([tmp_path]), first.data, redaction=first.redaction)
    assert again.error_type == "privacy" and again.data == first.data


def test_a_field_to_be_dropped_since_is_dropped_when_it_lands_again(types, tmp_path):
    first = row_of(types, DOCUMENT | {"phone": "0176"})
    more = SCHEMA | {"properties": SCHEMA["properties"] | {"phone": DROPPED}}
    write(tmp_path, "app/ping/1", more, "live_days: null")
    again = row_of(schemas.load([tmp_path]), first.data, redaction=first.redaction, landed=True)
    assert again.error_type is None and b"0176" in first.data and b"0176" not in again.line + again.data


def test_a_field_that_two_branches_mark_is_hashed_once():
    marked = {"properties": {"a": HASHED}}
    text = orjson.dumps({"a": CLIENT}).decode()
    redacted = Redaction(marked | {"allOf": [marked, marked]}, "file.json", "key")(text)
    assert redacted == Redaction(marked, "file.json", "key")(text) != text


def test_a_document_nested_deeper_than_a_row_can_be_is_kept_without_what_is_sensitive(tmp_path):
    schema = {"type": "object", "properties": {"of": {"$ref": "#"}, "n": {"type": "integer"}, "name": DROPPED}}
    write(tmp_path, "app/ping/1", schema)
    deep = b'{"of":' * 900 + b'{"name":"s3cret"}' + b"}" * 900
    row = row_of(schemas.load([tmp_path]), deep)
    assert row.error_type == "shape" and row.data == b'{"of":' * 900 + b"{}" + b"}" * 900


def test_what_nobody_can_parse_or_has_a_schema_for_is_kept_whole(types):
    attributes = {"uri": f"/submit/app/ping/1/{CLIENT}"}
    row = Steps(types, "key").row(Message(b'{"email":', attributes, "1", NOW), NOW)
    assert (row.error_type, row.data, row.redaction) == ("parse", b'{"email":', None)


@pytest.mark.parametrize(
    "schema, said",
    [
        ({"properties": {"a": {"x-pii": "hide"}}}, "'hide'; it may be drop or hash"),
        ({"properties": {"a": {"type": "integer", "x-pii": "hash"}}}, "only a string can be hashed"),
        ({"x-pii": "drop"}, "marks no property"),
        ({"$defs": {"a": {"x-pii": "drop"}}}, "marks no property"),
        ({"properties": {"a": {"x-pii": True}}}, "True; it may be drop or hash"),
        ({"properties": {"a": {"x-pii": {"action": "drop"}}}}, "it may be drop or hash"),
        ({"not": {"properties": {"a": {"x-pii": "drop"}}}}, "not cannot be used"),
        ({"unevaluatedProperties": {"x-pii": "drop"}}, "unevaluatedProperties cannot be used"),
        ({"properties": {"a": DROPPED, "b": {"$ref": "#", "properties": {}}}}, "properties cannot stand beside"),
        ({"properties": {"a": DROPPED}, "patternProperties": {"(": {}}}, "the pattern"),
    ],
)
def test_a_mark_that_cannot_be_is_refused_with_its_file(schema, said):
    with pytest.raises(SchemaError, match=f"file.json.*{said}"):
        redaction(schema, "file.json", "key")


def test_a_type_whose_schema_cannot_be_used_is_kept_without_what_it_marks_and_lands_once_mended(types, tmp_path):
    clash = {"fooBar": {"type": "string"}, "foo_bar": {"type": "string"}}
    write(tmp_path, "app/ping/1", SCHEMA | {"properties": SCHEMA["properties"] | clash}, "live_days: null")
    broken = schemas.load([tmp_path])
    row = row_of(broken, DOCUMENT)
    assert (row.error_type, row.table) == ("schema", "app_errors.pings")
    assert b"both become the column foo_bar" in row.line and SECRET.encode() not in row.line + row.data
    again = row_of(types, row.data, redaction=row.redaction)
    assert again.error_type is None and again.line == row_of(types, DOCUMENT).line


def test_a_ping_without_a_document_id_is_kept_without_what_its_type_marks(types):
    row = row_of(types, DOCUMENT, document_id="")
    assert (row.error_type, row.table) == ("uri", "app_errors.pings")
    assert SECRET.encode() not in row.line + row.data


def test_records_beside_a_null_are_hashed_in_their_columns(tmp_path):
    account = {"type": ["object", "null"], "properties": {"name": HASHED, "email": DROPPED}}
    schema = {"type": "object", "properties": {"friends": {"type": "array", "items": account}}}
    write(tmp_path, "app/ping/1", schema, "live_days: null")
    row = row_of(schemas.load([tmp_path]), {"friends": [None, {"name": SECRET, "email": SECRET}]})
    line = orjson.loads(row.line)
    assert SECRET.encode() not in row.line and line["additional_properties"] == {"friends": [None, {}]}
    assert line["friends"][0] == {} and len(line["friends"][1]["name"]) == 64


def test_where_marks_are_wrong_what_could_not_be_hashed_as_wanted_waits_whole(tmp_path, types):
    wrong = SCHEMA["properties"] | {"account": {"type": "object", "properties": {"name": {"x-pii": "hsah"}}}}
    write(tmp_path, "app/ping/1", SCHEMA | {"properties": wrong}, "live_days: null")
    row = row_of(schemas.load([tmp_path]), DOCUMENT)
    assert row.error_type == "schema" and b"'hsah'; it may be drop or hash" in row.line
    assert orjson.loads(row.data) == DOCUMENT and row.redaction is None
    assert row_of(types, row.data).line == row_of(types, DOCUMENT).line


def test_without_a_key_nothing_can_be_hashed(types):
    with pytest.raises(SettingsError, match="WAREHOUSE_PII_KEY"):
        Steps(types)


def test_a_property_may_be_called_as_the_mark():
    assert redaction({"properties": {"x-pii": {"type": "string"}}}, "file.json", None) is None


LEAVES = st.sampled_from([DROPPED, HASHED, {"type": "string"}, {}])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(lambda p: {"type": "object", "properties": p}),
        inner.map(lambda s: {"type": "array", "items": s}),
        inner.map(lambda s: {"type": "object", "additionalProperties": s}),
        inner.map(lambda s: {"anyOf": [{"type": "null"}, s]}),
    ),
    max_leaves=8,
)


@st.composite
def documents(draw, schema: dict, marked: bool = False):
    """A value of the schema: under a mark it is text SECRET…, elsewhere other text."""
    if "x-pii" in schema or marked:
        return f"{SECRET}{draw(st.integers(0, 9))}"
    if "anyOf" in schema:
        return draw(documents(schema["anyOf"][1]))
    if schema.get("type") == "array":
        return draw(st.lists(documents(schema["items"]), max_size=3))
    if "properties" in schema:
        return {key: draw(documents(s)) for key, s in schema["properties"].items()}
    if "additionalProperties" in schema:
        return draw(st.dictionaries(st.sampled_from("xyz"), documents(schema["additionalProperties"]), max_size=3))
    return "open"


@given(st.data(), TREES)
def test_no_marked_value_is_left_and_every_other_is(data, tree):
    schema = {"type": "object", "properties": {"root": tree}}
    text = orjson.dumps({"root": data.draw(documents(tree))}).decode()
    redacted = Redaction(schema, "file.json", "key")(text)
    assert SECRET not in redacted and redacted.count("open") == text.count("open")
    orjson.loads(redacted)


@pytest.mark.parametrize(
    "text, kept",
    [
        ('{"drop":1,"a":1e2}', '{"a":1e2}'),
        ('{ "a" : 1.0 ,"drop":{"x":[1]} , "b":-0}', '{ "a" : 1.0 ,"b":-0}'),
        ('{"a":[ ] ,\n "drop" : "}" , "dr\\u006fp":"," }', '{"a":[ ] }'),
        (' { "drop":1, "drop":2 } ', " {  } "),
        ('{"drop":1,"a":1,"drop":2,"drop":3,"b":"\\u00e9\\/","drop":4}', '{"a":1,"b":"\\u00e9\\/"}'),
        (
            '{"list":[ {"drop":1} , {"a":123456789012345678901234,"drop":1}]}',
            '{"list":[ {} , {"a":123456789012345678901234}]}',
        ),
        ('{"hash": null, "hash" :"x"}', None),
    ],
)
def test_what_is_not_marked_stays_byte_for_byte(text, kept):
    marked = {"drop": {"x-pii": "drop"}, "hash": HASHED}
    schema = {"properties": marked | {"list": {"items": {"properties": marked}}}}
    redaction = Redaction(schema, "file.json", "key")
    assert redaction(text) == (kept or text.replace('"x"', f'"{redaction.hashed("x")}"'))


SECRETS = [f'"{SECRET}"', f'{{"{SECRET}":1}}', f'["{SECRET}"]']


@st.composite
def texts(draw, schema: dict, marked: bool = False) -> str:
    """JSON text for a value of the schema, or for one that it or no table takes; SECRET stands under marks, or in place
    of an object or list that has some."""
    if "anyOf" in schema:
        return draw(st.just("null") | texts(schema["anyOf"][1]))
    if "x-pii" in schema:
        return draw(
            st.sampled_from([f'"{SECRET}"', f'"{SECRET}2"', f'{{"{SECRET}":1}}', f'["{SECRET}"]', "null", "1e-400"])
        )
    if schema.get("type") in ("array", "object"):
        is_array = schema["type"] == "array"
        if b"x-pii" in orjson.dumps(schema) and draw(st.integers(0, 9)) == 0:
            return draw(st.sampled_from([f'"{SECRET}"', f'{{"k":"{SECRET}"}}' if is_array else f'["{SECRET}"]']))
        if is_array:
            return f"[{', '.join(draw(st.lists(texts(schema['items']), max_size=3)))}]"
        parts = schema.get("properties") or dict.fromkeys("xyz", schema.get("additionalProperties"))
        members = []
        for key in draw(st.lists(st.sampled_from(sorted(parts)), max_size=4)):
            name = draw(st.sampled_from([key, f"\\u{ord(key):04x}"]))
            members.append(f'"{name}" : {draw(texts(parts[key]))}')
        return f"{{{' , '.join(members)}}}"
    return draw(st.sampled_from(['"open"', '"\\u006fpen"', "1", "1.0", "1e-400", "9007199254740993"]))


@given(st.data(), TREES)
def test_what_is_kept_has_nothing_marked_and_is_judged_as_what_was_sent(data, tree):
    schema = {"type": "object", "properties": {"root": tree}, "required": ["root"]}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), "app/ping/1", schema, "live_days: null")
        types = schemas.load([Path(folder)])
    roots = data.draw(st.lists(texts(tree), min_size=1, max_size=2))
    text = f"{{{', '.join(f'"root": {root}' for root in roots)}}}".encode()
    first = row_of(types, text)
    if "x-pii" not in str(tree):
        assert first.data == text
        return
    assert first.redaction and SECRET.encode() not in first.line + first.data
    again = row_of(types, first.data, redaction=first.redaction)
    assert (again.error_type, again.data, again.redaction) == (first.error_type, first.data, first.redaction)
    if first.error_type is None:
        assert again.line == first.line


@pytest.mark.parametrize(
    "text, step",
    [
        (b'["s3cret"]', "parse"),
        (b'{"email":"a","n":1e-400}', "parse"),
        (b'{"email":"a","n":1,"n":2}', "parse"),
        (b'{"email":"a","email":"b"}', "parse"),
        (b'{"email":1e-400}', "parse"),
        (b'{"email":"a","account":{"name":"x"},"account":{"name":"X"}}', "parse"),
        (f'{{"email":"a","clientId":"{CLIENT}","clientId":"{CLIENT.upper()}"}}'.encode(), "parse"),
        (b'{"n":1}', "schema"),
        (b'{"email":1}', "schema"),
        (b'{"email":"a","clientId":"no uuid"}', "schema"),
        (b'{"email":"a","account":"s3cret"}', "schema"),
        (b'{"email":"a","n":9223372036854775808}', "shape"),
    ],
)
def test_what_was_refused_stays_refused_in_the_same_step(types, text, step):
    first = row_of(types, text)
    again = row_of(types, first.data, redaction=first.redaction)
    assert (first.error_type, again.error_type) == (step, step)
    assert SECRET.encode() not in first.data


def test_a_document_refused_for_an_open_field_lands_once_its_schema_takes_it(types, tmp_path):
    refused = row_of(types, b'{"email":"s3cret", "n" : 1.50}')
    for_both = row_of(types, b'{"email":1, "n" : 1.50}')
    wider = SCHEMA | {"properties": SCHEMA["properties"] | {"n": {"type": "number"}}}
    write(tmp_path, "app/ping/1", wider, "live_days: null")
    types = schemas.load([tmp_path])
    assert refused.error_type == "schema" and refused.data == b'{"n" : 1.50}'
    assert row_of(types, refused.data, redaction=refused.redaction).error_type is None
    assert row_of(types, for_both.data, redaction=for_both.redaction).error_type == "schema"


def test_a_valid_document_stays_valid_without_its_dropped_members(tmp_path):
    schema = {
        "type": "object",
        "properties": {"email": DROPPED, "n": {"type": "integer"}},
        "minProperties": 2,
        "anyOf": [{"required": ["email"]}, {"required": ["phone"]}],
    }
    write(tmp_path, "app/ping/1", schema, "live_days: 3")
    types = schemas.load([tmp_path])
    text, old = b'{"email":"s3cret","n":1}', {"submission_timestamp": "2026-01-01T00:00:00Z"}
    attributes = {"uri": f"/submit/app/ping/1/{CLIENT}"}
    steps = Steps(types, "key")
    expired = steps.row(Message(text, attributes | old, "1", NOW), NOW)
    assert (expired.error_type, expired.data) == ("expired", b'{"n":1}')
    kept = Message(expired.data, attributes, "1", NOW, redaction=expired.redaction)
    assert steps.row(kept, NOW).error_type is None
