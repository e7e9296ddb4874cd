"""Rows of derived.changes_v1 from rows of derived.histogram_aggregates_v1."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from telemetry_warehouse.changes.scan import Alarm, scan
from telemetry_warehouse.changes.series import Block, SeriesKey, blocks
from telemetry_warehouse.changes.window import WINDOW

METHOD = "reference-window-scan/1"
# Days before the first judged one whose aggregates, and whose changes, its verdict can depend on.
WINDOW_DAYS = WINDOW - 1
# Decimals of what is stored.
_DECIMALS = 6


def changes_rows(
    aggregates: pa.Table | Iterable[Mapping], previous_changes: Iterable[Mapping], start_date: date, end_date: date
) -> list[dict]:
    """The changes detected on start_date..end_date, ordered by day and series.

    aggregates: rows from WINDOW_DAYS before start_date to end_date; others are ignored. previous_changes: rows of
    changes_v1 detected before start_date, at least those of the last WINDOW_DAYS; others are ignored.

    A day's rows are the same whether it is asked for alone or in a range. n_clients is that of the detected day; shares
    are means over days, of the reference in `shares_before`, from change_date on in `shares_after`.
    """
    if start_date > end_date:
        raise ValueError(f"start_date {start_date} is after end_date {end_date}")
    first_day = start_date - timedelta(days=WINDOW_DAYS)
    changed = _last_changes(previous_changes, start_date)
    rows = []
    for block in blocks(aggregates, first_day, end_date):
        last_change = [(changed[key] - first_day).days if key in changed else -np.inf for key in block.keys]
        alarms = scan(block.counts, first_day, block.n_clients, score_from=WINDOW_DAYS, last_change=last_change)
        rows += [_row(alarm, block, first_day) for alarm in alarms]
    return sorted(rows, key=_order)


def _last_changes(previous_changes, start_date: date) -> dict[SeriesKey, date]:
    earlier = [change for change in previous_changes if change["detected_date"] < start_date]
    return {
        SeriesKey(*(change[name] for name in SeriesKey._fields)): change["change_date"]
        for change in sorted(earlier, key=lambda change: change["detected_date"])
    }


def _order(row: dict) -> tuple:
    return row["detected_date"], *((row[name] is not None, row[name] or "") for name in SeriesKey._fields)


def _row(alarm: Alarm, block: Block, first_day: date) -> dict:
    buckets = block.buckets[alarm.series]
    return {
        "detected_date": first_day + timedelta(days=alarm.detected),
        **block.keys[alarm.series]._asdict(),
        "change_date": first_day + timedelta(days=alarm.changed),
        "method": METHOD,
        "score": round(alarm.score, _DECIMALS),
        "effect": round(alarm.effect, _DECIMALS),
        "n_clients": int(block.n_clients[alarm.series, alarm.detected]),
        "shares_before": _shares(buckets, alarm.before),
        "shares_after": _shares(buckets, alarm.after),
    }


def _shares(buckets, shares) -> list[dict]:
    """Buckets that round to no share at all are left out."""
    rounded = np.round(shares[: len(buckets)], _DECIMALS).tolist()
    return [{"bucket": int(b), "share": share} for b, share in zip(buckets, rounded, strict=True) if share]
