"""The exchangeability martingale test of histogram series, as Vitillo published it for Mozilla's alerts: the reference.

Each day's normalised histogram is *strange* as far as it lies from the mean of the earlier ones; under exchangeability
its rank among theirs is uniform, and M = Π ε·p^(ε−1) a martingale (Ho and Wechsler, 2010). Readers know it; the
warehouse does not use it (docs/changes.md says why).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
from scipy.interpolate import CubicSpline

from telemetry_warehouse.changes.scan import SHARE_DECIMALS, Alarm, checked_counts, checked_sample


def cosine(points: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """1 − cosine of the angle between points and mean, both (series, buckets)."""
    lengths = np.linalg.norm(points, axis=1) * np.linalg.norm(mean, axis=1)
    return 1 - (points * mean).sum(axis=1) / np.where(lengths > 0, lengths, 1)


def hellinger(points: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Hellinger distance of points to mean, both (series, buckets) of shares, 0 to 1."""
    return np.linalg.norm(np.sqrt(points) - np.sqrt(mean), axis=1) / np.sqrt(2)


@dataclass(frozen=True)
class Settings:
    """epsilon: exponent of the bet. threshold: of an alarm, on M. hold: points at the start at which M stays 1.
    interpolation: points a day, by cubic splines (1: none). strangeness: of points (series, buckets) to the mean of the
    earlier ones. seed: of the θ that break ties of ranks."""

    epsilon: float = 0.92
    threshold: float = 20.0
    hold: int = 5
    interpolation: int = 3
    strangeness: Callable[[np.ndarray, np.ndarray], np.ndarray] = cosine
    seed: int = 0


def scan(
    counts: np.ndarray, first_day: date, n_clients: np.ndarray | None = None, settings: Settings | None = None
) -> list[Alarm]:
    """Alarms of series of histograms, each by itself; arguments and errors as for changes.scan.

    A gap is bridged. score is log10 of M; before and after are the mean shares up to the change date and from it on.
    After an alarm the test begins anew.
    """
    settings = settings or Settings()
    counts = checked_counts(counts, first_day)
    sample = checked_sample(counts, n_clients)
    alarms = []
    for series, of_series in enumerate(counts):
        days = np.flatnonzero(sample[series] > 0)
        if len(days) > 1:
            alarms += _scan_one(series, of_series[days] / of_series[days].sum(axis=1, keepdims=True), days, settings)
    return alarms


def _scan_one(series: int, shares: np.ndarray, days: np.ndarray, settings: Settings) -> list[Alarm]:
    points, at = _interpolated(shares, settings.interpolation)
    rng = np.random.default_rng([settings.seed, series])
    alarms, start = [], 0
    while (found := _first_alarm(points[start:], settings, rng)) is not None:
        detected, changed, log_m = (start + found[0], start + found[1], found[2])
        day, since = int(np.ceil(at[detected])), max(int(np.ceil(at[changed])), 1)
        since = min(since, day)
        begins = int(np.ceil(at[start]))
        before, after = shares[begins : max(since, begins + 1)].mean(axis=0), shares[since : day + 1].mean(axis=0)
        alarms.append(
            Alarm(
                series, int(days[day]), int(days[since]), log_m / np.log(10), float(np.abs(after - before).sum() / 2),
                before.round(SHARE_DECIMALS), after.round(SHARE_DECIMALS),
            )  # fmt: skip
        )
        start = detected
    return alarms


def _interpolated(shares: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points a day on cubic splines through the days, and where they lie among the days."""
    at = np.arange((len(shares) - 1) * points + 1) / points
    if points == 1:
        return shares, at
    between = np.maximum(CubicSpline(np.arange(len(shares)), shares)(at), 0)
    return between / between.sum(axis=1, keepdims=True), at


def _first_alarm(points: np.ndarray, settings: Settings, rng) -> tuple[int, int, float] | None:
    """(point of the alarm, point from which M rose, log M) of the first alarm."""
    if len(points) < 2:
        return None
    n = np.arange(1, len(points))
    means = np.cumsum(points, axis=0)[:-1] / n[:, None]
    # Rounded, so that identical days are equally strange.
    strange = np.concatenate([[0.0], settings.strangeness(points[1:], means).round(12)])
    log_m, rising = 0.0, 1
    thetas = rng.random(len(points))
    ordered = np.sort(strange[:1])
    for i in range(1, len(points)):
        low, high = np.searchsorted(ordered, strange[i]), np.searchsorted(ordered, strange[i], "right")
        p = (len(ordered) - high + thetas[i] * (high - low + 1)) / (len(ordered) + 1)
        ordered = np.insert(ordered, low, strange[i])
        if i < settings.hold:
            continue
        log_m += np.log(settings.epsilon) + (settings.epsilon - 1) * np.log(max(p, 1e-12))
        if log_m >= np.log(settings.threshold):
            return i, rising, log_m
        if log_m <= 0:
            log_m, rising = max(log_m, -50.0), i + 1
    return None
