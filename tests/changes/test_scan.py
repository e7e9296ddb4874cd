from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import fdtri, ndtr
from scipy.stats import norm

from telemetry_warehouse.changes import scan, window
from telemetry_warehouse.changes.scan import MIN_CLIENTS, MIN_EFFECT
from tests.changes.series import FIRST_DAY, KINDS, WORLDS, simulate


def bits(alarm, series=None, first=0):
    """All of an alarm, to the bit, with its days counted from day `first`."""
    number = alarm.series if series is None else int(series[alarm.series])
    return (
        number,
        alarm.detected + first,
        alarm.changed + first,
        alarm.score.hex(),
        alarm.effect.hex(),
        alarm.before.tobytes(),
        alarm.after.tobytes(),
    )


def mixed(seed: int, days: int = 160, series: int = 6):
    """Series that change on day 80, half of which turn round on day 120, and that miss days."""
    rng = np.random.default_rng(seed)
    world = simulate("hard", seed, series, days, buckets=20, kind=KINDS[seed % 4], change=80, clients=(5e3, 1e5))
    counts, n_clients = world.counts, world.n_clients
    counts[::2, 120:] = counts[::2, 120:, ::-1]
    for _ in range(days // 8):
        one, day = rng.integers(series), rng.integers(days)
        if rng.random() < 0.5:
            counts[one, day] = 0
        else:
            n_clients[one, day] = rng.integers(MIN_CLIENTS)
    counts[:, rng.integers(days)] = 0
    return counts, n_clients


def nightly(counts, n_clients, seed: int):
    """One scan a day over just the window it may read, the series in another order each night."""
    rng = np.random.default_rng(seed)
    last_change = np.full(len(counts), -np.inf)
    found = []
    for day in range(counts.shape[1]):
        first = max(0, day - window.WINDOW + 1)
        order = rng.permutation(len(counts))
        days = slice(first, day + 1)
        for alarm in scan(
            counts[order, days],
            FIRST_DAY,
            n_clients[order, days],
            score_from=day - first,
            last_change=last_change[order] - first,
        ):
            found.append(bits(alarm, order, first))
            last_change[order[alarm.series]] = alarm.changed + first
    return sorted(found)


# What it finds


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", ["shift 20%", "new mode", "bins swapped", "3-day spike"])
def test_planted_change_is_found_on_its_third_day_and_dated(world, kind):
    simulated = simulate(world, 3, 40, 130, kind=kind, change=100, clients=(1e4, 3e5))
    alarms = scan(simulated.counts, FIRST_DAY, simulated.n_clients)
    found = {alarm.series: alarm for alarm in reversed(alarms) if alarm.detected >= 100}
    assert len(found) >= 37
    assert np.median([alarm.detected for alarm in found.values()]) == 102
    assert np.median([alarm.changed for alarm in found.values()]) == 100
    assert len(alarms) <= len(found) + 1


@pytest.mark.parametrize("world", WORLDS)
def test_no_alarm_on_series_that_do_not_change(world):
    simulated = simulate(world, 4, 60, 365)
    assert scan(simulated.counts, FIRST_DAY, simulated.n_clients) == []


def test_no_alarm_on_a_change_too_small_to_matter():
    simulated = simulate("week", 5, 40, 130, kind="tiny", change=100, clients=(1e6, 1e7))
    assert scan(simulated.counts, FIRST_DAY, simulated.n_clients) == []


def test_no_alarm_on_one_outlying_day():
    simulated = simulate("week", 6, 30, 120, clients=(1e4, 3e5))
    simulated.counts[:, 90] = simulated.counts[:, 90, ::-1]
    assert scan(simulated.counts, FIRST_DAY, simulated.n_clients) == []


def test_a_strong_weekend_is_no_change():
    simulated = simulate("week", 7, 20, 200, clients=(1e4, 3e5))
    weekend = np.arange(200) % 7 >= 5
    simulated.counts[:, weekend] = np.roll(simulated.counts[:, weekend], 2, axis=2)
    assert scan(simulated.counts, FIRST_DAY, simulated.n_clients) == []


def test_fewer_clients_alone_are_no_change():
    rng = np.random.default_rng(8)
    clients = np.where(np.arange(120) < 90, 100_000, 400)[None] + np.zeros((20, 1), int)
    counts = rng.multinomial(clients, rng.dirichlet(np.full(30, 2.0)))
    assert scan(counts, FIRST_DAY, clients) == []


def test_two_changes_in_one_series():
    rng = np.random.default_rng(9)
    usual, other = rng.dirichlet(np.full(20, 3.0), 2)
    shares = np.where(((np.arange(150) >= 60) & (np.arange(150) < 110))[:, None], other, usual)
    counts = rng.multinomial(20_000, shares)[None]
    alarms = scan(counts, FIRST_DAY)
    assert [(alarm.detected, alarm.changed) for alarm in alarms] == [(62, 60), (112, 110)]
    there, back = alarms
    assert np.allclose(there.before, usual, atol=0.01) and np.allclose(there.after, other, atol=0.01)
    assert np.allclose(back.before, other, atol=0.01) and np.allclose(back.after, usual, atol=0.01)
    assert there.effect == pytest.approx(np.abs(usual - other).sum() / 2, abs=0.01)


def test_effect_is_the_total_variation_distance_of_what_is_shown():
    simulated = simulate("hard", 10, 30, 130, kind="shift 20%", change=100, clients=(1e4, 3e5))
    alarms = scan(simulated.counts, FIRST_DAY, simulated.n_clients)
    assert alarms
    for alarm in alarms:
        assert alarm.before.sum() == pytest.approx(1) and alarm.after.sum() == pytest.approx(1)
        assert alarm.effect == pytest.approx(np.abs(alarm.after - alarm.before).sum() / 2)
        assert alarm.effect >= MIN_EFFECT


@pytest.mark.parametrize("change", [100, 103], ids=["Wednesday to Friday", "Saturday to Monday"])
def test_a_change_found_over_a_weekend_is_shown_without_the_weekend(change):
    weekday, weekend, new = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.3, 0.5, 0.1], [0, 0, 0, 1]])
    day = np.arange(change + 3)[:, None]
    usual = np.where(day % 7 >= 5, weekend, weekday)
    shares = np.where(day >= change, 0.9 * usual + 0.1 * new, usual)
    (alarm,) = scan(np.random.default_rng(11).multinomial(50_000, shares)[None], FIRST_DAY)
    assert alarm.changed == change
    assert alarm.effect == pytest.approx(0.09, abs=0.01)


