"""What the pipeline needs of Pub/Sub, with Google's own client, on both stand-ins."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, types


class Queue:
    """A topic with one subscription, of names not used before."""

    def __init__(self, settings):
        self.publisher, self.subscriber = settings.publisher_client(), settings.subscriber_client()
        name = f"test-{uuid.uuid4().hex}"
        self.topic = f"projects/local/topics/{name}"
        self.subscription = f"projects/local/subscriptions/{name}"
        self.publisher.create_topic(name=self.topic)
        self.subscribe(self.subscription)

    def subscribe(self, name):
        self.subscriber.create_subscription(types.Subscription(name=name, topic=self.topic, ack_deadline_seconds=60))

    def publish(self, *texts, topic=None):
        messages = [types.PubsubMessage(data=text.encode()) for text in texts]
        # The client's own publish() batches in a thread; this is one request.
        plain = PublisherClient(transport=self.publisher.transport)
        return list(plain.publish(topic=topic or self.topic, messages=messages).message_ids)

    def pull(self, most=100, subscription=None):
        try:
            request = {"subscription": subscription or self.subscription, "max_messages": most}
            return list(self.subscriber.pull(request=request, timeout=3).received_messages)
        except exceptions.DeadlineExceeded:  # how Google's emulator says that there is nothing
            return []

    def pull_all(self, subscription=None):
        received = []
        while got := self.pull(1000, subscription):
            received += got
        return received

    def acknowledge(self, received):
        self.subscriber.acknowledge(subscription=self.subscription, ack_ids=[one.ack_id for one in received])

    def lease(self, received, seconds):
        self.subscriber.modify_ack_deadline(
            subscription=self.subscription, ack_ids=[one.ack_id for one in received], ack_deadline_seconds=seconds
        )


def texts(received):
    return [one.message.data.decode() for one in received]


@pytest.fixture
def queue(pubsub_home):
    return Queue(pubsub_home)


def test_the_clients_own_publish_arrives_whole_with_id_and_time(queue):
    data = bytes(range(256)) * 4000
    number = queue.publisher.publish(queue.topic, data, uri="/submit/a/b/1/c", geo_city="Zürich").result(timeout=10)
    (received,) = queue.pull()
    assert received.message.data == data
    assert dict(received.message.attributes) == {"uri": "/submit/a/b/1/c", "geo_city": "Zürich"}
    assert received.message.message_id == number
    assert abs(received.message.publish_time.timestamp() - time.time()) < 60


def test_messages_come_in_the_order_of_publishing_with_ids_of_their_own(queue):
    ids = [*queue.publish(*"abc"), *queue.publish(*"def")]
    assert len(set(ids)) == 6
    assert texts(queue.pull_all()) == list("abcdef")


def test_what_is_leased_is_not_given_twice_and_what_is_acknowledged_never_again(queue):
    queue.publish(*"abcd")
    received = queue.pull_all()
    assert queue.pull() == []
    queue.acknowledge(received[:2])
    queue.lease(received, 0)
    assert sorted(texts(queue.pull_all())) == ["c", "d"]


def test_what_is_not_acknowledged_comes_again_after_its_deadline(queue):
    queue.publish(*"ab")
    queue.lease(queue.pull_all(), 1)
    deadline, again = time.monotonic() + 10, []
    while len(again) < 2 and time.monotonic() < deadline:
        again += texts(queue.pull())
    assert sorted(again) == ["a", "b"]


def test_a_prolonged_lease_holds(queue):
    queue.publish("a", "b")
    received = queue.pull_all()
    queue.lease(received, 1)
    queue.lease([one for one in received if texts([one]) == ["a"]], 60)
    # When the other's deadline has come, that of the prolonged one would have come too.
    while not (again := queue.pull()):
        pass
    assert texts([*again, *queue.pull()]) == ["b"]


def test_each_subscription_gets_every_message(queue):
    queue.publish("before")
    other = queue.subscription + "-2"
    queue.subscribe(other)
    queue.publish("after")
    queue.acknowledge(queue.pull_all())
    assert texts(queue.pull_all(other)) == ["after"]


def test_a_pull_gives_at_most_what_was_asked_for(queue):
    queue.publish(*map(str, range(20)))
    assert len(queue.pull(7)) == 7
    assert len(queue.pull_all()) == 13


def test_messages_larger_than_grpcs_default_pass(queue):
    large = "x" * 9_000_000
    queue.publish(large)
    assert texts(queue.pull()) == [large]


def test_a_pull_that_waits_gets_what_is_published_meanwhile(queue):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(queue.subscriber.pull, subscription=queue.subscription, max_messages=10, timeout=10)
        while not answer.running():
            time.sleep(0.01)
        queue.publish("a")
        assert texts(answer.result().received_messages) == ["a"]


def test_what_is_there_already_or_missing_is_said_with_the_right_code(queue):
    subscriber, publisher = queue.subscriber, queue.publisher
    with pytest.raises(exceptions.AlreadyExists):
        publisher.create_topic(name=queue.topic)
    with pytest.raises(exceptions.AlreadyExists):
        queue.subscribe(queue.subscription)
    nothing = {"subscription": "projects/local/subscriptions/nothing"}
    for missing in (
        lambda: publisher.get_topic(topic="projects/local/topics/nothing"),
        lambda: publisher.delete_topic(topic="projects/local/topics/nothing"),
        lambda: subscriber.create_subscription(name=queue.subscription + "-2", topic="projects/local/topics/nothing"),
        lambda: queue.publish("a", topic="projects/local/topics/nothing"),
        lambda: subscriber.get_subscription(**nothing),
        lambda: subscriber.delete_subscription(**nothing),
        lambda: subscriber.pull(**nothing, max_messages=1),
        lambda: subscriber.acknowledge(**nothing, ack_ids=["1-1"]),
    ):
        with pytest.raises(exceptions.NotFound):
            missing()


def test_what_cannot_be_is_an_invalid_argument(queue):
    for invalid in (
        lambda: queue.publisher.create_topic(name="projects/local/topics/a"),
        lambda: queue.publish(""),
        lambda: queue.subscriber.pull(subscription=queue.subscription, max_messages=0),
    ):
        with pytest.raises(exceptions.InvalidArgument):
            invalid()


def test_topics_and_subscriptions_are_listed_and_deleted(queue):
    assert queue.topic in {topic.name for topic in queue.publisher.list_topics(project="projects/local")}
    listed = {found.name: found for found in queue.subscriber.list_subscriptions(project="projects/local")}
    assert (listed[queue.subscription].topic, listed[queue.subscription].ack_deadline_seconds) == (queue.topic, 60)
    queue.publish("a")
    queue.publisher.delete_topic(topic=queue.topic)
    assert texts(queue.pull_all()) == ["a"]
    assert queue.subscriber.get_subscription(subscription=queue.subscription).topic == "_deleted-topic_"
    queue.subscriber.delete_subscription(subscription=queue.subscription)
    with pytest.raises(exceptions.NotFound):
        queue.subscriber.pull(subscription=queue.subscription, max_messages=1)


def test_landings_own_subscription_is_there(pubsub_home):
    found = pubsub_home.subscriber_client().get_subscription(subscription="projects/local/subscriptions/pings-landing")
    assert (found.topic, found.ack_deadline_seconds) == ("projects/local/topics/pings", 60)
