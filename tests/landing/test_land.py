"""Landing on real servers: what is loaded, acknowledged, written down, and what comes again when something dies."""

import dataclasses
import gzip
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import bigquery
from google.pubsub_v1.types import Subscription as SubscriptionType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry_warehouse import schemas
from telemetry_warehouse.landing import document as steps_of
from telemetry_warehouse.landing import land, lander, pull, replay_errors
from telemetry_warehouse.landing.lander import Lander, Totals
from telemetry_warehouse.landing.load import load
from telemetry_warehouse.landing.pull import Leases, Subscription, pull_batch
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.tables import Table
from tests.conftest import environment_of
from tests.landing.json_values import allowed
from tests.landing.rebuild import document_of, same_json
from tests.test_schemas import write

DAY = "2026-11-20"
SCHEMA = {"type": "object", "properties": {"clientId": {"type": "string"}, "n": {"type": "integer"}}}


def make_type(warehouse, schema=SCHEMA, options="live_days: null") -> schemas.DocumentType:
    """A document type in a namespace of its own, as the settings' only one."""
    [directory] = warehouse.settings.schemas
    namespace = f"landing{uuid.uuid4().hex[:12]}"
    write(directory, f"{namespace}/ping/1", schema, options)
    return schemas.load([directory])[namespace, "ping", "1"]


def messages(document_type, documents, day=DAY, **attributes):
    """(data, attributes) of documents (objects, or bytes as they are), a second apart, each with a new id."""
    for second, document in enumerate(documents):
        moment = datetime.fromisoformat(f"{day}T00:00:00Z") + timedelta(seconds=second)
        data = document if isinstance(document, bytes) else orjson.dumps(document)
        yield (
            data,
            {"uri": f"/submit/{document_type.name}/{uuid.uuid4()}", "submission_timestamp": moment.isoformat()}
            | attributes,
        )


def live(warehouse, document_type, columns="*") -> list[dict]:
    return warehouse.rows(
        f"SELECT {columns} FROM {document_type.live.id} WHERE submission_timestamp >= '1970-01-01'"
        " ORDER BY submission_timestamp"
    )


def errors(warehouse, document_type) -> list[dict]:
    return warehouse.rows(
        f"SELECT * FROM {document_type.namespace}_errors.pings WHERE submission_timestamp >= '1970-01-01'"
        " ORDER BY submission_timestamp"
    )


def monitoring(warehouse) -> list[dict]:
    """What landers of this process wrote down."""
    name = Lander(warehouse).name
    return warehouse.rows(
        f"SELECT * FROM monitoring.landing WHERE landed_date >= '2026-01-01' AND lander = '{name}'"
        " ORDER BY started_at, submission_date"
    )


def waiting(warehouse) -> int:
    """How many messages a pull gets, given back at once."""
    subscription = Subscription(warehouse.settings)
    with Leases(subscription) as leases:
        return len(pull_batch(subscription, leases, datetime.now(UTC) + timedelta(days=1), threading.Event()).messages)


def comes_to_wait(warehouse, wanted: int) -> bool:
    """Whether so many messages wait, at the latest when every lease has ended."""
    give_up = time.monotonic() + 2 * pull.ACK_DEADLINE_SECONDS
    while (found := waiting(warehouse)) < wanted and time.monotonic() < give_up:
        pass
    return found == wanted


def test_pings_land_with_either_server(either_warehouse):
    warehouse = either_warehouse
    document_type = make_type(warehouse)
    good = [{"n": n, "extra": {"n": n}} for n in range(2500)]
    bad = [b"{", {"n": "x"}, gzip.compress(b"[]")]
    assert publish(warehouse.settings, messages(document_type, good + bad)) == 2503

    totals = land(warehouse, until_empty=True)

    assert (totals.received, totals.landed, totals.failed, totals.drained) == (2503, 2500, 3, True)
    rows = live(warehouse, document_type, "n, additional_properties")
    assert [row["n"] for row in rows] == list(range(2500))
    assert rows[7]["additional_properties"] == {"extra": {"n": 7}}
    assert [row["error_type"] for row in errors(warehouse, document_type)] == ["parse", "schema", "parse"]
    assert waiting(warehouse) == 0


