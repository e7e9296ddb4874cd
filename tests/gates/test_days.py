"""The rules that hold a day against the days before: what they see, and what a small warehouse may do unseen."""

import random
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse.gates import days
from telemetry_warehouse.gates.days import ROWS

FIRST = date(2026, 1, 5)
HOURS = {hour: f"hour {hour}" for hour in range(24)}


def day(n: int) -> date:
    return FIRST + timedelta(days=n)


def profile(rows: list[int], **measures: list[int]) -> dict:
    return {
        day(n): {"App": {ROWS: count} | {name: values[n] for name, values in measures.items()}}
        for n, count in enumerate(rows)
    }


def odd_days(known: dict, factor: float = 2, empty_days: bool = True) -> list[int]:
    return [(d.day - FIRST).days for d in days.row_counts(known, sorted(known), factor, empty_days)]


WEEK = [1000, 1000, 1000, 1000, 900, 300, 280]


def test_weekends_are_held_against_weekends():
    rows = WEEK * 5
    assert odd_days(profile(rows)) == []
    rows[33] = 1000  # a Saturday like a Monday
    rows[31] = 300  # a Thursday like a Saturday
    assert odd_days(profile(rows)) == [31, 33]


def test_another_magnitude_and_an_empty_day_are_told_apart():
    rows = [*WEEK * 4, 5, 0, 10_900]
    assert odd_days(profile(rows)) == [28, 29, 30]
    assert odd_days(profile(rows), factor=10, empty_days=False) == [28, 30]


@pytest.mark.parametrize(
    "rows",
    [
        [1000, 5] * 10,  # two weeks and no third of any weekday before
        [0] * 21 + [500] * 20,  # an application that begins
        [3, 0, 1, 12, 0, 0, 2] * 6,  # a handful of clients
        [n * 40 for n in range(60)],  # one that grows
    ],
)
def test_too_little_history_gives_no_verdict(rows):
    assert odd_days(profile(rows)) == []


def test_small_numbers_do_not_fire_by_chance():
    chance = random.Random(1)
    for mean in (1, 5, 20, 60):
        rows = [sum(chance.choice([0, 1, 4]) for _ in range(mean)) for _ in range(400)]
        assert odd_days(profile(rows)) == []


def test_an_application_that_is_gone_is_missed_beside_others():
    known = profile([1000] * 29)
    for n in range(29):
        known[day(n)]["Other"] = {ROWS: 500 if n < 28 else 0}
    del known[day(28)]["Other"]
    [found] = days.row_counts(known, [day(28)], 2, True)
    assert (found.app_name, found.observed) == ("Other", 0)


def test_a_day_that_is_known_to_have_been_empty_counts_as_history():
    known = profile([1000] * 29)
    for n in (0, 7, 14, 21):
        known[day(n)] = {}
    assert odd_days(known) == []


@pytest.mark.parametrize(
    ("nulls", "points", "found"),
    [
        ([10, 20, 15, 900], 0.2, [3]),
        ([10, 20, 15, 230], 0.2, [3]),
        ([10, 20, 15, 180], 0.2, []),
        ([10, 20, 15, 900], 0.9, []),
        ([10, 20, 15, 930], 0.9, [3]),
        ([1000, 1000, 1000, 1000], 0.2, []),
        ([0, 0, 1000], 0.2, []),
    ],
)
def test_a_dimension_that_is_suddenly_null_is_seen(nulls, points, found):
    known = profile([1000] * len(nulls), **{"NULL os": nulls})
    seen = days.nulls(known, sorted(known), {"os": "NULL os"}, points)
    assert [(d.day - FIRST).days for d in seen] == found


def test_a_few_clients_without_a_country_are_no_alarm():
    known = profile([8, 8, 8, 8], **{"NULL os": [0, 0, 0, 8]})
    assert days.nulls(known, sorted(known), {"os": "NULL os"}, 0.2) == []


def hours_of(*of_days: list[int]) -> dict:
    return {
        day(n): {"App": {ROWS: sum(counts)} | {name: counts[hour] for hour, name in HOURS.items()}}
        for n, counts in enumerate(of_days)
    }


