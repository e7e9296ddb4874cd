"""The verdict on one day: its last week against a reference window, from the inner products of the days alone.

A day of a series is the vector of √share of each bucket, rounded to a grid of 2⁻²⁰. So the products of days, and all
sums of them over a window, are multiples of 2⁻⁴⁰ below 2¹³: exact in float64 in whatever order, with however many
empty buckets and by whichever library they are added. What is not exact is done on arrays whose size per series is
fixed. Hence a day gets the same bits whether it is judged alone or among years. (The grid lies far below the sampling
noise of √share, ½/√clients.)

The method is described in docs/changes.md.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc, ndtri

REFERENCE_DAYS = 56
RECENT_DAYS = 7
WINDOW = REFERENCE_DAYS + RECENT_DAYS
GRID = 2.0**20

SPANS = (3, 5, 7)
# How many days of a span must lie on the side of the change.
PERSISTENT = (3, 4, 5)
# A day lies on that side when it shifts along the mean of the span's other days by at least this part of the squared
# mean shift. At zero, or along a mean that the day itself is part of, one outlying day carries its neighbours with it:
# in the noisier of the simulated worlds that makes ten times the false alarms.
SAME_SIDE = 0.4
MIN_SCORE = 5.0
MIN_REFERENCE_DAYS = 14
MIN_DAYS_FOR_WEEKDAYS = 21
# A reference day counts with at most this many times the median squared residual.
WINSOR = 6.0
MAX_AUTOCORRELATION = 0.9

# With at most REFERENCE_DAYS degrees of freedom no F below 2 scores MIN_SCORE, so the costly part is left out there.
_SCREEN = 2.0
# fdtrc underflows below; its score, 37, stands for "no doubt".
_LEAST_P = 1e-300

_DAY = np.arange(WINDOW)
_WEEKDAY = _DAY % 7
_OF_WEEKDAY = (_WEEKDAY[:REFERENCE_DAYS] == np.arange(7)[:, None]).astype(float)
_IN_SPAN = np.array([np.arange(RECENT_DAYS) >= RECENT_DAYS - days for days in SPANS], float)


class Verdicts(NamedTuple):
    """A row for each span of a series that scores at least MIN_SCORE, short spans first."""

    series: np.ndarray  # index
    score: np.ndarray
    shrink: np.ndarray  # of the weekday effect, 0..1
    same_side: np.ndarray  # bool (rows, RECENT_DAYS): days that lie on the side of the change


def judge(gram: np.ndarray, data: np.ndarray, reference: np.ndarray, noise: np.ndarray) -> Verdicts:
    """Judges the last day of a window, for many series at once.

    gram: (series, WINDOW, WINDOW), inner products of the days. data: bool (series, WINDOW), days with data.
    reference: bool (series, REFERENCE_DAYS), days that may be learnt from, at least MIN_REFERENCE_DAYS in each series.
    noise: (series, WINDOW, 2), each day's sampling noise: how many buckets it is spread over, and the variance in each.
    """
    likely = np.flatnonzero(_Window(gram, data, reference, noise).possible().any(axis=1))
    if not len(likely):
        return Verdicts(likely, np.zeros(0), np.zeros(0), np.zeros((0, RECENT_DAYS), bool))
    window = _Window(gram[likely], data[likely], reference[likely], noise[likely])
    scores = window.scores()
    row, span = np.nonzero(window.possible() & (scores >= MIN_SCORE))
    return Verdicts(likely[row], scores[row, span], window.shrink[row], window.same_side[row, span])


class _Window:
    """Reference, expectation and mean shift of each series; arrays are (series, ...) and spans are on axis 1."""

    def __init__(self, gram, data, reference, noise):
        self.gram, self.reference = gram, reference
        self._expect()
        self._measure_noise(noise)
        self.spans = _IN_SPAN * data[:, None, REFERENCE_DAYS:]
        self.days = np.maximum(self.spans.sum(axis=2), 1)
        products = self._residual_products(REFERENCE_DAYS)
        with_all = _sum(self.spans[:, :, None, :] * products[:, None])
        self.size = np.maximum(_sum(self.spans * with_all) / self.days**2, 0)  # |mean shift|²
        own = products[:, None, _DAY[:RECENT_DAYS], _DAY[:RECENT_DAYS]]
        with_others = (with_all - own) / np.maximum(self.days - 1, 1)[:, :, None]
        self.same_side = (self.spans > 0) & (with_others >= SAME_SIDE * self.size[:, :, None])

    def _expect(self):
        """What a day of each weekday should be, known by its products with the days and with the other weekdays.

        It is the reference's mean plus the mean effect of the weekday, shrunken as James and Stein would.
        """
        by_weekday = _OF_WEEKDAY * self.reference[:, None, :]
        sums = by_weekday @ self.gram[:, :REFERENCE_DAYS]
        cross = sums[:, :, :REFERENCE_DAYS] @ by_weekday.transpose(0, 2, 1)
        days = by_weekday.sum(axis=2)
        self.n = n = days.sum(axis=1)
        some = np.maximum(days, 1)

        squares = (self.gram[:, _DAY, _DAY][:, :REFERENCE_DAYS] * self.reference).sum(axis=1)
        of_weekdays = _sum(cross[:, _DAY[:7], _DAY[:7]] / some)
        between = of_weekdays - cross.sum(axis=(1, 2)) / n
        weekdays = (days > 0).sum(axis=1)
        within = np.maximum(squares - of_weekdays, 0) / np.maximum(n - weekdays, 1)
        known = (n >= MIN_DAYS_FOR_WEEKDAYS) & (between > 0)
        self.shrink = np.where(known, np.maximum(1 - (weekdays - 1) * within / np.where(known, between, 1), 0), 0)
        self.fitted = (weekdays - 1) * self.shrink  # degrees of freedom spent on weekdays
        self.df = n - 1 - self.fitted

        effect = self.shrink[:, None] * (days > 0)
        rest, n = 1 - effect, n[:, None]
        mean, weekday = sums.sum(axis=1) / n, sums / some[:, :, None]
        self.expected_day = rest[:, :, None] * mean[:, None] + effect[:, :, None] * weekday  # (series, 7, WINDOW)
        mean_mean = (cross.sum(axis=(1, 2)) / self.n**2)[:, None, None]
        mean_weekday = rest[:, :, None] * (effect * cross.sum(axis=1) / n / some)[:, None, :]
        weekday_weekday = effect[:, :, None] * effect[:, None, :] * (cross / some[:, :, None] / some[:, None, :])
        self.expected_expected = (  # (series, 7, 7)
            rest[:, :, None] * rest[:, None, :] * mean_mean
            + (mean_weekday + mean_weekday.transpose(0, 2, 1))
            + weekday_weekday
        )

    def _residual_products(self, first: int) -> np.ndarray:
        """(day − expected)·(day' − expected') for the days of the window from `first` on."""
        weekday = _WEEKDAY[first:]
        half = self.expected_day[:, weekday, first:]
        both = self.expected_expected[:, weekday[:, None], weekday]
        return self.gram[:, first:, first:] - (half + half.transpose(0, 2, 1)) + both

    def _measure_noise(self, noise):
        """The day-to-day variance, from the reference; never less than the sampling noise of the counts."""
        day, weekday = _DAY[:REFERENCE_DAYS], _WEEKDAY[:REFERENCE_DAYS]
        squared = self.gram[:, day, day] - 2 * self.expected_day[:, weekday, day]
        squared = np.maximum(squared + self.expected_expected[:, weekday, weekday], 0) * self.reference
        buckets, variance = noise[:, :, 0], noise[:, :, 1]
        self.sampling = np.stack([buckets * variance, variance, buckets * variance**2], axis=1)
        usable = self.sampling[:, :, :REFERENCE_DAYS] * self.reference[:, None]
        self.floor = _sum(usable) / self.n[:, None]  # of the whole, along a direction, of Σλ²
        cap = WINSOR * np.maximum(self._median(squared), self.floor[:, 0])[:, None]
        high = squared > cap
        self.weight = np.sqrt(np.where(high, cap / np.where(high, squared, 1), 1)) * self.reference
        self.trace = np.maximum(_sum(np.minimum(squared, cap)) / self.df, self.floor[:, 0])

    def _median(self, squared):
        ordered = np.sort(np.where(self.reference, squared, np.inf), axis=1)
        n = self.n.astype(int)[:, None]
        return (np.take_along_axis(ordered, (n - 1) // 2, 1) + np.take_along_axis(ordered, n // 2, 1))[:, 0] / 2

    def _variance_of_shift(self, variance, part: int, autocorrelation):
        """Variance of span mean − reference mean, (series, spans), where a reference day has `variance`.

        Recent days of fewer clients have their larger sampling noise. part: 0 the whole, 1 along a direction.
        """
        recent_floor = _sum(self.spans * self.sampling[:, part, None, REFERENCE_DAYS:]) / self.days
        recent = variance + np.maximum(recent_floor - self.floor[:, part, None], 0)
        n = self.n[:, None]
        weekdays = self.fitted[:, None] * self.shrink[:, None] / n
        long = (1 + autocorrelation) / (1 - autocorrelation)
        return recent * (_inflation(autocorrelation, self.days) + weekdays) / self.days + variance * long / n

    def possible(self) -> np.ndarray:
        """Spans that persist and whose shift is not plainly noise."""
        least = self._variance_of_shift(self.trace[:, None], 0, np.zeros((len(self.n), 1)))
        persistent = self.same_side.sum(axis=2) >= PERSISTENT
        return persistent & (self.size > 0) & (self.size >= _SCREEN * least)

    def scores(self) -> np.ndarray:
        """(series, spans): the normal score of F = |mean shift|² / its variance.

        Both the variance and its degrees of freedom are the more cautious of two views: of the day-to-day noise as a
        whole, and along the direction of the shift, where noise that concentrates there has few degrees of freedom.
        """
        residuals = self._residual_products(0)
        n, df = self.n[:, None], self.df[:, None]
        size = np.where(self.size > 0, self.size, 1)

        within = residuals[:, :REFERENCE_DAYS, :REFERENCE_DAYS] * (self.weight[:, :, None] * self.weight[:, None, :])
        trace = self.trace[:, None]
        # Σλ² of the covariance's eigenvalues λ, without the bias that estimating it from few days gives.
        raw = _sum((within**2).reshape(len(within), -1))[:, None] / df**2
        squares = np.maximum(df**2 / ((df + 2) * (df - 1)) * (raw - trace**2 / df), trace**2 / df)
        squares = np.maximum(squares, self.floor[:, 2:])
        effective = np.clip(trace**2 / squares, 1, df)

        bias = (1 + self.fitted[:, None]) / n
        neighbours = np.maximum((self.reference[:, 1:] & self.reference[:, :-1]).sum(axis=1), 1)[:, None]
        lagged = _sum(within[:, _DAY[1:REFERENCE_DAYS], _DAY[: REFERENCE_DAYS - 1]])[:, None] / neighbours
        whole_autocorrelation = np.clip(lagged / (trace * df / n) + bias, 0, MAX_AUTOCORRELATION)
        whole = self._variance_of_shift(trace, 0, whole_autocorrelation)

        cross = residuals[:, None, :REFERENCE_DAYS, REFERENCE_DAYS:] * self.spans[:, :, None, :]
        projected = _sum(cross) / self.days[:, :, None] * self.weight[:, None, :]
        power = _sum(projected**2)
        lagged = _sum(projected[:, :, 1:] * projected[:, :, :-1]) / neighbours * n
        autocorrelation = np.clip(lagged / np.where(power > 0, power, 1) + bias, 0, MAX_AUTOCORRELATION)
        autocorrelation = np.maximum(autocorrelation, whole_autocorrelation)
        variance = np.maximum(power / df / size, self.floor[:, 1:2])
        directed = self._variance_of_shift(variance, 1, autocorrelation)
        ratio = self.size / np.maximum(whole, directed)
        effective = np.clip(whole / directed, 1, effective)
        return -ndtri(np.maximum(fdtrc(effective, effective * df, ratio), _LEAST_P))


def _sum(values: np.ndarray) -> np.ndarray:
    """Sum over the last axis of numbers that are not on the grid.

    In memory order, so that the order of addition depends on the length of that axis and on nothing else.
    """
    return np.ascontiguousarray(values).sum(axis=-1)


def _inflation(autocorrelation, days) -> np.ndarray:
    """Variance of a mean of `days` values of an AR(1) process, over that of independent ones."""
    total = np.ones(np.broadcast_shapes(autocorrelation.shape, days.shape))
    power = 1
    for lag in range(1, RECENT_DAYS):
        power = power * autocorrelation
        total = total + 2 * np.maximum(1 - lag / days, 0) * power
    return total
