"""The cycle: a batch is pulled, its messages become rows, the rows are loaded, and only then is it acknowledged.

Three batches are on their way at once: one is pulled and one is loaded, which is waiting for servers, while the
messages of the one between become rows.
"""

import gc
import os
import socket
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from google.api_core.exceptions import BadRequest

from telemetry_warehouse import schemas, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import one_line
from telemetry_warehouse.landing import archive
from telemetry_warehouse.landing.document import Row, Steps
from telemetry_warehouse.landing.load import batch_id, load
from telemetry_warehouse.landing.message import Message, Rejected
from telemetry_warehouse.landing.pull import Batch, Leases, Subscription, pull_batch
from telemetry_warehouse.schemas import TypeName
from telemetry_warehouse.tables import Table

# What the rows of one load may take in memory; the longest document makes it a quarter more.
MAX_ROWS_BYTES = 32_000_000
# Jobs that may be spent on finding rows that BigQuery refuses: a dozen such rows in a full batch.
MAX_PROBES = 200
_LOADS_AT_ONCE = 4
_ERRORS = "_errors.pings"


@dataclass
class Totals:
    """What a call of `land` did. `drained`: in the end nothing was left that had been published before it began."""

    received: int = 0
    landed: int = 0
    failed: int = 0
    size: int = 0
    cycles: int = 0
    drained: bool = False

    def add(self, batch: Batch, rows: "Rows") -> None:
        self.received += len(batch.messages)
        self.landed += sum(g.landed for g in rows.groups.values())
        self.failed += sum(g.failures.total() for g in rows.groups.values())
        self.size += batch.size
        self.cycles += 1
        self.drained = batch.drained


@dataclass
class _Group:
    """A row of monitoring.landing in the making."""

    received: int = 0
    landed: int = 0
    size: int = 0
    oldest: str = "9999"
    published: datetime = datetime.max.replace(tzinfo=UTC)
    failures: Counter = field(default_factory=Counter)


@dataclass
class Rows:
    """A batch as rows: by table, each with its message, and what monitoring says of them by type and day.

    `replay` names a replay: its messages were received before, and are in the archive, or in errors, already.
    """

    steps: Steps
    replay: str = ""
    by_table: dict[str, list[tuple[Row, Message]]] = field(default_factory=lambda: defaultdict(list))
    groups: dict[tuple[TypeName | None, str], _Group] = field(default_factory=lambda: defaultdict(_Group))
    size: int = 0

    def add(self, row: Row, message: Message) -> None:
        self._place(row, message)
        group = self._group(row)
        group.received += not self.replay
        group.size += len(message.data)
        group.oldest = min(group.oldest, row.submission_timestamp)
        group.published = min(group.published, message.published)
        if row.error_type is None:
            group.landed += 1
        else:
            group.failures[row.error_type] += 1

    def reject(self, row: Row, message: Message, why: str, moment: datetime) -> None:
        """Makes a row of live, which BigQuery refuses, an error row."""
        rejection = Rejected("load", f"BigQuery refuses the row: {why}")
        received = row.submission_timestamp
        self._place(self.steps.error(message, received, rejection, moment, row.data, row.redaction), message)
        group = self._group(row)
        group.landed -= 1
        group.failures[rejection.step] += 1

    def _place(self, row: Row, message: Message) -> None:
        self.by_table[row.table].append((row, message))
        self.size += len(row.line)

    def _group(self, row: Row) -> _Group:
        # Monitoring must not grow with every name that somebody makes up.
        return self.groups[row.name if self.steps.knows(row.name) else None, row.submission_timestamp[:10]]


@dataclass
class _Probes:
    """Jobs that may still be spent on finding the rows that BigQuery refuses, and whether it has taken any."""

    left: int = MAX_PROBES
    taken: bool = False


def now() -> datetime:
    return datetime.now(UTC)


