"""A table's definition on the emulator, held to what is written, as BigQuery holds it: down to the last field."""

import io
import json

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, SchemaField

from telemetry_warehouse.local import standins
from telemetry_warehouse.tables import column, type_text
from tests.conftest import temporary_home

OLD = {
    "record": "STRUCT<old STRING>",
    "list": "ARRAY<STRUCT<old STRING>>",
    "map": "ARRAY<STRUCT<key STRING, value STRUCT<old STRING>>>",
    "deep": "STRUCT<inner STRUCT<old STRING>, list ARRAY<STRUCT<element STRUCT<old STRING>>>>",
}
NEW = {
    "record": "STRUCT<old STRING, new STRING, `select` ARRAY<INT64>>",
    "list": "ARRAY<STRUCT<old STRING, new STRING, more STRUCT<j JSON, b BYTES, d DATE>>>",
    "map": "ARRAY<STRUCT<key STRING, value STRUCT<old STRING, new STRING>>>",
    "deep": "STRUCT<inner STRUCT<old STRING, new STRING>,"
    " list ARRAY<STRUCT<element STRUCT<old STRING, new ARRAY<STRUCT<x INT64>>>>>>",
    "top": "STRUCT<new STRING>",
}
OLD_ROW = {
    "n": 1,
    "record": {"old": "o"},
    "list": [{"old": "o"}, {"old": None}],
    "map": [{"key": "k", "value": {"old": "o"}}],
    "deep": {"inner": {"old": "o"}, "list": [{"element": {"old": "o"}}]},
}
NEW_ROW = {
    "n": 2,
    "record": {"old": "o", "new": "new", "select": [1, 2]},
    "list": [{"old": "o", "new": "new", "more": {"j": {"any": [1]}, "b": "/w==", "d": "2026-11-28"}}],
    "map": [{"key": "k", "value": {"old": "o", "new": "new"}}],
    "deep": {"inner": {"old": "o", "new": "new"}, "list": [{"element": {"old": "o", "new": [{"x": 1}]}}]},
    "top": {"new": "new"},
}


def columns(types: dict[str, str]) -> list[SchemaField]:
    return [SchemaField("n", "INT64"), *(column(name, text) for name, text in types.items())]


def append(client, table: str, rows: list[dict], **config) -> bigquery.LoadJob:
    config = LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND", **config)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    job = client.load_table_from_file(io.BytesIO(lines), table, job_config=config)
    job.result()
    return job


def types_of(fields) -> dict[str, str]:
    return {field.name: type_text(field) for field in fields}


def as_json(client, source: str) -> list[dict]:
    rows = client.query_and_wait(f"SELECT TO_JSON_STRING(t) AS row FROM {source} AS t ORDER BY n")
    return [json.loads(row.row) for row in rows]


@pytest.fixture(scope="module")
def client(warehouse_home):
    client = warehouse_home.bigquery_client()
    client.query_and_wait("CREATE SCHEMA IF NOT EXISTS definitions")
    return client


def grown(client, name: str) -> bigquery.Table:
    """A table with a row of its first schema, which has grown in every record since."""
    table = client.create_table(bigquery.Table(f"local.definitions.{name}", schema=columns(OLD)))
    append(client, f"definitions.{name}", [OLD_ROW], schema=columns(OLD))
    table.schema = columns(NEW)
    return client.update_table(table, ["schema"])


