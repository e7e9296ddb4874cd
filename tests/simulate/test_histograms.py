"""Bucket layouts, and the changes planted in simulated distributions."""

import json
from collections import Counter, defaultdict
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse.changes import scan
from telemetry_warehouse.layouts import EXPONENTIAL, LINEAR, Layout, exponential, linear
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.simulate.population import messages
from telemetry_warehouse.simulate.probes import PROBES, Change, default_changes, distributions
from tests.simulate import reading

FIRST_DAY = date(2026, 3, 2)
DAYS = 29
SAMPLE = ROOT.parent / "shared" / "real_pings" / "pings" / "telemetry" / "main.4.sample.pass.json"


# Layouts


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"{SAMPLE} is not here")
def test_real_histograms_have_the_bounds_of_their_layout():
    payload = json.loads(SAMPLE.read_text())["payload"]
    histograms = list(payload["histograms"].values())
    histograms += [h for keys in payload["keyedHistograms"].values() for h in keys.values()]
    checked = 0
    for h in histograms:
        if h["histogram_type"] in (EXPONENTIAL, LINEAR):
            bounds = Layout(h["histogram_type"], *h["range"], h["bucket_count"]).bounds()
            assert {int(bucket) for bucket in h["values"]} <= set(bounds)
            checked += 1
    assert checked > 300


@given(low=st.integers(1, 1_000), width=st.integers(200, 10**7), buckets=st.integers(3, 200))
def test_bounds_ascend_from_zero_to_the_end_of_the_range(low, width, buckets):
    for bounds in (exponential(low, low + width, buckets), linear(low, low + width, buckets)):
        assert len(bounds) == buckets
        assert bounds[0] == 0 and bounds[1] == low and bounds[-1] == low + width
        assert all(a < b for a, b in zip(bounds, bounds[1:], strict=False))


def test_a_range_that_starts_below_zero_has_its_first_bucket_below_that():
    assert linear(-90, 300, 80)[:3] == [-95, -90, -85]


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: f"{p.name} {p.key}".strip())
def test_shares_add_up_to_one(probe):
    for factor, new_mode in ((1.0, 0.0), (1.3, 0.0), (1.0, 0.2)):
        shares = probe.shares(factor, new_mode)
        assert shares.sum() == pytest.approx(1) and shares.min() >= 0
        assert len(shares) <= probe.layout.buckets


# Planted changes


def _usual(day: date, changes: list[Change], name: str) -> np.ndarray:
    """The shares of a probe on a machine of the usual kind."""
    index = next(i for i, probe in enumerate(PROBES) if probe.name == name)
    return distributions(day, 5, changes)[index][1]


def _moved(change: Change, day: date) -> float:
    """Total variation distance that a change makes on a day."""
    return float(np.abs(_usual(day, [change], change.probe) - _usual(day, [], change.probe)).sum() / 2)


@pytest.mark.parametrize(
    ("kind", "size", "days_with", "days_without"),
    [
        ("shift", 0.2, (10, 11, 60), (0, 9)),
        ("new mode", 0.1, (10, 11, 60), (0, 9)),
        ("spike", 0.2, (10, 11, 12), (9, 13, 60)),
        ("gradual", 0.3, (14, 19, 60), (0, 9)),
    ],
)
def test_a_change_is_there_on_its_days_and_only_then(kind, size, days_with, days_without):
    change = Change("GC_MS", FIRST_DAY + timedelta(days=10), kind, size)
    assert all(_moved(change, FIRST_DAY + timedelta(days=n)) > 0.05 for n in days_with)
    assert all(_moved(change, FIRST_DAY + timedelta(days=n)) == 0 for n in days_without)


def test_a_gradual_change_grows_for_ten_days():
    change = Change("GC_MS", FIRST_DAY, "gradual", 0.3)
    assert [round(change.on(FIRST_DAY + timedelta(days=n))[0], 2) for n in (0, 4, 9, 10, 90)] == [
        1.03,
        1.15,
        1.3,
        1.3,
        1.3,
    ]


