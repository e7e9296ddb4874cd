"""A small durable Pub/Sub server: the types of google.pubsub_v1 over gRPC, kept in SQLite.

A publish returns after its commit, and so does an acknowledgement: what was published and not acknowledged is there
again after the process was killed. (After a power cut the last commits may be lost: WAL with synchronous=NORMAL.)
Leases are in memory, so after a restart everything unacknowledged is delivered again at once, as Pub/Sub's
at-least-once delivery allows. What the broker does not do it refuses, by name, with UNIMPLEMENTED.
"""

import argparse
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from telemetry_warehouse import pubsub_limits
from telemetry_warehouse.local.pubsub_store import ANY_NAME, BadRequest, DiskFull, Missing, Store, Taken

EMPTY_PULL_SECONDS = 1.0
# Each waiting pull holds a thread; publishing must not wait behind them.
THREADS = 64
SUPPORTED_FIELDS = {"name", "topic", "ack_deadline_seconds", "labels"}
NAME = {kind: re.compile(rf"projects/[^/]+/{kind}/{ANY_NAME}") for kind in ("topics", "subscriptions")}


class Broker:
    """The RPCs; each takes and returns protobuf messages and raises the store's errors."""

    def __init__(self, store: Store):
        self.store = store

    def create_topic(self, topic):
        _check_name("topics", topic.name)
        self.store.create_topic(topic.name, topic.SerializeToString())
        return topic

    def get_topic(self, request):
        return TOPIC.FromString(self.store.topic(request.topic))

    def list_topics(self, request):
        found = self.store.topics(f"{request.project}/")
        return types.ListTopicsResponse.pb()(topics=[TOPIC.FromString(body) for body in found])

    def delete_topic(self, request):
        self.store.delete_topic(request.topic)
        return Empty()

    def publish(self, request):
        most, most_bytes = pubsub_limits.MAX_REQUEST_MESSAGES, pubsub_limits.MAX_REQUEST_BYTES
        if not 1 <= len(request.messages) <= most:
            raise BadRequest(f"a publish request holds 1 to {most} messages, this one {len(request.messages)}")
        if request.ByteSize() > most_bytes:
            raise BadRequest(f"a publish request holds at most {most_bytes} bytes, this one {request.ByteSize()}")
        for number, message in enumerate(request.messages, 1):
            why = pubsub_limits.fault(message.data, message.attributes)
            if why:
                raise BadRequest(f"message {number} of the request: {why}")
        ids = self.store.publish(request.topic, request.messages)
        return types.PublishResponse.pb()(message_ids=[str(number) for number in ids])

    def create_subscription(self, subscription):
        _check_name("subscriptions", subscription.name)
        for field, _ in subscription.ListFields():
            if field.name not in SUPPORTED_FIELDS:
                raise NotImplementedError(f"the local broker has no {field.name} on a subscription; leave it out")
        subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or 10
        if not 10 <= subscription.ack_deadline_seconds <= 600:
            raise BadRequest(f"ack_deadline_seconds is {subscription.ack_deadline_seconds}; give 10 to 600")
        self.store.create_subscription(subscription.name, subscription.topic, subscription.SerializeToString())
        return subscription

    def get_subscription(self, request):
        return self._subscription(*self.store.subscription(request.subscription))

    def list_subscriptions(self, request):
        found = self.store.subscriptions(f"{request.project}/")
        return types.ListSubscriptionsResponse.pb()(subscriptions=[self._subscription(*row) for row in found])

    def delete_subscription(self, request):
        self.store.delete_subscription(request.subscription)
        return Empty()

    def pull(self, request):
        if request.max_messages < 1:
            raise BadRequest(f"max_messages is {request.max_messages}; give at least 1")
        lease_seconds = self.get_subscription(request).ack_deadline_seconds
        wait_seconds = 0 if request.return_immediately else EMPTY_PULL_SECONDS
        leased = self.store.pull(request.subscription, request.max_messages, lease_seconds, wait_seconds)
        response = types.PullResponse.pb()()
        for ack_id, body in leased:
            received = response.received_messages.add(ack_id=ack_id)
            received.message.MergeFromString(body)
        return response

    def acknowledge(self, request):
        _check_ack_request(request)
        self.store.acknowledge(request.subscription, request.ack_ids)
        return Empty()

    def modify_ack_deadline(self, request):
        _check_ack_request(request)
        if not 0 <= request.ack_deadline_seconds <= 600:
            raise BadRequest(f"ack_deadline_seconds is {request.ack_deadline_seconds}; give 0 to 600")
        self.store.modify_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)
        return Empty()

    def streaming_pull(self, _requests):
        raise NotImplementedError("the local broker has no StreamingPull; use the synchronous Pull")

    @staticmethod
    def _subscription(body: bytes, topic: str):
        subscription = SUBSCRIPTION.FromString(body)
        subscription.topic = topic
        return subscription