INTEGERS = {"type": "object", "additionalProperties": {"type": "integer"}}
INNER = {
    "a": {"type": "integer"},
    "bC": {"type": ["string", "integer"]},
    "deep": {"properties": {"a": {"type": "string"}}},
}
ITEM = {"a": {"type": "number"}, "l": {"type": "array", "items": {"type": "string"}}}
HISTOGRAM = {"type": "object", "properties": {"sum": {"type": "integer"}, "values": INTEGERS}}
EVERYTHING = {
    "type": "object",
    "properties": {
        "whole": {"type": ["integer", "null"]},
        "real": {"type": "number"},
        "flag": {"type": ["boolean", "null"]},
        "text": {"type": ["string", "null"]},
        "any": {},
        "record": {"type": "object", "properties": INNER},
        "list": {"type": "array", "items": {"type": ["integer", "null"]}},
        "records": {"type": "array", "items": {"type": ["object", "null"], "properties": ITEM}},
        "map": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
        "histograms": {"type": "object", "additionalProperties": HISTOGRAM},
        "mapOfAny": {"type": "object", "additionalProperties": {"type": ["string", "integer", "array"], "items": {}}},
        "tables": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    },
}


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_warehouse_gives_back_the_documents_it_was_given(warehouse, data):
    document_type = make_type(warehouse, EVERYTHING)
    documents = data.draw(st.lists(allowed(EVERYTHING), min_size=20, max_size=40))
    totals = publish_and_land(warehouse, document_type, documents)
    assert totals.landed == len(documents)
    for row, document in zip(live(warehouse, document_type), documents, strict=True):
        assert same_json(document_of(document_type, row), document)


def publish_and_land(warehouse, document_type, documents, **options) -> Totals:
    publish(warehouse.settings, messages(document_type, documents))
    return land(warehouse, until_empty=True, **options)


def test_what_no_column_can_hold_is_an_error_row_and_the_largest_numbers_are_not(warehouse):
    document_type = make_type(warehouse)
    totals = publish_and_land(warehouse, document_type, [{"n": 2**63 - 1}, {"n": -(2**63)}, {"n": 2**63}, {"n": 5.0}])
    assert (totals.landed, totals.failed) == (3, 1)
    assert [row["n"] for row in live(warehouse, document_type, "n")] == [2**63 - 1, -(2**63), 5]
    assert [row["error_type"] for row in errors(warehouse, document_type)] == ["shape"]


def test_an_error_row_has_the_bytes_and_no_address(warehouse):
    document_type = make_type(warehouse)
    data = gzip.compress(b'{"n": "\x00"}') + b"\xff"
    publish(warehouse.settings, messages(document_type, [data], remote_addr="192.0.2.7", geo_city="Bonn"))
    land(warehouse, until_empty=True)
    [row] = errors(warehouse, document_type)
    assert row["payload"] == data
    assert [a["key"] for a in row["attributes"]] == ["geo_city", "submission_timestamp", "uri"]
    assert row["submission_timestamp"].isoformat() == f"{DAY}T00:00:00+00:00"
    assert row["document_namespace"] == document_type.namespace


def test_the_same_rules_hold_with_either_clock(warehouse):
    """A day that has expired by the clock given is refused, whatever the time is."""
    document_type = make_type(warehouse, options="live_days: 30")
    later = datetime.fromisoformat(f"{DAY}T12:00:00Z") + timedelta(days=30)
    totals = publish_and_land(warehouse, document_type, [{"n": 1}], clock=lambda: later)
    assert (totals.landed, totals.failed) == (0, 1)
    assert [row["error_type"] for row in errors(warehouse, document_type)] == ["expired"]


