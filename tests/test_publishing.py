"""Messages to Pub/Sub, from a file and from an iterable."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event

import orjson
import pytest

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.landing.pull import Leases, Subscription, pull_batch
from telemetry_warehouse.publishing import BadLine, publish, publish_file, read_file
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
    ],
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