def test_screen_leaves_out_only_what_cannot_alarm():
    df = np.arange(1, window.REFERENCE_DAYS + 1)
    needed = fdtri(df, df * window.REFERENCE_DAYS, ndtr(window.MIN_SCORE))
    assert needed.min() > window._SCREEN


# What it may depend on


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_night_by_night_gives_the_alarms_of_one_scan_to_the_bit(seed):
    counts, n_clients = mixed(seed)
    whole = scan(counts, FIRST_DAY, n_clients)
    assert whole
    assert nightly(counts, n_clients, seed) == sorted(bits(alarm) for alarm in whole)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 155))
def test_later_days_change_nothing(seed, end):
    counts, n_clients = mixed(seed)
    until = [bits(alarm) for alarm in scan(counts, FIRST_DAY, n_clients) if alarm.detected < end]
    assert [bits(alarm) for alarm in scan(counts[:, :end], FIRST_DAY, n_clients[:, :end])] == until


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 200))
def test_empty_buckets_change_nothing(seed, empty):
    counts, n_clients = mixed(seed)
    places = np.sort(np.random.default_rng(seed).permutation(20 + empty)[:20])
    padded = np.zeros((*counts.shape[:2], 20 + empty), np.int64)
    padded[:, :, places] = counts
    whole = [bits(alarm)[:5] for alarm in scan(counts, FIRST_DAY, n_clients)]
    assert [bits(alarm)[:5] for alarm in scan(padded, FIRST_DAY, n_clients)] == whole


def test_a_series_alone_scores_the_same_bits_as_among_others():
    simulated = simulate("hard", 19, 60, 103, kind="shift 20%", change=100, clients=(1e6, 1e7))
    counts, n_clients = simulated.counts, simulated.n_clients
    together = [bits(alarm) for alarm in scan(counts, FIRST_DAY, n_clients, score_from=102)]
    alone = [
        bits(alarm, [series])
        for series in range(len(counts))
        for alarm in scan(counts[series, None], FIRST_DAY, n_clients[series, None], score_from=102)
    ]
    assert len(together) > 50
    assert alone == together


def test_no_reference_reaches_back_past_the_last_change():
    simulated = simulate("week", 12, 10, 130, kind="3-day spike", change=100, clients=(1e5, 3e5))
    days = simulated.counts[:, :103], FIRST_DAY, simulated.n_clients[:, :103]
    assert len(scan(*days, score_from=102)) == 10
    assert len(scan(*days, score_from=102, last_change=np.full(10, 102 - 7 - 13))) == 10  # 14 days of reference
    assert scan(*days, score_from=102, last_change=np.full(10, 102 - 7 - 12)) == []  # 13


def test_counts_in_another_unit_are_the_same_series_once_clients_are_given():
    counts, n_clients = mixed(13)
    plain = scan(counts, FIRST_DAY, n_clients)
    assert [bits(a) for a in scan(counts * 2**30, FIRST_DAY, n_clients)] == [bits(a) for a in plain] != []


# Gaps


def test_gaps_are_not_zeros():
    counts = np.random.default_rng(14).multinomial(10_000, np.full(20, 0.05), (5, 120))
    counts[:, 40:50] = 0
    counts[:, 100:103] = 0
    assert scan(counts, FIRST_DAY) == []


