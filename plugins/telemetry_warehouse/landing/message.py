"""A message as it came, and the exception that turns it into an error row."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# What a partition of BigQuery can be, for a column of timestamps.
_FIRST, _END = datetime(1960, 1, 1, tzinfo=UTC), datetime(2160, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


VALID = "valid"


@dataclass(slots=True)
class Message:
    """One Pub/Sub message; `published` is aware and UTC.

    Of one that we have kept: `landed` says whether it landed then, and `redaction`, where its schema has sensitive
    fields, is the fingerprint of the Redaction that it went through. A verdict follows that nobody can reach again from
    what was kept: VALID (with its sensitive fields it was as its schema says), or the step that refused it for them.
    """

    data: bytes
    attributes: dict[str, str]
    message_id: str
    published: datetime
    ack_id: str = ""
    redaction: str | None = None
    landed: bool = False

    @property
    def fingerprint(self) -> str:
        return (self.redaction or "").partition(" ")[0]

    @property
    def verdict(self) -> str:
        return (self.redaction or "").partition(" ")[2]


# What a table may hold of a message's attributes is this list: addresses come under too many names to leave them out.
_ATTRIBUTES = (
    "date",
    "geo_city",
    "geo_country",
    "geo_subdivision1",
    "submission_timestamp",
    "uri",
    "user_agent",
    "x_debug_id",
    "x_source_tags",
)


def known_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """What of a message's attributes may be written anywhere, in key order."""
    return {name: attributes[name] for name in _ATTRIBUTES if name in attributes}


class Rejected(Exception):
    """A message that cannot land: `step` is the step that says so, `cause` the exception behind it."""

    def __init__(self, step: str, message: str, cause: Exception | None = None):
        super().__init__(message)
        self.step = step
        self.cause = cause


def as_uuid(text: object) -> str | None:
    """A UUID in lower case, or None where it is not one."""
    if type(text) is not str or len(text) != 36:
        return None
    lower = text.lower()
    return lower if _UUID.fullmatch(lower) else None


def timestamp(text: str) -> str:
    """An RFC 3339 timestamp in BigQuery's form, in UTC and microseconds; its first ten characters are the day.

    A leap second, which RFC 3339 has at 23:59:60 UTC and BigQuery nowhere, is the first instant of the next minute,
    with or without a fraction. Raises ValueError for anything else, and for a year that no partition can have.
    """
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(f"{text[:100]!r} is not an RFC 3339 timestamp")
    minute, second, _, offset = match.groups()
    if second != "60":
        return format_timestamp(datetime.fromisoformat(text.upper()))
    before = datetime.fromisoformat(f"{minute}59{offset}".upper())
    if not format_timestamp(before).endswith("T23:59:59Z"):
        raise ValueError(f"{text[:100]!r} has a 60th second, which there is at 23:59:60 UTC alone")
    return format_timestamp(before + timedelta(seconds=1))


def format_timestamp(moment: datetime) -> str:
    """An aware datetime as `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`."""
    if not _FIRST <= moment < _END:
        raise ValueError(f"{moment.isoformat()} is not between {_FIRST.year} and {_END.year}")
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"