def test_monitoring_says_what_each_cycle_did_by_type_and_day(warehouse):
    document_type = make_type(warehouse)
    before = len(monitoring(warehouse))
    publish(warehouse.settings, messages(document_type, [{"n": 1}, {"n": 2}, b"{"]))
    publish(warehouse.settings, messages(document_type, [{"n": 3}], day="2026-11-21"))
    publish(
        warehouse.settings, [(b"{}", {"uri": "/submit/never/heard/1/of", "submission_timestamp": f"{DAY}T00:00:00Z"})]
    )
    began = datetime.now(UTC)
    land(warehouse, until_empty=True)
    rows = monitoring(warehouse)[before:]
    found = sorted(
        (r["document_type"] or "", str(r["submission_date"]), r["received"], r["landed"], r["failed"]) for r in rows
    )
    assert found == [("", DAY, 1, 0, 1), ("ping", DAY, 3, 2, 1), ("ping", "2026-11-21", 1, 1, 0)]
    assert len({row["cycle_id"] for row in rows}) == 1
    for row in rows:
        assert row["drained"] and row["landed_date"] == row["ended_at"].date()
        assert began <= row["started_at"] <= row["ended_at"]
        assert (
            0
            < row["max_lag_seconds"]
            - (row["ended_at"] - datetime.fromisoformat(f"{row['submission_date']}T00:00:00Z")).total_seconds()
            + 2
            < 4
        )
    assert sum(row["bytes"] for row in rows) == 7 + 7 + 1 + 7 + 2


def test_a_drain_that_finds_nothing_says_so_in_one_row(warehouse):
    before = len(monitoring(warehouse))
    began = datetime.now(UTC)
    assert land(warehouse, until_empty=True) == Totals(cycles=1, drained=True)
    [row] = monitoring(warehouse)[before:]
    assert (row["document_type"], row["submission_date"], row["received"], row["drained"]) == (None, None, 0, True)
    assert row["started_at"] >= began


def test_without_until_empty_one_batch_lands(warehouse, monkeypatch):
    monkeypatch.setattr(pull, "MAX_MESSAGES", 1100)
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(3000)]))
    first = land(warehouse, until_empty=False)
    assert 0 < first.landed < 3000 and not first.drained
    assert len(live(warehouse, document_type, "n")) == first.landed
    rest = land(warehouse, until_empty=True)
    assert first.landed + rest.landed == 3000 and rest.cycles > 1


def test_a_drain_ends_while_messages_keep_coming(warehouse):
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": 0}]))
    stop = threading.Event()

    def keep_publishing():
        while not stop.wait(0.05):
            publish(warehouse.settings, messages(document_type, [{"n": 1}] * 20))

    publisher = threading.Thread(target=keep_publishing)
    publisher.start()
    try:
        totals = land(warehouse, until_empty=True)
    finally:
        stop.set()
        publisher.join()
    assert totals.drained and totals.landed >= 1
    assert 0 in [row["n"] for row in live(warehouse, document_type, "n")]