def test_a_field_added_within_any_record_is_there_and_old_rows_have_none():
    wanted = types_of(columns(NEW))
    with temporary_home() as settings:
        standins.up(settings, say=lambda _: None)
        client = settings.bigquery_client()
        client.query_and_wait("CREATE SCHEMA definitions")
        client.create_table(bigquery.Table("local.definitions.grown", schema=columns(OLD)))
        client.query_and_wait("CREATE VIEW definitions.looks AS SELECT * FROM definitions.grown")
        append(client, "definitions.grown", [OLD_ROW], schema=columns(OLD))
        [moment] = client.query_and_wait("SELECT FORMAT_TIMESTAMP('%F %H:%M:%E6S+00', CURRENT_TIMESTAMP()) AS now")
        table = client.get_table("definitions.grown")
        table.schema = columns(NEW)
        assert types_of(client.update_table(table, ["schema"]).schema) == wanted
        append(client, "definitions.grown", [NEW_ROW], schema=columns(NEW))

        def looks_right(client):
            assert types_of(client.get_table("definitions.grown").schema) == wanted
            old, new = as_json(client, "definitions.grown")
            assert new == NEW_ROW
            assert old["record"] == {"old": "o", "new": None, "select": []} or old["record"]["select"] is None
            assert old["list"][1] == {"old": None, "new": None, "more": None}
            assert old["map"] == [{"key": "k", "value": {"old": "o", "new": None}}]
            assert old["deep"]["inner"] == {"old": "o", "new": None} and old["top"] is None
            [fields] = client.query_and_wait(
                "SELECT ARRAY_AGG(field_path) AS paths FROM definitions.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS"
                " WHERE table_name = 'grown'"
            )
            assert {"record.new", "list.more.j", "map.value.new", "deep.list.element.new.x"} <= set(fields.paths)
            found = client.query_and_wait(
                "SELECT n, e.new AS new FROM definitions.grown, UNNEST(list) AS e WHERE e.new IS NOT NULL"
            )
            assert [tuple(row.values()) for row in found] == [(2, "new")]
            rows = client.query_and_wait("SELECT n FROM definitions.grown WHERE record.new = 'new'")
            assert [row.n for row in rows] == [2]
            rows = client.query_and_wait("SELECT n FROM definitions.grown WHERE record.new IS NULL")
            assert [row.n for row in rows] == [1]
            read = client.list_rows("definitions.grown").to_arrow(bqstorage_client=settings.storage_client())
            by_number = {row["n"]: row for row in read.to_pylist()}
            assert by_number[2]["deep"] == NEW_ROW["deep"] and by_number[1]["deep"]["inner"]["new"] is None
            before = f"definitions.grown FOR SYSTEM_TIME AS OF TIMESTAMP '{moment.now}'"
            assert as_json(client, f"(SELECT * FROM {before})") == [OLD_ROW]
            assert as_json(client, "definitions.looks") == [old, new]

        looks_right(client)
        client.query_and_wait("CREATE TABLE definitions.copied AS SELECT * FROM definitions.grown")
        assert types_of(client.get_table("definitions.copied").schema) == wanted
        client.query_and_wait("INSERT INTO definitions.copied SELECT * FROM definitions.grown WHERE n = 2")
        assert as_json(client, "definitions.copied")[1:] == [NEW_ROW] * 2
        standins.down(settings, say=lambda _: None)
        standins.up(settings, say=lambda _: None)
        looks_right(settings.bigquery_client())


