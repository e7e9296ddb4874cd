"""The cycle: a batch is pulled, its messages become rows, the rows are loaded, and only then is it acknowledged.

Three batches are on their way at once: one is pulled and one is loaded, which is waiting for servers, while the
messages of the one between become rows.
"""

import gc
import os
import socket
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from telemetry_warehouse import schemas, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing.document import Row, Steps
from telemetry_warehouse.landing.load import batch_id, load
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.landing.pull import Batch, Leases, Subscription, pull_batch
from telemetry_warehouse.schemas import DocumentType, TypeName
from telemetry_warehouse.tables import Table

_LOADS_AT_ONCE = 4


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
        self.failed += sum(g.failed for g in rows.groups.values())
        self.size += batch.size
        self.cycles += 1
        self.drained = batch.drained


@dataclass
class _Group:
    """A row of monitoring.landing in the making."""

    received: int = 0
    landed: int = 0
    failed: int = 0
    size: int = 0
    oldest: str = "9999"


@dataclass
class Rows:
    """A batch as rows: lines by table, and what monitoring says of them by type and day."""

    lines: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    types: dict[str, DocumentType] = field(default_factory=dict)
    groups: dict[tuple[TypeName | None, str], _Group] = field(default_factory=lambda: defaultdict(_Group))


def now() -> datetime:
    return datetime.now(UTC)


def land(
    warehouse: Warehouse,
    *,
    until_empty: bool,
    types: Mapping[TypeName, DocumentType] | None = None,
    say: Callable[[str], None] | None = None,
    clock: Callable[[], datetime] = now,
) -> Totals:
    """Lands one batch, or with `until_empty` batches until nothing is left that was published before the call.

    `types` are those of the settings' directories unless given; `clock` (aware) decides what has expired. Where a
    load fails, its exception is raised and nothing of the batch is acknowledged: it comes again.
    """
    if types is None:
        types = schemas.load(warehouse.settings.schemas)
    lander = Lander(warehouse, types, clock)
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
                rows = lander.rows(batch)
                if loading is not None:
                    loading.result()
                loading = loader.submit(finish, batch, rows)
                if last:
                    loading.result()
                    return totals
        finally:
            stop.set()


class Lander:
    """Turns batches into committed rows of live, errors and monitoring tables; knows no subscription."""

    def __init__(self, warehouse: Warehouse, types: Mapping[TypeName, DocumentType], clock: Callable[[], datetime]):
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._warehouse = warehouse
        self._types = types
        self._steps = Steps(types)
        self._clock = clock
        self._ready: dict[str, Table] = {}

    def rows(self, batch: Batch) -> Rows:
        """The batch's messages as rows."""
        with _without_garbage_collection():
            return self._rows(batch.messages)

    def load(self, batch: Batch, rows: Rows) -> None:
        """Returns when every row of the batch is committed, and what monitoring says of it."""
        if not batch.messages and not batch.drained:
            return
        identity = batch_id(batch.messages) if batch.messages else uuid.uuid4().hex
        destinations = [(self._table(id, rows.types.get(id)), lines) for id, lines in rows.lines.items()]
        with ThreadPoolExecutor(_LOADS_AT_ONCE, "load") as pool:
            jobs = [pool.submit(load, self._warehouse, table, lines, identity) for table, lines in destinations]
        for job in jobs:
            job.result()
        monitoring = self._table("monitoring.landing")
        load(self._warehouse, monitoring, self._monitoring(batch, rows, identity), identity)

    def _rows(self, messages: list[Message]) -> Rows:
        rows = Rows()
        moment = self._clock()
        for message in messages:
            row = self._steps.row(message, moment)
            rows.lines[row.table].append(row.line)
            if row.document_type is not None:
                rows.types[row.table] = row.document_type
            group = rows.groups[self._known(row), row.submission_timestamp[:10]]
            group.received += 1
            group.landed += row.document_type is not None
            group.failed += row.document_type is None
            group.size += len(message.data)
            group.oldest = min(group.oldest, row.submission_timestamp)
        return rows

    def _known(self, row: Row) -> TypeName | None:
        # Monitoring must not grow with every name that somebody makes up.
        return row.name if row.name in self._types else None

    def _table(self, table_id: str, document_type: DocumentType | None = None) -> Table:
        """The table's definition; makes the table, or its new columns, before the first load of this lander."""
        if table_id not in self._ready:
            dataset, name = table_id.split(".")
            if document_type is not None:
                table = document_type.live
                self._warehouse.ensure(document_type.stable)
            else:
                table = tables.from_file(dataset, name, "errors" if name == "pings" else None)
            self._warehouse.ensure(table)
            self._ready[table_id] = table
        return self._ready[table_id]

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
                "failed": group.failed,
                "bytes": group.size,
                "max_lag_seconds": int((ended_at - datetime.fromisoformat(group.oldest)).total_seconds()),
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
