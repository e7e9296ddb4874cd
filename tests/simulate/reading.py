"""A second reading of simulated messages, by rules written down here alone: what each message is, and what is true."""

import base64
import gzip
import json
import re
import zlib
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import jsonschema_rs

from telemetry_warehouse.settings import ROOT

VALIDATOR = jsonschema_rs.validator_for(json.loads((ROOT / "schemas/telemetry/main/main.4.schema.json").read_text()))
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Message(NamedTuple):
    """`verdict` is "good", "automation" or the landing step that refuses the message."""

    data: bytes
    attributes: dict
    verdict: str
    document: dict | None = None
    document_id: str | None = None

    @property
    def day(self) -> date:
        return date.fromisoformat(self.attributes["submission_timestamp"][:10])

    @property
    def client_id(self) -> str:
        return self.document["clientId"].lower()


def read_lines(path: Path) -> list[Message]:
    """The messages of a file as `./warehouse publish` understands it."""
    messages = []
    for line in path.read_bytes().splitlines():
        row = json.loads(line)
        assert row.keys() == {"attributes", "data"}
        data = row["data"]
        is_text = isinstance(data, str)
        data = base64.b64decode(data, validate=True) if is_text else json.dumps(data, separators=(",", ":")).encode()
        messages.append(read(data, row["attributes"]))
    return messages


def read(data: bytes, attributes: dict) -> Message:
    text = data
    if data[:2] == b"\x1f\x8b":
        try:
            text = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return Message(data, attributes, "decompress")
    try:
        document = json.loads(text.decode("utf-8"))
    except ValueError:
        return Message(data, attributes, "parse")
    if not isinstance(document, dict):
        return Message(data, attributes, "parse")
    parts = attributes.get("uri", "").split("/")
    if len(parts) < 6 or parts[:2] != ["", "submit"] or not UUID.fullmatch(parts[5]):
        return Message(data, attributes, "uri", document)
    if parts[2:5] != ["telemetry", "main", "4"] or not VALIDATOR.is_valid(document):
        return Message(data, attributes, "schema", document)
    tags = [tag.strip() for tag in attributes.get("x_source_tags", "").split(",")]
    return Message(data, attributes, "automation" if "automation" in tags else "good", document, parts[5].lower())


def documents(messages: list[Message], look_back: int = 2) -> dict[tuple[str, str], str]:
    """{(submission_date, document_id): client_id} of what the stable table must hold."""
    days_of: dict[str, set[date]] = {}
    client_of = {}
    for message in messages:
        if message.verdict == "good":
            days_of.setdefault(message.document_id, set()).add(message.day)
            client_of[message.document_id] = message.client_id
    return {
        (day.isoformat(), document_id): client_of[document_id]
        for document_id, days in days_of.items()
        for day in days
        if not any(day - timedelta(days=n) in days for n in range(1, look_back + 1))
    }


def users(kept: dict[tuple[str, str], str], day: str, window: int) -> int:
    """Clients with a document on the day or the window - 1 days before it."""
    first = (date.fromisoformat(day) - timedelta(days=window - 1)).isoformat()
    return len({client for (date_, _), client in kept.items() if first <= date_ <= day})


def errors(messages: list[Message]) -> Counter:
    """Messages by (submission_date, step that refuses them)."""
    return Counter((m.day.isoformat(), m.verdict) for m in messages if m.verdict not in ("good", "automation"))
