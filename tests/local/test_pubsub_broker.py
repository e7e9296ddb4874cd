"""The broker's own promises: nothing published is lost to a kill, and nothing acknowledged comes back."""

import json
import os
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, types
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from telemetry_warehouse.local import ports, pubsub_broker
from telemetry_warehouse.local.pubsub_store import Store
from telemetry_warehouse.local.servers import PubSub
from telemetry_warehouse.settings import Settings
from tests.conftest import temporary_home

TOPIC, SUBSCRIPTION = "projects/local/topics/pings", "projects/local/subscriptions/pings-landing"


class Clients:
    """Single calls, never repeated by the client."""

    def __init__(self, home):
        settings = Settings.load({"WAREHOUSE_HOME": str(home)})
        self._publisher = PublisherClient(transport=settings.publisher_client().transport)
        self._subscriber = settings.subscriber_client()
        # After a restart gRPC still waits to connect again, for all channels of the process to that address.
        for client in (self._publisher, self._subscriber):
            grpc.channel_ready_future(client.transport.grpc_channel).result(timeout=30)

    def publish(self, texts):
        messages = [types.PubsubMessage(data=text.encode()) for text in texts]
        self._publisher.publish(topic=TOPIC, messages=messages, retry=None, timeout=10)

    def pull(self, most=50, *, wait=True):
        request = {"subscription": SUBSCRIPTION, "max_messages": most, "return_immediately": not wait}
        return list(self._subscriber.pull(request=request, retry=None, timeout=10).received_messages)

    def acknowledge(self, received):
        ack_ids = [one.ack_id for one in received]
        self._subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=ack_ids, retry=None, timeout=10)


@pytest.fixture
def broker():
    with started_broker() as server:
        yield server


@pytest.fixture(scope="module")
def broker_once():
    """For tests that leave nothing behind."""
    with started_broker() as server:
        yield server


@contextmanager
def started_broker():
    with temporary_home({"WAREHOUSE_PUBSUB_SERVER": "broker"}) as settings:
        server = PubSub(settings, ports.remembered(settings.home))
        server.start()
        settings.endpoints_file.write_text(json.dumps(server.endpoints()))
        server.home = settings.home
        yield server