def land(
    warehouse: Warehouse,
    *,
    until_empty: bool,
    say: Callable[[str], None] | None = None,
    clock: Callable[[], datetime] = now,
) -> Totals:
    """Lands one batch, or with `until_empty` batches until nothing is left that was published before the call.

    A schema that is added or changed meanwhile holds from the next batch on; `clock` (aware) decides what has expired.
    Where a load fails, its exception is raised and nothing of the batch is acknowledged: it comes again.
    """
    lander = Lander(warehouse, clock)
    subscription = Subscription(warehouse.settings)
    totals = Totals()
    began = now()
    stop = threading.Event()

    def finish(batch: Batch, rows: Rows) -> None:
        lander.load(batch, rows)
        subscription.acknowledge(m.ack_id for m in batch.messages)
        leases.remove(batch.messages)
        totals.add(batch, rows)
        if say and batch.messages:
            say(f"received {totals.received:,}, landed {totals.landed:,}, to errors {totals.failed:,}")

    with (
        Leases(subscription) as leases,
        ThreadPoolExecutor(1, "pull") as puller,
        ThreadPoolExecutor(1, "load") as loader,
    ):
        try:
            pulling = puller.submit(pull_batch, subscription, leases, began, stop)
            loading = None
            while True:
                batch = pulling.result()
                last = batch.drained or not until_empty
                if not last:
                    pulling = puller.submit(pull_batch, subscription, leases, began, stop)
                lander.read_schemas()
                for part, rows in lander.parts(batch):
                    if loading is not None:
                        loading.result()
                    loading = loader.submit(finish, part, rows)
                if last:
                    loading.result()
                    return totals
        finally:
            stop.set()


