"""Scores: how far the last days of a series lie from what came before, in units of what the series does by itself.

The method is described in docs/changes.md. Everything here is for many series at once; days are on axis 0, series on
axis 1. What is not exact (see residuals.py) is computed for each series and day from arrays of fixed size.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import fdtrc, ndtri

from telemetry_warehouse.changes.residuals import GRID, LAGS, WEEKS, at_days, in_cache, residuals

REFERENCE_DAYS = 7 * WEEKS
LONGEST_SPAN = max(max(spans) for spans in LAGS.values())
# Days that the verdict on a day reads: the oldest is one that the oldest reference day of the longest span is measured
# against.
WINDOW = 7 * max(LAGS) + REFERENCE_DAYS + 7 * WEEKS

MIN_REFERENCE_DAYS = 14
MIN_RESIDUALS = 7
MIN_SCORE = 5.0  # of an alarm
# How many days of a span must have data, and for spans up to a week lie on the side of the change.
PERSISTENT = {3: 3, 5: 4, 7: 5, 14: 10, 28: 20}
# A day (in longer spans: a week) lies on that side when it shifts along the mean of the span's others by at least this
# part of the squared mean shift. At zero, or along a mean that it is itself part of, one outlying day carries its
# neighbours with it: in the noisier of the simulated worlds that makes ten times the false alarms.
SAME_SIDE = 0.4
# A reference day counts with at most this many times the median squared residual.
WINSOR = 6.0
MAX_AUTOCORRELATION = 0.9
# How fast autocorrelation fades from one day to the next, at the least.
FADING = 0.6

# With at most REFERENCE_DAYS degrees of freedom no F below 2.27 scores MIN_SCORE, so what is costly is left out there.
_SCREEN = 2.25
# fdtrc underflows below; its score, 37, stands for "no doubt".
_LEAST_P = 1e-300
# A score that may reach MIN_SCORE where the noise has all degrees of freedom is worth counting them.
_LIKELY = 4.5
_AT_ONCE = 2_000_000


class Candidates(NamedTuple):
    """A row for each day and series with a shift that may be more than noise, by its best span."""

    day: np.ndarray
    series: np.ndarray
    score: np.ndarray
    changed: np.ndarray  # day index
    doubt: np.ndarray  # standard deviation of a day along the shift, over the length of the shift
    lag: np.ndarray  # weeks


_NONE = Candidates(*(np.zeros(0, kind) for kind in (int, int, float, int, float, int)))


@dataclass(frozen=True)
class _Spans:
    """Spans of one length, a row each, by the day and series in which they end, and what they were screened by."""

    length: int
    lag: int
    day: np.ndarray
    series: np.ndarray
    shift: np.ndarray  # (spans, buckets): the sum of residuals over the span, in grid units
    days: np.ndarray  # with data
    size: np.ndarray  # |mean shift|²
    per_reference_day: np.ndarray  # what a unit of variance of a reference day adds to that of the mean shift
    trace: np.ndarray  # mean squared residual of the reference
    cap: np.ndarray  # squared residual above which a day is an outlier

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        """Index (spans, length) of their days and series."""
        return self.day[:, None] - np.arange(self.length)[::-1], self.series[:, None]


@dataclass(frozen=True)
class _Noise:
    """What the spans' days and the REFERENCE_DAYS before them do by themselves, a row for each span."""

    window: np.ndarray  # index (spans, REFERENCE_DAYS) of those days
    series: np.ndarray
    usable: np.ndarray  # (spans, REFERENCE_DAYS)
    weight: np.ndarray  # (spans, REFERENCE_DAYS), 0 where not usable
    days: np.ndarray  # usable
    free: np.ndarray  # as many as are independent
    neighbours: np.ndarray  # usable days that follow each other, in pairs
    correlation: np.ndarray  # of them
    variance: np.ndarray  # of the mean shift

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        """Index (spans, REFERENCE_DAYS) of their days and series."""
        return self.window, self.series[:, None]


