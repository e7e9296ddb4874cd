"""Messages to Pub/Sub, from a file and from an iterable."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.landing.pull import Leases, Subscription, pull_batch
from telemetry_warehouse.publishing import BadLine, _message, publish, publish_file, read_file
from tests.landing.conftest import with_own_topic


@pytest.fixture
def settings(warehouse_home, tmp_path):
    return with_own_topic(warehouse_home, tmp_path)


def received(settings) -> list[tuple[bytes, dict[str, str]]]:
    subscription = Subscription(settings)
    with Leases(subscription) as leases:
        batch = pull_batch(subscription, leases, datetime.now(UTC) + timedelta(days=1), Event())
        subscription.acknowledge(m.ack_id for m in batch.messages)
        leases.remove(batch.messages)
    return [(m.data, m.attributes) for m in batch.messages]


def lines(*entries: object) -> bytes:
    return b"".join(entry if isinstance(entry, bytes) else orjson.dumps(entry) + b"\n" for entry in entries)


def test_a_file_of_objects_and_base64_is_published_in_order(settings, tmp_path):
    path = tmp_path / "messages.ndjson"
    raw = b"\x1f\x8b\x00\xff"
    path.write_bytes(
        lines(
            {"attributes": {"uri": "/a", "é": "ü"}, "data": {"b": 1, "a": [None]}},
            b"\n",
            {"data": base64.b64encode(raw).decode()},
            b'{"data": "", "attributes": {"a": ""}}',
        )
    )
    assert publish_file(settings, path) == 3
    assert received(settings) == [(b'{"b":1,"a":[null]}', {"uri": "/a", "é": "ü"}), (raw, {}), (b"", {"a": ""})]


ODD_TEXTS = [
    '{"n":1,"x":123456789012345678901234}',
    '{"x":0.12345678901234567890123, "y": 1e-400, "z": -0, "one": 1.0, "E": 1E+2}',
    '{"n":1,"n":2}',
    '{ "\\u0065mail" :\t"\\u00e9 \\/ \\ud800 é 𝔘\u2028" , "a" : [ ] }',
    '{"long":' + "7" * 5000 + "}",
    '{"deep":' + "[" * 2000 + "]" * 2000 + "}",
    '{"data": {"attributes": {}}, "attributes": {"data": "}"}}',
    "{}",
]


def test_an_object_is_sent_byte_for_byte(settings, tmp_path):
    path = tmp_path / "messages.ndjson"
    path.write_text("".join(f'{{"attributes": {{"a": "{{}}"}}, "data" : {text} }}\r\n' for text in ODD_TEXTS))
    assert publish_file(settings, path) == len(ODD_TEXTS)
    assert received(settings) == [(text.encode(), {"a": "{}"}) for text in ODD_TEXTS]


SPACES = st.text(" \t\r", max_size=2)
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32, exclude_characters='"\\'), max_size=3)
ESCAPES = st.sampled_from([r"\n", r"\/", r"\"", r"\\", r"\u0065", r"\uD83D\uDE00", r"\ud800", r"\u0000"])
STRING_TEXTS = st.lists(CHARACTERS | ESCAPES, max_size=3).map(lambda parts: f'"{"".join(parts)}"')
NUMBER_TEXTS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


def containers(inner):
    spaced = st.tuples(SPACES, inner, SPACES).map("".join)
    member = st.tuples(SPACES, STRING_TEXTS, SPACES, st.just(":"), spaced).map("".join)
    return st.lists(spaced, max_size=3).map(lambda v: f"[{','.join(v)}]") | objects(member)


def objects(member):
    return st.lists(member, max_size=3).map(lambda members: f"{{{','.join(members)}}}")


JSON_TEXTS = st.recursive(st.sampled_from(["null", "true", "false"]) | NUMBER_TEXTS | STRING_TEXTS, containers)
OBJECT_TEXTS = objects(st.tuples(STRING_TEXTS, st.just(":"), JSON_TEXTS).map("".join))


@given(OBJECT_TEXTS, SPACES, st.booleans())
def test_whatever_an_object_is_its_bytes_are_kept(text, space, first):
    members = [f'"data"{space}:{space}{text}', '"attributes":{"data":"{}"}']
    line = f"{space}{{{','.join(members if first else members[::-1])}{space}}}"
    assert _message(line.encode()) == (text.encode(), {"data": "{}"})


@pytest.mark.parametrize(
    "line, why",
    [
        (b"{", "not JSON"),
        (b"7", "not an object"),
        (b'{"attributes": {}}', "not an object with"),
        (b'{"data": {}, "more": 1}', "not an object with"),
        (b'{"data": {}, "attributes": {"a": 1}}', '"attributes" is not an object of strings'),
        (b'{"data": {}, "attributes": []}', '"attributes" is not an object of strings'),
        (b'{"data": "not base64!"}', "neither an object nor base64"),
        (b'{"data": [1]}', "neither an object nor base64"),
        (b'{"data": null}', "neither an object nor base64"),
        (b'{"data": ""}', "no data and no attributes"),
        (b'{"data": {}, "data": {}}', "the key 'data' stands twice"),
        (b'{"attributes": {}, "data": {}, "\\u0061ttributes": {}}', "the key 'attributes' stands twice"),
        (b'{"data": {}, "attributes": {"a": "1", "a": "1"}}', "the attribute 'a' stands twice"),
        (b'{"data": {"a": NaN}}', "NaN is not JSON"),
        (b'{"data": {"a": 01}}', "not JSON"),
        (b'{"data": {"a": "\xff"}}', "not JSON"),
        (b'{"data": {}} {}', "not JSON"),
        (b'{"data": ' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"}", "nested too deep"),
        (b'{"data": {}, "attributes": {"a": "\\ud800"}}', "half a surrogate pair"),
        (b'{"data": {}, "attributes": {"": "1"}}', "an attribute without a name"),
        (b'{"data": {}, "attributes": {"google": "1"}}', "'google' begins with 'goog'"),
        (lines({"data": {}, "attributes": {"k" * 257: ""}}).strip(), "a name of 257 bytes"),
        (lines({"data": {}, "attributes": {"uri": "é" * 513}}).strip(), "'uri' has 1,026 bytes, and .* takes 1,024"),
        (lines({"data": {}, "attributes": {str(n): "" for n in range(101)}}).strip(), "101 attributes"),
        (b'{"data": {"a": "' + b"x" * 10_000_000 + b'"}}', "bytes of data, and Pub/Sub takes 10,000,000"),
        (lines({"data": {"a": "x" * 9_999_000}, "attributes": {"a": "x" * 1000}}).strip(), "not fit into a request"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_line_is_named_before_anything_is_sent(settings, tmp_path, line, why):
    path = tmp_path / "messages.ndjson"
    path.write_bytes(lines(*[{"data": {}}] * 2000, b"\n", line + b"\n"))
    with pytest.raises(BadLine, match=f"messages.ndjson, line 2002: .*{why}"):
        publish_file(settings, path)
    assert received(settings) == []


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(WarehouseError, match="cannot read .*nowhere"):
        list(read_file(tmp_path / "nowhere"))


def test_many_and_large_messages_go_in_requests_that_pubsub_takes(settings):
    def messages() -> Iterator[tuple[bytes, dict[str, str]]]:
        yield from ((b"%d" % n, {"n": str(n)}) for n in range(2500))
        yield from ((b"x" * 4_000_000, {}) for _ in range(5))

    said: list[str] = []
    assert publish(settings, messages(), said.append) == 2505
    found = received(settings)
    assert len(found) == 2505
    assert {data for data, attributes in found if attributes} == {b"%d" % n for n in range(2500)}
    assert said == []


def test_the_largest_messages_are_taken(settings, tmp_path):
    attributes = {f"{n:03}" + "k" * 253: "v" * 1024 for n in range(100)}
    path = tmp_path / "messages.ndjson"
    path.write_bytes(lines({"data": {}, "attributes": attributes}, {"data": {"a": "x" * 9_990_000}}))
    assert publish_file(settings, path) == 2
    assert {len(data) for data, _ in received(settings)} == {2, 9_990_008}


def test_a_message_that_pubsub_refuses_is_named(settings):
    with pytest.raises(WarehouseError, match="message 2: the attribute 'a' has 1,025 bytes"):
        publish(settings, [(b"{}", {}), (b"{}", {"a": "x" * 1025})])


def test_progress_is_said(settings):
    said: list[str] = []
    publish(settings, ((b"{}", {}) for _ in range(41_000)), said.append)
    assert said == ["published 20,000", "published 40,000"]


def test_nothing_is_published_for_nothing(settings):
    assert publish(settings, []) == 0


def test_a_missing_topic_is_one_clear_line(settings):
    settings.publisher_client().delete_topic(request={"topic": f"projects/local/topics/{settings.topic}"})
    with pytest.raises(WarehouseError, match=f"Pub/Sub has no topic projects/local/topics/{settings.topic}"):
        publish(settings, [(b"{}", {})])
