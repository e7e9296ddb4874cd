"""Alerts with their history, for tests of how they are shown and told."""

from dataclasses import asdict
from datetime import date, timedelta

import numpy as np

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.changes.alert_rows import alert_id, nights_of
from telemetry_warehouse.changes.effect import effect
from telemetry_warehouse.changes.series import SeriesKey
from telemetry_warehouse.layouts import exponential
from tests.changes.series import simulate
from tests.support import load_rows

UNIT = 10**9
DAYS, CHANGED, DETECTED = 85, 70, 72

SERIES = SeriesKey._fields
_NOTHING = dict.fromkeys(("median_before", "median_after", "p95_before", "p95_after")) | {"gained": [], "lost": []}


def counted(kind: str | None, buckets: int = 50, clients: int = 20_000, world: str = "week", seed: int = 5):
    """(counts (days, buckets), n_clients (days,), bounds): DAYS days of one series, with a change on day CHANGED."""
    of = simulate(world, seed, 1, DAYS, buckets, kind=kind, change=CHANGED, clients=(clients, clients + 0.1))
    bounds = exponential(1, 10_000, buckets) if buckets > 10 else list(range(buckets))
    return of.counts[0], of.n_clients[0], bounds


def rows_of(counts, n_clients, bounds, first: date = date(2013, 9, 27), **of) -> tuple[dict, list[dict], list[dict]]:
    """(alert, rows of distributions_v1, rows of change_scores_v1) of a series that changed on day CHANGED."""
    names = {"axis": "submission_date", "app_name": "Firefox", "channel": "release", "os": None, "probe": "GC_MS"}
    names |= {"key": "", "layout": "0/50/1-10000"} | {name: of[name] for name in SERIES if name in of}
    lag = timedelta(days=nights_of(names["axis"]))
    nights = [first + timedelta(days=day) for day in range(len(counts))]
    sent = [day for day in range(len(counts)) if n_clients[day]]
    rows = [names | {"submission_date": nights[day], "n_clients": int(n_clients[day])} for day in sent]
    distributions = [row | {"buckets": _buckets(bounds, counts[day])} for row, day in zip(rows, sent, strict=True)]
    noise = np.random.default_rng(1).gamma(2, 0.5, len(counts))
    scores = [row | {"score": _score(day, noise)} for row, day in zip(rows, sent, strict=True)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    before, after = _mean(shares[CHANGED - 56 : CHANGED]), _mean(shares[CHANGED : DETECTED + 1])
    alert = names | {
        "detected_date": nights[DETECTED],
        "change_date": nights[CHANGED] - lag,
        "kind": "changed",
        "closes": None,
        "method": "reference-window-scan/2",
        "score": _score(DETECTED, noise),
        "log10_e": 12.5,
        "effect": float(np.abs(after - before).sum() / 2),
        "n_clients": int(n_clients[DETECTED]),
        "movers": [{"dimension": "build", "value": "20131204", "effect": 0.34, "share": 0.6}],
        "withheld": None,
        "shares_before": _shares(bounds, before),
        "shares_after": _shares(bounds, after),
    }
    if counts.any():
        alert |= asdict(effect(alert["shares_before"], alert["shares_after"], names["layout"]))
    else:
        alert |= _NOTHING
    alert |= of
    series = SeriesKey(*(alert[name] for name in SERIES))
    return alert | {"alert_id": alert_id(series, alert["change_date"])}, distributions, scores


def load(warehouse: Warehouse, alerts: list[dict], distributions: list[dict], scores: list[dict]) -> None:
    """Into the tables of a prepared home."""
    rows = {"changes_v1": alerts, "distributions_v1": distributions, "change_scores_v1": scores}
    for name, of_table in rows.items():
        load_rows(warehouse, f"derived.{name}", of_table)


def _score(day: int, noise) -> float:
    return float(noise[day] if not CHANGED <= day <= DETECTED else 2.5 + 3 * (day - CHANGED))


def _mean(shares):
    mean = shares.mean(axis=0) if len(shares) else np.zeros(shares.shape[1])
    return mean / (mean.sum() or 1)


def _buckets(bounds, counts) -> list[dict]:
    return [{"bucket": int(b), "clients": int(count) * UNIT} for b, count in zip(bounds, counts, strict=True) if count]


def _shares(bounds, shares) -> list[dict]:
    return [{"bucket": int(b), "share": float(share)} for b, share in zip(bounds, shares, strict=True) if share]
