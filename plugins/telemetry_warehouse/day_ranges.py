"""Days as ranges of first and last, so that a thousand years take no longer than a week.

Lists of ranges that functions here return are sorted, and as few as there are: none overlaps or touches another.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import date, timedelta
from heapq import heappop, heappush
from itertools import accumulate, pairwise
from operator import itemgetter

Days = tuple[date, date]
_DAY = timedelta(days=1)


def overlap(one: Days, other: Days) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def merged(ranges: Iterable[Days]) -> list[Days]:
    """The days that are in any of the ranges."""
    found: list[Days] = []
    for first, last in sorted(ranges):
        if found and first - found[-1][1] <= _DAY:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def of_days(days: Iterable[date]) -> list[Days]:
    """Single days as ranges."""
    return merged((day, day) for day in days)


def without(ranges: Iterable[Days], others: Iterable[Days]) -> list[Days]:
    """The days of `ranges` that are in none of `others`."""
    found: list[Days] = []
    cuts, number = merged(others), 0
    for first, last in merged(ranges):
        while number < len(cuts) and cuts[number][1] < first:
            number += 1
        at, rest = number, True
        while at < len(cuts) and cuts[at][0] <= last:
            if first < cuts[at][0]:
                found.append((first, cuts[at][0] - _DAY))
            if cuts[at][1] >= last:
                rest = False
                break
            first, at = cuts[at][1] + _DAY, at + 1
        if rest:
            found.append((first, last))
    return found


def within(ranges: Iterable[Days], bounds: Days) -> list[Days]:
    """The days of `ranges` from the first to the last of `bounds`."""
    touching = (days for days in ranges if overlap(days, bounds))
    return merged((max(first, bounds[0]), min(last, bounds[1])) for first, last in touching)


def covers(ranges: list[Days], days: Days) -> bool:
    """Whether all of these days are in `ranges`, which are as functions here return them."""
    before = bisect_right(ranges, days[0], key=itemgetter(0))
    return before > 0 and ranges[before - 1][1] >= days[1]


def newest[T](ranked: Iterable[tuple[Days, T]], bounds: Days, most: int = 1) -> list[tuple[Days, list[T]]]:
    """The days of `bounds` in ranges on which the same ones hold, each with these, at most so many.

    `ranked`: what holds for days, that which counts most first. Days for which nothing holds are left out.
    """
    found: list[tuple[Days, list[T]]] = []
    ranges = [(max(first, bounds[0]), min(last, bounds[1]), one) for (first, last), one in ranked]
    ranges = [(first, last, one) for first, last, one in ranges if first <= last]
    # As numbers, for the day after the last of all days is none.
    starts = sorted((first.toordinal(), rank) for rank, (first, _, _) in enumerate(ranges))
    turns = sorted({day for first, last, _ in ranges for day in (first.toordinal(), last.toordinal() + 1)})
    holding: list[int] = []
    begun = 0
    for day, following in pairwise(turns):
        while begun < len(starts) and starts[begun][0] == day:
            heappush(holding, starts[begun][1])
            begun += 1
        first: list[int] = []
        while holding and len(first) < most:
            rank = heappop(holding)
            if ranges[rank][1].toordinal() >= day:
                first.append(rank)
        for rank in first:
            heappush(holding, rank)
        if first:
            days = (date.fromordinal(day), date.fromordinal(following - 1))
            found.append((days, [ranges[rank][2] for rank in first]))
    return found


class Counted:
    """Ranges that each count so many times, for questions about any days in no more time than it takes to look up."""

    def __init__(self, counted: Iterable[tuple[Days, int]]):
        """`counted`: each range with how often it counts; they may overlap."""
        ranges = list(counted)
        by_first = sorted((days[0], times) for days, times in ranges)
        by_last = sorted((days[1], times) for days, times in ranges)
        self._firsts, self._lasts = ([day for day, _ in one] for one in (by_first, by_last))
        self._begun, self._ended = ([0, *accumulate(times for _, times in one)] for one in (by_first, by_last))

    def touching(self, days: Days) -> int:
        """How often those count that have any of these days."""
        begun = self._begun[bisect_right(self._firsts, days[1])]
        return begun - self._ended[bisect_left(self._lasts, days[0])]
