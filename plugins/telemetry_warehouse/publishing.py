"""Messages to Pub/Sub: from a file of NDJSON, or from any iterable of (data, attributes)."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from json import JSONDecodeError
from pathlib import Path

from telemetry_warehouse import json_text, pubsub_limits
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.portions import portions
from telemetry_warehouse.settings import Settings

_SAY_EVERY = 20_000

Message = tuple[bytes, dict[str, str]]


class BadLine(WarehouseError):
    """A line of a file that is not a message, naming the line."""


def publish(settings: Settings, messages: Iterable[Message], say: Callable[[str], None] | None = None) -> int:
    """Sends (data, attributes) to the topic in the order given; returns how many, once the server has them all.

    Raises WarehouseError for a message that Pub/Sub would refuse, NotRunning where it does not answer, and
    google.api_core exceptions; some messages may have been sent by then.
    """
    from google.api_core.exceptions import NotFound
    from google.pubsub_v1 import PublisherClient, types

    from telemetry_warehouse.deadlines import REQUEST_SECONDS, answering, retry

    client = settings.publisher_client()
    topic = f"projects/{settings.project_id}/topics/{settings.topic}"
    request_type, message_type = types.PublishRequest.pb(), types.PubsubMessage.pb()
    sent = said = 0
    checked = _checked(messages)
    for batch in portions(checked, _size, pubsub_limits.MAX_MESSAGES_BYTES, pubsub_limits.MAX_REQUEST_MESSAGES):
        request = request_type(topic=topic, messages=[message_type(data=d, attributes=a) for d, a in batch])
        try:
            # The plain call: the client's own publish() makes a future and takes a lock for every message.
            with answering(settings.pubsub_server_name, f"{sent:,} messages are published"):
                wrapped = types.PublishRequest.wrap(request)
                PublisherClient.publish(client, wrapped, retry=retry(REQUEST_SECONDS), timeout=REQUEST_SECONDS)
        except NotFound:
            raise WarehouseError(f"Pub/Sub has no topic {topic}; make it, or set WAREHOUSE_TOPIC") from None
        sent += len(batch)
        if say and sent - said >= _SAY_EVERY:
            say(f"published {sent:,}")
            said = sent
    return sent


def publish_file(settings: Settings, path: Path | str, say: Callable[[str], None] | None = None) -> int:
    """Sends the lines {"attributes": {...}, "data": <object, or base64 string>} of a file; returns how many.

    An object is sent as it is written, byte for byte. The whole file is read first: raises BadLine naming the first bad
    line before anything is sent.
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
        members, text = _members(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not members.keys() <= {"attributes", "data"} or "data" not in members:
        raise ValueError('not an object with "data" and perhaps "attributes"')
    value, start, end = members["data"]
    attributes = {}
    if "attributes" in members:
        _, attributes_start, attributes_end = members["attributes"]
        attributes = _attributes(text[attributes_start:attributes_end])
    data = text[start:end].encode() if isinstance(value, dict) else _decoded(value)
    why = pubsub_limits.fault(data, attributes)
    if why:
        raise ValueError(why)
    return data, attributes


def _members(line: bytes) -> tuple[dict[str, tuple[object, int, int]], str]:
    """The members of a line's object as (value, start, end), and the text of which these are positions."""
    text = line.decode().strip(" \t\r\n")
    members: dict[str, tuple[object, int, int]] = {}

    def read(key: str, _key_start: int, start: int) -> int:
        if key in members:
            raise ValueError(f"the key {key[:50]!a} stands twice")
        value, end = json_text.scan(text, start)
        members[key] = value, start, end
        return end

    end = json_text.walk_object(text, 0, read) if text.startswith("{") else json_text.scan(text, 0)[1]
    if end != len(text):
        raise JSONDecodeError("Extra data", text, end)
    return members, text


def _attributes(text: str) -> dict[str, str]:
    pairs = json.loads(text, object_pairs_hook=tuple) if text.startswith("{") else (None,)
    if not all(pair and isinstance(pair[1], str) for pair in pairs):
        raise ValueError('"attributes" is not an object of strings')
    attributes = dict(pairs)
    if len(attributes) < len(pairs):
        repeated = next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1)
        raise ValueError(f"the attribute {repeated[:50]!a} stands twice")
    return attributes


def _decoded(data: object) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError) as error:
        raise ValueError('"data" is neither an object nor base64 text') from error


def _checked(messages: Iterable[Message]) -> Iterator[Message]:
    for number, message in enumerate(messages, 1):
        why = pubsub_limits.fault(*message)
        if why:
            raise WarehouseError(f"message {number}: {why}")
        yield message


def _size(message: Message) -> int:
    return pubsub_limits.message_bytes(*message)
