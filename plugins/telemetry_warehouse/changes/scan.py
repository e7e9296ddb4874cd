"""Finds the days on which the shape of a series' distribution changed.

`scan` is strictly online: the verdict on day D reads at most the WINDOW days that end with D and the day of the series'
last change. So a night that judges one day finds, to the bit, what a scan of all years finds.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from telemetry_warehouse.changes.window import (
    GRID,
    MIN_REFERENCE_DAYS,
    RECENT_DAYS,
    REFERENCE_DAYS,
    WINDOW,
    judge,
)

# Below this a single client is worth a share of MIN_EFFECT or more, and √share is far from normal.
MIN_CLIENTS = 50
# Total variation distance below which a change is nobody's business.
MIN_EFFECT = 0.02

# Days judged from one matrix of products, and numbers held at once: what keeps memory flat.
_BLOCK_DAYS = 64
_CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Alarm:
    """A change of one series; days are indices on the day axis of `counts`.

    detected: the day whose data raised the alarm. changed: the estimated first day of the new shape.
    score: like a normal score, but calibrated by simulation only (docs/changes.md). effect: total variation distance of
    `before` and `after`, the shares (buckets,) expected from the reference and those since the change.
    """

    series: int
    detected: int
    changed: int
    score: float
    effect: float
    before: np.ndarray = field(compare=False, repr=False)
    after: np.ndarray = field(compare=False, repr=False)


def scan(
    counts: np.ndarray,
    first_day: date,
    n_clients: np.ndarray | None = None,
    *,
    score_from: int = 0,
    last_change: np.ndarray | None = None,
) -> list[Alarm]:
    """Scans series of histograms with the reference-window scan; alarms by series, then day.

    counts: integers (series, days, buckets), in any unit. first_day: the date of day 0, of which errors speak; the days
    follow each other without holes. n_clients: integers (series, days), the sample size that sets the sampling noise;
    without it each count is a client. A day without counts, or with fewer than MIN_CLIENTS of the given clients, is a
    gap. Only days from index score_from on are judged. last_change: (series,) index of the day of each series' last
    known change, which may lie before day 0 (-inf: none); no reference reaches back past it.

    Raises ValueError naming what is wrong with the input.
    """
    counts = _checked_counts(counts, first_day)
    sample = _checked_sample(counts, n_clients)
    if not isinstance(score_from, int | np.integer) or score_from < 0:
        raise ValueError(f"score_from must be a day index from 0, not {score_from!r}")
    changed = _checked_last_change(last_change, len(counts))
    _, days, buckets = counts.shape
    held = min(days, _BLOCK_DAYS) + WINDOW
    step = max(1, _CHUNK_NUMBERS // (held * max(held, buckets)))
    alarms = []
    for first in range(0, len(counts), step):
        for start in range(score_from, days, _BLOCK_DAYS):
            alarms += _scan_block(counts, sample, changed, range(first, min(first + step, len(counts))), start)
    return sorted(alarms, key=lambda alarm: (alarm.series, alarm.detected))


def _scan_block(counts, sample, changed, series: range, start: int) -> list[Alarm]:
    """Judges the days of a block that begins on `start`; moves `changed` on, in place, where there is an alarm."""
    before = start - WINDOW + 1  # the day in slot 0; days before day 0 are gaps
    end = min(start + _BLOCK_DAYS, counts.shape[1])
    chunk = slice(series.start, series.stop)
    shares, noise, data = _shares(counts[chunk, max(before, 0) : end], sample[chunk, max(before, 0) : end])
    missing = [(0, 0), (max(-before, 0), 0)]
    shares, noise = (np.pad(values, [*missing, (0, 0)]) for values in (shares, noise))
    data = np.pad(data, missing)
    roots = np.rint(np.sqrt(shares) * GRID) / GRID
    gram = roots @ roots.transpose(0, 2, 1)

    alarms = []
    for day in range(start, end):
        window = slice(day - start, day - start + WINDOW)
        known = np.arange(day - WINDOW + 1, day - RECENT_DAYS + 1) >= changed[chunk, None]
        usable = data[:, window][:, :REFERENCE_DAYS] & known
        judged = np.flatnonzero(data[:, window.stop - 1] & (usable.sum(axis=1) >= MIN_REFERENCE_DAYS))
        if not len(judged):
            continue
        verdicts = judge(gram[judged, window, window], data[judged, window], usable[judged], noise[judged, window])
        best = {}
        for row, score, shrink, same_side in zip(*verdicts, strict=True):
            at = judged[row]
            first = REFERENCE_DAYS + int(np.argmax(same_side))
            evidence = _before_and_after(shares[at, window], usable[at], data[at, window], first, shrink)
            alarm = Alarm(series.start + int(at), day, day - WINDOW + 1 + first, float(score), *evidence)
            if alarm.effect >= MIN_EFFECT and (at not in best or alarm.score > best[at].score):
                best[at] = alarm
        for at, alarm in best.items():
            changed[series.start + at] = alarm.changed
        alarms += best.values()
    return alarms


def _before_and_after(shares, usable, data, first: int, shrink) -> tuple[float, np.ndarray, np.ndarray]:
    """(effect, before, after) of a window (WINDOW, buckets) that changed on slot `first`.

    Before is the reference with its weekdays weighted as they are among the days since, to the degree that weekdays
    matter, so that a change found over a weekend is not shown with the weekend in it.
    """
    weekday = np.arange(WINDOW) % 7
    since = np.flatnonzero(data[first:]) + first
    learnt = np.flatnonzero(usable)
    weights = np.zeros(len(learnt))
    for day in since:
        same = weekday[learnt] == weekday[day]
        effect = shrink if same.any() else 0.0
        weights += (1 - effect) / len(learnt) + effect * same / max(same.sum(), 1)
    # Only buckets in use: empty ones must not alter the order in which numbers are added.
    used = np.flatnonzero(shares.any(axis=0))
    before, after = np.zeros(shares.shape[1]), np.zeros(shares.shape[1])
    before[used] = (shares[np.ix_(learnt, used)] * (weights / len(since))[:, None]).sum(axis=0)
    after[used] = shares[np.ix_(since, used)].sum(axis=0) / len(since)
    return float(np.abs(after[used] - before[used]).sum() / 2), before, after


def _shares(counts, sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(shares, noise, data) of days (series, days, buckets); gaps have no shares. noise: see window.judge."""
    total = counts.sum(axis=2)
    data = (total > 0) & (sample > 0)
    shares = np.where(data[:, :, None], counts / np.maximum(total, 1)[:, :, None], 0)
    # √share has the variance 1/(4n) in every bucket that is not nearly empty.
    variance = np.where(data, 0.25 / np.maximum(sample, 1), 0)
    spread = (shares > variance[:, :, None]).sum(axis=2)
    return shares, np.stack([np.maximum(spread, 1), variance], axis=2), data


