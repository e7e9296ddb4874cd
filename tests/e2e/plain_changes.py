"""The method of docs/changes.md for one series and one day at a time, on the vectors of √share themselves.

The warehouse works on the inner products of all days of many series at once; here nothing is shared between days.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import norm

SPANS = {3: 3, 5: 4, 7: 5}  # days of a span: how many of them must lie on the side of the change
Days = dict[date, tuple[int, np.ndarray]]  # of days with data: clients, and the share of each bucket


def series_of(aggregates: dict) -> Iterator[tuple[dict, list[int], Days]]:
    """(key, buckets, days) of each probe, over all channels and by channel; days of fewer than 50 clients are gaps."""
    sums = defaultdict(lambda: defaultdict(lambda: [0, defaultdict(int)]))
    for row in aggregates.values():
        key = tuple(row[name] for name in ("app_name", "probe", "key", "layout"))
        for channel in {row["channel"], None}:
            entry = sums[key, channel][row["submission_date"]]
            entry[0] += row["n_clients"]
            for b in row["buckets"]:
                entry[1][b["bucket"]] += b["clients"]
    for (key, channel), of_day in sums.items():
        buckets = sorted({bucket for _, counts in of_day.values() for bucket in counts})
        counts = {day: (n, np.array([c[b] for b in buckets], float)) for day, (n, c) in of_day.items() if n >= 50}
        names = dict(zip(("app_name", "probe", "key", "layout"), key, strict=True)) | {"channel": channel, "os": None}
        yield names, buckets, {day: (n, c / c.sum()) for day, (n, c) in counts.items()}


def alerts(days: Days) -> list[dict]:
    """The series' alerts, day after day; the reference starts anew at each change."""
    found, since = [], date.min
    for today in sorted(days):
        of_today = [alert for alert in map(Judged(days, today, since).alert, SPANS) if alert]
        if of_today:
            found.append(max(of_today, key=lambda alert: alert["score"]))
            since = found[-1]["change_date"]
    return found