def test_a_batch_that_cannot_be_loaded_is_not_acknowledged_and_comes_again(warehouse, monkeypatch):
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": 1}, {"n": 2}, b"{"]))

    def fail(*_):
        raise BadRequest("no")

    with monkeypatch.context() as broken:
        broken.setattr(lander, "load", fail)
        with pytest.raises(BadRequest):
            land(warehouse, until_empty=True)
    assert land(warehouse, until_empty=True).received == 3
    assert [row["n"] for row in live(warehouse, document_type, "n")] == [1, 2]


def test_a_batch_that_is_loaded_again_is_recognised(warehouse, leases):
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": 1}, {"n": 2}, b"{"]))
    batch = pull_batch(Subscription(warehouse.settings), leases, datetime.now(UTC), threading.Event())
    for _ in range(2):
        again = Lander(warehouse)
        [(part, rows)] = again.parts(batch)
        again.load(part, rows)
        batch.messages.reverse()
    assert [row["n"] for row in live(warehouse, document_type, "n")] == [1, 2]
    assert len(errors(warehouse, document_type)) == 1


def test_after_jobs_that_failed_the_next_number_is_tried(warehouse):
    warehouse.ensure_dataset("landing_jobs")
    table = Table("landing_jobs", f"t{uuid.uuid4().hex}", (bigquery.SchemaField("n", "INTEGER"),))
    warehouse.ensure(table)
    for _ in range(2):
        with pytest.raises(BadRequest):
            load(warehouse, table, [b'{"n": "no number"}\n'], "batch")
    load(warehouse, table, [b'{"n": 1}\n'], "batch")
    load(warehouse, table, [b'{"n": 2}\n'], "batch")
    assert warehouse.rows(f"SELECT n FROM {table.id}") == [{"n": 1}]


def test_a_new_field_and_a_new_type_land_at_the_next_call(warehouse):
    document_type = make_type(warehouse)
    publish_and_land(warehouse, document_type, [{"n": 1, "later": 1}])
    write(
        *warehouse.settings.schemas,
        str(document_type.name),
        SCHEMA | {"properties": {**SCHEMA["properties"], "later": {"type": "integer"}}},
    )
    other = make_type(warehouse)
    publish_and_land(warehouse, document_type, [{"n": 2, "later": 2}])
    publish_and_land(warehouse, other, [{"n": 3}])
    rows = live(warehouse, document_type, "n, later, additional_properties")
    found = sorted((r["n"], r["later"], r["additional_properties"]) for r in rows)
    assert found == [(1, None, {"later": 1}), (2, 2, None)]
    assert [row["n"] for row in live(warehouse, other, "n")] == [3]
    assert warehouse.exists(other.stable.id)


CRASH = """
import os, signal, sys
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land, lander, pull
from telemetry_warehouse.settings import Settings
import dataclasses

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

topic, where = sys.argv[1:]
if where == "before the load":
    lander.load = die
elif where == "between the loads":
    real = lander.load
    lander.load = lambda house, table, *rest: (die if table.dataset == "monitoring" else real)(house, table, *rest)
else:
    pull.Subscription.acknowledge = die
settings = dataclasses.replace(Settings.load(), topic=topic, subscription=f"{topic}-landing")
land(Warehouse(settings), until_empty=True)
"""


@pytest.mark.parametrize(
    "where, copies", [("before the load", 1), ("between the loads", 2), ("before the acknowledgement", 2)]
)
def test_a_lander_that_is_killed_loses_nothing(warehouse, where, copies):
    """What was loaded and not acknowledged comes again: twice in live, once in stable."""
    client = warehouse.settings.subscriber_client()
    path = Subscription(warehouse.settings).path
    # So that the dead lander's messages come back soon.
    topic = client.get_subscription(request={"subscription": path}).topic
    client.delete_subscription(request={"subscription": path})
    client.create_subscription(request=SubscriptionType(name=path, topic=topic, ack_deadline_seconds=10))
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(300)] + [b"{"]))
    crash = subprocess.run(
        [sys.executable, "-c", CRASH, warehouse.settings.topic, where],
        env=environment_of(warehouse.settings),
        capture_output=True,
        text=True,
    )
    assert crash.returncode == -9, crash.stderr

    # With one more message it is another batch, whose jobs BigQuery has not seen.
    publish(warehouse.settings, messages(document_type, [{"n": 300}]))
    assert comes_to_wait(warehouse, 302)
    assert land(warehouse, until_empty=True).received == 302
    found = Counter(row["n"] for row in live(warehouse, document_type, "n"))
    assert found == dict.fromkeys(range(300), copies) | {300: 1}
    # Its job has the same messages as before, and BigQuery knows it.
    assert len(errors(warehouse, document_type)) == 1


def test_what_is_in_flight_stays_leased_and_is_given_back_on_leaving(warehouse, monkeypatch):
    monkeypatch.setattr(pull, "ACK_DEADLINE_SECONDS", 10)
    document_type = make_type(warehouse)
    subscription = Subscription(warehouse.settings)
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(50)]))
    # Within a deadline they are leased three times: after four, none of the messages' first deadlines is left.
    leased_again, lease = threading.Semaphore(0), subscription.lease
    monkeypatch.setattr(subscription, "lease", lambda *arguments: (lease(*arguments), leased_again.release()))
    with Leases(subscription) as leases:
        batch = pull_batch(subscription, leases, datetime.now(UTC), threading.Event())
        assert len(batch.messages) == 50
        # As a lander that died would leave them, but for the thread.
        lease([m.ack_id for m in batch.messages], 10)
        for _ in range(4):
            leased_again.acquire()
        assert waiting(warehouse) == 0
    assert waiting(warehouse) == 50