class Scorer:
    """Scores the days from index `start` on.

    Once `candidates` was called there are judged, bool (days from `start` on, series), whether there was enough to be
    compared with, and noise, the root of the mean squared residual of the reference.

    x: roots (series, days, buckets). sample: (series, days), clients, 0 on gaps. learn: bool (series, days), the days
    that others may be measured against.
    """

    def __init__(self, x, sample, learn, start: int):
        self.start = start
        sample = np.ascontiguousarray(sample.T)
        self.data = sample > 0
        self.learn = learn.T & self.data
        x = x.transpose(1, 0, 2).astype(np.float64, order="C")
        self.residuals = residuals(x, self.learn, self.data)
        self._measure_noise(x, sample)

    def _measure_noise(self, x, sample):
        variance = np.where(self.data, 0.25 / np.maximum(sample, 1), 0)
        filled = (x > GRID * np.sqrt(variance)[:, :, None]).sum(axis=2)
        spread = np.maximum(filled, 1) * variance
        self.sampling = (spread, variance, spread * variance)  # in all, in one bucket, Σλ²
        near = self.residuals[1]
        self.lagged = np.zeros_like(variance)
        self.lagged[1:] = np.einsum("tsb,tsb->ts", near.values[1:], near.values[:-1])
        squares = np.einsum("tsb,tsb->ts", near.values, near.values) / GRID**2
        self.usable = self.learn & (near.known > 0)
        self.squares = squares / (1 + 1 / np.maximum(near.known, 1))

    def candidates(self) -> Candidates:
        self._measure_reference()
        found = [_NONE] + [self._judged(spans) for lag in LAGS for spans in self._screened(lag)]
        columns = [np.concatenate(part) for part in zip(*found, strict=True)]
        day, series, score = columns[:3]
        order = np.lexsort((-score, series, day))
        day, series = day[order], series[order]
        first = np.ones(len(order), bool)
        first[1:] = (day[1:] != day[:-1]) | (series[1:] != series[:-1])
        return Candidates(*(column[order[first]] for column in columns))

    def _measure_reference(self) -> None:
        """trace, cap and whether there is enough, of the reference windows that end on each day a verdict needs."""
        self._first = self.start - 7 * max(LAGS)
        last = np.arange(self._first, len(self.data) - 7)
        n = self._in_reference(self.usable, last)
        some = np.maximum(n, 1)[:, :, None]
        ordered = np.sort(_windows(np.where(self.usable, self.squares, np.inf), last, np.inf), axis=2)
        ends = [np.take_along_axis(ordered, at, 2)[:, :, 0] for at in ((some - 1) // 2, some // 2)]
        median = np.where(n > 0, sum(np.where(np.isfinite(end), end, 0) for end in ends) / 2, 0)
        floor = _sum(_windows(self.sampling[0] * self.usable, last)) / some[:, :, 0]
        self.cap = WINSOR * np.maximum(median, floor)
        squares = _windows(np.where(self.usable, self.squares, 0), last)
        trace = _sum(np.minimum(squares, self.cap[:, :, None])) / some[:, :, 0]
        self.trace = np.maximum(trace, floor)
        self.enough = (n >= MIN_RESIDUALS) & (self._in_reference(self.learn, last) >= MIN_REFERENCE_DAYS)
        near = slice(self.start - 7 - self._first, len(last))
        self.judged = self.enough[near] & self.data[self.start :]
        self.noise = np.sqrt(self.trace[near])

    @staticmethod
    def _in_reference(flags: np.ndarray, last: np.ndarray) -> np.ndarray:
        """How many of the REFERENCE_DAYS that end on each of `last`."""
        count = np.cumsum(flags, axis=0, dtype=np.int32)
        return at_days(count, last) - at_days(count, last - REFERENCE_DAYS)

    def _screened(self, lag: int):
        days = np.arange(self.start, len(self.data))
        reference = slice(self.start - 7 * lag - self._first, len(self.data) - 7 * lag - self._first)
        trace, cap = self.trace[reference], self.cap[reference]
        ready = self.enough[reference] & self.data[days]
        values, known = self.residuals[lag].values, self.residuals[lag].known
        sums = _running(values)
        counts, matched = np.cumsum(known > 0, axis=0, dtype=np.float64), np.cumsum(known, axis=0)
        for length in LAGS[lag]:
            m = counts[days] - at_days(counts, days - length)
            some = np.maximum(m, 1)
            per_reference = some / np.maximum(matched[days] - at_days(matched, days - length), 1) / np.minimum(some, 7)
            size = _squared_differences(sums, days, length) / GRID**2 / some**2
            likely = (size >= _SCREEN * trace * (1 / some + per_reference)) & (size > 0)
            day, series = np.nonzero(ready & (m >= PERSISTENT[length]) & likely)
            step = max(1, _AT_ONCE // (REFERENCE_DAYS * max(values.shape[2], 1)))
            for first in range(0, len(day), step):
                at = (day[first : first + step], series[first : first + step])
                shift = sums[days[at[0]], at[1]] - sums[days[at[0]] - length, at[1]]
                yield _Spans(
                    length, lag, days[at[0]], at[1], shift, m[at], size[at], per_reference[at], trace[at], cap[at]
                )  # fmt: skip

    def _judged(self, spans: _Spans) -> Candidates:
        known = self.residuals[spans.lag].known[spans.at] > 0
        if spans.length > 7:
            spans, known = self._without_outliers(spans, known)
            # Few long spans stand out of the noise, and nearly all of those persist; with short ones it is not so.
            rows, _ = self._above_noise(spans)
            spans, known = _take(spans, rows), known[rows]
        values = self.residuals[spans.lag].values[spans.at] * known[:, :, None]
        along = np.einsum("cdb,cb->cd", values, spans.shift)
        rows = np.flatnonzero(_persistent(spans, values, known, along))
        spans, along, known = _take(spans, rows), along[rows], known[rows]
        rows, noise = self._above_noise(spans)
        spans, along, known = _take(spans, rows), along[rows], known[rows]
        score, doubt = self._scores(spans, noise)
        changed = spans.day - spans.length + 1 + _change_point(along, known, spans.days)
        return Candidates(spans.day, spans.series, score, changed, doubt, np.full(len(score), spans.lag))

    def _above_noise(self, spans: _Spans) -> tuple[np.ndarray, _Noise]:
        """Which spans may score MIN_SCORE, and their noise."""
        noise = self._noise(spans)
        rows = np.flatnonzero(spans.size >= _SCREEN * noise.variance)
        return rows, _take(noise, rows)

    def _without_outliers(self, spans: _Spans, known: np.ndarray) -> tuple[_Spans, np.ndarray]:
        """Those that are still large without them, and which of their days (spans, length) count."""
        days, series = spans.at
        outlier = known & (self.squares[days, series] > spans.cap[:, None])
        shift, known = spans.shift.copy(), known & ~outlier
        for place in range(spans.length):
            rows = np.flatnonzero(outlier[:, place])
            shift[rows] -= self.residuals[spans.lag].values[days[rows, place], spans.series[rows]]
        left = known.sum(axis=1).astype(float)
        some = np.maximum(left, 1)
        size = np.einsum("cb,cb->c", shift, shift) / GRID**2 / some**2
        likely = size >= _SCREEN * spans.trace * (1 / some + spans.per_reference_day)
        rows = np.flatnonzero(likely & (left >= PERSISTENT[spans.length]))
        return _take(replace(spans, shift=shift, days=some, size=size), rows), known[rows]

    def _noise(self, spans: _Spans) -> _Noise:
        window = (spans.day - 7 * spans.lag)[:, None] - np.arange(REFERENCE_DAYS)[::-1]
        inside, window = window >= 0, np.maximum(window, 0)
        at = (window, spans.series[:, None])
        usable = self.usable[at] & inside
        squares = np.where(usable, self.squares[at], 0)
        n = usable.sum(axis=1).astype(float)
        # A day measured against few others shares their noise with the days measured against the same.
        own = 1 + 1 / np.maximum(self.residuals[1].known[at], 1)
        free = _sum(usable / own)
        cap = spans.cap[:, None]
        high = squares > cap
        weight = np.sqrt(np.where(high, cap / np.where(high, squares, 1), 1) / own) * usable / GRID
        neighbours = np.maximum((usable[:, 1:] & usable[:, :-1]).sum(axis=1), 1)
        lagged = self.lagged[window[:, 1:], at[1]] * (weight[:, 1:] * weight[:, :-1])
        correlation = np.clip(_sum(lagged) / neighbours / spans.trace + 1 / free, 0, MAX_AUTOCORRELATION)
        noise = _Noise(window, spans.series, usable, weight, n, free, neighbours, correlation, np.zeros(len(n)))
        variance = self._variance(spans, spans.trace, self._floor(noise, 0), self._recent_floor(spans, 0), correlation)
        return replace(noise, variance=variance)

    def _floor(self, noise: _Noise, which: int) -> np.ndarray:
        """Sampling noise of a reference day."""
        return _sum(self.sampling[which][noise.at] * noise.usable) / noise.days

    def _recent_floor(self, spans: _Spans, which: int) -> np.ndarray:
        """Sampling noise of a day of the span."""
        known = self.residuals[spans.lag].known[spans.at] > 0
        return _sum(self.sampling[which][spans.at] * known) / known.sum(axis=1)

    def _scores(self, spans: _Spans, noise: _Noise) -> tuple[np.ndarray, np.ndarray]:
        days, weight, n = self.residuals[1].values[noise.at], noise.weight, noise.days
        length = np.sqrt(spans.size)
        along = np.einsum("cdb,cb->cd", days, spans.shift) * weight / (spans.days * length * GRID)[:, None]
        power = _sum(along**2)
        lagged = _sum(along[:, 1:] * along[:, :-1]) / noise.neighbours * n
        correlation = np.clip(lagged / np.where(power > 0, power, 1) + 1 / noise.free, 0, MAX_AUTOCORRELATION)
        floor = self._floor(noise, 1)
        variance = np.maximum(power / n, floor)
        directed = self._variance(
            spans, variance, floor, self._recent_floor(spans, 1), np.maximum(correlation, noise.correlation)
        )
        ratio = spans.size / np.maximum(noise.variance, directed)
        independent = np.clip(noise.variance / directed, 1, n)
        score = _normal_score(ratio, independent, noise.free)
        rows = np.flatnonzero(score >= _LIKELY)
        likely, trace = _take(noise, rows), spans.trace[rows]
        squares = _squared_eigenvalues(days[rows], likely.weight, trace, likely.days)
        most = trace**2 / np.maximum(squares, self._floor(likely, 2))
        score[rows] = _normal_score(ratio[rows], np.clip(independent[rows], 1, np.maximum(most, 1)), likely.free)
        return score, np.sqrt(variance) / length

    @staticmethod
    def _variance(spans: _Spans, variance, floor, recent_floor, correlation):
        """Variance of the mean shift where a reference day has `variance`; days of fewer clients have more noise."""
        fading = np.maximum(FADING, correlation)
        recent = variance + np.maximum(recent_floor - floor, 0)
        long = 1 + 2 * correlation / (1 - fading)
        recent *= _inflation(correlation, fading, spans.days) / spans.days
        return recent + variance * long * spans.per_reference_day


def _take(record, rows: np.ndarray):
    """Some rows of a _Spans or a _Noise."""
    columns = {name: value for name, value in vars(record).items() if isinstance(value, np.ndarray)}
    return replace(record, **{name: value[rows] for name, value in columns.items()})


def _persistent(spans: _Spans, values, known, along) -> np.ndarray:
    """Whether enough days (in longer spans: weeks) lie on the side of the change."""
    if spans.length <= 7:
        own, days, enough = np.einsum("cdb,cdb->cd", values, values), known, PERSISTENT[spans.length]
    else:
        weeks = spans.length // 7
        sums = values.reshape(len(values), weeks, 7, values.shape[2]).sum(axis=2)
        own, days = np.einsum("cwb,cwb->cw", sums, sums), known.reshape(len(known), weeks, 7).sum(axis=2)
        along, enough = np.einsum("cwb,cb->cw", sums, spans.shift), max(weeks - 1, 2)
    others = (along - own) / np.maximum(days * (spans.days[:, None] - days), 1) / GRID**2
    same = (days > 0) & (others >= SAME_SIDE * spans.size[:, None])
    return (spans.size > 0) & (same.sum(axis=1) >= enough)


def _normal_score(ratio, independent, n) -> np.ndarray:
    """The normal score of an F with so many degrees of freedom a day, measured on n days."""
    return -ndtri(np.maximum(fdtrc(independent, independent * np.maximum(n - 1, 1), ratio), _LEAST_P))


def _squared_eigenvalues(days, weight, trace, n) -> np.ndarray:
    """Σλ² of the covariance's eigenvalues λ, without the bias that estimating it from few days gives."""
    within = days @ days.transpose(0, 2, 1)
    within *= weight[:, :, None]
    within *= weight[:, None, :]
    raw = _sum(np.einsum("cde,cde->cd", within, within)) / n**2
    return np.maximum(n**2 / ((n + 2) * (n - 1)) * (raw - trace**2 / n), trace**2 / n)


def _inflation(correlation, fading, days) -> np.ndarray:
    """Variance of a mean of `days` values, over independent ones; autocorrelation is correlation × fading^(lag − 1)."""
    lags = np.arange(1, LONGEST_SPAN)
    left = np.maximum(1 - lags / days[:, None], 0)
    return 1 + 2 * _sum(left * correlation[:, None] * fading[:, None] ** (lags - 1))


def _change_point(along, known, days) -> np.ndarray:
    """The day of each span from which on the days lie nearer to the mean shift than to none."""
    half = (along.sum(axis=1) / days / 2)[:, None]
    evidence = np.cumsum(np.where(known, along - half, 0)[:, ::-1], axis=1)[:, ::-1]
    return np.argmax(np.where(known, evidence, -np.inf), axis=1)


def _running(values: np.ndarray) -> np.ndarray:
    sums = values.copy()
    for day in range(1, len(sums)):
        sums[day] += sums[day - 1]
    return sums


def _squared_differences(sums: np.ndarray, days: np.ndarray, length: int) -> np.ndarray:
    """(days, series): |sums[day] − sums[day − length]|²."""
    squares = np.empty((len(days), sums.shape[1]))
    for part in in_cache(len(days), *sums.shape[1:]):
        shift = sums[days[part]] - at_days(sums, days[part] - length)
        np.einsum("tsb,tsb->ts", shift, shift, out=squares[part])
    return squares


def _windows(values: np.ndarray, last: np.ndarray, missing: float = 0) -> np.ndarray:
    """(days, series, REFERENCE_DAYS): the values of the days that end on each of `last`, `missing` before the first."""
    if not len(last):
        return np.zeros((0, values.shape[1], REFERENCE_DAYS))
    first, end = last[0] - REFERENCE_DAYS + 1, last[-1] + 1
    before = min(max(-first, 0), end - first)
    padded = np.pad(values[max(first, 0) : max(end, 0)], [(before, 0), (0, 0)], constant_values=missing)
    return sliding_window_view(padded, REFERENCE_DAYS, axis=0)


def _sum(values: np.ndarray) -> np.ndarray:
    """Sum over the last axis of numbers that are not on the grid.

    In memory order, so that the order of addition depends on the length of that axis and on nothing else.
    """
    return np.ascontiguousarray(values).sum(axis=-1)