def test_days_of_too_few_clients_are_gaps_whatever_they_say():
    rng = np.random.default_rng(15)
    counts = rng.multinomial(10_000, np.full(20, 0.05), (5, 120))
    n_clients = np.full((5, 120), 10_000)
    counts[:, 100:110] = counts[:, 100:110].sum(axis=2, keepdims=True) * (np.arange(20) == 3)
    assert len(scan(counts, FIRST_DAY, n_clients)) == 5
    n_clients[:, 100:110] = MIN_CLIENTS - 1
    assert scan(counts, FIRST_DAY, n_clients) == []


def test_a_change_during_a_gap_is_dated_to_the_first_day_seen():
    rng = np.random.default_rng(16)
    shares = np.where((np.arange(120) >= 98)[:, None], [0.6, 0.4], [0.5, 0.5])
    counts = rng.multinomial(10_000, shares)[None]
    counts[:, 98:101] = 0
    (alarm,) = scan(counts, FIRST_DAY)
    assert (alarm.detected, alarm.changed) == (103, 101)


def test_a_series_seen_on_weekdays_only_is_judged():
    rng = np.random.default_rng(17)
    shares = np.where((np.arange(120) >= 98)[:, None], [0.6, 0.4], [0.5, 0.5])
    counts = rng.multinomial(10_000, shares)[None]
    counts[:, np.arange(120) % 7 >= 5] = 0
    (alarm,) = scan(counts, FIRST_DAY)
    assert (alarm.detected, alarm.changed) == (100, 98)


# Degenerate input


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((3, 100, 10), int),
        np.full((3, 100, 10), 7),
        np.full((3, 100, 1), 100),
        np.full((3, 1, 10), 7),
        np.full((1, 70, 10_000), 3),
        np.zeros((0, 100, 10), int),
        np.zeros((3, 0, 10), int),
        np.zeros((3, 100, 0), int),
        np.tile(np.random.default_rng(0).integers(0, 50, (4, 7, 10)), (1, 15, 1)),  # a week again and again
        (np.arange(100) % 2)[None, :, None] * np.ones((1, 1, 5), int),
        np.eye(1, 10, 3, dtype=int)[None].repeat(100, axis=1),
        np.full((2, 100, 4), 2**60),
    ],
    ids=[
        "zero",
        "constant",
        "one bucket",
        "one day",
        "10,000 buckets",
        "no series",
        "no days",
        "no buckets",
        "duplicated days",
        "every other day",
        "one client",
        "enormous",
    ],
)
def test_nothing_to_find_is_an_empty_list(counts):
    assert scan(counts, FIRST_DAY) == []


@pytest.mark.filterwarnings("error")
def test_all_into_another_bucket_after_identical_days_scores_high_and_finite():
    counts = np.zeros((1, 100, 5), int)
    counts[:, :80, 1] = counts[:, 80:, 3] = 1000
    (alarm,) = scan(counts, FIRST_DAY)
    assert (alarm.detected, alarm.changed, alarm.effect) == (82, 80, pytest.approx(1))
    assert 10 < alarm.score < norm.isf(1e-300) + 0.1


@pytest.mark.filterwarnings("error")
def test_a_change_among_10_000_buckets():
    rng = np.random.default_rng(18)
    shares = rng.dirichlet(np.full(10_000, 0.5), 2)
    counts = rng.multinomial(500_000, shares[(np.arange(70) >= 60).astype(int)])[None]
    assert [alarm.changed for alarm in scan(counts, FIRST_DAY)] == [60]


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.ones((2, 5), int)}, r"\(series, days, buckets\), not of shape \(2, 5\)"),
        ({"counts": np.ones((2, 5, 3))}, "counts must be integers, not float64"),
        ({"counts": np.full((2, 5, 3), np.nan)}, "counts must be integers"),
        ({"counts": -np.eye(3, dtype=int)[None]}, "counts has -1 in series 0 on 2024-01-01, bucket 0"),
        ({"counts": np.full((2, 5, 3), 2**62)}, "more than an int64 holds"),
        ({"first_day": "2024-01-01"}, "first_day must be a date, not '2024-01-01'"),
        ({"n_clients": np.ones((2, 4), int)}, r"n_clients must be \(series, days\) = \(2, 5\), not of shape \(2, 4\)"),
        ({"n_clients": np.ones((2, 5))}, "n_clients must be integers, not float64"),
        ({"n_clients": -np.ones((2, 5), int)}, "n_clients has -1"),
        ({"score_from": -1}, "score_from must be a day index from 0, not -1"),
        ({"last_change": [0.0]}, r"last_change must be \(series,\) = \(2,\), not of shape \(1,\)"),
        ({"last_change": [0, np.nan]}, "last_change is NaN for series 1"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"counts": np.ones((2, 5, 3), int), "first_day": date(2024, 1, 1)}
    with pytest.raises(ValueError, match=message):
        scan(**(good | change))
