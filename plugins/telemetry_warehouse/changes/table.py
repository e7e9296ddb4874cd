"""Rows of derived.change_scores_v1 from rows of derived.distributions_v1."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from telemetry_warehouse.changes.discoveries import log10_e, stand
from telemetry_warehouse.changes.scan import DECIMALS, Alarm, Found, Tracker, checked_sample, walk
from telemetry_warehouse.changes.series import SeriesKey, blocks
from telemetry_warehouse.changes.window import WINDOW

METHOD = "reference-window-scan/2"
# Days before the first judged one whose distributions, and whose alerts, its verdict can depend on.
WINDOW_DAYS = WINDOW - 1
# Total variation distance below which an alert is not even kept.
LEAST_KEPT = 0.01
# A series that changes so often within WINDOW days is noisy: nobody would read its alerts.
NOISY_CHANGES = 4


def score_rows(
    distributions: pa.Table | Iterable[Mapping],
    alerts: Iterable[Mapping],
    start_date: date,
    end_date: date,
    false_share: float = 0.05,
) -> list[dict]:
    """The verdicts on start_date..end_date, ordered by day and series.

    distributions: rows from WINDOW_DAYS before start_date to end_date; others are ignored. alerts: rows of
    change_scores_v1 of the WINDOW_DAYS before start_date whose `alert` is not NULL; others are ignored. false_share: of
    the alerts of a calendar month at most this share is expected to be false.

    A day's rows are the same whether it is asked for alone or in a range.
    """
    if start_date > end_date:
        raise ValueError(f"start_date {start_date} is after end_date {end_date}")
    first_day = start_date - timedelta(days=WINDOW_DAYS)
    known = [alert for alert in alerts if first_day <= alert["submission_date"] < start_date]
    return _Nights(distributions, known, first_day, end_date, false_share).rows()


class _Nights:
    """Days are indices from first_day on; the judged ones begin at WINDOW_DAYS."""

    def __init__(self, distributions, known: list[Mapping], first_day: date, last_day: date, false_share: float):
        self.first_day, self.false_share = first_day, false_share
        self.days = range(WINDOW_DAYS, (last_day - first_day).days + 1)
        self.keys: list[list[SeriesKey]] = []
        self.buckets: list[list[np.ndarray]] = []
        self.trackers: list[Tracker] = []
        self.changes: dict[tuple[int, int], list[int]] = {}  # (tracker, series) → the days that its changes stood
        self.discoveries: list[int] = []  # the days of all that stood by its e-value
        self.evidence: dict[tuple[int, int, int], float] = {}  # (tracker, series, day) → log10 of the e-value
        self._take(distributions, known, last_day)

    def rows(self) -> list[dict]:
        standing = {(number, alarm.series, alarm.detected): alarm for number, alarm in self._standing()}
        rows = []
        for number, tracker in enumerate(self.trackers):
            for series, day in zip(*np.nonzero(self.n_clients[number][:, WINDOW_DAYS:]), strict=True):
                at = (number, int(series), int(day) + WINDOW_DAYS)
                rows.append(self._row(tracker, *at, standing.get(at)))
        return sorted(rows, key=_order)

    def _take(self, distributions, known: list[Mapping], last_day: date) -> None:
        of_series: dict[SeriesKey, list[Mapping]] = {}
        for alert in sorted(known, key=lambda alert: alert["submission_date"]):
            of_series.setdefault(_key(alert), []).append(alert)
        buckets = {
            key: {s["bucket"] for alert in alerts for name in ("shares_before", "shares_after") for s in alert[name]}
            for key, alerts in of_series.items()
        }
        self.n_clients = []
        for block in blocks(distributions, self.first_day, last_day, buckets):
            sample = checked_sample(block.counts, block.n_clients)
            tracker = Tracker(block.counts, sample, WINDOW_DAYS, LEAST_KEPT)
            for series, key in enumerate(block.keys):
                for alert in of_series.get(key, ()):
                    alarm = self._alarm(series, alert, block.buckets[series], tracker.x.shape[2])
                    tracker.know(alarm)
                    self._remember(len(self.trackers), alarm)
            self.keys.append(block.keys)
            self.buckets.append(block.buckets)
            self.n_clients.append(block.n_clients)
            self.trackers.append(tracker)

    def _standing(self) -> Iterator[Found]:
        for number, alarm in walk(self.trackers, self.days, self._accept):
            self._remember(number, alarm)
            yield number, alarm

    def _remember(self, number: int, alarm: Alarm) -> None:
        if alarm.score:
            self.discoveries.append(alarm.detected)
        if alarm.closes is None:
            self.changes.setdefault((number, alarm.series), []).append(alarm.detected)

    def _accept(self, day: int, found: list[Found]) -> np.ndarray:
        evidence = np.array([round(log10_e(alarm.score, alarm.days), DECIMALS) for _, alarm in found])
        for (number, alarm), value in zip(found, evidence, strict=True):
            self.evidence[number, alarm.series, day] = float(value)
        month = day - (self._date(day).day - 1)
        before = sum(month <= other < day for other in self.discoveries)
        judged = sum(int(np.isfinite(tracker.scores[:, day]).sum()) for tracker in self.trackers)
        return stand(evidence, judged, before, self.false_share)

    def _date(self, day: int) -> date:
        return self.first_day + timedelta(days=day)

    def _alarm(self, series: int, alert: Mapping, buckets: np.ndarray, width: int) -> Alarm:
        def day(name):
            return None if alert[name] is None else (alert[name] - self.first_day).days

        def shares(name):
            values = np.zeros(width)
            values[np.searchsorted(buckets, [s["bucket"] for s in alert[name]])] = [s["share"] for s in alert[name]]
            return values

        before, after = shares("shares_before"), shares("shares_after")
        # What ended an alarm within OPEN_DAYS has no e-value: it is no discovery.
        score = 0.0 if alert["log10_e"] is None else alert["score"]
        of_days = day("submission_date"), day("change_date")
        return Alarm(series, *of_days, score, alert["effect"], before, after, alert["doubt"], day("closes"))

    def _row(self, tracker: Tracker, number: int, series: int, day: int, alarm: Alarm | None) -> dict:
        buckets = self.buckets[number][series]
        score, noise = tracker.scores[series, day], tracker.noise[series, day]
        changes = [other for other in self.changes.get((number, series), ()) if day - WINDOW < other <= day]
        noisy = len(changes) >= NOISY_CHANGES
        return {
            "submission_date": self._date(day),
            **self.keys[number][series]._asdict(),
            "n_clients": int(self.n_clients[number][series, day]),
            "noise": None if np.isnan(noise) else round(min(float(noise), 1.0), DECIMALS),
            "score": None if np.isnan(score) else round(float(score), DECIMALS),
            "log10_e": self.evidence.get((number, series, day)),
            "alert": alarm and ("changed" if alarm.closes is None else "reverted"),
            "change_date": alarm and self._date(alarm.changed),
            "closes": None if alarm is None or alarm.closes is None else self._date(alarm.closes),
            "effect": alarm and round(alarm.effect, DECIMALS),
            "doubt": alarm and alarm.doubt,
            "noisy": f"{len(changes)} changes within {WINDOW} days" if noisy else None,
            "shares_before": _shares(buckets, alarm.before) if alarm else [],
            "shares_after": _shares(buckets, alarm.after) if alarm else [],
        }


def _key(row: Mapping) -> SeriesKey:
    return SeriesKey(*(row[name] for name in SeriesKey._fields))


def _order(row: dict) -> tuple:
    return row["submission_date"], *((row[name] is not None, row[name] or "") for name in SeriesKey._fields)


def _shares(buckets, shares) -> list[dict]:
    """Buckets that round to no share at all are left out."""
    return [
        {"bucket": int(b), "share": share}
        for b, share in zip(buckets, shares[: len(buckets)].tolist(), strict=True)
        if share
    ]
