"""Load jobs that can be sent again: their ids come from the batch, so that BigQuery knows a batch it has loaded."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from itertools import count

from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError

from telemetry_warehouse.bigquery import Warehouse, load_config, written
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.tables import Table

ATTEMPTS = 3


def batch_id(messages: Iterable[Message]) -> str:
    """Names a set of messages. Message ids alone would not do: a server that starts anew counts from 1 again."""
    names = sorted(f"{m.message_id}@{m.published.isoformat()}" for m in messages)
    return hashlib.sha1("\n".join(names).encode(), usedforsecurity=False).hexdigest()


def load(warehouse: Warehouse, table: Table, lines: Sequence[bytes], batch: str) -> None:
    """Appends NDJSON lines to a table, once however often it is called for the same batch; returns when committed.

    A job of the batch that exists already is waited for; one that failed is followed by the next in number. Raises
    google.api_core exceptions: BadRequest at once where BigQuery refuses the lines, others after ATTEMPTS jobs; and
    WarehouseError where a job wrote another number of rows than it was sent.
    """
    config = load_config(table)
    config.labels = {"stage": "land", "table": table.id.replace(".", "-").lower()[:63]}
    sent = 0
    for attempt in count(1):
        found = False
        job_id = f"land-{table.id.replace('.', '-')}-{batch}-{attempt}"
        try:
            job = warehouse.client.load_table_from_file(
                io.BytesIO(b"".join(lines)), table.id, job_id=job_id, job_config=config, rewind=True
            )
            sent += 1
        except Conflict:
            job, found = warehouse.client.get_job(job_id), True
        try:
            # What another call has sent may be other rows of the same messages: the schemas may have changed since.
            if found:
                job.result()
            else:
                written(job, table, len(lines))
            return
        except GoogleAPICallError as error:
            # Only a job that ended as failed has loaded nothing; of any other, nobody knows what it will still do.
            refused = isinstance(error, BadRequest) and not found
            if job.error_result is None or sent == ATTEMPTS or refused:
                raise
