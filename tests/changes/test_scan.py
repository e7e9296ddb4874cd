from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import fdtri, ndtr
from scipy.stats import norm

from telemetry_warehouse.changes import scan, window
from telemetry_warehouse.changes.scan import MIN_CLIENTS, MIN_EFFECT, Alarm, Tracker, checked_sample, walk
from tests.changes.series import FIRST_DAY, KINDS, WORLDS, simulate


def bits(alarm):
    """All of an alarm, to the bit."""
    return (
        alarm.series,
        alarm.detected,
        alarm.changed,
        alarm.score.hex(),
        alarm.effect.hex(),
        alarm.before.tobytes(),
        alarm.after.tobytes(),
        alarm.doubt,
        alarm.closes if alarm.closes is not None else -1,
        alarm.days,
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


def everything(counts, n_clients, days, known=()) -> list[Alarm]:
    """What stands on these days, ends of alarms included."""
    sample = checked_sample(counts, n_clients)
    tracker = Tracker(counts, sample, days.start)
    for alarm in known:
        tracker.know(alarm)
    return [alarm for _, alarm in walk([tracker], days, lambda day, found: np.ones(len(found), bool))]


def moved(alarm: Alarm, series: int, days: int) -> Alarm:
    """The alarm as it is called among other series and days."""
    closes = None if alarm.closes is None else alarm.closes + days
    of = {"series": series, "detected": alarm.detected + days, "changed": alarm.changed + days, "closes": closes}
    return replace(alarm, **of)


def nightly(counts, n_clients, seed: int) -> list[Alarm]:
    """One scan a day over just the window it may read, the series in another order each night."""
    rng = np.random.default_rng(seed)
    found: list[Alarm] = []
    for day in range(counts.shape[1]):
        first = max(0, day - window.WINDOW + 1)
        order = rng.permutation(len(counts))
        place = np.argsort(order)
        known = [moved(alarm, int(place[alarm.series]), -first) for alarm in found if alarm.detected >= first]
        days = slice(first, day + 1)
        tonight = everything(counts[order, days], n_clients[order, days], range(day - first, day - first + 1), known)
        found += [moved(alarm, int(order[alarm.series]), first) for alarm in tonight]
    return found


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
    assert len(alarms) <= len(found) + 2


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
        assert alarm.before.sum() == pytest.approx(1, abs=1e-4) and alarm.after.sum() == pytest.approx(1, abs=1e-4)
        assert alarm.effect == pytest.approx(np.abs(alarm.after - alarm.before).sum() / 2, abs=1e-4)
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
    needed = fdtri(df, df * (window.REFERENCE_DAYS - 1), ndtr(window.MIN_SCORE))
    assert needed.min() > window._SCREEN


def test_a_drift_too_slow_for_any_week_is_found_over_a_month():
    simulated = simulate("hard", 20, 40, 150, kind="gradual", change=100, clients=(1e4, 3e5))
    found = {alarm.series for alarm in scan(simulated.counts, FIRST_DAY, simulated.n_clients) if alarm.detected < 131}
    assert len(found) >= 38


def test_a_shape_that_comes_back_ends_its_alarm_and_is_not_learnt_from():
    simulated = simulate("week", 21, 20, 160, kind="3-day spike", change=100, clients=(1e5, 3e5))
    found = everything(simulated.counts, simulated.n_clients, range(160))
    changes = [alarm for alarm in found if alarm.closes is None]
    ends = [alarm for alarm in found if alarm.closes is not None]
    assert len(changes) == len(ends) == 20
    for end in ends:
        assert (end.closes, end.changed, end.score) == (100, 103, 0) and end.detected <= 107
    # So a change soon after is found, where the usual two weeks of a new shape have not passed yet.
    again = simulated.counts.copy()
    again[:, 112:] = again[:, 112:, ::-1]
    assert len({alarm.series for alarm in scan(again, FIRST_DAY, simulated.n_clients) if alarm.changed == 112}) == 20


def test_a_change_that_lasts_is_not_ended_because_an_odd_day_helped_to_find_it():
    for kind in ("shift 20%", "new mode"):
        simulated = simulate("hard", 3, 100, 160, kind=kind, change=100, clients=(1e4, 3e5))
        assert all(alarm.closes is None for alarm in everything(simulated.counts, simulated.n_clients, range(160)))


def test_no_change_is_dated_before_one_that_was_found_already():
    simulated = simulate("hard", [3, 5], 60, 180, kind="3-day spike", change=110)
    latest = {}
    for alarm in everything(simulated.counts, simulated.n_clients, range(180)):
        assert alarm.changed > latest.get(alarm.series, -1)
        latest[alarm.series] = alarm.changed
    assert len(latest) > 50


def test_a_shape_that_comes_back_after_months_is_an_alarm_that_names_what_it_ends():
    simulated = simulate("week", 22, 10, 200, clients=(1e5, 3e5))
    counts = simulated.counts.copy()
    counts[:, 80:150] = counts[:, 80:150, ::-1]
    found = [(alarm.changed, alarm.closes) for alarm in scan(counts, FIRST_DAY, simulated.n_clients)]
    assert sorted(found, key=str) == sorted([(80, None)] * 10 + [(150, 80)] * 10, key=str)


# What it may depend on


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_night_by_night_gives_the_alarms_of_one_scan_to_the_bit(seed):
    counts, n_clients = mixed(seed)
    whole = everything(counts, n_clients, range(counts.shape[1]))
    assert whole
    assert sorted(map(bits, nightly(counts, n_clients, seed))) == sorted(map(bits, whole))
    assert sorted(bits(a) for a in whole if a.score) == sorted(map(bits, scan(counts, FIRST_DAY, n_clients)))


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
    together = everything(simulated.counts, simulated.n_clients, range(102, 103))
    alone = [
        moved(alarm, series, 0)
        for series in range(60)
        for alarm in everything(simulated.counts[series, None], simulated.n_clients[series, None], range(102, 103))
    ]
    assert len(together) > 50
    assert list(map(bits, alone)) == list(map(bits, together))


def test_no_reference_reaches_back_past_the_last_change():
    simulated = simulate("week", 12, 10, 130, kind="3-day spike", change=100, clients=(1e5, 3e5))
    days = simulated.counts[:, :103], simulated.n_clients[:, :103], range(102, 103)

    def after_a_change_on(day: int) -> list[Alarm]:
        shape = np.full(50, 0.02)
        known = [Alarm(series, day, day, 9, 0.5, shape, shape, 1e9) for series in range(10)]
        return [alarm for alarm in everything(*days, known) if alarm.score]

    assert len(everything(*days)) == 10
    assert len(after_a_change_on(102 - 7 - 13)) == 10  # 14 days of reference
    assert after_a_change_on(102 - 7 - 12) == []  # 13


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
    ],
)
def test_bad_input_is_named(change, message):
    good = {"counts": np.ones((2, 5, 3), int), "first_day": date(2024, 1, 1)}
    with pytest.raises(ValueError, match=message):
        scan(**(good | change))
