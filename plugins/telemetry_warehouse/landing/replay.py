"""Messages that are in the warehouse already go through the steps again: error rows, or a day of the raw archive.

What lands keeps its submission_timestamp. What has landed before lands twice, and dedup removes it; so a replay can be
run again at any time. What still does not land stays where it is, once.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import archive, errors
from telemetry_warehouse.landing.lander import MAX_ROWS_BYTES, Lander, Rows, now
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.landing.pull import MAX_MESSAGES, Batch
from telemetry_warehouse.schemas import TypeName

_PAGE = 1000


@dataclass
class Replayed:
    """What a replay did: messages read, those landed by (table, day), and those that still fail by step."""

    read: int = 0
    landed: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)

    @property
    def days(self) -> list[date]:
        return sorted({date.fromisoformat(day) for (_, day), landed in self.landed.items() if landed})


def replay_errors(
    warehouse: Warehouse,
    name: TypeName | None = None,
    day: date | None = None,
    step: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Replayed:
    """Replays error rows: all, or those of a type, of a submission day, of a step (their error_type)."""
    return _replay(warehouse, _error_messages(warehouse, name, day, step), say)


def replay_raw(warehouse: Warehouse, day: date, say: Callable[[str], None] | None = None) -> Replayed:
    """Replays every message of a submission day that the raw archive holds."""
    return _replay(warehouse, _raw_messages(warehouse, day), say)


def _error_messages(warehouse, name, day, step) -> Iterator[Message]:
    conditions = ["submission_timestamp >= TIMESTAMP '1960-01-01'"]
    parameters: dict = {}
    if name is not None:
        conditions.append("document_namespace = @namespace AND document_type = @type AND document_version = @version")
        parameters |= {"namespace": name.namespace, "type": name.type, "version": name.version}
    if day is not None:
        conditions.append("DATE(submission_timestamp) = @day")
        parameters["day"] = day
    if step is not None:
        conditions.append("error_type = @step")
        parameters["step"] = step
    for table_id in errors.table_ids(warehouse):
        for number, row in enumerate(
            warehouse.query(
                f"SELECT submission_timestamp, attributes, payload, redaction FROM {tables.quoted(table_id)}"
                f" WHERE {' AND '.join(conditions)}",
                parameters,
                page_size=_PAGE,
            )
        ):
            yield Message(
                data=row["payload"],
                attributes={entry["key"]: entry["value"] for entry in row["attributes"]},
                message_id=f"{table_id} {number}",
                published=row["submission_timestamp"],
                redaction=row["redaction"],
            )


def _raw_messages(warehouse, day: date) -> Iterator[Message]:
    if not warehouse.exists(archive.TABLE):
        return
    for row in warehouse.query(
        f"SELECT payload FROM {archive.TABLE} WHERE landed_date >= @first AND submission_date = @day",
        # A day's messages land on it or later; the day before, for servers whose clocks differ.
        {"first": day - timedelta(days=1), "day": day},
        page_size=1,
    ):
        yield from archive.messages(row["payload"])


def _replay(warehouse: Warehouse, messages: Iterable[Message], say) -> Replayed:
    lander = Lander(warehouse)
    replayed = Replayed()
    name = f"-{uuid.uuid4().hex[:12]}"
    batch, rows = Batch(now()), Rows(lander.steps, name)

    def load() -> None:
        nonlocal batch, rows
        if batch.messages:
            for row in lander.load(batch, rows):
                replayed.landed[row.table, row.submission_timestamp[:10]] -= 1
                replayed.failed["load"] += 1
            if say:
                say(f"read {replayed.read:,}, landed {replayed.landed.total():,}")
        batch, rows = Batch(now()), Rows(lander.steps, name)

    for message in messages:
        replayed.read += 1
        row = lander.row(message, now(), lander.steps)
        if row.document_type is None:
            replayed.failed[row.error_type] += 1
            continue
        batch.messages.append(message)
        rows.add(row, message)
        replayed.landed[row.table, row.submission_timestamp[:10]] += 1
        if len(batch.messages) >= MAX_MESSAGES or rows.size >= MAX_ROWS_BYTES:
            load()
    load()
    return replayed