class Lander:
    """Turns batches into committed rows of live, errors, raw and monitoring tables; knows no subscription."""

    def __init__(self, warehouse: Warehouse, clock: Callable[[], datetime] = now):
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._warehouse = warehouse
        self._clock = clock
        self._read: tuple | None = None
        self.read_schemas()

    def read_schemas(self) -> None:
        """Takes up what has changed in the schema directories; a type that is broken meanwhile stops no other."""
        settings = self._warehouse.settings
        found = schemas.fingerprint(settings.schemas)
        if found != self._read:
            self.steps = Steps(schemas.load(settings.schemas), settings.pii_key)
            # Live tables that have the columns of these schemas.
            self._ready: set[str] = set()
            self._read = found

    def parts(self, batch: Batch) -> Iterator[tuple[Batch, Rows]]:
        """The batch as rows, in as many parts as memory asks for: a compressed document may be long."""
        steps, moment = self.steps, self._clock()
        part, rows = Batch(batch.started_at), Rows(steps)
        with _without_garbage_collection():
            for message in batch.messages:
                if rows.size >= MAX_ROWS_BYTES:
                    yield part, rows
                    part, rows = Batch(now()), Rows(steps)
                row = self.row(message, moment, steps)
                part.messages.append(message)
                part.size += len(message.data)
                rows.add(row, message)
        part.drained = batch.drained
        yield part, rows

    def row(self, message: Message, moment: datetime, steps: Steps) -> Row:
        """The message's row. A table that cannot take its type's columns makes it an error row, and stops no other."""
        row = steps.row(message, moment)
        if row.document_type is not None and row.table not in self._ready:
            try:
                type_tables.ensure(self._warehouse, row.document_type)
            except type_tables.REFUSALS as refusal:
                steps.refuse(row.name, one_line(refusal))
                return steps.row(message, moment)
            self._ready.add(row.table)
        return row

    def load(self, batch: Batch, rows: Rows) -> list[Row]:
        """Returns when every row of the batch is committed, and what monitoring says of it.

        A row that BigQuery refuses becomes an error row; returns those.
        """
        if not batch.messages and not batch.drained:
            return []
        identity = batch_id(batch.messages) + rows.replay if batch.messages else uuid.uuid4().hex
        with ThreadPoolExecutor(_LOADS_AT_ONCE, "load") as pool:
            archiving = pool.submit(self._archive, rows, identity)
            loading = [
                pool.submit(self._load_table, pairs[0][0].document_type.live, pairs, rows.replay, _Probes())
                for table, pairs in rows.by_table.items()
                if not table.endswith(_ERRORS)
            ]
            refused = [pair for job in loading for pair in job.result()]
            archiving.result()
        for row, message, why in refused:
            rows.reject(row, message, why, self._clock())
        for table, pairs in rows.by_table.items():
            if table.endswith(_ERRORS):
                load(self._warehouse, self._table(table), [row.line for row, _ in pairs], batch_id(m for _, m in pairs))
        load(self._warehouse, self._table("monitoring.landing"), self._monitoring(batch, rows, identity), identity)
        return [row for row, _, _ in refused]

    def _load_table(
        self, table: Table, pairs: list[tuple[Row, Message]], replay: str, probes: "_Probes"
    ) -> list[tuple[Row, Message, str]]:
        """Loads rows; returns those that BigQuery refuses, found by halving, with what it says of them.

        Where MAX_PROBES jobs do not find them all, the rest counts as refused if any row was taken; if none was, the
        fault is not in the rows, and BigQuery's exception is raised.
        """
        # A job is named after its own messages: a batch that comes again may be halved otherwise.
        identity = batch_id(message for _, message in pairs) + replay
        try:
            load(self._warehouse, table, [row.line for row, _ in pairs], identity)
            probes.taken = True
            return []
        except BadRequest as error:
            probes.left -= 1
            if probes.left < 0 and not probes.taken:
                raise
            if len(pairs) == 1 or probes.left < 0:
                why = one_line(error.message)
                return [(*pair, why) for pair in pairs]
            middle = len(pairs) // 2
            halves = pairs[:middle], pairs[middle:]
            return [pair for half in halves for pair in self._load_table(table, half, replay, probes)]

    def _archive(self, rows: Rows, identity: str) -> None:
        pairs = [pair for pairs in rows.by_table.values() for pair in pairs]
        if self._warehouse.settings.raw_days and pairs and not rows.replay:
            load(self._warehouse, self._table(archive.TABLE), archive.rows(pairs, identity, self._clock()), identity)

    def _table(self, table_id: str) -> Table:
        """The definition of a table that is not a document type's; makes the table where it is missing."""
        dataset, name = table_id.split(".")
        if table_id == archive.TABLE:
            table = archive.table(self._warehouse.settings)
        else:
            table = tables.from_file(dataset, name, "errors" if table_id.endswith(_ERRORS) else None)
        self._warehouse.ensure(table)
        return table

    def _monitoring(self, batch: Batch, rows: Rows, identity: str) -> list[bytes]:
        ended_at = now()
        cycle = {
            "cycle_id": identity,
            "landed_date": ended_at.date(),
            "started_at": batch.started_at,
            "ended_at": ended_at,
            "lander": self.name,
            "drained": batch.drained,
        }
        found = [
            {
                "document_namespace": name and name.namespace,
                "document_type": name and name.type,
                "document_version": name and name.version,
                "submission_date": day,
                "received": group.received,
                "landed": group.landed,
                "failed": group.failures.total(),
                "failures": [{"error_type": step, "messages": n} for step, n in sorted(group.failures.items()) if n],
                "bytes": group.size,
                "max_lag_seconds": int((ended_at - datetime.fromisoformat(group.oldest)).total_seconds()),
                "max_wait_seconds": int((ended_at - group.published).total_seconds()),
            }
            for (name, day), group in rows.groups.items()
        ]
        nothing = {"received": 0, "landed": 0, "failed": 0, "bytes": 0}
        return [orjson.dumps(cycle | row, option=orjson.OPT_APPEND_NEWLINE) for row in found or [nothing]]


@contextmanager
def _without_garbage_collection():
    """Documents have no cycles, and looking for some in them takes a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
