"""Ranges of days say what sets of days say, without looking at each."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import day_ranges, progress, refusals, runs
from telemetry_warehouse.day_ranges import Counted
from telemetry_warehouse.lineage import Step
from tests.support import days

ENDS = (date.min, date.max)


def near(day: date, count: int) -> st.SearchStrategy[date]:
    last = min(day.toordinal() + count, date.max.toordinal())
    return st.integers(last - count, last).map(date.fromordinal)


# Some at the ends of the calendar, where there is no day before or after.
some_day = near(date(2024, 2, 20), 25) | near(date.min, 4) | near(date.max, 4)
# Within one part of it, for a set of all the days between would be large.
some_range = st.one_of(
    st.tuples(part, part).map(sorted).map(tuple)
    for part in (near(date(2024, 2, 20), 25), near(date.min, 4), near(date.max, 4))
)
ranges = st.lists(some_range, max_size=8)


def days_in(given_ranges) -> set[date]:
    return {day for first, last in given_ranges for day in days(first, last)}


def are_as_few_as_can_be(found) -> bool:
    return all((later[0] - one[1]).days > 1 for one, later in zip(found, found[1:], strict=False))


@given(ranges)
def test_merged_ranges_are_the_days_in_as_few_pieces_as_there_are(some):
    found = day_ranges.merged(some)
    assert days_in(found) == days_in(some) and are_as_few_as_can_be(found)
    assert day_ranges.of_days(days_in(some)) == found


@given(ranges, ranges)
def test_without_is_the_difference_of_the_days(some, others):
    found = day_ranges.without(some, others)
    assert days_in(found) == days_in(some) - days_in(others) and are_as_few_as_can_be(found)


@given(ranges, some_range)
def test_within_is_what_both_have_and_covers_says_whether_that_is_all(some, bounds):
    found = day_ranges.within(some, bounds)
    assert days_in(found) == days_in(some) & days_in([bounds]) and are_as_few_as_can_be(found)
    assert day_ranges.covers(day_ranges.merged(some), bounds) == (found == [bounds])


@given(st.lists(st.tuples(some_range, st.integers(1, 3))), some_range)
def test_what_is_counted_is_every_range_that_has_one_of_the_days(counted, asked):
    naive = sum(times for days, times in counted if day_ranges.overlap(days, asked))
    assert Counted(counted).touching(asked) == naive


@given(ranges, some_range, st.integers(1, 3))
def test_the_newest_of_each_day_are_the_first_that_have_it(ranked, bounds, most):
    found = day_ranges.newest(((days, number) for number, days in enumerate(ranked)), bounds, most)
    by_day = {day: first for of, first in found for day in days(*of)}
    naive = {
        day: [number for number, (first, last) in enumerate(ranked) if first <= day <= last][:most]
        for day in days_in([bounds])
    }
    assert by_day == {day: first for day, first in naive.items() if first}
    assert [of for of, _ in found] == sorted(of for of, _ in found)


TABLE, INPUT = "derived.a_v1", "derived.b_v1"


def a_run(table: str, days: tuple[date, date]) -> dict:
    return {"table_name": table, "start_date": days[0], "end_date": days[1], "times": 1}


usual_days = near(date(2024, 2, 20), 25)
usual_range = st.tuples(usual_days, usual_days).map(sorted).map(tuple)
some_runs = st.lists(st.builds(a_run, st.sampled_from([TABLE, INPUT, "derived.other_v1"]), usual_range), max_size=8)


def a_step(carries: int) -> Step:
    return Step(TABLE, "model", {"b_v1": INPUT}, carries, True, "code")


@given(some_runs, usual_range)
def test_days_that_are_missing_are_those_of_no_run(found, asked):
    missing = runs.days_missing(found, [TABLE, INPUT], *asked)
    for table in (TABLE, INPUT):
        built = days_in((run["start_date"], run["end_date"]) for run in found if run["table_name"] == table)
        assert days_in(missing[table]) == days_in([asked]) - built


@given(some_runs, usual_days, st.integers(0, 9))
def test_a_gap_begins_after_the_last_day_that_is_there_or_with_the_first_that_could_be(found, start, carries):
    yesterday = start - timedelta(days=1)
    window = days_in([(yesterday - timedelta(days=carries), yesterday)])
    own = days_in((run["start_date"], run["end_date"]) for run in found if run["table_name"] == TABLE)
    read = days_in((run["start_date"], run["end_date"]) for run in found if run["table_name"] == INPUT)
    expected = None
    if window & (own | read) and yesterday not in own:
        expected = max(window & own) + timedelta(days=1) if window & own else min(window & read)
    assert refusals.first_of_gap(a_step(carries), start, found) == expected


@given(some_runs, usual_range, st.integers(0, 9))
def test_inputs_are_counted_as_often_as_they_were_published_on_days_that_are_read(found, asked, carries):
    read = runs.days_read(a_step(carries), *asked)
    naive = sum(
        run["table_name"] in read and day_ranges.overlap(read[run["table_name"]], (run["start_date"], run["end_date"]))
        for run in found
    )
    assert runs.inputs_published(found, a_step(carries), *asked) == naive


@given(st.dictionaries(usual_days, st.sampled_from(["x", "y"])), usual_range)
def test_a_stage_waits_for_the_first_missing_day_that_it_reads(unbuilt, asked):
    causes = [unbuilt[day] for day in sorted(unbuilt) if asked[0] <= day <= asked[1]]
    assert progress.waits_for(a_step(0), *asked, {INPUT: unbuilt}) == (causes[0] if causes else None)