def test_a_tiny_change_moves_less_than_anyone_would_care_for():
    change = next(c for c in default_changes(FIRST_DAY) if c.kind == "tiny")
    assert 0 < _moved(change, change.day) < 0.01


def test_a_kind_of_change_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="'jump' is not one of shift, new mode"):
        Change("GC_MS", FIRST_DAY, "jump", 0.2)


class _Series:
    """Histogram counts of a simulation by (probe, key, number of buckets): each client's shares, summed by day."""

    def __init__(self, clients: int, seed: int, planted: list[Change] | None = None, days: int = DAYS):
        sums = defaultdict(lambda: defaultdict(Counter))
        for data, attributes in messages(clients=clients, first_day=FIRST_DAY, days=days, seed=seed, planted=planted):
            message = reading.read(data, attributes)
            if message.verdict == "good":
                payload = message.document["payload"]
                named = [(name, "", h) for name, h in payload["histograms"].items()]
                named += [(n, key, h) for n, keys in payload["keyedHistograms"].items() for key, h in keys.items()]
                for name, key, h in named:
                    own = sums[name, key, h["bucket_count"]][(message.day - FIRST_DAY).days, message.client_id]
                    own.update({int(bucket): count for bucket, count in h["values"].items()})
        self.names = list(sums)
        self.counts = np.zeros((len(sums), days, 101), np.int64)
        self.clients = np.zeros((len(sums), days), np.int64)
        for i, by_client in enumerate(sums.values()):
            index: dict[int, int] = {}
            for (day, _), histogram in by_client.items():
                total = histogram.total()
                if total:
                    self.clients[i, day] += 1
                    for bucket, count in histogram.items():
                        self.counts[i, day, index.setdefault(bucket, len(index))] += count * 10**9 // total

    def shares(self, name: str, key: str = "") -> np.ndarray:
        """(days, buckets)"""
        row = next(i for i, (n, k, _) in enumerate(self.names) if (n, k) == (name, key))
        return self.counts[row] / self.counts[row].sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def series() -> _Series:
    return _Series(clients=400, seed=11)


@pytest.mark.parametrize(
    "change", [c for c in default_changes(FIRST_DAY) if c.kind != "tiny"], ids=lambda c: f"{c.probe} {c.kind}"
)
def test_what_is_planted_by_default_is_in_what_is_sent(series, change):
    shares = series.shares(change.probe, change.key)
    at = (change.day - FIRST_DAY).days
    # Whole weeks before it, which every weekday is in; and the days when all of it has arrived.
    before = shares[at - 14 : at].mean(axis=0)
    after = (
        shares[at : at + 3] if change.kind == "spike" else shares[at + 7 :] if change.kind == "gradual" else shares[at:]
    )
    moved = np.abs(after.mean(axis=0) - before).sum() / 2
    ordinary = np.abs(shares[at - 7 : at].mean(axis=0) - shares[at - 14 : at - 7].mean(axis=0)).sum() / 2
    assert moved > 0.08 and moved > 3 * ordinary


def test_the_detector_finds_what_is_sudden_within_the_run_and_nothing_else(series):
    found = {}
    for alarm in scan(series.counts, FIRST_DAY, series.clients):
        name, key, _ = series.names[alarm.series]
        found[name, key] = (alarm.changed, alarm.detected)
    planted = {(c.probe, c.key): c for c in default_changes(FIRST_DAY) if c.kind != "tiny"}
    # The spans that find a drift have no reference yet in the first weeks.
    assert found.keys() == {which for which, change in planted.items() if change.kind != "gradual"}
    for which, (changed, detected) in found.items():
        day = (planted[which].day - FIRST_DAY).days
        assert day <= changed <= day + 1 and detected <= day + 3


def test_without_planted_changes_nothing_is_found():
    quiet = _Series(clients=300, seed=12, planted=[])
    assert scan(quiet.counts, FIRST_DAY, quiet.clients) == []


def test_one_probe_has_two_layouts(series):
    assert {buckets for name, _, buckets in series.names if name == "CYCLE_COLLECTOR"} == {30, 50}
    assert {key for name, key, _ in series.names if name == "IPC_MESSAGE_TIME_MS"} == {"content", "gpu", "socket"}
