"""Messages that are kept land again: error rows once their schema is there, and whole days from the raw archive."""

import base64
import gzip
import uuid
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest

from telemetry_warehouse import lineage, night, stages, summary, tables
from telemetry_warehouse.landing import archive, expire_errors, land, replay_errors, replay_raw
from telemetry_warehouse.landing.document import Row
from telemetry_warehouse.landing.lander import Lander
from telemetry_warehouse.landing.load import load
from telemetry_warehouse.landing.message import Message, Rejected
from telemetry_warehouse.publishing import publish
from tests.landing.test_land import DAY, SCHEMA, errors, live, make_type, messages
from tests.support import checksum
from tests.test_schemas import write


def send(warehouse, document_type, documents, **attributes):
    sent = list(messages(document_type, documents, **attributes))
    publish(warehouse.settings, sent)
    return sent, land(warehouse, until_empty=True)


def dedup(document_type) -> lineage.Step:
    return lineage.Step(document_type.stable.id, "dedup", {"live": document_type.live.id}, 2, False, "code")


def test_pings_that_came_before_their_schema_land_once_it_is_there(warehouse):
    known = make_type(warehouse)
    unknown = known.name._replace(type="later")
    uris = [
        (data, attributes | {"uri": attributes["uri"].replace("/ping/", "/later/")})
        for data, attributes in messages(known, [{"n": 1}, {"n": 2, "extra": "é"}, b"{"])
    ]
    publish(warehouse.settings, uris)
    assert land(warehouse, until_empty=True).failed == 3
    assert replay_errors(warehouse, unknown).failed == {"schema": 2, "parse": 1}

    write(*warehouse.settings.schemas, str(unknown), SCHEMA, "live_days: null")
    replayed = replay_errors(warehouse, unknown, day=date.fromisoformat(DAY), step="schema")
    assert (replayed.read, replayed.landed.total(), replayed.days) == (2, 2, [date.fromisoformat(DAY)])
    table = f"{known.namespace}_live.later_v1"
    rows = warehouse.rows(
        f"SELECT document_id, n, submission_timestamp FROM {table} WHERE submission_timestamp >= '1970-01-01'"
        " ORDER BY n"
    )
    assert [row["n"] for row in rows] == [1, 2]
    assert [row["submission_timestamp"].isoformat() for row in rows] == [
        attributes["submission_timestamp"] for _, attributes in uris[:2]
    ]
    assert len(errors(warehouse, known)) == 3, "what still fails is not written again"


def test_what_was_refused_as_no_gzip_or_no_timestamp_lands_on_its_day(warehouse):
    """Error rows of former versions, which took neither a second member nor a leap second."""
    document_type = make_type(warehouse)
    refused = [
        ("decompress", gzip.compress(b'{"n": ') + gzip.compress(b"") + gzip.compress(b"1}"), f"{DAY}T01:00:00Z"),
        ("normalise", b'{"n": 2}', f"{DAY}T23:59:60Z"),
        ("decompress", gzip.compress(b'{"n": 3}') + b"more", f"{DAY}T02:00:00Z"),
    ]
    steps, now = Lander(warehouse).steps, datetime.now(UTC)
    rows = []
    for step, data, received in refused:
        uri = f"/submit/{document_type.name}/{uuid.uuid4()}"
        message = Message(data, {"uri": uri, "submission_timestamp": received}, "1", now)
        published = f"{DAY}T12:00:00Z" if step == "normalise" else received
        rows.append(steps.error(message, published, Rejected(step, "as it was"), now, data, None))
    table = tables.from_file(f"{document_type.namespace}_errors", "pings", "errors")
    warehouse.ensure(table)
    load(warehouse, table, [row.line for row in rows], uuid.uuid4().hex)

    for _ in range(2):
        replayed = replay_errors(warehouse, document_type.name)
        assert (replayed.landed.total(), replayed.failed) == (2, {"decompress": 1})
        assert replayed.days == [date.fromisoformat(DAY), date.fromisoformat(DAY) + timedelta(days=1)]
    found = live(warehouse, document_type, "n, submission_timestamp")
    assert [(row["n"], f"{row['submission_timestamp']:%Y-%m-%dT%H:%M:%S}") for row in found] == [
        (1, f"{DAY}T01:00:00"), (1, f"{DAY}T01:00:00"), (2, "2026-11-21T00:00:00"), (2, "2026-11-21T00:00:00"),
    ]  # fmt: skip


def test_a_replay_that_is_run_twice_is_once_in_stable(warehouse):
    document_type = make_type(warehouse)
    day = datetime.now(UTC).date() - timedelta(days=2)
    send(warehouse, document_type, [{"n": 1}, {"n": "x"}], day=str(day))
    step = dedup(document_type)
    stages.run(warehouse, step, day, day, "first", print)
    widened = SCHEMA | {"properties": SCHEMA["properties"] | {"n": {"type": ["integer", "string"]}}}
    name = str(document_type.name)
    write(*warehouse.settings.schemas, name, widened, "live_days: null")
    assert replay_errors(warehouse, document_type.name).failed == {"load": 1}, "an INT64 column cannot become JSON"

    write(*warehouse.settings.schemas, name, {"type": "object", "properties": {}}, "live_days: null")
    for _ in range(2):
        assert replay_errors(warehouse, document_type.name).landed.total() == 1
    assert len(live(warehouse, document_type)) == 3
    stages.run(warehouse, step, day, day, "again", print)
    found = warehouse.rows(
        f"SELECT n, additional_properties FROM {document_type.stable.id} WHERE DATE(submission_timestamp) = '{day}'"
        " ORDER BY submission_timestamp"
    )
    assert [(row["n"], row["additional_properties"]) for row in found] == [(1, None), (None, {"n": "x"})]


