"""Finds the days on which the shape of a series' distribution changed.

Strictly online: the verdict on day D reads at most the WINDOW days that end with D and what was found on them. So a
night that judges one day finds, to the bit, what a scan of all years finds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np

from telemetry_warehouse.changes.residuals import GRID, WEEKS, roots
from telemetry_warehouse.changes.window import MIN_SCORE, WINDOW, Scorer

# Below this a single client is worth a share of MIN_EFFECT or more, and √share is far from normal.
MIN_CLIENTS = 50
# Total variation distance below which a change is nobody's business.
MIN_EFFECT = 0.02
# Of what a later night needs to know of an alarm, so that it knows it to the bit.
DECIMALS = 6
SHARE_DECIMALS = 9  # 10,000 small ones still add up to 1
# How long after a change it is watched whether the old shape comes back.
OPEN_DAYS = 28
# What ends a change: days on the side of the old shape, on average nearly that shape (a squared distance, where that of
# the new shape is 1), and not by chance. The new shape looks farther than it is where an odd day helped to raise the
# alarm.
_REVERTED_DAYS = 3
_REVERTED_DISTANCE = 0.1
_REVERTED_SCORE = 3.0

_NUMBERS_AT_ONCE = 500_000
_NUMBERS_HELD = 5_000_000


@dataclass(frozen=True)
class Alarm:
    """A change of one series; days are indices on the day axis of `counts`.

    detected: the day whose data raised the alarm. changed: the estimated first day of the new shape.
    score: like a normal score, but calibrated by simulation only (docs/changes.md). effect: total variation distance of
    `before` and `after`, the shares (buckets,) expected from the reference and those since the change. doubt: the
    standard deviation of a single day along the shift, as a part of the shift. closes: where the shape came back that
    was there before an earlier change, the first day of that change. days: with data, from the change to its detection.
    """

    series: int
    detected: int
    changed: int
    score: float
    effect: float
    before: np.ndarray = field(compare=False, repr=False)
    after: np.ndarray = field(compare=False, repr=False)
    doubt: float = 0.0
    closes: int | None = None
    days: int = 0


def scan(counts: np.ndarray, first_day: date, n_clients: np.ndarray | None = None) -> list[Alarm]:
    """Scans series of histograms, each by itself; its alarms by series, then day.

    counts: integers (series, days, buckets), in any unit. first_day: the date of day 0, of which errors speak; the days
    follow each other without holes. n_clients: integers (series, days), the sample size that sets the sampling noise;
    without it each count is a client. A day without counts, or with fewer than MIN_CLIENTS of the given clients, is a
    gap. A shape that comes back within OPEN_DAYS ends its alarm and is no alarm of its own.

    Raises ValueError naming what is wrong with the input.
    """
    counts = checked_counts(counts, first_day)
    sample = checked_sample(counts, n_clients)
    series, days, buckets = counts.shape
    step = max(1, _NUMBERS_HELD // max(days * buckets, 1))
    alarms = []
    for first in range(0, series, step):
        part = slice(first, first + step)
        tracker = Tracker(counts[part], sample[part])
        found = walk([tracker], range(days), lambda day, found: np.ones(len(found), bool))
        alarms += [replace(alarm, series=alarm.series + first) for _, alarm in found if alarm.score]
    return sorted(alarms, key=lambda alarm: (alarm.series, alarm.detected))


# A tracker, by its place among the trackers, and an alarm of it.
Found = tuple[int, Alarm]


class Tracker:
    """Series that are judged day by day, with what has been found in them so far.

    scores: (series, days), NaN where nothing was judged, 0 where the day is not even unusual. noise: (series, days),
    how far a day typically lies from what its weekday was, between roots of shares (an upper bound of total variation).

    counts: (series, days, buckets); sample: (series, days), 0 on gaps; judging starts on day index `start`.
    """

    def __init__(self, counts: np.ndarray, sample: np.ndarray, start: int = 0, least_effect: float = MIN_EFFECT):
        self.x = roots(counts)
        self.sample, self.start, self.least_effect = sample, start, least_effect
        self.learn = sample > 0
        self.scores = np.full(sample.shape, np.nan)
        self.noise = np.full(sample.shape, np.nan)
        self._open: dict[int, list[tuple[Alarm, np.ndarray]]] = defaultdict(list)
        self._found: dict[int, dict[int, Alarm]] = {}
        self._closing: dict[int, Alarm] = {}
        self._latest: dict[int, int] = {}  # the day that begins the newest shape

    def know(self, alarm: Alarm) -> None:
        """Takes in an alarm of before `start`; they come in the order of their days."""
        self._apply(alarm)

    def judge(self) -> None:
        """Scores all days from `start` on; to be called once, after what is known."""
        self._score(np.arange(len(self.x)), self.start)
        for series in list(self._open):
            self._watch(series, self.start)

    def ended(self, day: int) -> list[Alarm]:
        """Alarms whose old shape is back on that day."""
        return [alarm for _, alarm in sorted(self._closing.items()) if alarm.detected == day]

    def found(self, day: int) -> list[Alarm]:
        """What may be an alarm on that day, by series; one series has at most one."""
        ended = {alarm.series for alarm in self.ended(day)}
        return [alarm for series, alarm in sorted(self._found.pop(day, {}).items()) if series not in ended]

    def accept(self, alarms: list[Alarm]) -> None:
        """These alarms of one day stand: what follows is measured against their new shapes."""
        if not alarms:
            return
        for alarm in alarms:
            self._apply(alarm)
        day = alarms[0].detected
        series = np.array([alarm.series for alarm in alarms])
        for found in self._found.values():
            for one in series:
                found.pop(one, None)
        self._score(series, day + 1)
        for one in series:
            self._watch(one, day + 1)

    def _apply(self, alarm: Alarm) -> None:
        series, stack = alarm.series, self._open[alarm.series]
        self._latest[series] = alarm.changed
        if alarm.closes is None:
            stack.append((alarm, self.learn[series].copy()))
            self.learn[series, : max(alarm.changed, 0)] = False
            return
        while stack and stack[-1][0].changed > alarm.closes:
            stack.pop()
        if stack:
            self.learn[series] = stack.pop()[1]
        self.learn[series, max(alarm.closes, 0) : max(alarm.changed, 0)] = False

    def _score(self, series: np.ndarray, start: int) -> None:
        days = self.x.shape[1]
        if start >= days:
            return
        first = max(0, start - WINDOW + 1)
        step = max(1, _NUMBERS_AT_ONCE // ((days - first) * max(self.x.shape[2], 1)))
        for at in range(0, len(series), step):
            part = series[at : at + step]
            scorer = Scorer(self.x[part, first:], self.sample[part, first:], self.learn[part, first:], start - first)
            candidates = scorer.candidates()
            self.scores[part, start:] = np.where(scorer.judged, 0, np.nan).T
            self.noise[part, start:] = np.where(scorer.judged, scorer.noise, np.nan).T
            self.scores[part[candidates.series], first + candidates.day] = np.maximum(candidates.score, 0)
            for day, one, score, changed, doubt, lag in zip(*candidates, strict=True):
                if score >= MIN_SCORE:
                    self._note(self._alarm(int(part[one]), first + int(day), first + int(changed), lag, score, doubt))

    def _note(self, alarm: Alarm) -> None:
        if alarm.effect >= self.least_effect and alarm.changed > self._latest.get(alarm.series, -1):
            self._found.setdefault(alarm.detected, {})[alarm.series] = alarm

    def _alarm(self, series: int, day: int, changed: int, lag: int, score: float, doubt: float) -> Alarm:
        effect, before, after = self._evidence(series, changed, day, lag)
        days = int((self.sample[series, changed : day + 1] > 0).sum())
        doubt = round(float(doubt), DECIMALS)
        alarm = Alarm(series, day, changed, float(score), effect, before, after, doubt, days=days)
        return replace(alarm, closes=self._closes(alarm))

    def _closes(self, alarm: Alarm) -> int | None:
        """The change that a shape undoes: it lies nearer to what was there before that one than to what came of it."""
        for opened, _ in reversed(self._open[alarm.series]):
            if opened.detected <= alarm.detected - WINDOW:
                return None
            if np.abs(alarm.after - opened.before).sum() < np.abs(alarm.after - opened.after).sum() / 2:
                return opened.changed
        return None

    def _evidence(self, series: int, changed: int, detected: int, lag: int) -> tuple[float, np.ndarray, np.ndarray]:
        """(effect, before, after): before is what the same weekdays were, so that no weekend is shown as a change."""
        since = np.flatnonzero(self.sample[series, changed : detected + 1] > 0) + changed
        matched = since[:, None] - 7 * (lag + np.arange(WEEKS))
        usable = (matched >= 0) & self.learn[series, np.maximum(matched, 0)]
        weights = usable / np.maximum(usable.sum(axis=1, keepdims=True), 1)
        weights /= (weights.sum(axis=1) > 0).sum()
        x = self.x[series]
        used = np.flatnonzero(x[matched[usable]].any(axis=0) | x[since].any(axis=0))
        before, after = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        shares = (x[np.ix_(matched[usable], used)] / GRID) ** 2
        before[used] = (shares * weights[usable][:, None]).sum(axis=0)
        after[used] = ((x[np.ix_(since, used)] / GRID) ** 2).sum(axis=0) / len(since)
        return _total_variation(before, after), before.round(SHARE_DECIMALS), after.round(SHARE_DECIMALS)

    def _watch(self, series: int, start: int) -> None:
        """Foresees, from the days that are there, the day on which the old shape is found to have come back."""
        self._closing.pop(series, None)
        if not self._open[series]:
            return
        opened, _ = self._open[series][-1]
        until = min(opened.changed + OPEN_DAYS, self.x.shape[1] - 1)
        old, new = (np.rint(np.sqrt(shares) * GRID) for shares in (opened.before, opened.after))
        shift = new - old
        days = np.arange(opened.changed + 1, until + 1)
        days = days[self.sample[series, days] > 0]
        place = ((self.x[series, days] - old) @ shift) / max(shift @ shift, 1)
        for last in np.flatnonzero(days >= start):
            run = _begins(place[: last + 1] < 0.5)
            size = last + 1 - run
            if size < _REVERTED_DAYS:
                continue
            beyond = (0.5 - place[run : last + 1].mean()) * np.sqrt(size) / max(opened.doubt, 1e-9)
            away = self.x[series, days[run : last + 1]].mean(axis=0) - old
            if beyond >= _REVERTED_SCORE and away @ away <= _REVERTED_DISTANCE * (shift @ shift):
                self._closing[series] = self._reverted(opened, int(days[run]), int(days[last]))
                return

    def _reverted(self, opened: Alarm, changed: int, detected: int) -> Alarm:
        days = np.flatnonzero(self.sample[opened.series, changed : detected + 1] > 0) + changed
        after = (((self.x[opened.series, days] / GRID) ** 2).sum(axis=0) / len(days)).round(SHARE_DECIMALS)
        effect = _total_variation(opened.after, after)
        return Alarm(
            opened.series, detected, changed, 0.0, effect, opened.after, after, opened.doubt, opened.changed, len(days)
        )


def walk(
    trackers: list[Tracker], days: Iterable[int], accept: Callable[[int, list[Found]], np.ndarray]
) -> Iterator[Found]:
    """Everything that stands, day by day.

    accept: says of all that may be an alarm on a day what stands; the end of an alarm always does.
    """
    for tracker in trackers:
        tracker.judge()
    for day in days:
        standing = [(number, alarm) for number, tracker in enumerate(trackers) for alarm in tracker.ended(day)]
        found = [(number, alarm) for number, tracker in enumerate(trackers) for alarm in tracker.found(day)]
        standing += [one for one, stands in zip(found, accept(day, found), strict=True) if stands]
        for number, tracker in enumerate(trackers):
            tracker.accept([alarm for of, alarm in standing if of == number])
        yield from standing


def _total_variation(before: np.ndarray, after: np.ndarray) -> float:
    used = np.flatnonzero((before > 0) | (after > 0))
    return min(float(np.abs(after[used] - before[used]).sum() / 2), 1.0)


def _begins(flags: np.ndarray) -> int:
    """Where the run of True that ends the flags begins; their length where they end with False."""
    return len(flags) - int(np.argmin(np.append(flags[::-1], False)))


def checked_counts(counts, first_day) -> np.ndarray:
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
    return counts


def checked_sample(counts, n_clients) -> np.ndarray:
    """Sample size (series, days), 0 where the day is a gap."""
    total = counts.sum(axis=2).astype(np.int64)
    if n_clients is None:
        return total
    n_clients = np.asarray(n_clients)
    if n_clients.shape != counts.shape[:2]:
        raise ValueError(f"n_clients must be (series, days) = {counts.shape[:2]}, not of shape {n_clients.shape}")
    if not np.issubdtype(n_clients.dtype, np.integer):
        raise ValueError(f"n_clients must be integers, not {n_clients.dtype}")
    if n_clients.size and n_clients.min() < 0:
        raise ValueError(f"n_clients has {n_clients.min()}")
    return np.where((n_clients >= MIN_CLIENTS) & (total > 0), n_clients, 0)
