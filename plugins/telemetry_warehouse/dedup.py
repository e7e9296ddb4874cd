"""Deduplication as SQL: the documents of some days, and how far apart their duplicates were received."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse, render
from telemetry_warehouse.lineage import LOOK_BACK_DAYS
from telemetry_warehouse.tables import Table

# How far back duplicates are looked for, to see whether a look-back would find more.
DISTANCE_DAYS = 14


def selects(live: str, start: date, end: date, slices: int = 1, look_back: int = LOOK_BACK_DAYS) -> list[str]:
    """Queries on `live`, a table as SQL names it, that together give the documents of start..end, each of them once.

    A slice has its share of the document ids. All messages of a document are in one slice, so that the number of slices
    never shows in the result.
    """
    return [
        render("dedup", live=live, start_date=start, end_date=end, look_back=look_back, slice=part)
        for part in _slices(slices)
    ]


def record_distances(warehouse: Warehouse, live: Table, stable: Table, start: date, end: date) -> None:
    """Adds to monitoring.duplicates what live says of start..end: a row for each day and distance.

    Days are left out of which live has lost what came up to DISTANCE_DAYS before: they were counted when it was there.
    """
    # The gate reads it also where there is nothing to count.
    table = tables.from_file("monitoring", "duplicates")
    warehouse.ensure(table)
    if live.retention_days is not None:
        oldest_kept = datetime.now(UTC).date() - timedelta(days=live.retention_days - 1)
        start = max(start, oldest_kept + timedelta(days=DISTANCE_DAYS))
    if start > end:
        return
    found: Counter[tuple[date, int]] = Counter()
    for part in _slices(warehouse.settings.dedup_slices):
        days = {"start_date": start, "end_date": end, "most_days": DISTANCE_DAYS}
        for row in warehouse.rows(render("duplicates", live=tables.quoted(live.id), slice=part, **days)):
            found[row["submission_date"], row["distance_days"]] += row["messages"]
    now = datetime.now(UTC)
    warehouse.load_rows(
        table,
        (
            {
                "submission_date": start + timedelta(days=day),
                "table_name": stable.id,
                "distance_days": distance,
                "messages": found[start + timedelta(days=day), distance],
                "counted_at": now,
            }
            for day in range((end - start).days + 1)
            for distance in range(DISTANCE_DAYS + 1)
        ),
    )


def _slices(count: int) -> list[str]:
    if count == 1:
        return ["TRUE"]
    digest = "CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5(document_id)), 1, 6)) AS INT64)"
    return [f"MOD({digest}, {count}) = {number}" for number in range(count)]