TOPIC, SUBSCRIPTION = types.Topic.pb(), types.Subscription.pb()
PUBLISHER = {
    "CreateTopic": (Broker.create_topic, types.Topic),
    "GetTopic": (Broker.get_topic, types.GetTopicRequest),
    "ListTopics": (Broker.list_topics, types.ListTopicsRequest),
    "DeleteTopic": (Broker.delete_topic, types.DeleteTopicRequest),
    "Publish": (Broker.publish, types.PublishRequest),
}
SUBSCRIBER = {
    "CreateSubscription": (Broker.create_subscription, types.Subscription),
    "GetSubscription": (Broker.get_subscription, types.GetSubscriptionRequest),
    "ListSubscriptions": (Broker.list_subscriptions, types.ListSubscriptionsRequest),
    "DeleteSubscription": (Broker.delete_subscription, types.DeleteSubscriptionRequest),
    "Pull": (Broker.pull, types.PullRequest),
    "Acknowledge": (Broker.acknowledge, types.AcknowledgeRequest),
    "ModifyAckDeadline": (Broker.modify_ack_deadline, types.ModifyAckDeadlineRequest),
}
CODES = {
    Missing: grpc.StatusCode.NOT_FOUND,
    Taken: grpc.StatusCode.ALREADY_EXISTS,
    BadRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotImplementedError: grpc.StatusCode.UNIMPLEMENTED,
    # Of the codes that fit, the one for which clients do not try again for minutes.
    DiskFull: grpc.StatusCode.FAILED_PRECONDITION,
}


def serve(database: Path, port: int) -> grpc.Server:
    """A started server on 127.0.0.1. Raises RuntimeError where the port is taken."""
    broker = Broker(Store(database))
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[
            ("grpc.so_reuseport", 0),  # or a second server would bind the same port and get half of the calls
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ],
    )
    services = {"google.pubsub.v1.Publisher": PUBLISHER, "google.pubsub.v1.Subscriber": SUBSCRIBER}
    for service, methods in services.items():
        handlers = {name: _unary(broker, *method) for name, method in methods.items()}
        if service.endswith("Subscriber"):
            handlers["StreamingPull"] = grpc.stream_stream_rpc_method_handler(_answering(broker, Broker.streaming_pull))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


def _unary(broker: Broker, method, request_type) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        _answering(broker, method),
        request_deserializer=request_type.pb().FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _answering(broker: Broker, method):
    def answer(request, context: grpc.ServicerContext):
        try:
            return method(broker, request)
        except tuple(CODES) as error:
            context.abort(CODES[type(error)], str(error))

    return answer


def _check_ack_request(request) -> None:
    if not request.ack_ids:
        raise BadRequest("the request names no ack_ids")
    if request.ByteSize() > pubsub_limits.MAX_ACK_REQUEST_BYTES:
        most = pubsub_limits.MAX_ACK_REQUEST_BYTES
        raise BadRequest(f"the request has {request.ByteSize()} bytes, and at most {most} are taken")


def _check_name(kind: str, name: str) -> None:
    if not NAME[kind].fullmatch(name):
        raise BadRequest(f"{name!r} is not a name like projects/PROJECT/{kind}/NAME")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.database.parent.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server = serve(arguments.database, arguments.port)
    print(f"listening on 127.0.0.1:{arguments.port}", flush=True)
    stop.wait()
    server.stop(grace=2).wait()


if __name__ == "__main__":
    main()
