"""A message's way through the steps: what lands, and which step refuses what, with what in its error row."""

import base64
import gzip
import zlib
from datetime import UTC, date, datetime, time, timedelta, timezone

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry_warehouse import schemas, tables
from telemetry_warehouse.landing.decode import MAX_DOCUMENT_BYTES, decompress
from telemetry_warehouse.landing.document import Steps
from telemetry_warehouse.landing.message import Message, Rejected, timestamp
from tests.landing.json_values import TEXT, VALUES
from tests.test_schemas import write

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ID = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
URI = f"/submit/my-app/some.thing/1/{ID}"
SCHEMA = {
    "type": "object",
    "properties": {
        "clientId": {"type": ["string", "null"]},
        "count": {"type": "integer"},
        "application": {"properties": {"name": {"type": "string"}, "channel": {"type": "string"}}},
        "os": {"type": "string"},
        "any": {},
    },
}


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> Steps:
    directory = tmp_path_factory.mktemp("schemas")
    write(directory, "my-app/some.thing/1", SCHEMA)
    write(directory, "my-app/kept/1", SCHEMA, "live_days: null")
    return Steps(schemas.load([directory]))


def message(document: object = None, uri: str | None = URI, **attributes: str) -> Message:
    """A message of a document (an object, or bytes as they are) received at noon of the day before NOW."""
    data = document if isinstance(document, bytes) else orjson.dumps(document or {})
    named = {"submission_timestamp": "2026-11-21T12:00:00Z"} | attributes
    if uri is not None:
        named["uri"] = uri
    return Message(data, named, "1", NOW)


def landed(steps: Steps, *args, **attributes) -> dict:
    row = steps.row(message(*args, **attributes), NOW)
    assert row.error_type is None, row.line
    assert row.table == "my_app_live.some_thing_v1"
    return orjson.loads(row.line)


def refused(steps: Steps, *args, **attributes) -> dict:
    row = steps.row(message(*args, **attributes), NOW)
    assert row.document_type is None
    error = orjson.loads(row.line)
    assert row.error_type == error["error_type"] and error["error_message"]
    return error | {"table": row.table}


def test_a_document_becomes_a_row(steps):
    document = {"clientId": ID.upper(), "count": 2, "application": {"name": "App", "channel": "beta"}, "os": "Darwin"}
    row = landed(
        steps, document, uri=URI.upper().replace("/SUBMIT/MY-APP/SOME.THING", "/submit/my-app/some.thing") + "/x/y?z"
    )
    assert row["document_id"] == row["client_id"] == ID
    assert row["sample_id"] == 55
    assert row["submission_timestamp"] == "2026-11-21T12:00:00Z"
    assert (row["normalized_app_name"], row["normalized_channel"]) == ("App", "beta")
    assert (row["count"], row["application"], row["os"]) == (2, {"name": "App", "channel": "beta"}, "Darwin")
    assert row["normalized_os"] == "Mac"
    # The column says it in lower case, so the document's own spelling is kept.
    assert row["additional_properties"] == {"clientId": ID.upper()}


def test_nothing_is_additional_where_the_columns_say_all(steps):
    row = landed(steps, {"clientId": ID, "count": 1})
    assert row["client_id"] == ID and "additional_properties" not in row


def test_an_empty_document_and_what_no_column_can_say_are_additional(steps):
    assert landed(steps, b"{}")["additional_properties"] == {}
    row = landed(steps, {"clientId": None, "new": {"a": [1]}})
    assert row["additional_properties"] == {"clientId": None, "new": {"a": [1]}}
    assert "client_id" not in row and "sample_id" not in row


def test_a_client_id_that_is_no_uuid_lands_as_null_and_stays_readable(steps):
    row = landed(steps, {"clientId": "me"})
    assert "client_id" not in row and "sample_id" not in row
    assert row["additional_properties"] == {"clientId": "me"}


@pytest.mark.parametrize(
    "document, expected",
    [
        ({"os": "WindowsNT"}, "Windows"),
        ({"os": "BeOS"}, "Other"),
        ({"os": ""}, "Other"),
        ({"client_info": {"os": "iPadOS"}}, "iOS"),
        ({"environment": {"system": {"os": {"name": "GNU/Linux"}}}}, "Linux"),
        ({}, None),
        ({"client_info": {"os": None}}, None),
        ({"client_info": {"os": 7}}, None),
    ],
)
def test_operating_systems_have_one_name_a_family_and_null_where_nothing_is_said(steps, document, expected):
    row = landed(steps, document)
    assert row.get("normalized_os") == expected
    assert row.get("os") == document.get("os"), "what was sent stays as it was sent"


