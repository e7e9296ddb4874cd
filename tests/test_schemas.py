"""JSON Schema directories → document types and tables."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import bigquery, schemas
from telemetry_warehouse.fields import SchemaError, beyond_limits, from_schema, snake_case
from telemetry_warehouse.schemas import TypeName

REAL = Path(__file__).parents[2] / "shared" / "real_pings" / "schemas"


def write(directory: Path, name: str, schema: object, options: str | None = None) -> Path:
    """Writes <directory>/<namespace>/<type>/<type>.<version>.schema.json for a name such as telemetry/main/4."""
    namespace, kind, version = name.split("/")
    path = directory / namespace / kind / f"{kind}.{version}.schema.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    if options is not None:
        path.with_name(f"{kind}.{version}.table.yml").write_text(options)
    return path


def types_of(properties: dict, **schema) -> dict[str, str]:
    """Column → type text, for a schema with these properties."""
    return {f.column: type_text(f) for f in from_schema({"type": "object", "properties": properties} | schema, "test")}


def type_text(field) -> str:
    inner = ", ".join(f"{f.column} {type_text(f)}" for f in field.fields)
    text = {"RECORD": f"STRUCT<{inner}>", "MAP": f"STRUCT<key STRING, {inner}>"}.get(field.kind, field.kind)
    return f"ARRAY<{text}>" if field.repeated else text


@pytest.mark.parametrize(
    "name, column",
    [
        ("subsessionLength", "subsession_length"),
        ("buildId", "build_id"),
        ("e10sEnabled", "e10s_enabled"),
        ("memoryMB", "memory_mb"),
        ("xpcomAbi", "xpcom_abi"),
        ("isWowARM64", "is_wow_arm64"),
        ("D2DEnabled", "d2d_enabled"),
        ("l2cacheKB", "l2cache_kb"),
        ("UIMeasurements", "ui_measurements"),
        ("browser.engagement.active_ticks", "browser_engagement_active_ticks"),
        ("deletion-request", "deletion_request"),
        ("$schema", "schema"),
        ("_private", "_private"),
        ("2d", "_2d"),
        ("HTTPServer", "http_server"),
        ("already_snake", "already_snake"),
        ("", None),
        ("$%&", None),
        ("é", None),
        ("_PARTITIONTIME", None),
        ("a" * 301, None),
    ],
)
def test_names_become_snake_case_or_no_column(name, column):
    assert snake_case(name) == column


@pytest.mark.parametrize(
    "schema, expected",
    [
        ({"type": "integer"}, "INT64"),
        ({"type": "number"}, "FLOAT64"),
        ({"type": "boolean"}, "BOOL"),
        ({"type": "string", "format": "date-time"}, "STRING"),
        ({"type": ["string", "null"]}, "STRING"),
        ({"type": ["integer", "number"]}, "FLOAT64"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "INT64"),
        ({"oneOf": [{"type": "null"}, {"type": "array", "items": {"type": "boolean"}}]}, "ARRAY<BOOL>"),
        ({"enum": ["a", "b", None]}, "STRING"),
        ({"const": 3}, "INT64"),
        ({}, "JSON"),
        (True, "JSON"),
        ({"type": "null"}, "JSON"),
        ({"type": ["string", "integer"]}, "JSON"),
        ({"type": ["object", "array"]}, "JSON"),
        ({"enum": [1, "a"]}, "JSON"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "JSON"),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}}]}, "JSON"),
        ({"type": "object"}, "JSON"),
        ({"type": "object", "additionalProperties": True}, "JSON"),
        ({"type": "object", "additionalProperties": False}, "JSON"),
        ({"type": "object", "additionalProperties": {}}, "JSON"),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, "STRUCT<a INT64>"),
        ({"properties": {"a": {"type": "integer"}}}, "STRUCT<a INT64>"),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
            "STRUCT<a INT64>",
        ),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "ARRAY<STRUCT<key STRING, value INT64>>"),
        (
            {"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": False},
            "ARRAY<STRUCT<key STRING, value STRING>>",
        ),
        ({"patternProperties": {"^a": {"type": "string"}, "^b": {"type": "integer"}}}, "JSON"),
        (
            {"type": "object", "additionalProperties": {"type": ["string", "integer"]}},
            "ARRAY<STRUCT<key STRING, value JSON>>",
        ),
        (
            {"type": "object", "additionalProperties": {"additionalProperties": {"type": "integer"}}},
            "ARRAY<STRUCT<key STRING, value ARRAY<STRUCT<key STRING, value INT64>>>>",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
            "ARRAY<STRUCT<key STRING, value ARRAY<INT64>>>",
        ),
        ({"type": "array", "items": {"type": "string"}}, "ARRAY<STRING>"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "ARRAY<STRING>"),
        (
            {"type": "array", "items": {"properties": {"b": {"type": "number"}}}},
            "ARRAY<STRUCT<b FLOAT64>>",
        ),
        ({"type": "array"}, "JSON"),
        ({"type": "array", "items": {}}, "JSON"),
        ({"type": "array", "items": [{"type": "integer"}, {"type": "string"}]}, "JSON"),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "integer"}}, "JSON"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "JSON"),
        ({"type": "array", "items": {"additionalProperties": {"type": "integer"}}}, "JSON"),
    ],
)
def test_a_schema_becomes_a_type(schema, expected):
    assert types_of({"x": schema}) == {"x": expected}


def test_a_property_that_may_never_be_there_and_one_without_a_name_have_no_column():
    assert types_of({"a": False, "%": {"type": "string"}, "b": {"type": "string"}}) == {"b": "STRING"}


def test_local_references_are_followed_and_recursion_ends_in_json():
    definitions = {
        "node": {"type": "object", "properties": {"name": {"type": "string"}, "child": {"$ref": "#/definitions/node"}}},
        "a/b": {"type": "integer"},
        "named": {"$anchor": "here", "type": "boolean"},
    }
    properties = {
        "tree": {"$ref": "#/definitions/node"},
        "escaped": {"$ref": "#/definitions/a~1b"},
        "anchor": {"$ref": "#here"},
        "self": {"$ref": "#"},
        "absolute": {"$ref": "https://example.com/x#/definitions/a~1b"},
    }
    found = types_of(properties, definitions=definitions, **{"$id": "https://example.com/x"})
    assert found == {
        "tree": "STRUCT<name STRING, child JSON>",
        "escaped": "INT64",
        "anchor": "BOOL",
        "self": "STRUCT<tree STRUCT<name STRING, child JSON>, escaped INT64, anchor BOOL, self JSON, absolute INT64>",
        "absolute": "INT64",
    }


@pytest.mark.parametrize("reference", ["other.json#/a", "#/definitions/none", "#nowhere", "https://example.com/x"])
def test_a_reference_that_leads_nowhere_is_an_error_that_names_it(reference):
    with pytest.raises(SchemaError, match="x refers to .*(not in the file|does not exist)"):
        types_of({"x": {"$ref": reference}})


def test_records_end_in_json_at_the_depth_that_bigquery_allows():
    schema: dict = {"type": "integer"}
    for _ in range(20):
        schema = {"type": "object", "properties": {"a": schema}}
    text = types_of({"a": schema})["a"]
    assert text.count("STRUCT") == 15 and "JSON" in text
    schema = {"type": "integer"}
    for _ in range(20):
        schema = {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": schema}}}
    text = types_of({"a": schema})["a"]
    assert text.count("STRUCT") <= 15 and "JSON" in text


def test_two_properties_with_one_column_name_are_refused_with_both_names():
    with pytest.raises(
        SchemaError, match="in outer the properties 'fooBar' and 'foo_bar' both become the column foo_bar"
    ):
        types_of({"outer": {"properties": {"fooBar": {"type": "string"}, "foo_bar": {"type": "string"}}}})


GOOD = TypeName("acme", "good", "1")


def faults_beside_a_good_type(*directories: Path) -> dict[object, str]:
    """What is wrong with the types of these directories, where one more, that is good, is still there."""
    write(directories[0], "/".join(GOOD), {"type": "object", "properties": {"n": {"type": "integer"}}})
    found = schemas.load(directories)
    assert found.keys() == {GOOD} and found[GOOD].fields[0].kind == "INT64"
    names = {name for name in found.faults if isinstance(name, TypeName)}
    assert set(schemas.list_types(directories)) == names | {GOOD}, "what has tables keeps them"
    return {subject: str(fault) for subject, fault in found.faults.items()}


def test_two_schemas_with_one_table_name_are_both_refused_with_both_files(tmp_path):
    names = [TypeName("telemetry", "new-profile", "4"), TypeName("telemetry", "new.profile", "4")]
    write(tmp_path, "/".join(names[0]), {"type": "object"})
    write(tmp_path, "/".join(names[1]), "not JSON, and its name is enough")
    faults = faults_beside_a_good_type(tmp_path)
    assert set(faults) == set(names) and len(set(faults.values())) == 1
    assert re.search(r"new-profile\.4.* and .*new\.profile\.4.*telemetry_live.new_profile_v4", faults[names[0]])


def test_one_type_in_two_directories_is_refused_with_both_files(tmp_path):
    write(tmp_path / "a", "telemetry/main/4", {"type": "object"})
    write(tmp_path / "b", "telemetry/main/4", {"type": "object"})
    [(name, fault)] = faults_beside_a_good_type(tmp_path / "a", tmp_path / "b").items()
    assert name == ("telemetry", "main", "4")
    assert re.search(r"/a/.* and .*/b/.* both define telemetry/main/4", fault)


TWICE = {"properties": {"fooBar": {"type": "string"}, "foo_bar": {"type": "string"}}}


@pytest.mark.parametrize(
    "schema",
    [
        "{", "", "[]", "true", "3", "null", "[" * 100_000, '{"type": "object", "type": "array"}',
        '{"properties": {"a": {"type": "string", "type": "integer"}}}',
        {"type": "nonsense"}, {"properties": {"a": {"$ref": "https://example.com/a.json"}}}, {"pattern": "("}, TWICE,
        {"properties": {"a": {"x-pii": "hide"}}}, {"properties": {"a": {"type": "integer", "x-pii": "hash"}}},
        {"properties": {"a": {"$ref": "#/definitions/none"}}}, {"properties": {"a": {"$ref": 3}}},
        {"properties": {f"p{n}": {"type": "string"} for n in range(10_000)}},
        {"properties": {f"r{n}": {"properties": {"a": {"type": "string"}}} for n in range(5_000)}},
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_names_its_file_and_stops_no_other(tmp_path, schema):
    path = write(tmp_path, "telemetry/main/4", schema)
    [(name, fault)] = faults_beside_a_good_type(tmp_path).items()
    assert name == ("telemetry", "main", "4") and fault.startswith(str(path)) and "\n" not in fault


KEYWORDS = [
    "type", "properties", "items", "prefixItems", "additionalProperties", "patternProperties", "anyOf", "allOf", "enum",
    "const", "not", "required", "definitions", "$ref", "$defs", "$id", "$anchor", "x-pii", "description", "title", "a",
    "fooBar", "foo_bar", "live_days", "paths", "os",
]  # fmt: skip
SAID = ["object", "array", "string", "integer", "drop", "hash", "#", "#/properties/a", "a", 3, True, None]
JSON = st.recursive(
    st.sampled_from(SAID),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=12,
)


@given(schema=JSON, options=JSON)
def test_whatever_stands_in_a_types_files_is_a_type_or_a_fault_of_its_own(schema, options, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "any"
    path = write(folder, "telemetry/main/4", schema, json.dumps(options))
    write(folder, "/".join(GOOD), {"type": "object"})
    found = schemas.load([folder])
    assert GOOD in found and {*found, *found.faults} == {GOOD, ("telemetry", "main", "4")}
    for fault in found.faults.values():
        assert str(path.parent) in str(fault), "what is wrong is known, and is said of its file"
        assert " cannot be used: " not in str(fault), "nothing is met that we are not ready for"


@given(data=st.binary(max_size=20))
def test_whatever_bytes_a_schema_file_holds_no_other_is_stopped(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "bytes"
    write(folder, "telemetry/main/4", {}).write_bytes(data)
    write(folder, "/".join(GOOD), {"type": "object"})
    assert GOOD in schemas.load([folder])


def test_a_file_that_cannot_be_opened_is_a_fault(tmp_path):
    path = write(tmp_path, "telemetry/main/4", {})
    path.unlink()
    path.mkdir()
    beside = write(tmp_path, "telemetry/gone/1", {})
    beside.unlink()
    beside.symlink_to(tmp_path / "nowhere")
    assert schemas.fingerprint([tmp_path])
    faults = faults_beside_a_good_type(tmp_path)
    assert all("cannot be read: " in fault for fault in faults.values()) and len(faults) == 2


def test_a_file_with_another_name_is_refused_and_stops_no_other(tmp_path):
    path = write(tmp_path, "telemetry/main/4", {})
    path = path.rename(path.with_name("main.four.schema.json"))
    [(subject, fault)] = faults_beside_a_good_type(tmp_path).items()
    assert subject == path and "main.four.schema.json: name it" in fault


def test_what_bigquery_does_not_take_is_said_with_number_and_limit_and_its_values_are_kept():
    deep: dict = {"type": "integer"}
    for _ in range(16):
        deep = {"type": "object", "properties": {"a": deep}}
    properties = {
        "deep": deep, "x" * 301: {"type": "string"}, "_PARTITIONTIME": {"type": "string"}, "é": {"type": "string"},
        "outer": {"properties": {"_table_suffix": {"type": "string"}, "_CHANGE_TYPE": {"type": "string"}, "a": {}}},
        "never": False, "x" * 300: {"type": "string"},
    }  # fmt: skip
    schema = {"type": "object", "properties": properties}
    found = beyond_limits(schema, "test")
    assert [re.sub("x{20,}", "x", line) for line in found] == [
        f"deep{'.a' * 15} is a record 16 deep, and BigQuery nests records 15 deep: it stays JSON",
        "x gets no column: its name has 301 characters, and BigQuery takes 300",
        "_PARTITIONTIME gets no column: BigQuery keeps names that begin with _PARTITION for itself",
        "outer._table_suffix gets no column: BigQuery keeps names that begin with _TABLE_ for itself",
        "outer._CHANGE_TYPE gets no column: BigQuery keeps names that begin with _CHANGE_TYPE for itself",
    ]
    columns = [field.column for field in from_schema(schema, "test")]
    assert columns == ["deep", "outer", "x" * 300]


def test_as_many_columns_as_bigquery_takes_are_a_table(tmp_path):
    standard = sum(1 for _ in bigquery.paths([*schemas._standard_columns()[0], schemas._standard_columns()[1]]))
    properties = {f"p{n}": {"type": "string"} for n in range(10_000 - standard)}
    write(tmp_path, "acme/wide/1", {"type": "object", "properties": properties})
    found = schemas.load([tmp_path])
    assert not found.faults
    write(tmp_path, "acme/wide/1", {"type": "object", "properties": properties | {"more": {"type": "string"}}})
    [fault] = schemas.load([tmp_path]).faults.values()
    assert "has 10,001 columns" in str(fault) and "BigQuery takes 10,000" in str(fault)


def test_descriptions_are_as_long_as_bigquery_takes_them(tmp_path):
    properties = {"a": {"type": "string", "description": "x" * 5000}}
    write(tmp_path, "acme/said/1", {"description": "y" * 50_000, "properties": properties})
    live = schemas.load([tmp_path])["acme", "said", "1"].live
    assert len(live.description) == 16_384 and max(len(column.description) for column in live.columns) == 1024


def test_a_document_type_has_its_standard_columns_first_and_the_rest_last(tmp_path):
    properties = {"clientId": {"type": "string"}, "metadata": {"type": "object"}, "someThing": {"type": "integer"}}
    write(tmp_path, "my-app/new-thing/2", {"description": "Things.", "type": "object", "properties": properties})
    found = schemas.load([tmp_path])["my-app", "new-thing", "2"]
    assert (found.namespace, found.type, found.version) == ("my-app", "new-thing", "2")
    assert found.live.id == "my_app_live.new_thing_v2"
    assert found.stable.id == "my_app_stable.new_thing_v2"
    assert found.live.column_names == [
        *(name for name, *_ in schemas.STANDARD_COLUMNS),
        "some_thing",
        "additional_properties",
    ]
    assert found.live.columns == found.stable.columns
    assert all(column.description for column in found.live.columns if column.name != "some_thing")
    assert found.standard == (("clientId", "client_id"), ("metadata", "metadata"))
    for table in (found.live, found.stable):
        assert table.partition_field == "submission_timestamp" and table.require_partition_filter
    assert (found.live.retention_days, found.stable.retention_days) == (30, 775)
    assert (found.live.clustering, found.stable.clustering) == ((), ("normalized_channel", "sample_id", "client_id"))


def test_the_file_beside_a_schema_sets_retention_and_paths(tmp_path):
    options = "live_days: null\nstable_days: 9\npaths: {channel: [a.b, c], os: d}\n"
    write(tmp_path, "telemetry/main/4", {"type": "object"}, options)
    found = schemas.load([tmp_path])["telemetry", "main", "4"]
    assert (found.live.retention_days, found.stable.retention_days) == (None, 9)
    assert found.paths["channel"] == (("a", "b"), ("c",))
    assert found.paths["os"] == (("d",),)
    assert found.paths["client_id"] == (("clientId",), ("client_id",), ("client_info", "client_id"))


@pytest.mark.parametrize(
    "options, message",
    [
        ("live: 3", "'live' is not one of"),
        ("paths: {city: a}", "'paths.city' is not one of"),
        ("live_days: 0", "live_days is 0"),
        ("live_days: 100000000000", "live_days is 100000000000"),
        ("stable_days: never", "stable_days is 'never'"),
        ("- live_days", "it may say live_days"),
        ("paths: [os]", "it may say live_days"),
        ("paths: {os: 3}", "paths.os is 3; give a dotted path"),
        ("paths: {os: [a, 3]}", "give a dotted path"),
        ("live_days: 3\nlive_days: 4", "has the key 'live_days' twice, in lines 1 and 2"),
        ("live_days: [", "is no usable YAML"),
    ],
)
def test_a_mistake_in_the_file_beside_a_schema_is_named(tmp_path, options, message):
    write(tmp_path, "telemetry/main/4", {"type": "object"}, options)
    [fault] = faults_beside_a_good_type(tmp_path).values()
    assert message in fault and "main.4.table.yml" in fault


def test_types_are_listed_without_opening_files_or_heavy_imports(tmp_path):
    write(tmp_path, "telemetry/main/4", "not JSON")
    write(tmp_path, "fleet/flight/1", "not JSON")
    code = (
        "import sys; from telemetry_warehouse.schemas import list_types; print(list_types([sys.argv[1]])[0].table);"
        "assert not {'google.cloud.bigquery', 'jsonschema_rs', 'yaml', 'sqlglot'} & sys.modules.keys()"
    )
    plugins = Path(schemas.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env={"PYTHONPATH": str(plugins)}, capture_output=True)
    assert (done.stdout, done.stderr) == (b"flight_v1\n", b"")
    assert schemas.list_types([tmp_path]) == [TypeName("fleet", "flight", "1"), TypeName("telemetry", "main", "4")]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is absent")
def test_every_published_schema_becomes_a_table():
    found = schemas.load([REAL])
    assert len(found) == len(list(REAL.glob("*/*/*.schema.json")))
    main = {c.name: c for c in found["telemetry", "main", "4"].stable.columns}
    environment = {c.name: c for c in main["environment"].fields}
    system = {c.name: c.field_type for c in environment["system"].fields}
    assert system["memory_mb"] == "FLOAT"
    assert main["client_id"].description.startswith("The client's UUID")