def test_a_missing_subscription_is_one_clear_line(warehouse):
    client = warehouse.settings.subscriber_client()
    client.delete_subscription(request={"subscription": Subscription(warehouse.settings).path})
    with pytest.raises(
        Exception, match="Pub/Sub has no subscription projects/local/subscriptions/landing-.*WAREHOUSE_SUBSCRIPTION"
    ):
        land(warehouse, until_empty=True)


def test_a_row_that_the_warehouse_refuses_becomes_an_error_row_and_the_rest_lands(warehouse, monkeypatch):
    document_type = make_type(warehouse)
    sent = list(messages(document_type, [{"n": n} for n in range(40)] + [b"{"]))
    publish(warehouse.settings, sent)
    # A row that every step of ours lets through and BigQuery does not.
    shape = steps_of.Steps._line

    def broken(self, content, small, row, document_type):
        made = shape(self, content, small, row, document_type)
        return made.replace(f'"n":{content["n"]}'.encode(), b'"n":"x"') if content["n"] in (7, 23) else made

    monkeypatch.setattr(steps_of.Steps, "_line", broken)
    totals = land(warehouse, until_empty=True)
    assert (totals.received, totals.landed, totals.failed) == (41, 38, 3)
    assert [row["n"] for row in live(warehouse, document_type, "n")] == [n for n in range(40) if n not in (7, 23)]
    found = errors(warehouse, document_type)
    assert [(row["error_type"], row["payload"]) for row in found] == [
        ("load", sent[7][0]),
        ("load", sent[23][0]),
        ("parse", b"{"),
    ]
    assert found[0]["error_message"].startswith("BigQuery refuses the row: ")
    [row] = [r for r in monitoring(warehouse) if r["document_namespace"] == document_type.namespace]
    assert row["landed"] == 38
    assert row["failures"] == [{"error_type": "load", "messages": 2}, {"error_type": "parse", "messages": 1}]


def test_a_batch_that_comes_again_in_another_order_loses_none_of_what_was_halved(warehouse, leases, monkeypatch):
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(40)]))
    batch = pull_batch(Subscription(warehouse.settings), leases, datetime.now(UTC), threading.Event())
    shape, load_once = steps_of.Steps._line, lander.load

    def broken(self, content, small, row, document_type):
        made = shape(self, content, small, row, document_type)
        return made.replace(b'"n":33', b'"n":"x"') if content["n"] == 33 else made

    def load_and_die(*arguments):
        load_once(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps_of.Steps, "_line", broken)
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        # The first job that is not refused is the last that this lander sees.
        dying.setattr(lander, "load", load_and_die)
        first = Lander(warehouse)
        [(part, rows)] = first.parts(batch)
        first.load(part, rows)
    batch.messages.reverse()
    again = Lander(warehouse)
    [(part, rows)] = again.parts(batch)
    again.load(part, rows)
    assert {row["n"] for row in live(warehouse, document_type, "n")} == set(range(40)) - {33}
    assert [row["error_type"] for row in errors(warehouse, document_type)] == ["load"]


def test_a_message_that_we_are_not_ready_for_is_an_error_row_and_stops_nothing(warehouse, monkeypatch):
    document_type = make_type(warehouse)
    sent = list(messages(document_type, [{"n": 1}, {"n": 2}, {"n": 3}]))
    publish(warehouse.settings, sent)
    shape = steps_of.Steps._line

    def fail(self, content, *rest):
        if content["n"] == 2:
            raise RuntimeError("a fault of ours")
        return shape(self, content, *rest)

    monkeypatch.setattr(steps_of.Steps, "_line", fail)
    assert land(warehouse, until_empty=True).landed == 2
    [error] = errors(warehouse, document_type)
    assert (error["error_type"], error["exception_class"], error["payload"]) == ("internal", "RuntimeError", sent[1][0])


