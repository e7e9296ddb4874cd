"""What each day of a series differs from: the same weekdays some weeks earlier.

A day is the vector of √share of its buckets (which gives all well-filled buckets the same sampling noise), on a grid of
2⁻²⁰ that lies far below that noise. Its residual of *lag* w is the day minus the mean of the up to 8 same weekdays that
lie w weeks and more before it, rounded to the same grid. A residual depends on its own day and on those days alone.

Arrays here hold grid units, so they are integers in float64. All sums and inner products made of them stay below 2⁵³:
they are exact, whatever the order or the library in which they are added, and a day gets the same bits alone, in a
backfill or among years.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

GRID = 2.0**20
WEEKS = 8
# Spans of days that are compared with what came before, and the lag, in weeks, of what they are compared with.
LAGS = {1: (3, 5, 7), 2: (14,), 4: (28,)}
_NUMBERS_IN_CACHE = 40_000


@dataclass(frozen=True)
class Residuals:
    """values: (days, series, buckets) in grid units, 0 where known is 0. known: (days, series), how many days each is
    measured against."""

    values: np.ndarray
    known: np.ndarray


def in_cache(rows: int, *shape: int) -> Iterator[slice]:
    """Cuts an array of so many rows into slices of rows that pass through the cache of a processor one at a time."""
    step = max(1, _NUMBERS_IN_CACHE // max(int(np.prod(shape)), 1))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))


def at_days(values: np.ndarray, days: np.ndarray) -> np.ndarray:
    """values[days], of days without holes, and 0 before the first day."""
    if len(days) and days[0] >= 0:
        return values[days[0] : days[0] + len(days)]
    taken = values[np.maximum(days, 0)]
    taken[days < 0] = 0
    return taken


def roots(counts: np.ndarray) -> np.ndarray:
    """√share, int32 in grid units, of counts (series, days, buckets); 0 on days without any."""
    shares = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)
    return np.rint(np.sqrt(shares, out=shares) * GRID).astype(np.int32)


def residuals(x: np.ndarray, learn: np.ndarray, data: np.ndarray, lags=tuple(LAGS)) -> dict[int, Residuals]:
    """lag → residuals of the days with data. learn: (days, series), the days that others may be measured against."""
    days = len(x)
    sums = np.where(learn[:, :, None], x, 0)
    known = learn.astype(np.float64)
    for day in range(7, days):
        sums[day] += sums[day - 7]
        known[day] += known[day - 7]
    found = {}
    for lag in lags:
        near, far = 7 * lag, 7 * (lag + WEEKS)
        values, n = np.zeros_like(x), np.zeros_like(known)
        values[near:] = sums[:-near] if days > near else 0
        n[near:] = known[:-near] if days > near else 0
        if days > far:
            values[far:] -= sums[:-far]
            n[far:] -= known[:-far]
        n[~data] = 0
        values /= -np.maximum(n, 1)[:, :, None]
        values += x
        np.rint(values, out=values)
        values *= (n > 0)[:, :, None]
        found[lag] = Residuals(values, n)
    return found