REFUSED = {
    "another type": ("record STRUCT<old INT64>", "Field record.old has changed type from STRING to INT"),
    "another type of a list's element": ("list ARRAY<STRUCT<old BYTES>>", "Field list.old has changed type"),
    "a record that was text": ("record STRUCT<old STRUCT<x STRING>>", "Field record.old has changed type"),
    "another mode": ("record STRUCT<old ARRAY<STRING>>", "has changed mode from NULLABLE to REPEATED"),
    "one that is gone": ("record STRUCT<new STRING>", "Field record.old is missing in new schema"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_change_within_a_record_that_bigquery_does_not_make_is_refused(client, change):
    text, complaint = REFUSED[change]
    name, _, data_type = text.partition(" ")
    table_id = f"definitions.refused_{abs(hash(change))}"
    table = client.create_table(bigquery.Table(f"local.{table_id}", schema=columns(OLD)))
    table.schema = columns(OLD | {name: data_type})
    with pytest.raises(BadRequest, match=complaint):
        client.update_table(table, ["schema"])
    assert types_of(client.get_table(table_id).schema) == types_of(columns(OLD))


def test_a_required_field_is_not_added_and_a_required_column_may_be_relaxed_and_not_the_other_way(client):
    required = [SchemaField("n", "INT64", "REQUIRED"), SchemaField("r", "RECORD", fields=[SchemaField("x", "INT64")])]
    table = client.create_table(bigquery.Table("local.definitions.modes", schema=required))
    more = SchemaField("r", "RECORD", fields=[SchemaField("x", "INT64"), SchemaField("y", "INT64", "REQUIRED")])
    table.schema = [required[0], more]
    with pytest.raises(BadRequest, match=r"Cannot add required fields.*r\.y"):
        client.update_table(table, ["schema"])
    table.schema = [SchemaField("n", "INT64"), required[1]]
    relaxed = client.update_table(table, ["schema"])
    assert relaxed.schema[0].mode == "NULLABLE"
    relaxed.schema = required
    with pytest.raises(BadRequest, match="has changed mode from NULLABLE to REQUIRED"):
        client.update_table(relaxed, ["schema"])


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"other": 1}, "other"),
        ({"record": {"old": "o", "other": "x"}}, "record.other"),
        ({"list": [{"old": "o"}, {"other": 1}]}, "list.other"),
        ({"map": [{"key": "k", "value": {"other": 1}}]}, "map.value.other"),
        ({"deep": {"list": [{"element": {"other": None}}]}}, "deep.list.element.other"),
    ],
)
def test_a_load_with_a_field_that_the_table_does_not_have_fails(client, row, path):
    client.create_table(bigquery.Table("local.definitions.strict", schema=columns(OLD)), exists_ok=True)
    for config in ({}, {"schema": columns(OLD)}):
        with pytest.raises(BadRequest, match=rf"No such field: {path}\."):
            append(client, "definitions.strict", [OLD_ROW, {"n": 2} | row], **config)
    assert client.get_table("definitions.strict").num_rows == 0
    lenient = f"definitions.lenient_{path.replace('.', '_')}"
    append(client, lenient, [row], schema=columns(OLD), ignore_unknown_values=True)


def test_a_load_or_a_query_adds_fields_only_where_it_may(client):
    table = bigquery.Table("local.definitions.appended", schema=columns(OLD))
    client.create_table(table)
    with pytest.raises(BadRequest, match=r"Cannot add fields \(field: record\.new\)"):
        append(client, "definitions.appended", [NEW_ROW], schema=columns(NEW))
    assert types_of(client.get_table("definitions.appended").schema) == types_of(columns(OLD))
    append(client, "definitions.appended", [OLD_ROW], schema=columns(OLD))
    append(
        client,
        "definitions.appended",
        [NEW_ROW],
        schema=columns(NEW),
        schema_update_options=["ALLOW_FIELD_ADDITION"],
    )
    assert types_of(client.get_table("definitions.appended").schema) == types_of(columns(NEW))
    assert as_json(client, "definitions.appended")[1] == NEW_ROW


def test_a_load_without_a_schema_takes_the_tables_and_guesses_nothing(client):
    texts = ["2026-1-5", "2026-01-05", "10:00:00", "2026-01-05T10:00:00Z", "12", "1e3", "true", "", "null", "{}"]
    fields = [SchemaField("n", "INT64"), SchemaField("s", "STRING"), SchemaField("r", "RECORD", fields=[
        SchemaField("s", "STRING"), SchemaField("l", "STRING", "REPEATED")])]  # fmt: skip
    client.create_table(bigquery.Table("local.definitions.texts", schema=fields))
    rows = [{"n": n, "s": text, "r": {"s": text, "l": [text]}} for n, text in enumerate(texts)]
    append(client, "definitions.texts", rows)
    assert types_of(client.get_table("definitions.texts").schema) == types_of(fields)
    assert as_json(client, "definitions.texts") == rows
    with pytest.raises(BadRequest, match="No schema specified on job or table"):
        append(client, "definitions.no_such_table", rows)