def test_a_day_is_landed_again_from_the_archive_to_the_same_stable_rows(warehouse):
    document_type = make_type(warehouse)
    day = date.fromisoformat(DAY)
    documents = [{"n": n, "text": "é" * n} for n in range(300)]
    send(warehouse, document_type, [*documents, b"{", b"\xff"], remote_addr="203.0.113.7", geo_country="SE")
    send(warehouse, document_type, documents[:5], day="2026-11-19")
    step = dedup(document_type)
    condition = f"DATE(submission_timestamp) = '{DAY}'"
    stages.run(warehouse, step, day, day, "first", print)
    before = checksum(warehouse, document_type.stable.id, condition)
    assert before[0] == 300

    assert replay_raw(warehouse, day).landed[document_type.live.id, DAY] == 300
    stages.run(warehouse, step, day, day, "beside what live has", print)
    assert checksum(warehouse, document_type.stable.id, condition) == before

    warehouse.query(f"DELETE FROM {document_type.live.id} WHERE {condition}")
    replayed = replay_raw(warehouse, day)
    assert replayed.landed[document_type.live.id, DAY] == 300 and replayed.days == [day]
    stages.run(warehouse, step, day, day, "live lost it", print)
    assert checksum(warehouse, document_type.stable.id, condition) == before
    assert len(errors(warehouse, document_type)) == 2


@pytest.mark.parametrize("data", [b"{}", b"\xff\x00", '{"a": "\u2028é\\n"}'.encode(), b"\x1f\x8bgzip", b""])
def test_the_archive_gives_back_the_message_but_its_addresses(data):
    now = datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=UTC)
    addresses = {"remote_addr": "203.0.113.7", "X-Forwarded-For": "203.0.113.7", "forwarded": "for=203.0.113.7"}
    message = Message(data, {"uri": "/x"} | addresses, "7", now)
    row = Row("t", None, None, "2026-11-20T00:00:00Z", b"", data)
    [line] = archive.rows([(row, message)], "cycle", now)
    [back] = archive.messages(base64.b64decode(orjson.loads(line)["payload"]))
    assert back == Message(data, {"uri": "/x"}, "7", now)


def test_error_rows_leave_after_the_days_of_the_settings(warehouse):
    document_type = make_type(warehouse)
    send(warehouse, document_type, [b"{", b"["], day="1999-01-01")
    expire_errors(warehouse)
    table = f"{document_type.namespace}_errors.pings"
    where = "submission_timestamp >= TIMESTAMP '1960-01-01'"
    [row] = warehouse.rows(f"SELECT COUNT(*) AS n FROM {table} WHERE {where}")
    assert row["n"] == 2, "a message may claim a day long past and stays all the same"
    warehouse.query(f"UPDATE {table} SET landed_at = TIMESTAMP_SUB(landed_at, INTERVAL 31 DAY) WHERE {where}")
    expire_errors(warehouse)
    [row] = warehouse.rows(f"SELECT COUNT(*) AS n FROM {table} WHERE {where}")
    assert row["n"] == 0


def test_a_day_is_stale_after_a_replay(warehouse, monkeypatch):
    document_type = make_type(warehouse)
    day = datetime.now(UTC).date() - timedelta(days=2)
    send(warehouse, document_type, [{"n": 1}], day=str(day))
    step = dedup(document_type)
    # This table as all that a night builds.
    monkeypatch.setattr(lineage, "load", lambda settings: lineage.Lineage([step]))
    stages.run(warehouse, step, day, day, "first", print)
    tomorrow = day + timedelta(days=1)
    assert night.stale_days(warehouse, tomorrow) == []
    replay_raw(warehouse, day)
    assert night.stale_days(warehouse, tomorrow) == [day]


def test_the_summary_adds_up_whatever_was_replayed(warehouse):
    def of_type() -> tuple:
        [row] = [row for row in summary.pings(warehouse) if row[0] == str(document_type.name)]
        _, received, replayed, rejected, landed, dropped, kept = row
        assert received + replayed == rejected + landed and landed == dropped + kept and min(row[1:]) >= 0
        return row[1:]

    document_type = make_type(warehouse, SCHEMA | {"required": ["n"]})
    day = datetime.now(UTC).date() - timedelta(days=2)
    send(warehouse, document_type, [{"n": 1}, {"n": 2}, {}, {}, b"{"], day=str(day))
    stages.run(warehouse, dedup(document_type), day, day, "first", print)
    assert of_type() == (5, 0, 3, 2, 0, 2)

    write(*warehouse.settings.schemas, str(document_type.name), SCHEMA, "live_days: null")
    assert replay_errors(warehouse, document_type.name).landed.total() == 2
    stages.run(warehouse, dedup(document_type), day, day, "errors", print)
    assert of_type() == (5, 2, 3, 4, 0, 4)

    assert replay_raw(warehouse, day).landed[document_type.live.id, str(day)] == 4
    stages.run(warehouse, dedup(document_type), day, day, "raw", print)
    assert of_type() == (5, 6, 3, 8, 4, 4)
