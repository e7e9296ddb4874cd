"""Pub/Sub's limits on what is published, in one place: `publish` keeps to them and the local broker enforces them.

From https://cloud.google.com/pubsub/quotas#resource_limits and the reference of PubsubMessage. Pub/Sub refuses a whole
request for one message that breaks them.
"""

from collections.abc import Mapping

MAX_REQUEST_MESSAGES = 1000
MAX_REQUEST_BYTES = 10_000_000
MAX_DATA_BYTES = 10_000_000
MAX_ATTRIBUTES = 100
MAX_KEY_BYTES = 256
MAX_VALUE_BYTES = 1024
RESERVED_PREFIX = "goog"
# Of a request to acknowledge messages or to change their deadlines.
MAX_ACK_REQUEST_BYTES = 512 * 1024

# What a message or an attribute may need in a request beside its own bytes: tags and lengths.
_FRAMING_BYTES = 16
# What the topic's name and the request itself may need.
_REQUEST_ROOM = 1024
MAX_MESSAGES_BYTES = MAX_REQUEST_BYTES - _REQUEST_ROOM


def message_bytes(data: bytes, attributes: Mapping[str, str]) -> int:
    """The most that a message takes of a request's MAX_MESSAGES_BYTES."""
    size = len(data) + _FRAMING_BYTES
    for key, value in attributes.items():
        size += len(key.encode()) + len(value.encode()) + _FRAMING_BYTES
    return size


def fault(data: bytes, attributes: Mapping[str, str]) -> str | None:
    """Why Pub/Sub refuses a message, or None where it takes it."""
    if not data and not attributes:
        return "no data and no attributes, which Pub/Sub refuses"
    if len(data) > MAX_DATA_BYTES:
        return f"{len(data):,} bytes of data, and Pub/Sub takes {MAX_DATA_BYTES:,}; send it as gzip"
    if len(attributes) > MAX_ATTRIBUTES:
        return f"{len(attributes)} attributes, and Pub/Sub takes {MAX_ATTRIBUTES}"
    for key, value in attributes.items():
        try:
            key_bytes, value_bytes = len(key.encode()), len(value.encode())
        except UnicodeEncodeError:
            return f"the attribute {key[:50]!a} has half a surrogate pair, which is not text"
        if not key:
            return "an attribute without a name, which Pub/Sub refuses"
        if key.startswith(RESERVED_PREFIX):
            return f"the attribute {key[:50]!r} begins with {RESERVED_PREFIX!r}, which Pub/Sub keeps for itself"
        if key_bytes > MAX_KEY_BYTES:
            return f"the attribute {key[:50]!r}… has a name of {key_bytes:,} bytes, and Pub/Sub takes {MAX_KEY_BYTES}"
        if value_bytes > MAX_VALUE_BYTES:
            return f"the attribute {key!r} has {value_bytes:,} bytes, and Pub/Sub takes {MAX_VALUE_BYTES:,}; shorten it"
    if message_bytes(data, attributes) > MAX_MESSAGES_BYTES:
        return f"with its attributes it does not fit into a request of {MAX_REQUEST_BYTES:,} bytes; send it as gzip"
    return None
