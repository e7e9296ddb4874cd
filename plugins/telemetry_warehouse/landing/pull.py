"""Batches of messages from the subscription, leased until they are acknowledged."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched

from google.api_core.exceptions import (
    DeadlineExceeded,
    GoogleAPICallError,
    GoogleAPIError,
    NotFound,
    ServiceUnavailable,
)
from google.pubsub_v1 import types

from telemetry_warehouse.deadlines import answering, retry
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.settings import Settings

ACK_DEADLINE_SECONDS = 60
MAX_MESSAGES = 20_000
MAX_BYTES = 32_000_000
MAX_SECONDS = 10.0
# An empty answer takes as long as the server likes; some wait for the client's deadline and raise it.
_EMPTY_PULL_SECONDS = 1.5
# For a request that is answered at once, until the server counts as gone.
_ANSWER_SECONDS = 30
# One answer without anything old may be a server that looked in one place only.
_QUIET_PULLS = 2
_MESSAGES_PER_PULL = 1000
# A request may have 512 KiB (pubsub_limits.py), and Pub/Sub's ack ids have about 200 characters.
_ACK_IDS_PER_REQUEST = 1000


@dataclass
class Batch:
    """Messages pulled together. `drained`: nothing published before `since` was left when the pulling ended."""

    started_at: datetime
    messages: list[Message] = field(default_factory=list)
    size: int = 0
    drained: bool = False


class Subscription:
    """The subscription that the settings name."""

    def __init__(self, settings: Settings):
        self.path = f"projects/{settings.project_id}/subscriptions/{settings.subscription}"
        self._client = settings.subscriber_client()
        self._server = settings.pubsub_server_name

    def pull(self) -> list[Message]:
        """What waits, as much as the server gives at once; waits a moment where it has nothing.

        Raises NotRunning where the server does not answer.
        """
        request = {"subscription": self.path, "max_messages": _MESSAGES_PER_PULL}
        try:
            with self._answering():
                try:
                    response = self._client.pull(
                        request=request, retry=retry(_ANSWER_SECONDS), timeout=_EMPTY_PULL_SECONDS
                    )
                except DeadlineExceeded:
                    self._see_that_it_answers()
                    return []
        except NotFound:
            missing = f"Pub/Sub has no subscription {self.path}; make it, or set WAREHOUSE_SUBSCRIPTION"
            raise WarehouseError(missing) from None
        # The plain protobuf objects: proto-plus would wrap every field of every message.
        return [_message(received) for received in types.PullResponse.pb(response).received_messages]

    def _see_that_it_answers(self) -> None:
        """A pull that nobody answers looks like one of an empty subscription. Any answer will do, a refusal too."""
        try:
            self._client.get_subscription(
                request={"subscription": self.path}, retry=retry(_ANSWER_SECONDS), timeout=_ANSWER_SECONDS
            )
        except (DeadlineExceeded, ServiceUnavailable):
            raise
        except GoogleAPICallError:
            return

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Raises NotRunning where the server does not answer."""
        for some in batched(ack_ids, _ACK_IDS_PER_REQUEST, strict=False):
            with self._answering():
                self._client.acknowledge(
                    request={"subscription": self.path, "ack_ids": some},
                    retry=retry(_ANSWER_SECONDS),
                    timeout=_ANSWER_SECONDS,
                )

    def lease(self, ack_ids: Iterable[str], seconds: int) -> None:
        """Keeps messages for so many seconds from now; 0 gives them back."""
        for some in batched(ack_ids, _ACK_IDS_PER_REQUEST, strict=False):
            request = {"subscription": self.path, "ack_ids": some, "ack_deadline_seconds": seconds}
            self._client.modify_ack_deadline(request=request, retry=None, timeout=_ANSWER_SECONDS)

    def _answering(self):
        safe = "messages that were not acknowledged stay there, and the next `./warehouse land` lands them"
        return answering(self._server, safe)


def _message(received) -> Message:
    message = received.message
    seconds = message.publish_time.seconds + message.publish_time.nanos // 1000 / 1e6
    return Message(
        data=message.data,
        attributes=dict(message.attributes),
        message_id=message.message_id,
        published=datetime.fromtimestamp(seconds, UTC),
        ack_id=received.ack_id,
    )


class Leases:
    """Keeps what is in flight leased, from a thread of its own; on leaving gives back what was not acknowledged."""

    def __init__(self, subscription: Subscription):
        self._subscription = subscription
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._extend, name="leases", daemon=True)

    def __enter__(self) -> "Leases":
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._done.set()
        self._thread.join()
        self._set_deadlines(0)

    def add(self, messages: Iterable[Message]) -> None:
        with self._lock:
            self._held.update(m.ack_id for m in messages)

    def remove(self, messages: Iterable[Message]) -> None:
        with self._lock:
            self._held.difference_update(m.ack_id for m in messages)

    def _extend(self) -> None:
        while not self._done.wait(ACK_DEADLINE_SECONDS / 3):
            self._set_deadlines(ACK_DEADLINE_SECONDS)

    def _set_deadlines(self, seconds: int) -> None:
        with self._lock:
            held = list(self._held)
        try:
            self._subscription.lease(held, seconds)
        except GoogleAPIError:
            # The messages come again, to this lander or another one: duplicates, which the night removes. Raising in
            # this thread would help nobody, and on leaving would hide why.
            return


def pull_batch(subscription: Subscription, leases: Leases, since: datetime, stop: threading.Event) -> Batch:
    """Pulls until the batch is full, `stop` is set, or twice in a row nothing came that was published before `since`.

    So a drain ends even where new messages never stop coming.
    """
    batch = Batch(started_at=datetime.now(UTC))
    end = time.monotonic() + MAX_SECONDS
    quiet = 0
    for messages in _pulls(subscription, stop):
        leases.add(messages)
        batch.messages += messages
        batch.size += sum(len(m.data) for m in messages)
        quiet = quiet + 1 if all(m.published >= since for m in messages) else 0
        batch.drained = quiet >= _QUIET_PULLS
        full = len(batch.messages) + _MESSAGES_PER_PULL > MAX_MESSAGES or batch.size >= MAX_BYTES
        if batch.drained or full or time.monotonic() >= end:
            break
    return batch


def _pulls(subscription: Subscription, stop: threading.Event) -> Iterator[list[Message]]:
    while not stop.is_set():
        yield subscription.pull()