def texts(received):
    return {one.message.data.decode() for one in received}


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_amid_publishing_and_acknowledging_loses_nothing_and_brings_nothing_back(broker, seed):
    tried, published, ack_tried, acknowledged = set(), set(), set(), set()

    def publish(clients):
        for batch in range(10**6):
            wanted = {f"{batch}-{n}" for n in range(20)}
            tried.update(wanted)
            clients.publish(wanted)
            published.update(wanted)

    def acknowledge(clients):
        while True:
            received = clients.pull()
            ack_tried.update(texts(received[::2]))  # every other message stays unacknowledged
            clients.acknowledge(received[::2])
            acknowledged.update(texts(received[::2]))

    def until_killed(work):
        with pytest.raises(exceptions.GoogleAPICallError):
            work(Clients(broker.home))

    threads = [threading.Thread(target=until_killed, args=(work,)) for work in (publish, acknowledge)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 200 + 130 * seed:
        time.sleep(0.001)
    os.kill(broker.pid(), signal.SIGKILL)
    for thread in threads:
        thread.join()
    broker.start()

    clients, again = Clients(broker.home), set()
    while received := clients.pull(1000):
        again |= texts(received)
    assert published - ack_tried <= again
    assert not again & acknowledged
    assert again <= tried
    assert published and acknowledged and published - acknowledged


def test_an_empty_pull_waits_or_returns_at_once_when_asked_to(broker):
    clients, took = Clients(broker.home), {True: [], False: []}
    for wait in (True, False) * 3:
        began = time.monotonic()
        assert clients.pull(wait=wait) == []
        took[wait].append(time.monotonic() - began)
    assert min(took[False]) < min(took[True])


def test_a_pull_gives_a_thousand_and_more_at_once(broker):
    clients = Clients(broker.home)
    for batch in range(3):
        clients.publish(f"{batch}-{n}" for n in range(1000))
    assert len(clients.pull(2500)) == 2500


def test_acknowledged_messages_leave_the_disk(broker):
    clients = Clients(broker.home)
    clients.publish("x" * 1000 for _ in range(1000))
    clients.acknowledge(clients.pull(1000))
    broker.stop()
    store = Store(broker.home / "pubsub" / "broker.sqlite")
    assert store._database.execute("SELECT COUNT(*) FROM messages").fetchone() == (0,)


def test_publish_refuses_what_pub_sub_refuses(broker):
    clients = Clients(broker.home)
    for refused in (["a"] * 1001, ["x" * 10_000_001], []):
        with pytest.raises(exceptions.InvalidArgument):
            clients.publish(refused)


@pytest.mark.parametrize(
    "message, why",
    [
        ({}, "no data and no attributes"),
        ({"attributes": {"a": "x" * 1025}}, "1,025 bytes"),
        ({"attributes": {"k" * 257: ""}}, "257 bytes"),
        ({"attributes": {"": "x"}}, "without a name"),
        ({"attributes": {"googclient": "x"}}, "begins with 'goog'"),
        ({"attributes": {str(n): "" for n in range(101)}}, "101 attributes"),
    ],
)
def test_one_message_that_pub_sub_refuses_has_its_request_refused(broker_once, message, why):
    clients = Clients(broker_once.home)
    messages = [types.PubsubMessage(data=b"good"), types.PubsubMessage(**message)]
    with pytest.raises(exceptions.InvalidArgument, match=f"message 2 of the request: .*{why}"):
        clients._publisher.publish(topic=TOPIC, messages=messages, retry=None, timeout=10)
    assert clients.pull(wait=False) == []


def test_a_request_of_ack_ids_is_as_large_as_pub_sub_takes(broker_once):
    subscriber = Clients(broker_once.home)._subscriber
    for ack_ids in ([], ["1-" + "1" * 200] * 2600):
        request = {"subscription": SUBSCRIPTION, "ack_ids": ack_ids}
        for call in (subscriber.acknowledge, subscriber.modify_ack_deadline):
            with pytest.raises(exceptions.InvalidArgument, match="ack_ids|524288"):
                call(request=request | ({} if call == subscriber.acknowledge else {"ack_deadline_seconds": 10}))


def test_what_the_broker_does_not_do_it_says(broker):
    subscriber = Settings.load({"WAREHOUSE_HOME": str(broker.home)}).subscriber_client()
    wanted = types.Subscription(name=SUBSCRIPTION + "-2", topic=TOPIC, filter="attributes:a")
    with pytest.raises(exceptions.MethodNotImplemented, match="no filter on a subscription; leave it out"):
        subscriber.create_subscription(wanted)
    with pytest.raises(exceptions.MethodNotImplemented, match="no StreamingPull; use the synchronous Pull"):
        next(iter(subscriber.streaming_pull(iter([types.StreamingPullRequest(subscription=SUBSCRIPTION)]))))


def test_a_second_broker_on_the_same_port_does_not_start(broker, tmp_path):
    port = ports.remembered(broker.home)["pubsub"]
    with pytest.raises(RuntimeError, match="address"):
        pubsub_broker.serve(tmp_path / "second.sqlite", port)


class StoreAgainstASet(RuleBasedStateMachine):
    """Whatever is done in whatever order, what waits is what was published and not acknowledged."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "store.sqlite")
        self.store.create_topic("t", b"")
        self.store.create_subscription("s", "t", b"")
        self.waiting, self.leased, self.count = set(), {}, 0

    @rule(number=st.integers(1, 5))
    def publish(self, number):
        wanted = [str(self.count + n).encode() for n in range(number)]
        self.count += number
        self.store.publish("t", [types.PubsubMessage.pb()(data=data) for data in wanted])
        self.waiting.update(wanted)

    @rule(most=st.integers(1, 10))
    def pull(self, most):
        received = self.store.pull("s", most, 600, 0)
        for ack_id, body in received:
            data = types.PubsubMessage.pb().FromString(body).data
            assert data in self.waiting, "given twice, or after its acknowledgement"
            self.waiting.remove(data)
            self.leased[ack_id] = data
        assert len(received) == most or not self.waiting

    @rule(data=st.data())
    def acknowledge(self, data):
        ack_ids = data.draw(st.lists(st.sampled_from(sorted(self.leased)))) if self.leased else []
        self.store.acknowledge("s", ack_ids)
        for ack_id in ack_ids:
            self.leased.pop(ack_id, None)

    @rule(data=st.data())
    def give_back(self, data):
        ack_ids = data.draw(st.lists(st.sampled_from(sorted(self.leased)))) if self.leased else []
        self.store.modify_deadline("s", ack_ids, 0)
        self.waiting.update(self.leased.pop(ack_id) for ack_id in set(ack_ids))

    @rule()
    def open_again(self):
        self.store = Store(Path(self.folder.name) / "store.sqlite")
        self.waiting.update(self.leased.values())
        self.leased = {}

    def teardown(self):
        self.folder.cleanup()


TestStoreAgainstASet = StoreAgainstASet.TestCase
TestStoreAgainstASet.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)