def test_an_hour_that_is_missing_is_seen_and_a_quiet_night_is_not():
    usual = [0] * 6 + [100] * 18
    odd = usual.copy()
    odd[14] = 9
    known = hours_of(*[usual] * 7, odd, usual)
    [found] = days.hours(known, sorted(known), HOURS)
    assert ((found.day - FIRST).days, found.about, found.observed) == (7, "rows of the hour 14", 9)
    assert days.hours(hours_of(*[usual] * 6, odd), [day(6)], HOURS) == [], "less than a week is known"
    assert days.hours(hours_of(*[usual] * 7, [0] * 24), [day(7)], HOURS) == [], "a whole day is no matter of hours"
    small = [count // 10 for count in usual]
    assert days.hours(hours_of(*[small] * 8, [3] + [0] * 23), [day(8)], HOURS) == []


PATTERN = {"days_seen_bits": ("brought", "left")}


def not_continued(known: dict, days_of: list, eves: list) -> list:
    return days.continuations(known, days_of, eves, PATTERN)


def test_hours_that_move_are_told_once_and_as_many_as_they_are():
    usual = [5, 0, 0, 0, 0, 10, 30, 40, 30, 20, 20, 20, 20, 20, 25, 30, 40, 30, 20, 10, 10, 5, 5, 5]
    moved = usual[-2:] + usual[:-2]
    known = hours_of(*[usual] * 9, *[moved] * 12)
    [found] = days.moved_hours(known, sorted(known), HOURS)
    assert ((found.day - FIRST).days, found.observed) == (9, 2)
    assert days.moved_hours(hours_of(*[usual] * 6, moved), [day(6)], HOURS) == [], "less than a week is known"
    small = [n // 5 for n in usual]
    assert days.moved_hours(hours_of(*[small] * 9, small[-1:] + small[:-1]), [day(9)], HOURS) == []
    other_code = {d: {"App": {ROWS: 500}} for d in known}
    assert days.moved_hours(other_code | {day(9): known[day(9)]}, [day(9)], HOURS) == []


def values_of(*of_days: dict[str, int], weights: float = 1) -> dict:
    """A profile of days with so many rows of each value of `os`, which stand for `weights` each."""

    def counts(of_day: dict[str, int]) -> dict:
        kept = sorted(of_day, key=of_day.get, reverse=True)[: days.VALUES_KEPT]
        measures = {days.values_measure("os"): sum(of_day.values()), ROWS: sum(of_day.values())}
        for value in kept:
            measures |= zip(days.value_measures("os", value), (of_day[value], of_day[value] * weights), strict=True)
        return measures

    return {day(n): {"App": counts(of_day)} for n, of_day in enumerate(of_days)}


BOTH = {"Linux": 300, "Windows": 100}


@pytest.mark.parametrize(
    ("today", "share", "found"),
    [
        ({"Linux": 290}, 0.05, ["os Windows"]),
        ({"Windows": 110}, 0.05, ["os Linux"]),
        ({"Linux": 290, "Windows": 5}, 0.05, ["os Windows"]),
        ({"Linux": 290, "Windows": 15}, 0.05, []),
        ({"Linux": 290}, 0.3, []),
        ({"Linux": 30}, 0.05, []),  # of so few rows nothing can be said
        (BOTH | {"Darwin": 90_000}, 0.05, []),
        ({"Darwin": 90_000}, 0.05, []),
        ({f"invented {n}": 40 for n in range(30)} | BOTH, 0.05, []),
    ],
)
def test_a_value_that_is_gone_is_missed(today, share, found):
    known = values_of(*[BOTH] * 7, today)
    assert [d.about for d in days.missing_values(known, [day(7)], ["os"], share)] == found
    assert days.missing_values(values_of(*[BOTH] * 6, today), [day(6)], ["os"], share) == []
    by_other_code = {d: {"App": {ROWS: 400}} for d in known if d != day(7)}
    assert days.missing_values(known | by_other_code, [day(7)], ["os"], share) == []


def test_a_value_that_hides_behind_many_may_be_there():
    crowd = {f"country {n}": 100 - n for n in range(days.VALUES_KEPT + 5)}
    later = crowd | {f"new {n}": 200 for n in range(days.VALUES_KEPT - 3)}
    assert days.missing_values(values_of(*[crowd] * 10, later), [day(10)], ["os"], 0) == []


def test_a_bad_day_that_was_let_through_does_not_blind_the_rule():
    known = values_of(*[BOTH] * 9, {"Linux": 300}, *[BOTH] * 5, {"Linux": 300})
    assert [(d.day - FIRST).days for d in days.missing_values(known, sorted(known), ["os"], 0.05)] == [9, 15]


def test_versions_of_which_none_is_known_are_told_and_a_rollout_is_not():
    rollout = [{"9.0": 500 - step, "10.0": step + 1} for step in (0, 5, 50, 300, 450, 490, 499, 499)]
    known = values_of(*[{"9.0": 500}] * 7, *rollout)
    assert days.unknown_values(known, sorted(known), ["os"]) == []
    cut = values_of(*[{"9.1": 100, "9.2": 400}] * 7, {"9": 500})
    [found] = days.unknown_values(cut, sorted(cut), ["os"])
    assert ((found.day - FIRST).days, found.observed) == (7, 500)
    nightly = values_of(*[{f"build {n}": 500} for n in range(20)])
    assert days.unknown_values(nightly, sorted(nightly), ["os"]) == []
    few = values_of(*[{"9.1": 12}] * 7, {"9": 12})
    assert days.unknown_values(few, sorted(few), ["os"]) == []


def test_pings_that_are_there_twice_are_more_from_as_many_clients():
    usual = values_of(*[BOTH] * 10, weights=3)
    twice = values_of(*[BOTH] * 10, weights=6)
    known = usual | {day(9): {"App": usual[day(9)]["App"] | {"weight of os: Windows": 600}}}
    [found] = days.ratios(known, [day(9)], ["os"], 1.2)
    assert found.about == "pings of os Windows"
    assert days.ratios(usual, [day(9)], ["os"], 1.2) == [] == days.ratios(twice, [day(9)], ["os"], 1.2)


def test_a_client_that_stands_for_many_is_told_and_a_busy_one_is_not():
    def most(*of_days: int) -> list[int]:
        known = profile([300] * len(of_days), most=list(of_days), all=[1000] * len(of_days))
        return [(d.day - FIRST).days for d in days.largest(known, sorted(known), "most", "all", 0.02)]

    assert most(*[20] * 9, 60) == [9]
    assert most(*[20] * 9, 34) == [] == most(*[20] * 6, 900)
    assert most(*[300] * 9, 450) == [], "an application of a few clients"


def test_lists_that_are_empty_are_told():
    def empty(*of_days: int, rows: int = 100) -> list[int]:
        known = profile([rows] * len(of_days), **{"filled x": list(of_days)})
        return [(d.day - FIRST).days for d in days.emptied(known, sorted(known), {"x": "filled x"})]

    assert empty(*[30] * 7, 0) == [7]
    assert empty(*[30] * 7, 1) == [] == empty(*[30] * 6, 0)
    assert empty(*[3] * 9, 0) == []


def test_what_a_day_leaves_the_next_one_brings():
    known = profile([5, 5, 5], brought=[0, 7, 9], left=[7, 8, 0])
    [found] = not_continued(known, sorted(known), [])
    assert ((found.day - FIRST).days, found.about, found.observed, found.bound) == (2, "days_seen_bits", 9, "8")


def test_any_build_of_the_day_before_the_range_may_be_the_published_one():
    known = profile([5, 5], brought=[0, 7], left=[9, 0])
    older = profile([5], left=[7])
    assert not_continued(known, [day(1)], [older, known]) == []
    [found] = not_continued(known, [day(1)], [known])
    assert found.bound == "9"
    assert not_continued(profile([5], brought=[3], left=[0]), [day(0)], []) == []


def test_an_application_that_comes_to_an_end_leaves_nothing():
    known = profile([5, 5], brought=[0, 7], left=[7, 0])
    known[day(0)]["Old"] = {ROWS: 2, "left": 4}
    [found] = not_continued(known, [day(1)], [])
    assert (found.app_name, found.observed, found.bound) == ("Old", 0, "4")


def test_what_the_newest_build_did_not_count_leaves_no_verdict():
    without_the_app = {day(0): {}}
    uncounted = {day(0): {"App": {ROWS: 5}}}
    counted = {day(0): {"App": {ROWS: 5, "left": 7}}}
    built = profile([5, 5], brought=[0, 9])
    assert not_continued(built, [day(1)], [without_the_app, uncounted]) == []
    assert not_continued(built, [day(1)], [counted, uncounted]) == []
    [found] = not_continued(built, [day(1)], [uncounted, counted])
    assert found.bound == "7"
    [found] = not_continued(built, [day(1)], [without_the_app, uncounted, counted])
    assert found.bound == "0 or 7"


builds = st.lists(st.sampled_from(["absent", "empty", "uncounted", 0, 3, 7]), min_size=1, max_size=4)


@given(of_app=builds, of_other=builds, brought=st.sampled_from([0, 3, 7]))
def test_each_application_is_held_against_the_builds_that_counted_it(of_app, of_other, brought):
    """The eve as it was built each time; a build by other code has rows and not the measure."""

    def counts(build: object) -> dict:
        known = {"absent": None, "empty": {ROWS: 0}, "uncounted": {ROWS: 5}}
        return {"App": known[build]} if isinstance(build, str) else {"App": {ROWS: 5, "left": build}}

    def eve(build, other) -> dict:
        of_day = {name: one for name, one in counts(build).items() if one is not None}
        return {day(0): of_day | ({"Other": counts(other)["App"]} if counts(other)["App"] else {})}

    eves = [eve(*pair) for pair in zip(of_app, of_other, strict=False)]
    seen = of_app[: len(eves)]
    known = {day(1): {"App": {ROWS: 5, "brought": brought}}}
    fails = any(d.app_name == "App" for d in not_continued(known, [day(1)], eves))
    could_be = {0 if isinstance(build, str) else build for build in seen if build != "uncounted"}
    assert fails == (seen[-1] != "uncounted" and brought not in could_be)


def test_mostly_allows_for_chance_and_all_for_nothing():
    assert not days.beyond_chance(0, 10, 1) and days.beyond_chance(1, 10_000_000, 1)
    assert not days.beyond_chance(2, 40, 0.99) and days.beyond_chance(3, 40, 0.99)
    assert not days.beyond_chance(10_200, 1_000_000, 0.99) and days.beyond_chance(10_400, 1_000_000, 0.99)
