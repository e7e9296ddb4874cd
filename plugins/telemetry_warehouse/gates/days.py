"""What a table's days are like, and which of them are not like the days before: plain rules on counts.

A profile is what one grouped query says of a table: for each day, for each application, the number of rows (`ROWS`) and
the measures that the table's expectations ask for. The rules need no bound that somebody has to guess: a day is held
against days that have passed before, and where these are too few or too small to say anything, nothing is said.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt

ROWS = "rows"

# How far back days are looked at; five of a weekday.
HISTORY_DAYS = 35
_LEAST_WEEKDAYS = 3
_LEAST_DAYS = 3
_LEAST_DAYS_OF_AN_HOUR = 7
# What a small warehouse may do by chance: rows of a few clients more or less, an hour in which nobody was there.
_SOME_ROWS = 20
_LEAST_ROWS_OF_AN_HOUR = 20

Counts = Mapping[str, int]
Profile = Mapping[date, Mapping[str | None, Counts]]


@dataclass(frozen=True)
class Deviation:
    """Why a day fails: `observed` against `bound`, both numbers of rows; `about` says what was counted."""

    day: date
    app_name: str | None
    about: str
    observed: int
    bound: str


def days_of(start: date, end: date) -> list[date]:
    """The days start..end."""
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def row_counts(known: Profile, days: list[date], factor: float, empty_days: bool) -> list[Deviation]:
    """Days with fewer rows of an application than a `factor`-th of the least, or over `factor` times the most, that the
    same weekday had in the five weeks before. `empty_days`: whether no rows at all are too few."""
    found = []
    for day in days:
        for app in sorted({app for of_day in known.values() for app in of_day}, key=str):
            before = _since_first([_count(known, day - timedelta(weeks=n), app, ROWS) for n in range(5, 0, -1)])
            rows = _count(known, day, app, ROWS) or 0
            if len(before) < _LEAST_WEEKDAYS or (rows == 0 and not empty_days):
                continue
            least, most = min(before) / factor, max(before) * factor
            least, most = least - 5 * sqrt(least), most + 5 * sqrt(most) + _SOME_ROWS
            if not least <= rows <= most:
                found.append(Deviation(day, app, ROWS, rows, f"{max(least, 0):.0f}..{most:.0f}"))
    return found


def nulls(known: Profile, days: list[date], columns: Mapping[str, str], points: float) -> list[Deviation]:
    """Days on which a larger share of an application's rows is NULL than on any day before, by `points` of the rest.

    `columns` maps a column to the measure that counts its NULLs.
    """
    found = []
    for day in days:
        for app, counts in known.get(day, {}).items():
            before = [of_day[app] for of_day in _before(known, day) if of_day.get(app, {}).get(ROWS)]
            for column, measure in columns.items():
                shares = [past[measure] / past[ROWS] for past in before if measure in past]
                if len(shares) < _LEAST_DAYS:
                    continue
                most = max(shares) + points * (1 - max(shares))
                if counts[measure] > counts[ROWS] * most + _SOME_ROWS / 2:
                    bound = f"{most:.0%} of {counts[ROWS]}"
                    found.append(Deviation(day, app, f"{column} is NULL", counts[measure], bound))
    return found


def hours(known: Profile, days: list[date], measures: Mapping[int, str]) -> list[Deviation]:
    """Hours of a day that is not empty with under a tenth of the rows that the hour had on every day before."""
    found = []
    for day in days:
        if not _total(known, day, ROWS):
            continue
        past = _before(known, day)
        if len(past) < _LEAST_DAYS_OF_AN_HOUR:
            continue
        for hour, measure in measures.items():
            least, rows = min(_sum(of_day, measure) for of_day in past), _total(known, day, measure)
            if least >= _LEAST_ROWS_OF_AN_HOUR and rows < least / 10:
                found.append(Deviation(day, None, f"rows of the hour {hour:02}", rows, f"at least {least} before"))
    return found


def continuations(
    known: Profile, days: list[date], eves: Collection[Profile], measures: Mapping[str, tuple[str, str]]
) -> list[Deviation]:
    """Days that did not bring what the day before left, application by application; a day that is not known leaves no
    verdict.

    `measures` maps what is counted to the measure of what a day brings and the one of what it leaves. `eves`: the day
    before the first, as it was each time that it passed, oldest first. Which of these was published last, a profile
    cannot know: one may have passed and the stage been killed. So any of them will do that has counted the measure, and
    where the newest has not, as it was made by other code, there is no verdict.
    """
    found = []
    for day in days:
        yesterday = day - timedelta(days=1)
        before = [eve for eve in eves if yesterday in eve] or [known] * (yesterday in known)
        before = [eve[yesterday] for eve in before]
        for app in sorted({*known.get(day, {}), *(app for eve in before for app in eve)}, key=str):
            for about, (brought, left) in measures.items():
                # An application that is not there has left nothing, whoever counted.
                of_app = [eve[app].get(left, None if eve[app][ROWS] else 0) if app in eve else 0 for eve in before]
                expected = set(of_app) - {None}
                seen = _count(known, day, app, brought) or 0
                if expected and of_app[-1] is not None and seen not in expected:
                    found.append(Deviation(day, app, about, seen, " or ".join(map(str, sorted(expected)))))
    return found


def beyond_chance(broken: int, rows: int, mostly: float) -> bool:
    """Whether more rows break a rule than 1 - `mostly` of them and three standard deviations of it by chance."""
    allowed = rows * (1 - mostly)
    return broken > allowed + 3 * sqrt(allowed)


def _count(known: Profile, day: date, app: str | None, measure: str) -> int | None:
    """None where nothing is known of the day."""
    return None if day not in known else known[day].get(app, {}).get(measure) or 0


def _since_first(counts: list[int | None]) -> list[int]:
    """Of counts in order of their days those known, from the first on that is not 0."""
    seen = [count for count in counts if count is not None]
    while seen and seen[0] == 0:
        seen.pop(0)
    return seen


def _before(known: Profile, day: date) -> list[Mapping[str | None, Counts]]:
    """What is known of the four weeks before, without days on which nothing was there."""
    past = [known.get(day - timedelta(days=n), {}) for n in range(1, 29)]
    return [of_day for of_day in past if _sum(of_day, ROWS)]


def _total(known: Profile, day: date, measure: str) -> int:
    return _sum(known.get(day, {}), measure)


def _sum(of_day: Mapping[str | None, Counts], measure: str) -> int:
    return sum(counts.get(measure) or 0 for counts in of_day.values())
