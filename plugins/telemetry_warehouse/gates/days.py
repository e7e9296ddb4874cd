"""What a table's days are like, and which of them are not like the days before: plain rules on counts.

A profile is what one grouped query says of a table: for each day, for each application, the number of rows (`ROWS`) and
the measures that the table's expectations ask for. The rules need no bound that somebody has to guess: a day is held
against days that have passed before, and where these are too few or too small to say anything, nothing is said.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import log, sqrt
from statistics import fmean, pstdev

ROWS = "rows"

# How far back days are looked at; five of a weekday.
HISTORY_DAYS = 35
_LEAST_WEEKDAYS = 3
_LEAST_DAYS = 3
_LEAST_DAYS_OF_AN_HOUR = 7
# What a small warehouse may do by chance: rows of a few clients more or less, an hour in which nobody was there.
_SOME_ROWS = 20
_LEAST_ROWS_OF_AN_HOUR = 20
# Of a column's values the most frequent are kept, so many a day and application; invented names are not.
VALUES_KEPT = 20
_LEAST_DAYS_OF_A_VALUE = 7
_LEAST_ROWS_OF_A_VALUE = 20
# How much better rows must fit hours that have moved, as the logarithm of a ratio of likelihoods. Pings of a client
# come together, so it is more than chance alone would ask for.
_MOVED = 20

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


def moved_hours(known: Profile, days: list[date], measures: Mapping[int, str]) -> list[Deviation]:
    """Days whose hours are those of the seven days before, taken together, some hours earlier or later, application by
    application. Those of the day before must say so too, so that a change of all clocks is told once."""
    found = []
    for day in days:
        for app, counts in known.get(day, {}).items():
            week = [known.get(day - timedelta(days=n), {}).get(app, {}) for n in range(1, 8)]
            week = [_hours(of_day, measures) for of_day in week]
            rows = _hours(counts, measures)
            if not rows or not all(week):
                continue
            usual = [sum(of_hour) for of_hour in zip(*week, strict=True)]
            gain, shift = max((_gain(rows, usual, shift), -abs(shift), shift) for shift in range(-11, 13))[::2]
            if gain > _MOVED and _gain(rows, week[0], shift) > 0:
                found.append(Deviation(day, app, "hours by which rows are late", shift, "0, as before"))
    return found


def _hours(counts: Counts, measures: Mapping[int, str]) -> list[int]:
    """Rows by hour; empty where there are none or nobody has counted."""
    rows = [counts.get(measure) or 0 for measure in measures.values()]
    return rows if any(rows) else []


def _gain(rows: list[int], others: list[int], shift: int) -> float:
    """How much better rows by hour fit those of other days where these are moved so many hours, as the logarithm of the
    ratio of likelihoods."""
    moved = [others[(hour - shift) % len(others)] for hour in range(len(rows))]
    return sum(n * log((late + 0.5) / (usual + 0.5)) for n, late, usual in zip(rows, moved, others, strict=True))


def missing_values(known: Profile, days: list[date], columns: Collection[str], share: float) -> list[Deviation]:
    """Values of a column that were at least `share` of an application's rows on the days before, seven or more, and are
    under a tenth of that."""
    found = []
    for day, app, column, rows, past in _with_values(known, days, columns):
        seen = {value for of_day in past for value in of_day.counts}
        for value in sorted(seen):
            least = _usual_least([of_day.counts.get(value, 0) / of_day.rows for of_day in past])
            # Of the rows with other values that were known: one that is new takes nothing away.
            others = sum(count for other, count in rows.counts.items() if other in seen and other != value)
            expected = others * least / max(1 - least, 0.001)
            if least >= share and expected >= _LEAST_ROWS_OF_A_VALUE and rows.at_most(value) < expected / 10:
                bound = f"{expected:.0f}, at least {least:.1%} as before"
                found.append(Deviation(day, app, f"{column} {value}", rows.counts.get(value, 0), bound))
    return found


def unknown_values(known: Profile, days: list[date], columns: Collection[str]) -> list[Deviation]:
    """Columns of which nine tenths of an application's rows have values that none of at least seven days before had,
    and next to no row one that was known. A column of which that is usual leaves no verdict."""
    found = []
    for day, app, column, rows, past in _with_values(known, days, columns):
        seen: set[str] = set()
        usual = []
        for of_day in past:
            usual.append(sum(count for value, count in of_day.counts.items() if value not in seen) / of_day.rows)
            seen |= set(of_day.counts)
        new = sum(count for value, count in rows.counts.items() if value not in seen)
        old = sum(count for value, count in rows.counts.items() if value in seen)
        if _usual_most(usual[1:]) < 0.5 and rows.rows >= _LEAST_ROWS_OF_A_VALUE and new >= 0.9 * rows.rows >= 45 * old:
            found.append(Deviation(day, app, f"{column} that was never there before", new, f"90% of {rows.rows}"))
    return found


def ratios(known: Profile, days: list[date], columns: Collection[str], factor: float) -> list[Deviation]:
    """Values of a column whose rows stand for more each (see `weight` in by_day.py) than on the days before, seven or
    more: over `factor` times their mean and four times what they vary by."""
    found = []
    for day, app, column, rows, past in _with_values(known, days, columns):
        for value, count in sorted(rows.counts.items()):
            before = [of_day for of_day in past if of_day.counts.get(value, 0) >= _LEAST_ROWS_OF_A_VALUE]
            if count < _LEAST_ROWS_OF_A_VALUE or len(before) < _LEAST_DAYS_OF_A_VALUE:
                continue
            usual = [of_day.weights[value] / of_day.counts[value] for of_day in before]
            bound = (factor * fmean(usual) + 4 * pstdev(usual)) * count
            if rows.weights[value] > bound:
                about = f"pings of {column} {value}"
                found.append(Deviation(day, app, about, rows.weights[value], f"{bound:.0f} from {count} clients"))
    return found


@dataclass(frozen=True)
class _Values:
    """Of a day, an application and a column: the rows that have a value, and of each value kept the rows and what they
    stand for."""

    rows: int
    counts: Mapping[str, int]
    weights: Mapping[str, int]

    def at_most(self, value: str) -> int:
        """How many rows the value can have had: one that is not kept has no more than any that is."""
        fewest = min(self.counts.values(), default=0) if len(self.counts) >= VALUES_KEPT else 0
        return self.counts.get(value, fewest)


def values_measure(column: str) -> str:
    """The measure of how many rows have a value in this column; where a profile has it, values were counted."""
    return f"values of {column}"


def value_measures(column: str, value: str) -> tuple[str, str]:
    """The measures of how many rows have the value, and of what these stand for."""
    return f"{column}: {value}", f"weight of {column}: {value}"


def _with_values(known: Profile, days: list[date], columns: Collection[str]):
    """(day, application, column, its values, those of the days before) wherever the days before are enough."""
    for day in days:
        before = [known.get(day - timedelta(days=n), {}) for n in range(28, 0, -1)]
        for app, counts in known.get(day, {}).items():
            for column in columns:
                past = [_values(of_day.get(app, {}), column) for of_day in before]
                past = [values for values in past if values]
                rows = _values(counts, column)
                if rows and len(past) >= _LEAST_DAYS_OF_A_VALUE:
                    yield day, app, column, rows, past


def _values(counts: Counts, column: str) -> _Values | None:
    if not counts.get(values_measure(column)):
        return None
    rows_of, weight_of = value_measures(column, "")
    return _Values(
        counts[values_measure(column)],
        {name.removeprefix(rows_of): count for name, count in counts.items() if name.startswith(rows_of)},
        {name.removeprefix(weight_of): count for name, count in counts.items() if name.startswith(weight_of)},
    )


def largest(known: Profile, days: list[date], part: str, whole: str, share: float) -> list[Deviation]:
    """Days on which the largest row of an application (`part`) is over one and a half times the share of all (`whole`)
    that it was on the days before, seven or more, and at least `share`."""
    found = []
    for day in days:
        for app, counts in known.get(day, {}).items():
            before = [of_day[app] for of_day in _before(known, day) if of_day.get(app, {}).get(whole)]
            before = [past[part] / past[whole] for past in before if part in past]
            if len(before) < _LEAST_DAYS_OF_A_VALUE or not counts.get(whole):
                continue
            bound = max(1.5 * _usual_most(before) * counts[whole] + 5, share * counts[whole], _LEAST_ROWS_OF_A_VALUE)
            if counts[part] > bound:
                found.append(Deviation(day, app, part, counts[part], f"{bound:.0f} of {counts[whole]}"))
    return found


def emptied(known: Profile, days: list[date], columns: Mapping[str, str]) -> list[Deviation]:
    """Lists that are empty in all rows of an application, where so many were filled on the days before, seven or more,
    that ten are missed. `columns` maps a list to the measure of how many rows have something in it."""
    found = []
    for day in days:
        for app, counts in known.get(day, {}).items():
            before = [of_day[app] for of_day in _before(known, day) if of_day.get(app, {}).get(ROWS)]
            for column, measure in columns.items():
                shares = [past[measure] / past[ROWS] for past in before if measure in past]
                if len(shares) < _LEAST_DAYS_OF_A_VALUE or counts[measure]:
                    continue
                expected = _usual_least(shares) * counts[ROWS]
                if expected >= _LEAST_ROWS_OF_A_VALUE / 2:
                    bound = f"{expected:.0f} of {counts[ROWS]}"
                    found.append(Deviation(day, app, f"{column} is filled", counts[measure], bound))
    return found


def _usual_least(shares: list[float]) -> float:
    """The least, but for a tenth of the days: a bad day that was let through is no measure of others."""
    return sorted(shares)[len(shares) // 10]


def _usual_most(shares: list[float]) -> float:
    """The most, but for a tenth of the days."""
    return sorted(shares, reverse=True)[len(shares) // 10]


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
