"""What happens to pings on their way: some are broken, some are sent again, all arrive in order of receipt."""

import gzip
import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import NamedTuple

import numpy as np

from telemetry_warehouse.simulate.clock import DAY_IN_US, HOUR_IN_US, instant, midnight

_AGAIN = 0.04  # of the pings, and then of five of those once more
_ONCE_MORE = 0.2
_GZIP, _UPPER_CASE, _AUTOMATION, _DEBUG, _MALFORMED = 0.03, 0.015, 0.015, 0.005, 0.02


class Receipt(NamedTuple):
    """A message as the server receives it.

    `received` is in microseconds since 1970; `fate` is "good", "automation" or a name in MALFORMED; document_id and
    client_id are the true ones, lower-case. A `plain` message's data is a JSON object and not compressed.
    """

    received: int
    data: bytes
    attributes: dict[str, str]
    document_id: str
    client_id: str
    fate: str
    plain: bool


class Malformed(NamedTuple):
    """A way to break a message, the landing step that must refuse it, and whether its data is still a JSON object."""

    step: str
    break_message: Callable[[bytes, dict], tuple[bytes, dict]]
    plain: bool


def _data(change: Callable[[bytes], bytes]) -> Callable:
    return lambda data, attributes: (change(data), attributes)


def _uri(change: Callable[[str], str]) -> Callable:
    return lambda data, attributes: (data, attributes | {"uri": change(attributes["uri"])})


def _without_uri(data: bytes, attributes: dict) -> tuple[bytes, dict]:
    return data, {name: value for name, value in attributes.items() if name != "uri"}


MALFORMED = {
    "truncated JSON": Malformed("parse", _data(lambda d: d[: len(d) // 2]), False),
    "not UTF-8": Malformed("parse", _data(lambda d: d.replace(b'"main"', b'"m\xe4in"', 1)), False),
    "empty": Malformed("parse", _data(lambda d: b""), False),
    "an array": Malformed("parse", _data(lambda d: b"[" + d + b"]"), False),
    "truncated gzip": Malformed("decompress", _data(lambda d: gzip.compress(d, 1, mtime=0)[:-200]), False),
    "damaged gzip": Malformed("decompress", _data(lambda d: b"\x1f\x8b\x08" + d), False),
    "no URI": Malformed("uri", _without_uri, True),
    "short URI": Malformed("uri", _uri(lambda u: "/".join(u.split("/")[:5])), True),
    "document id not a UUID": Malformed("uri", _uri(lambda u: u.replace("-", "", 1)), True),
    "unknown type": Malformed("schema", _uri(lambda u: u.replace("/main/", "/mian/")), True),
    "unknown version": Malformed("schema", _uri(lambda u: u.replace("/4/", "/99/", 1)), True),
    "unknown namespace": Malformed("schema", _uri(lambda u: u.replace("/telemetry/", "/nobody-we-know/")), True),
    "wrong type": Malformed("schema", _data(lambda d: d.replace(b'"version":4', b'"version":"four"', 1)), True),
    "no client id": Malformed("schema", _data(lambda d: d.replace(b'"clientId"', b'"client"', 1)), True),
    "client id not a UUID": Malformed("schema", _data(lambda d: d.replace(b'"clientId":"', b'"clientId":"x', 1)), True),
    "negative counter": Malformed(
        "schema", _data(lambda d: d.replace(b'"subsessionCounter":', b'"subsessionCounter":-', 1)), True
    ),
}
_MALFORMED_NAMES = list(MALFORMED)


class Transmission:
    """Receives the messages of one day after the other; what is sent again waits here for its time."""

    def __init__(self, seed: int):
        self._seed = seed
        self._waiting: list[tuple[int, int, Receipt]] = []  # a heap by time, then by order of sending
        self._sent_again = 0
        self._broken = 0

    def day(self, day: date, sent: Iterable[Receipt]) -> Iterator[Receipt]:
        """What arrives on a day, given the day's good messages in order of receipt."""
        rng = np.random.default_rng([self._seed, 3, day.toordinal()])
        for message in sent:
            yield from self._due(message.received)
            message = self._on_the_way(message, rng)
            self._send_again(message, rng)
            yield message
        yield from self._due(midnight(day) + DAY_IN_US)

    def _due(self, time: int) -> Iterator[Receipt]:
        while self._waiting and self._waiting[0][0] < time:
            yield heapq.heappop(self._waiting)[2]

    def _on_the_way(self, message: Receipt, rng: np.random.Generator) -> Receipt:
        """The message, or what becomes of it."""
        chance = rng.random()
        if chance >= _GZIP + _UPPER_CASE + _AUTOMATION + _DEBUG + _MALFORMED:
            return message
        data, attributes = message.data, message.attributes
        if chance < _MALFORMED:
            # In turn, so that a small simulation has them all.
            fate = _MALFORMED_NAMES[self._broken % len(_MALFORMED_NAMES)]
            self._broken += 1
            _, break_message, plain = MALFORMED[fate]
            data, attributes = break_message(data, attributes)
            return message._replace(data=data, attributes=attributes, fate=fate, plain=plain)
        chance -= _MALFORMED
        if chance < _GZIP:
            return message._replace(data=gzip.compress(data, 1, mtime=0), plain=False)
        chance -= _GZIP
        if chance < _UPPER_CASE:
            for name in (message.document_id, message.client_id):
                data = data.replace(name.encode(), name.upper().encode())
            uri = attributes["uri"].replace(message.document_id, message.document_id.upper())
            return message._replace(data=data, attributes=attributes | {"uri": uri})
        chance -= _UPPER_CASE
        if chance < _AUTOMATION:
            tags = ("automation", "perf, automation", "automation,nightly")[int(rng.integers(3))]
            return message._replace(attributes=attributes | {"x_source_tags": tags}, fate="automation")
        # A tag that only looks like it, on a message that counts.
        return message._replace(attributes=attributes | {"x_source_tags": "automation-free", "x_debug_id": "debug-1"})

    def _send_again(self, message: Receipt, rng: np.random.Generator) -> None:
        chance = _AGAIN
        while rng.random() < chance:
            received = _received_again(message.received, rng)
            attributes = message.attributes | {"submission_timestamp": instant(received)}
            if message.fate == "automation":
                # Tags are the connection's: sent again over another one, the document counts.
                del attributes["x_source_tags"]
                message = message._replace(fate="good")
            message = message._replace(received=received, attributes=attributes)
            self._sent_again += 1
            heapq.heappush(self._waiting, (received, self._sent_again, message))
            chance = _ONCE_MORE


def _received_again(received: int, rng: np.random.Generator) -> int:
    """When a message received then is received once more: in the same batch, hours or days later."""
    chance = rng.random()
    if chance < 0.15:
        return received
    if chance < 0.4:
        return received + int(rng.integers(1, 3_000_000))
    if chance < 0.65:
        return received + int(rng.integers(HOUR_IN_US, 10 * HOUR_IN_US))
    # On the day after, where the look-back still sees it, on its last day, or beyond.
    days = 1 if chance < 0.8 else 2 if chance < 0.9 else int(rng.integers(3, 7))
    return received // DAY_IN_US * DAY_IN_US + days * DAY_IN_US + int(rng.integers(0, DAY_IN_US))