@pytest.mark.parametrize(
    "attribute, body, expected",
    [
        ("de", "FR", "DE"),
        (None, "fr", "FR"),
        ("??", "FR", None),
        ("DEU", None, None),
        (None, None, None),
        (None, 7, None),
    ],
)
def test_the_country_is_the_servers_else_the_documents_in_two_letters(steps, attribute, body, expected):
    attributes = {} if attribute is None else {"geo_country": attribute}
    row = landed(steps, {"country": body} if body is not None else {}, **attributes)
    assert row.get("normalized_country_code") == expected


def test_metadata_is_what_the_server_added_and_never_an_address(steps):
    row = landed(
        steps,
        {},
        **{"geo_country": "DE", "geo_subdivision1": "BE", "geo_city": "Berlin", "date": "today", "x_debug_id": "d"},
        **{"x_source_tags": "automation", "user_agent": "agent", "remote_addr": "192.0.2.7", "other": "no"},
    )
    assert row["metadata"] == {
        "geo": {"country": "DE", "subdivision1": "BE", "city": "Berlin"},
        "header": {"date": "today", "x_debug_id": "d", "x_source_tags": "automation"},
        "user_agent": "agent",
        "uri": URI,
    }
    assert "192.0.2.7" not in orjson.dumps(row).decode()


def test_gzip_is_known_by_its_bytes(steps):
    assert landed(steps, gzip.compress(b'{"count": 3}'))["count"] == 3


