"""What is true of a simulation: counted while its messages are sent, by rules of its own.

Nothing here is shared with the pipeline: plain sets and dates over what was sent, so that a test which compares the
warehouse with these files compares two computations. The files, in the folder `truth`:

documents.ndjson  what the stable table must hold: {"submission_date", "document_id", "client_id"}, ids in lower case
errors.csv        submission_date, kind (how it was broken), error_type (the landing step that refuses it), messages
usage.csv         submission_date, dau, wau, mau: clients with a document in the last 1, 7 and 28 days
messages.csv      submission_date, received = malformed + landed, landed = automation + duplicates + documents
planted.csv       probe, key, day, kind, size: the changes in the histograms
"""

import csv
import datetime
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from telemetry_warehouse.simulate.probes import Change
from telemetry_warehouse.simulate.transmission import MALFORMED, Receipt

LOOK_BACK_DAYS = 2
_MONTH_DAYS = 28

MESSAGE_COUNTS = ("received", "malformed", "landed", "automation", "duplicates", "documents")


@dataclass(frozen=True)
class Truth:
    """The truth of one simulation: rows as in the files named above; the documents stay on disk."""

    folder: Path
    messages: list[dict]
    errors: list[dict]
    usage: list[dict]
    planted: list[Change]

    @property
    def totals(self) -> dict[str, int]:
        """The sums over all days of the columns of messages.csv."""
        return {name: sum(row[name] for row in self.messages) for name in MESSAGE_COUNTS}

    def documents(self) -> Iterator[dict]:
        with open(self.folder / "documents.ndjson", "rb") as lines:
            yield from map(orjson.loads, lines)


class TruthWriter:
    """Takes every receipt in order, a day at a time; writes the documents at once and the other files at the end."""

    def __init__(self, truth: Truth, documents: BinaryIO):
        self.truth = truth
        self._documents = documents
        self._candidates: deque[set[str]] = deque(maxlen=LOOK_BACK_DAYS)  # document ids of the days before
        self._active: deque[set[str]] = deque(maxlen=_MONTH_DAYS)  # clients of the last 28 days

    def day(self, day: datetime.date, receipts: Iterator[Receipt]) -> Iterator[Receipt]:
        """Passes a day's receipts through, counting them."""
        date = day.isoformat()
        fates: Counter[str] = Counter()
        candidates: set[str] = set()
        clients: set[str] = set()
        documents = 0
        for receipt in receipts:
            fates[receipt.fate] += 1
            if receipt.fate == "good":
                known = receipt.document_id in candidates or any(receipt.document_id in d for d in self._candidates)
                candidates.add(receipt.document_id)
                if not known:
                    documents += 1
                    clients.add(receipt.client_id)
                    self._write_document(date, receipt)
            yield receipt
        self._candidates.append(candidates)
        self._active.append(clients)
        self._count(date, fates, documents)

    def finish(self) -> None:
        """Writes the files that have a row per day or less."""
        truth = self.truth
        for name in ("messages", "errors", "usage"):
            _write_csv(truth.folder / f"{name}.csv", getattr(truth, name))
        planted = [vars(c) | {"day": c.day.isoformat()} for c in truth.planted]
        _write_csv(truth.folder / "planted.csv", planted, ("probe", "key", "day", "kind", "size"))

    def _write_document(self, date: str, receipt: Receipt) -> None:
        row = {"submission_date": date, "document_id": receipt.document_id, "client_id": receipt.client_id}
        self._documents.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def _count(self, date: str, fates: Counter[str], documents: int) -> None:
        malformed = {kind: fates[kind] for kind in MALFORMED if fates[kind]}
        for kind, messages in malformed.items():
            error = {"submission_date": date, "kind": kind, "error_type": MALFORMED[kind].step, "messages": messages}
            self.truth.errors.append(error)
        counts = {
            "received": fates.total(),
            "malformed": sum(malformed.values()),
            "landed": fates["good"] + fates["automation"],
            "automation": fates["automation"],
            "duplicates": fates["good"] - documents,
            "documents": documents,
        }
        self.truth.messages.append({"submission_date": date} | counts)
        active = list(self._active)
        dau, wau, mau = (len(set().union(*active[-days:])) for days in (1, 7, _MONTH_DAYS))
        self.truth.usage.append({"submission_date": date, "dau": dau, "wau": wau, "mau": mau})


def _write_csv(path: Path, rows: list[dict], columns: tuple[str, ...] | None = None) -> None:
    columns = columns or tuple(rows[0] if rows else ())
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
