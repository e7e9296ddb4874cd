"""Rows of derived.changes_v1 from the alerts among the rows of derived.change_scores_v1."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, timedelta

from telemetry_warehouse.changes.effect import effect
from telemetry_warehouse.changes.movers import movers
from telemetry_warehouse.changes.series import SeriesKey
from telemetry_warehouse.changes.table import METHOD

# A build's day is judged so many nights later, when a week's pings of it are there.
NIGHTS_OF_A_BUILD = 6


def alert_rows(scores: Iterable[Mapping], parts: Iterable[Mapping], least_effect: float) -> list[dict]:
    """The rows for all alerts among `scores`, ordered by day and series.

    scores: rows of change_scores_v1. parts: rows of sql/movers.sql about their alerts. least_effect: total variation
    distance below which an alert is kept and not sent.
    """
    of_alert: dict[tuple, list[Mapping]] = {}
    for part in parts:
        of_alert.setdefault((part["detected_date"], *series_of(part)), []).append(part)
    alerts = sorted((row for row in scores if row["alert"] is not None), key=_order)
    return [_row(row, of_alert.get((row["submission_date"], *series_of(row)), []), least_effect) for row in alerts]


def series_of(row: Mapping) -> SeriesKey:
    return SeriesKey(*(row[name] for name in SeriesKey._fields))


def nights_of(axis: str) -> int:
    """How many nights after a day of this axis the day is judged."""
    return NIGHTS_OF_A_BUILD if axis == "build_date" else 0


def alert_id(series: SeriesKey, change_date: date) -> str:
    """The same 12 characters for a change of a series, whenever and however often it is found."""
    text = "|".join(["" if part is None else part for part in series] + [change_date.isoformat()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _row(score: Mapping, parts: list[Mapping], least_effect: float) -> dict:
    series = series_of(score)
    nights = timedelta(days=nights_of(series.axis))
    change_date = score["change_date"] - nights
    return {
        "detected_date": score["submission_date"],
        "alert_id": alert_id(series, change_date),
        "kind": score["alert"],
        **series._asdict(),
        "change_date": change_date,
        "closes": score["closes"] and score["closes"] - nights,
        "method": METHOD,
        "score": score["score"],
        "log10_e": score["log10_e"],
        "effect": score["effect"],
        "n_clients": score["n_clients"],
        **asdict(effect(score["shares_before"], score["shares_after"], series.layout)),
        "movers": movers(parts),
        "withheld": _withheld(score, least_effect),
        "shares_before": score["shares_before"],
        "shares_after": score["shares_after"],
    }


def _withheld(score: Mapping, least_effect: float) -> str | None:
    if score["noisy"] is not None:
        return f"noisy: {score['noisy']}"
    if score["effect"] < least_effect:
        return f"small: {score['effect']:.3g} of the clients moved, and alerts are sent from {least_effect:g} on"
    return None


def _order(row: Mapping) -> tuple:
    return row["submission_date"], *((part is not None, part or "") for part in series_of(row))