@given(
    parts=st.lists(st.binary(max_size=50) | st.binary(min_size=1, max_size=9).map(lambda b: b * 5000), max_size=5),
    padding=st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
@example(parts=[b"{}", b""], padding=[0, 0, 0, 0, 0])
@example(parts=[b"a" * 5_000_000, b"b" * 5_000_000], padding=[0, 600, 0, 0, 0])
def test_the_members_of_a_gzip_file_are_one_text(parts, padding):
    """RFC 1952 knows no other structure than members; zeros after one are how gzip itself pads files."""
    members = [zipped(part) + b"\0" * zeros for part, zeros in zip(parts, padding, strict=False)]
    assert decompress(b"".join(members)) == b"".join(parts)


@given(
    parts=st.lists(st.binary(max_size=50), min_size=1, max_size=4),
    cut=st.integers(1, 17),
)
def test_a_member_that_ends_early_is_an_error(parts, cut):
    with pytest.raises(Rejected, match=r"gzip.* ends early") as error:
        decompress(b"".join(map(zipped, parts))[:-cut])
    assert error.value.step == "decompress"


def test_the_limit_is_one_for_all_members_together():
    half = zipped(b" " * (MAX_DOCUMENT_BYTES // 2))
    assert len(decompress(half * 2 + zipped(b"") * 2)) == MAX_DOCUMENT_BYTES
    for one_more in (half * 2 + zipped(b" "), zipped(b" ") + half * 2, half + zipped(b" ") + half):
        with pytest.raises(Rejected, match="more than 16,000,000 bytes when decompressed"):
            decompress(one_more)


def test_what_follows_a_gzip_stream_is_counted_in_its_error(steps):
    error = refused(steps, zipped(b"{}") + zipped(b"") + b"\0\0more")
    assert error["error_message"] == "4 bytes follow the end of the gzip stream"


def test_a_document_in_several_members_lands(steps):
    text = orjson.dumps({"count": 3, "any": "é" * 1000})
    for cuts in ([0, 7], [0, 0, 500], [0, 1, 2, len(text)]):
        parts = [text[a:b] for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
        assert landed(steps, b"".join(map(zipped, parts)))["any"] == "é" * 1000


def test_without_a_timestamp_the_publish_time_stands_in(steps):
    row = steps.row(Message(b"{}", {"uri": URI}, "1", datetime(2026, 11, 20, 1, 2, 3, 4, UTC)), NOW)
    assert row.submission_timestamp == orjson.loads(row.line)["submission_timestamp"] == "2026-11-20T01:02:03.000004Z"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2026-11-21T23:59:59.999999999Z", "2026-11-21T23:59:59.999999Z"),
        ("2026-11-21t00:00:00z", "2026-11-21T00:00:00Z"),
        ("2026-11-21T00:30:00+01:00", "2026-11-20T23:30:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2026-11-20t23:59:60z", "2026-11-21T00:00:00Z"),
        ("2026-11-20T15:59:60-08:00", "2026-11-21T00:00:00Z"),
        ("2026-11-21T05:44:60.999999999+05:45", "2026-11-21T00:00:00Z"),
        ("2026-11-20T23:59:60.5Z", "2026-11-21T00:00:00Z"),
        ("2026-11-20T23:59:60-00:00", "2026-11-21T00:00:00Z"),
    ],
)
def test_timestamps_are_written_in_utc(steps, text, expected):
    row = steps.row(message({}, f"/submit/my-app/kept/1/{ID}", submission_timestamp=text), NOW)
    assert (row.error_type, orjson.loads(row.line)["submission_timestamp"]) == (None, expected)


@given(
    day=st.dates(date(1960, 1, 1), date(2159, 12, 30)),
    offset=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    fraction=st.just("") | st.integers(0, 10**9 - 1).map(lambda n: f".{n:09}"),
)
def test_a_leap_second_is_midnight_wherever_its_clock_stands(day, offset, fraction):
    last = datetime.combine(day, time(23, 59), UTC).astimezone(timezone(timedelta(minutes=offset)))
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{last:%Y-%m-%dT%H:%M}:60{fraction}{sign}{minutes // 60:02}:{minutes % 60:02}"
    assert timestamp(text.zfill(len("2026-"))) == f"{day + timedelta(days=1)}T00:00:00Z"


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-21", "2026-11-21 12:00:00 UTC", "2026-11-21T12:00:00", "20261121T120000Z",
     "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
     "1960-01-01T00:00:00+14:00", "2160-01-01T00:00:00Z", "2026-11-21T12:00:60Z", "٢٠٢٦-11-21T12:00:00Z",
     "2026-11-21T23:58:60Z", "2026-11-21T23:59:61Z", "2026-11-21T23:59:60", "2026-11-21T23:59:60+01:00",
     "2159-12-31T23:59:60Z", "9999-12-31T23:59:60Z", "0001-01-01T00:00:60+14:00", "0000-12-31T23:59:60Z",
     "2026-02-29T23:59:60Z"],
)  # fmt: skip
def test_a_timestamp_that_is_none_is_an_error_on_the_day_of_publishing(steps, text):
    error = refused(steps, {}, submission_timestamp=text)
    assert error["error_type"] == "normalise"
    assert error["submission_timestamp"] == "2026-11-22T12:00:00Z"
    assert {"key": "submission_timestamp", "value": text} in error["attributes"]


def zipped(data: bytes) -> bytes:
    """Without the time, which would be in the test's name: two processes must collect the same tests."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    "data, step",
    [
        (b"", "parse"),
        (b"{", "parse"),
        (b"[]", "parse"),
        (b"7", "parse"),
        (b"null", "parse"),
        (b'{"a": NaN}', "parse"),
        (b'{"a": "\\ud800"}', "parse"),
        (b'{"a": "\xe4"}', "parse"),
        (b'{"a": 1e999}', "parse"),
        (b'{"a": 18446744073709551617}', "parse"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "parse"),
        (b'{"any":' + b"[" * 500 + b"]" * 500 + b"}", "shape"),
        (b'{"count": "2"}', "schema"),
        (b'{"count": 2.5}', "schema"),
        (b'{"count": null}', "schema"),
        (b'{"count": 9223372036854775808}', "shape"),
        (b"\x1f\x8b not gzip", "decompress"),
        (zipped(b"{}")[:-3], "decompress"),
        (zipped(b"{}") + b"more", "decompress"),
        (zipped(b'{"count": ') + zipped(b"2}")[:-3], "decompress"),
        (zipped(b"{}") + zipped(b"")[:4], "decompress"),
        (zipped(b"{}") + b"\0\0more", "decompress"),
        (zipped(b"{}") + b"\0" * 9 + b"\x1f", "decompress"),
        (zipped(b"{}") + b"\x1f\x8b not gzip", "decompress"),
        (zipped(b"{}") * 2, "parse"),
        (zipped(b"") * 3, "parse"),
        (zipped(b""), "parse"),
        (zipped(b"["), "parse"),
        (zipped(b" " * (MAX_DOCUMENT_BYTES + 1)), "decompress"),
        (zipped(b" " * (MAX_DOCUMENT_BYTES // 2)) * 3, "decompress"),
    ],
)
def test_a_bad_document_is_refused_by_its_step_with_its_bytes(steps, data, step):
    addresses = {"remote_addr": "192.0.2.7", "X-Forwarded-For": "192.0.2.8", "forwarded": "for=192.0.2.10"}
    error = refused(steps, data, **addresses)
    assert error["error_type"] == step
    assert base64.b64decode(error["payload"]) == data
    assert error["table"] == "my_app_errors.pings"
    assert [error[f"document_{name}"] for name in ("namespace", "type", "version", "id")] == [
        "my-app",
        "some.thing",
        "1",
        ID,
    ]
    assert error["submission_timestamp"] == "2026-11-21T12:00:00Z"
    assert [a["key"] for a in error["attributes"]] == ["submission_timestamp", "uri"]


def test_a_gzip_bomb_is_refused_in_little_memory(steps):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(b"\0" * 10**7) for _ in range(60)] + [packer.flush()])
    assert refused(steps, bomb)["error_type"] == "decompress"


def test_a_document_whose_row_is_too_large_is_refused(steps):
    error = refused(steps, {"any": "x" * MAX_DOCUMENT_BYTES})
    assert error["error_type"] == "shape" and "bytes" in error["error_message"]


@pytest.mark.parametrize(
    "uri",
    [None, "", "/", "/submit", "/submit/", "/submit//", "/submit?/my-app/some.thing/1", "/submit/?my-app",
     f"/submit//some.thing/1/{ID}", f"/other/my-app/some.thing/1/{ID}", URI[1:], f"//submit/{URI[8:]}", URI.upper()],
)  # fmt: skip
def test_a_uri_that_names_no_namespace_goes_to_the_unknown(steps, uri):
    error = refused(steps, {}, uri=uri)
    assert (error["error_type"], error["table"]) == ("uri", "unknown_errors.pings")
    assert error["document_namespace"] is None


@pytest.mark.parametrize(
    "uri, names",
    [
        ("/submit/my-app", ["my-app", None, None, None]),
        ("/submit/my-app?some.thing/1", ["my-app", None, None, None]),
        ("/submit/my-app/", ["my-app", None, None, None]),
        ("/submit/my-app/some.thing", ["my-app", "some.thing", None, None]),
        ("/submit/my-app/some.thing/", ["my-app", "some.thing", None, None]),
        ("/submit/my-app/some.thing/1", ["my-app", "some.thing", "1", None]),
        ("/submit/my-app/some.thing/1/", ["my-app", "some.thing", "1", None]),
        ("/submit/my-app/some.thing/1//", ["my-app", "some.thing", "1", None]),
        (f"/submit/my-app/some.thing/1//{ID}", ["my-app", "some.thing", "1", None]),
        (f"/submit/my-app/some.thing/1?{ID}", ["my-app", "some.thing", "1", None]),
        (f"/submit/my-app/some.thing//{ID}", ["my-app", "some.thing", None, ID]),
        (f"/submit/my-app//1/{ID}", ["my-app", None, "1", ID]),
        (f"/submit/my-app/some.thing/{ID}", ["my-app", "some.thing", ID, None]),
        ("/submit/my-app/some.thing/1/no-uuid", ["my-app", "some.thing", "1", "no-uuid"]),
        ("/submit/my-app/never-seen/1/", ["my-app", "never-seen", "1", None]),
    ],
)
def test_a_uri_that_lacks_a_part_is_its_namespaces_error_and_says_what_it_says(steps, uri, names):
    error = refused(steps, {}, uri=uri)
    assert (error["error_type"], error["table"]) == ("uri", "my_app_errors.pings")
    assert [error[f"document_{part}"] for part in ("namespace", "type", "version", "id")] == names


@pytest.mark.parametrize("uri", [URI + "/", URI + "?", URI + "/a//b/c/d?e", URI + "?x=/submit/your-app"])
def test_what_follows_the_document_id_says_nothing(steps, uri):
    assert landed(steps, {}, uri=uri)["document_id"] == ID


PART = st.text(st.sampled_from("a-._%/?é"), max_size=3) | st.sampled_from(["my-app", "my_app", "your-app", "1", ID])


@given(st.lists(PART, max_size=6).map(lambda parts: "/".join(["/submit", *parts])))
def test_an_error_goes_where_its_namespace_is(steps, uri):
    row = steps.row(message({}, uri), NOW)
    path = uri.split("?")[0].split("/")
    ours = len(path) > 2 and schemas.clean(path[2]) == "my_app"
    assert row.table == ("my_app_errors.pings" if ours else "unknown_errors.pings")


@pytest.mark.parametrize(
    "document_id", ["1", ID[:-1], ID + "0", ID.replace("-", ""), ID.replace("8", "g"), "{" + ID[1:]]
)
def test_a_document_id_that_is_no_uuid_is_refused_and_told(steps, document_id):
    error = refused(steps, {}, uri=f"/submit/my-app/some.thing/1/{document_id}")
    assert (error["error_type"], error["table"], error["document_id"]) == ("uri", "my_app_errors.pings", document_id)


@pytest.mark.parametrize(
    "name, table",
    [
        ("my-app/other/1", "my_app_errors.pings"),
        ("my-app/some.thing/2", "my_app_errors.pings"),
        ("my_app/some_thing/1", "my_app_errors.pings"),
        ("your-app/some.thing/1", "unknown_errors.pings"),
        ("MY-APP/some.thing/1", "unknown_errors.pings"),
        ("my%2Dapp/some.thing/1", "unknown_errors.pings"),
        ("my-app/SOME.THING/1", "my_app_errors.pings"),
        ("my-app/some%2Ething/1", "my_app_errors.pings"),
        ("monitoring`; DROP/x/1", "unknown_errors.pings"),
    ],
)
def test_a_type_without_a_schema_can_be_told_from_a_bad_document(steps, name, table):
    error = refused(steps, {}, uri=f"/submit/{name}/{ID}")
    assert (error["error_type"], error["exception_class"], error["table"]) == ("schema", "UnknownType", table)
    assert error["document_namespace"] == name.split("/")[0]
    assert refused(steps, {"count": "2"})["exception_class"] == "ValidationError"


def test_what_the_schema_refuses_is_told_with_its_place(steps):
    assert refused(steps, {"application": {"name": 7}})["error_message"].startswith(
        "application.name: 7 is not of type"
    )


def test_a_day_that_the_table_has_dropped_is_refused_to_the_minute(steps):
    last_kept = landed(steps, {}, submission_timestamp="2026-10-24T00:00:00Z")
    assert last_kept["submission_timestamp"] == "2026-10-24T00:00:00Z"
    # The partition of 23 October ends 30 days after the day began.
    row = steps.row(
        message({}, submission_timestamp="2026-10-23T23:59:59Z"), datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
    )
    assert row.error_type is None
    error = refused(steps, {}, submission_timestamp="2026-10-23T23:59:59Z")
    assert error["error_type"] == "expired" and "30 days" in error["error_message"]
    assert error["submission_timestamp"] == "2026-10-23T23:59:59Z"
    row = steps.row(message({}, f"/submit/my-app/kept/1/{ID}", submission_timestamp="2013-01-01T00:00:00Z"), NOW)
    assert row.table == "my_app_live.kept_v1"


def test_the_steps_have_an_order(steps):
    """Of two faults, the earlier step's is told."""
    late = {"submission_timestamp": "2013-01-01T00:00:00Z"}
    assert refused(steps, b"\x1f\x8b", uri="/bad")["error_type"] == "decompress"
    assert refused(steps, b"{", uri="/bad")["error_type"] == "parse"
    assert refused(steps, {"count": ""}, uri="/bad")["error_type"] == "uri"
    assert refused(steps, {"count": ""}, submission_timestamp="bad")["error_type"] == "schema"
    assert refused(steps, {"count": 2**63}, submission_timestamp="bad")["error_type"] == "normalise"
    assert refused(steps, {"count": 2**63}, **late)["error_type"] == "shape"
    assert refused(steps, {}, **late)["error_type"] == "expired"


@given(
    data=st.binary()
    | VALUES.map(orjson.dumps)
    | st.binary().map(gzip.compress)
    | VALUES.map(lambda v: orjson.dumps({"any": v})),
    uri=st.none() | TEXT | st.just(URI) | TEXT.map(lambda t: f"/submit/my-app/{t}/1/{ID}"),
    attributes=st.dictionaries(TEXT | st.just("submission_timestamp"), TEXT, max_size=3),
)
def test_any_message_becomes_a_row_of_a_known_table(steps, data, uri, attributes):
    row = steps.row(message(data, uri, **attributes), NOW)
    assert row.table in {"my_app_live.some_thing_v1", "my_app_errors.pings", "unknown_errors.pings"}
    line = orjson.loads(row.line)
    if row.error_type:
        assert base64.b64decode(line["payload"]) == data
    columns = tables.from_file("x", "pings", "errors").columns if row.error_type else row.document_type.live.columns
    assert line.keys() <= {column.name for column in columns}