def _checked_counts(counts, first_day) -> np.ndarray:
    if not isinstance(first_day, date):
        raise ValueError(f"first_day must be a date, not {first_day!r}")
    counts = np.asarray(counts)
    if counts.ndim != 3:
        raise ValueError(f"counts must be (series, days, buckets), not of shape {counts.shape}")
    if not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"counts must be integers, not {counts.dtype}")
    if counts.size and counts.min() < 0:
        series, day, bucket = np.argwhere(counts < 0)[0]
        when = first_day + timedelta(days=int(day))
        raise ValueError(f"counts has {counts[series, day, bucket]} in series {series} on {when}, bucket {bucket}")
    if counts.size and counts.sum(axis=2, dtype=float).max() >= 2.0**63:
        raise ValueError("counts of a day add up to more than an int64 holds")
    return counts.astype(np.int64, copy=False)


def _checked_sample(counts, n_clients) -> np.ndarray:
    """Sample size (series, days), 0 where the day is a gap."""
    if n_clients is None:
        return counts.sum(axis=2)
    n_clients = np.asarray(n_clients)
    if n_clients.shape != counts.shape[:2]:
        raise ValueError(f"n_clients must be (series, days) = {counts.shape[:2]}, not of shape {n_clients.shape}")
    if not np.issubdtype(n_clients.dtype, np.integer):
        raise ValueError(f"n_clients must be integers, not {n_clients.dtype}")
    if n_clients.size and n_clients.min() < 0:
        raise ValueError(f"n_clients has {n_clients.min()}")
    return np.where(n_clients >= MIN_CLIENTS, n_clients, 0)


def _checked_last_change(last_change, series: int) -> np.ndarray:
    if last_change is None:
        return np.full(series, -np.inf)
    last_change = np.array(last_change, dtype=float)
    if last_change.shape != (series,):
        raise ValueError(f"last_change must be (series,) = ({series},), not of shape {last_change.shape}")
    if np.isnan(last_change).any():
        raise ValueError(f"last_change is NaN for series {int(np.argmax(np.isnan(last_change)))}; -inf means none")
    return last_change