def test_where_every_row_is_refused_landing_stops_with_the_reason_and_keeps_the_messages(warehouse, monkeypatch):
    probes = lander._Probes
    monkeypatch.setattr(lander, "_Probes", lambda: probes(left=20))
    document_type = make_type(warehouse)
    warehouse.ensure_dataset(document_type.live.dataset)
    columns = (*document_type.live.columns, bigquery.SchemaField("must_have", "STRING", "REQUIRED"))
    table = dataclasses.replace(document_type.live, columns=columns)
    warehouse.ensure(table)
    # An empty table would be made anew without the column.
    warehouse.load_rows(table, [{"submission_timestamp": f"{DAY}T00:00:00Z", "must_have": "x"}])
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(300)]))
    with pytest.raises(BadRequest):
        land(warehouse, until_empty=True)
    assert comes_to_wait(warehouse, 300)


def test_a_type_whose_table_cannot_take_its_columns_stops_no_other(warehouse):
    document_type, other = make_type(warehouse), make_type(warehouse)
    publish_and_land(warehouse, document_type, [{"n": 1}])
    changed = {"type": "object", "properties": {"n": {"type": "string"}}}
    write(*warehouse.settings.schemas, str(document_type.name), changed, "live_days: null")
    publish(warehouse.settings, messages(document_type, [{"n": "two"}]))
    publish(warehouse.settings, messages(other, [{"n": 3}]))
    totals = land(warehouse, until_empty=True)
    assert (totals.landed, totals.failed) == (1, 1)
    [error] = errors(warehouse, document_type)
    assert error["error_type"] == "load"
    assert "column n is INTEGER NULLABLE and cannot become STRING NULLABLE" in error["error_message"]
    assert [row["n"] for row in live(warehouse, other, "n")] == [3]


BROKEN = {
    "no JSON": "{",
    "a key twice": '{"type": "object", "type": "object"}',
    "two properties for one column": {"properties": {"fooBar": {"type": "string"}, "foo_bar": {"type": "string"}}},
    "a mark that is none": {"properties": {"n": {"type": "integer", "x-pii": "hide"}}},
    "too wide": {"properties": {f"p{n}": {"type": "string"} for n in range(10_000)}},
}


def test_types_whose_files_break_stop_no_other_and_land_once_mended(warehouse):
    good = make_type(warehouse)
    broken = {why: make_type(warehouse) for why in (*BROKEN, "a bad table.yml", "a file with another name")}
    running = Lander(warehouse)
    [directory] = warehouse.settings.schemas
    for why, kind in broken.items():
        write(directory, str(kind.name), BROKEN.get(why, SCHEMA), "live_day: 3" if "table.yml" in why else None)
    misnamed = broken["a file with another name"]
    other_name = misnamed.path.rename(misnamed.path.with_name("ping.one.schema.json"))
    running.read_schemas()
    assert running.steps.types.keys() == {good.name}, "one that runs goes on with what is good"

    sent = [message for kind in (good, *broken.values()) for message in messages(kind, [{"n": 1}, {"n": 2}])]
    publish(warehouse.settings, sent)
    totals = land(warehouse, until_empty=True)

    assert (totals.landed, totals.failed) == (2, len(sent) - 2)
    assert [row["n"] for row in live(warehouse, good, "n")] == [1, 2]
    for kind in broken.values():
        # Nobody knows of which type a file with another name would be.
        table = f"{'unknown' if kind is misnamed else kind.namespace}_errors.pings"
        kept = warehouse.rows(
            f"SELECT error_type, error_message FROM {table} WHERE submission_timestamp >= '1970-01-01'"
            f" AND document_namespace = '{kind.namespace}'"
        )
        assert [row["error_type"] for row in kept] == ["schema", "schema"]
        assert all(str(kind.path.parent) in row["error_message"] or kind is misnamed for row in kept)
    other_name.rename(misnamed.path)
    for kind in broken.values():
        write(directory, str(kind.name), SCHEMA, "live_days: null")
    replay_errors(warehouse)
    assert all([row["n"] for row in live(warehouse, kind, "n")] == [1, 2] for kind in broken.values())


