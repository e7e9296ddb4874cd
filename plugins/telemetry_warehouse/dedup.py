"""The SQL of deduplication: the documents of some days, and how far apart their duplicates were."""

from datetime import date

from telemetry_warehouse.bigquery import render
from telemetry_warehouse.lineage import LOOK_BACK_DAYS

# How far back duplicates are looked for, to see whether a look-back would find more.
DISTANCE_DAYS = 14


def selects(live: str, start: date, end: date, slices: int = 1, look_back: int = LOOK_BACK_DAYS) -> list[str]:
    """Queries on `live`, a table's id, that together give the documents of start..end, each of them once.

    A slice has its share of the document ids. All messages of a document are in one slice, so that the number of slices
    never shows in the result.
    """
    return [
        render("dedup", live=live, start_date=start, end_date=end, look_back=look_back, slice=_slice(number, slices))
        for number in range(slices)
    ]


def distances(live: str, stable: str, start: date, end: date) -> str:
    """A script that writes what monitoring.duplicates says of `stable` for start..end anew."""
    return render(
        "duplicates",
        duplicates="monitoring.duplicates",
        live=live,
        table=stable,
        start_date=start,
        end_date=end,
        days=DISTANCE_DAYS,
    )


def _slice(number: int, slices: int) -> str:
    if slices == 1:
        return "TRUE"
    digest = "CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5(document_id)), 1, 6)) AS INT64)"
    return f"MOD({digest}, {slices}) = {number}"
