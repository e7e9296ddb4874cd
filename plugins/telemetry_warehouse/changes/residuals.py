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
    found = np.empty(counts.shape, np.int32)
    for part in in_cache(*counts.shape):
        shares = counts[part].astype(np.float64)
        shares /= np.maximum(counts[part].sum(axis=2, keepdims=True), 1).astype(np.float64)
        np.sqrt(shares, out=shares)
        shares *= GRID
        found[part] = np.rint(shares, out=shares)
    return found


def residuals(x: np.ndarray, learn: np.ndarray, data: np.ndarray, lags=tuple(LAGS)) -> dict[int, Residuals]:
    """lag → residuals of the days with data. learn: (days, series), the days that others may be measured against."""
    sums = np.where(learn[:, :, None], x, 0)
    known = learn.astype(np.float64)
    for day in range(7, len(x)):
        sums[day] += sums[day - 7]
        known[day] += known[day - 7]
    found = {}
    for lag in lags:
        values, n = np.empty_like(x), np.empty_like(known)
        for part in in_cache(*x.shape):
            near = np.arange(part.start, part.stop) - 7 * lag
            n[part] = np.where(data[part], at_days(known, near) - at_days(known, near - 7 * WEEKS), 0)
            one = values[part]
            np.subtract(at_days(sums, near), at_days(sums, near - 7 * WEEKS), out=one)
            one /= -np.maximum(n[part], 1)[:, :, None]
            one += x[part]
            np.rint(one, out=one)
            one[n[part] == 0] = 0
        found[lag] = Residuals(values, n)
    return found