def test_a_schema_that_changes_during_a_drain_holds_from_the_next_batch(warehouse, monkeypatch):
    monkeypatch.setattr(pull, "MAX_MESSAGES", 1100)
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": n, "later": n} for n in range(7000)]))
    widened = SCHEMA | {"properties": SCHEMA["properties"] | {"later": {"type": "integer"}}}

    def change(said):
        write(*warehouse.settings.schemas, str(document_type.name), widened)

    assert land(warehouse, until_empty=True, say=change).landed == 7000
    rows = live(warehouse, document_type, "n, later, additional_properties")
    kept = [(row["additional_properties"] or {}).get("later") if row["later"] is None else row["later"] for row in rows]
    assert kept == [row["n"] for row in rows] == list(range(7000)), "no value is lost on the way"
    assert rows[0]["later"] is None and rows[-1]["later"] == 6999


def test_a_batch_whose_rows_are_long_is_loaded_in_parts(warehouse, monkeypatch):
    monkeypatch.setattr(lander, "MAX_ROWS_BYTES", 1_000_000)
    document_type = make_type(warehouse)
    bombs = [gzip.compress(orjson.dumps({"n": n, "long": "x" * 400_000})) for n in range(20)]
    assert sum(map(len, bombs)) < 20_000
    publish(warehouse.settings, messages(document_type, bombs))
    totals = land(warehouse, until_empty=True)
    assert totals.landed == 20 and totals.cycles > 5
    assert [row["n"] for row in live(warehouse, document_type, "n")] == list(range(20))


BESIDE = """
import dataclasses, sys
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.settings import Settings
settings = dataclasses.replace(Settings.load(), topic=sys.argv[1], subscription=f"{sys.argv[1]}-landing")
warehouse = Warehouse(settings)
print("ready", flush=True)
sys.stdin.readline()
print(land(warehouse, until_empty=True).landed)
"""


def test_landers_side_by_side_share_the_messages_and_lose_none(warehouse):
    document_type = make_type(warehouse)
    line = [sys.executable, "-c", BESIDE, warehouse.settings.topic]
    environment = environment_of(warehouse.settings)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    landers = [subprocess.Popen(line, env=environment, **pipes) for _ in range(2)]
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(20_000)] + [b"{"] * 20))
    for one in landers:
        assert one.stdout.readline() == "ready\n"
    for one in landers:
        one.stdin.write("\n")
        one.stdin.flush()
    landed = [int(one.communicate()[0]) for one in landers]
    assert [one.returncode for one in landers] == [0, 0] and min(landed) > 0
    # At least once: Pub/Sub may give a message to both.
    assert {row["n"] for row in live(warehouse, document_type, "n")} == set(range(20_000))
    assert len({row["document_id"] for row in errors(warehouse, document_type)}) == 20


def test_where_looking_for_bad_rows_takes_too_long_the_rest_of_them_waits_in_errors(warehouse, monkeypatch):
    document_type = make_type(warehouse)
    publish(warehouse.settings, messages(document_type, [{"n": n} for n in range(40)]))
    shape, probes = steps_of.Steps._line, lander._Probes

    def broken(self, content, small, row, document_type):
        made = shape(self, content, small, row, document_type)
        return made.replace(b'"n":7', b'"n":"x"') if content["n"] == 7 else made

    with monkeypatch.context() as patched:
        patched.setattr(steps_of.Steps, "_line", broken)
        patched.setattr(lander, "_Probes", lambda: probes(left=4))
        totals = land(warehouse, until_empty=True)
    assert totals.landed + totals.failed == 40 and 1 < totals.failed < 10
    assert replay_errors(warehouse, document_type.name, step="load").landed.total() == totals.failed
    assert [row["n"] for row in live(warehouse, document_type, "n")] == list(range(40))
