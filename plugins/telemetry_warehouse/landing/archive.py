"""Messages as received, many to a row and compressed, for as long as the settings say.

A row of raw.batches holds messages of one batch and submission date: gzip of NDJSON, a line each. Of a message whose
schema has sensitive fields, what is kept is the document without them.
"""

import base64
import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from telemetry_warehouse import tables
from telemetry_warehouse.landing.document import Row
from telemetry_warehouse.landing.message import Message, known_attributes
from telemetry_warehouse.portions import portions
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.tables import Table

TABLE = "raw.batches"
# Before compression; a row of BigQuery may have 100 MB.
_MAX_BYTES = 16_000_000


def table(settings: Settings) -> Table:
    return replace(tables.from_file("raw", "batches"), retention_days=settings.raw_days)


def rows(pairs: Iterable[tuple[Row, Message]], cycle_id: str, now: datetime) -> list[bytes]:
    """Messages with their rows → NDJSON lines for raw.batches."""
    by_day: dict[str, list[bytes]] = defaultdict(list)
    for row, message in pairs:
        by_day[row.submission_timestamp[:10]].append(_line(row, message))
    return [
        orjson.dumps(
            {
                "landed_date": now.date(),
                "submission_date": day,
                "cycle_id": cycle_id,
                "messages": len(lines),
                "payload": base64.b64encode(gzip.compress(b"".join(lines), compresslevel=1)).decode(),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for day, all_lines in sorted(by_day.items())
        for lines in portions(all_lines, len, _MAX_BYTES)
    ]


def messages(payload: bytes) -> Iterator[Message]:
    """The messages of a row of raw.batches."""
    for line in gzip.decompress(payload).splitlines():
        kept = orjson.loads(line)
        yield Message(
            data=kept["text"].encode() if "text" in kept else base64.b64decode(kept["base64"]),
            attributes=kept["attributes"],
            message_id=kept["message_id"],
            published=datetime.fromisoformat(kept["published"]).astimezone(UTC),
            redaction=kept["redaction"],
            landed=kept["landed"],
        )


def _line(row: Row, message: Message) -> bytes:
    kept: dict = {
        "message_id": message.message_id,
        "published": message.published,
        "attributes": known_attributes(message.attributes),
        "redaction": row.redaction,
        "landed": row.document_type is not None,
    }
    try:
        # Text compresses better than base64 of it, and most messages are text.
        kept["text"] = row.data.decode()
    except UnicodeDecodeError:
        kept["base64"] = base64.b64encode(row.data).decode()
    return orjson.dumps(kept) + b"\n"
