"""The cookbook's questions, answered in plain Python: a function a page, of the page's name."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from statistics import mean

import scipy

from tests.sql.population import CLIENT, LAST, WEEK, Person, World, back, week
from tests.support import days

ANSWERS: dict[str, Callable[[World], list[tuple]]] = {}


def nulls_first(value) -> tuple:
    return value is not None, value


def ratio(above: int, below: int) -> float | None:
    return above / below if below else None


def jackknife(by_bucket: dict[int, tuple], scale: float = 1) -> tuple[float, float, float]:
    """Estimate and 95% interval from bucket → (numerator, denominator), or (numerator,) for a sum."""
    buckets = [by_bucket.get(n) for n in range(20)]
    numerators = [b[0] if b else 0 for b in buckets]
    if all(len(b) == 1 for b in by_bucket.values()):
        total = sum(numerators)
        estimate, others = total, [(total - n) * 20 / 19 for n in numerators]
    else:
        denominators = [b[1] if b else 0 for b in buckets]
        above, below = sum(numerators), sum(denominators)
        estimate = above / below
        others = [(above - n) / (below - d) for n, d in zip(numerators, denominators, strict=True)]
    error = (19 / 20 * sum((other - mean(others)) ** 2 for other in others)) ** 0.5
    half = scipy.stats.t.ppf(0.975, 19) * error
    return estimate * scale, (estimate - half) * scale, (estimate + half) * scale


def percentile(counts: dict[int, int], p: float) -> int:
    up_to, total = 0, sum(counts.values())
    for bucket in sorted(counts):
        up_to += counts[bucket]
        if up_to >= p * total:
            return bucket


def answer(function):
    ANSWERS[function.__name__] = function
    return function


@answer
def dau_by_country(world):
    rows = []
    for day in WEEK:
        of_day = [
            (country, sum(day in p.rows for p in people), sum(day in p.active for p in people))
            for country, people in world.groups(day, "country").items()
        ]
        rows += [(day, *row) for row in sorted(of_day, key=lambda r: (-r[1], nulls_first(r[0])))]
    return rows


@answer
def dau_with_interval(world):
    rows = []
    for channel, people in world.groups(LAST, "channel").items():
        counts = Counter()
        for person in people:
            counts[person.bucket] += LAST in person.active
        del counts[None]
        rows.append((channel, *jackknife({bucket: (n,) for bucket, n in counts.items()})))
    return sorted(rows, key=lambda r: (-r[1], nulls_first(r[0])))


@answer
def stickiness(world):
    daily, monthly = Counter(), Counter()
    for day in WEEK:
        for channel, people in world.groups(day, "channel").items():
            daily[channel] += sum(day in p.active for p in people)
            monthly[channel] = sum(p.segment(day) is not None for p in people)
    rows = [(channel, daily[channel] / 7, monthly[channel], daily[channel] / 7 / monthly[channel]) for channel in daily]
    return sorted(rows, key=lambda r: (-r[2], nulls_first(r[0])))


@answer
def users_of_10_days(world):
    window = set(back(LAST, 0, 10))
    groups = world.groups(LAST, "country")
    rows = [(country, sum(bool(p.active & window) for p in people)) for country, people in groups.items()]
    return sorted(rows, key=lambda r: (-r[1], nulls_first(r[0])))


@answer
def retention_of_new_profiles(world):
    rows = []
    for made in days(date(2026, 3, 3), date(2026, 3, 16)):
        new = [p for p in world.people if p.new_on(made)]
        came_back = sum(bool(p.active & week(made, 1)) for p in new)
        if new:
            rows.append((made, len(new), came_back, came_back / len(new)))
    return rows


@answer
def retention_by_channel(world):
    sums = defaultdict(lambda: [0, 0, 0, 0])
    for day in WEEK:
        metric_date = day - timedelta(days=27)
        for channel, people in world.groups(day, "channel").items():
            for person in (p for p in people if p.active & week(metric_date, 0)):
                for n in range(4):
                    sums[channel][n] += bool(person.active & week(metric_date, n))
    rows = [(channel, *(n / weeks[0] for n in weeks[1:])) for channel, weeks in sums.items()]
    return sorted(rows, key=lambda r: nulls_first(r[0]))


@answer
def cohort_triangle(world):
    rows = []
    for n in range(4):
        monday = date(2026, 3, 2) + timedelta(days=7 * n)
        cohort = [p for p in world.people if p.first in week(monday, 0)]
        shares = [ratio(sum(bool(p.active & week(monday, k)) for p in cohort), len(cohort)) for k in range(4 - n)]
        if cohort:
            rows.append((monday, len(cohort), *shares, *[None] * n))
    return rows


@answer
def resurrected_users(world):
    rows = []
    for day in WEEK:
        there = [p for p in world.people if day in p.rows]
        away = [p for p in there if not p.rows.keys() & set(back(day, 1, 14))]
        rows.append((day, sum(p.first < day for p in away), len(there)))
    return rows


@answer
def churned_users(world):
    before = date(2026, 3, 1)
    counts, gone = Counter(), Counter()
    for person in world.people:
        if segment := person.segment(before):
            counts[segment] += 1
            gone[segment] += person.segment(LAST) is None
    rows = [(segment, n, gone[segment], gone[segment] / n) for segment, n in counts.items()]
    return sorted(rows, key=lambda r: (-r[3], r[0]))


@answer
def segments_over_time(world):
    rows = []
    for day in (date(2026, 2, 1), date(2026, 3, 1), LAST):
        counts = Counter(segment for p in world.people if (segment := p.segment(day)))
        names = ("infrequent", "casual", "regular", "core")
        rows.append((day, counts.total(), *(counts[name] / counts.total() for name in names)))
    return rows


@answer
def segment_moves(world):
    moves = Counter((p.segment(date(2026, 3, 1)) or "away", p.segment(LAST) or "away") for p in world.people)
    del moves["away", "away"]
    return sorted((*move, n) for move, n in moves.items())


@answer
def feature_returners(world):
    rows = []
    for os, people in world.groups(LAST, "os").items():
        users = [p for p in people if p.dev_tools & set(back(LAST, 7, 7))]
        came_back = sum(bool(p.dev_tools & set(back(LAST, 0, 7))) for p in users)
        if users:
            rows.append((os, len(users), came_back, came_back / len(users)))
    return sorted(rows, key=lambda r: nulls_first(r[0]))


@answer
def funnel_of_new_profiles(world):
    steps = defaultdict(lambda: [0, 0, 0, 0])
    for day in WEEK:
        made = day - timedelta(days=27)
        for channel, people in world.groups(day, "channel").items():
            for person in (p for p in people if p.new_on(made)):
                reached = [True, bool(person.active & week(made, 0)), bool(person.active & week(made, 1))]
                reached.append(person.segment(day) == "core")
                for n in range(4):
                    steps[channel][n] += all(reached[: n + 1])
    return sorted(((channel, *counts) for channel, counts in steps.items()), key=lambda r: nulls_first(r[0]))


@answer
def experiment_branches(world):
    by_branch = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for person in world.people:
        told = [e for d in back(LAST, 0, 7) if d in person.rows for e in person.rows[d]["experiments"]]
        for branch in {e["value"] for e in told if e["key"] == "new-tab-layout"}:
            if person.bucket is not None:
                sums = by_branch[branch][person.bucket]
                sums[0] += len(person.active & set(back(LAST, 0, 7)))
                sums[1] += 1
    return [
        (branch, sum(clients for _, clients in buckets.values()), *jackknife(buckets))
        for branch, buckets in sorted(by_branch.items())
    ]


@answer
def active_hours_per_user(world):
    by_os = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for person in world.people:
        for day in WEEK:
            row = person.rows.get(day)
            if row and row["os"] and (row["active_ticks_sum"] or 0) > 0 and person.bucket is not None:
                by_os[row["os"]][person.bucket][0] += row["active_ticks_sum"]
                by_os[row["os"]][person.bucket][1] += 1
    return [(os, *jackknife(buckets, scale=1 / 720)) for os, buckets in sorted(by_os.items())]


@answer
def addons_most_used(world):
    users, everybody = defaultdict(set), set()
    for person in world.people:
        for day in person.rows.keys() & set(WEEK):
            everybody.add(person.id)
            for addon in person.rows[day]["active_addons"]:
                if not addon["is_system"]:
                    users[addon["id"]].add(person.id)
    rows = [(addon, addon.upper(), len(ids), len(ids) / len(everybody)) for addon, ids in users.items()]
    return sorted(rows, key=lambda r: (-r[2], r[0]))


@answer
def version_uptake(world):
    rows = []
    for day in WEEK:
        counts = Counter(p.rows[day]["app_version"] for p in world.people if day in p.rows)
        rows += [(day, v, counts[v], counts[v] / counts.total()) for v in ("9.0", "10.0") if counts[v]]
    return rows


@answer
def client_history(world):
    rows = [r for r in world.daily if r["client_id"] == CLIENT and r["submission_date"] >= date(2026, 3, 2)]
    names = ("submission_date", "app_name", "channel", "app_version", "country", "pings_aggregated_by_this_row")
    rows.sort(key=lambda r: (-r["submission_date"].toordinal(), r["app_name"]))
    return [tuple(r[name] for name in (*names, "active_hours_sum", "uri_count_sum")) for r in rows]


@answer
def client_heat_line(world):
    rows = []
    for app in ("Firefox", "Fleet"):
        person = Person([r for r in world.daily if r["client_id"] == CLIENT and r["app_name"] == app])
        window = sorted(back(LAST, 0, 28))
        lines = ["".join("01"[d in found] for d in window) for found in (person.rows, person.active)]
        rows.append((app, *lines, sorted(person.dev_tools & set(window)), person.segment(LAST), person.first))
    return rows


@answer
def histogram_median_over_builds(world):
    def nightly(row):
        return row["channel"] == "nightly" and row["probe"] == "GC_MS"

    merged = world.merged(nightly, ("app_build_id", "layout"), "pings")
    return sorted((*key, counts.total(), percentile(counts, 0.5)) for key, counts in merged.items())


@answer
def histogram_p95_by_channel(world):
    merged = world.merged(lambda row: row["probe"] == "GC_MS", ("channel", "layout"), "clients")
    return sorted((*key, percentile(counts, 0.95)) for key, counts in merged.items())


@answer
def scalar_share_above(world):
    merged = world.merged(lambda row: "tab_count" in row["probe"], ("submission_date",), "clients")
    above = {key: sum(n for bucket, n in counts.items() if bucket >= 20) for key, counts in merged.items()}
    return sorted((*key, above[key] / counts.total()) for key, counts in merged.items())
