"""Messages to Pub/Sub: from a file of NDJSON, or from any iterable of (data, attributes)."""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.portions import portions
from telemetry_warehouse.settings import Settings

# Pub/Sub's limits are 1,000 messages and 10 MB a request; attributes and framing count too.
_MAX_MESSAGES = 1000
_MAX_BYTES = 9_000_000
_FRAMING_BYTES = 64
_SAY_EVERY = 20_000

Message = tuple[bytes, dict[str, str]]


class BadLine(WarehouseError):
    """A line of a file that is not a message, naming the line."""


def publish(settings: Settings, messages: Iterable[Message], say: Callable[[str], None] | None = None) -> int:
    """Sends (data, attributes) to the topic in the order given; returns how many, once the server has them all.

    Raises google.api_core exceptions; some messages may have been sent by then.
    """
    from google.api_core.exceptions import NotFound
    from google.pubsub_v1 import PublisherClient, types

    client = settings.publisher_client()
    topic = f"projects/{settings.project_id}/topics/{settings.topic}"
    request_type, message_type = types.PublishRequest.pb(), types.PubsubMessage.pb()
    sent = said = 0
    for batch in portions(messages, _size, _MAX_BYTES, _MAX_MESSAGES):
        request = request_type(topic=topic, messages=[message_type(data=d, attributes=a) for d, a in batch])
        try:
            # The plain call: the client's own publish() makes a future and takes a lock for every message.
            PublisherClient.publish(client, request=types.PublishRequest.wrap(request))
        except NotFound:
            raise WarehouseError(f"Pub/Sub has no topic {topic}; make it, or set WAREHOUSE_TOPIC") from None
        sent += len(batch)
        if say and sent - said >= _SAY_EVERY:
            say(f"published {sent:,}")
            said = sent
    return sent


def publish_file(settings: Settings, path: Path | str, say: Callable[[str], None] | None = None) -> int:
    """Sends the lines {"attributes": {...}, "data": <object, or base64 string>} of a file; returns how many.

    The whole file is read first: raises BadLine naming the first bad line before anything is sent.
    """
    for _ in read_file(path):
        pass
    return publish(settings, read_file(path), say)


def read_file(path: Path | str) -> Iterator[Message]:
    """The messages of such a file; empty lines are skipped. Raises BadLine."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield _message(line)
                    except ValueError as error:
                        raise BadLine(f"{path}, line {number}: {error}; nothing was published") from error
    except OSError as error:
        raise WarehouseError(f"cannot read {path}: {error.strerror}") from error


def _message(line: bytes) -> Message:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from error
    if type(entry) is not dict or not entry.keys() <= {"attributes", "data"} or "data" not in entry:
        raise ValueError('not an object with "data" and perhaps "attributes"')
    attributes = entry.get("attributes", {})
    if type(attributes) is not dict or not all(type(value) is str for value in attributes.values()):
        raise ValueError('"attributes" is not an object of strings')
    data = entry["data"]
    if type(data) is dict:
        return orjson.dumps(data), attributes
    try:
        raw = base64.b64decode(data, validate=True)
    except (TypeError, binascii.Error, ValueError) as error:
        raise ValueError('"data" is neither an object nor base64 text') from error
    if not raw and not attributes:
        raise ValueError("no data and no attributes, which Pub/Sub refuses")
    return raw, attributes


def _size(message: Message) -> int:
    data, attributes = message
    return (
        len(data)
        + _FRAMING_BYTES
        + sum(len(key.encode()) + len(value.encode()) + _FRAMING_BYTES for key, value in attributes.items())
    )