class Judged:
    """A day against its reference: the 56 days that end a week before it."""

    def __init__(self, days: Days, today: date, since: date):
        self.days, self.today = days, today
        self.reference = [d for d in self.last(63) if d >= since and (today - d).days >= 7]
        if len(self.reference) >= 14:
            self.learn()

    def last(self, n: int) -> list[date]:
        span = [self.today - timedelta(days=age) for age in reversed(range(n))]
        return [day for day in span if day in self.days]

    def root(self, day: date) -> np.ndarray:
        return np.sqrt(self.days[day][1])

    def sampling(self, day: date) -> np.ndarray:
        """A day's sampling variance: of the whole, along a direction, and the sum of its squares."""
        variance = 0.25 / self.days[day][0]
        buckets = max((self.days[day][1] > variance).sum(), 1)
        return np.array([buckets * variance, variance, buckets * variance**2])

    def learn(self):
        roots, n = [self.root(d) for d in self.reference], len(self.reference)
        self.mean, by_weekday = np.mean(roots, axis=0), defaultdict(list)
        for day, root in zip(self.reference, roots, strict=True):
            by_weekday[day.weekday()].append(root)
        self.usual, groups = {k: np.mean(v, axis=0) for k, v in by_weekday.items()}, len(by_weekday)
        within = sum(((r - self.usual[d.weekday()]) ** 2).sum() for d, r in zip(self.reference, roots, strict=True))
        between = sum(len(v) * ((self.usual[k] - self.mean) ** 2).sum() for k, v in by_weekday.items())
        self.shrink = max(0, 1 - (groups - 1) * within / max(n - groups, 1) / between) if n >= 21 and between else 0
        self.fitted = (groups - 1) * self.shrink
        self.df = n - 1 - self.fitted
        self.floor = np.mean([self.sampling(d) for d in self.reference], axis=0)
        residuals = np.array([self.residual(d) for d in self.reference])
        squared = (residuals**2).sum(axis=1)
        cap = 6 * max(np.median(squared), self.floor[0])
        self.trace = max(np.minimum(squared, cap).sum() / self.df, self.floor[0])
        self.damped = residuals * np.sqrt(cap / np.maximum(squared, cap))[:, None]

    def mixed(self, day: date, mean, of_weekday):
        part = self.shrink if day.weekday() in of_weekday else 0
        return (1 - part) * mean + part * of_weekday.get(day.weekday(), 0)

    def residual(self, day: date) -> np.ndarray:
        return self.root(day) - self.mixed(day, self.mean, self.usual)

    def alert(self, span: int) -> dict | None:
        recent = self.last(span)
        if len(self.reference) < 14 or len(recent) < SPANS[span]:
            return None
        shifts = np.array([self.residual(d) for d in recent])
        shift = shifts.mean(axis=0)
        others = (len(recent) * shift - shifts) / (len(recent) - 1)
        same_side = (others * shifts).sum(axis=1) >= 0.4 * (shift**2).sum()
        if same_side.sum() < SPANS[span] or (score := self.score(shift, recent)) < 5:
            return None
        changed = recent[int(np.argmax(same_side))]
        before, after = self.shares(changed)
        alert = {"detected_date": self.today, "change_date": changed, "score": score, "before": before, "after": after}
        effect = np.abs(after - before).sum() / 2
        return alert | {"effect": effect, "n_clients": self.days[self.today][0]} if effect >= 0.02 else None

    def score(self, shift: np.ndarray, recent: list[date]) -> float:
        """F = |shift|² / its variance as a normal score, by the more cautious of two views of the variance."""
        n, df, size = len(self.reference), self.df, (shift**2).sum()
        pairs = [i for i in range(1, n) if (self.reference[i] - self.reference[i - 1]).days == 1]
        bias = (1 + self.fitted) / n
        products = self.damped @ self.damped.T
        lagged = sum(products[i, i - 1] for i in pairs) / max(len(pairs), 1)
        correlation = np.clip(lagged * n / (self.trace * df) + bias, 0, 0.9)
        whole = self.variance_of_shift(self.trace, 0, correlation, recent)

        chance = self.trace**2 / df  # what Σλ² of the covariance gains from being estimated
        spread = df**2 / ((df + 2) * (df - 1)) * ((products**2).sum() / df**2 - chance)
        effective = np.clip(self.trace**2 / max(spread, chance, self.floor[2]), 1, df)

        along = self.damped @ shift
        lagged = sum(along[i] * along[i - 1] for i in pairs) / max(len(pairs), 1)
        correlation = max(correlation, np.clip(lagged * n / (along**2).sum() + bias, 0, 0.9))
        directed = self.variance_of_shift(max((along**2).sum() / df / size, self.floor[1]), 1, correlation, recent)
        effective = np.clip(whole / directed, 1, effective)
        return norm.isf(max(fisher.sf(size / max(whole, directed), effective, effective * df), 1e-300))

    def variance_of_shift(self, variance: float, view: int, correlation: float, recent: list[date]) -> float:
        n, k = len(self.reference), len(recent)
        own = variance + max(np.mean([self.sampling(d)[view] for d in recent]) - self.floor[view], 0)
        inflation = 1 + 2 * sum((1 - lag / k) * correlation**lag for lag in range(1, k))
        of_recent = own * (inflation + self.fitted * self.shrink / n) / k
        return of_recent + variance * (1 + correlation) / (1 - correlation) / n

    def shares(self, changed: date) -> tuple[np.ndarray, np.ndarray]:
        """Mean shares expected of the days since the change, and those that they have."""
        since, of_weekday = [d for d in self.last(7) if d >= changed], defaultdict(list)
        for day in self.reference:
            of_weekday[day.weekday()].append(self.days[day][1])
        usual = {weekday: np.mean(shares, axis=0) for weekday, shares in of_weekday.items()}
        mean = np.mean([self.days[d][1] for d in self.reference], axis=0)
        expected = np.mean([self.mixed(d, mean, usual) for d in since], axis=0)
        return expected, np.mean([self.days[d][1] for d in since], axis=0)
