"""A small population of clients for the cookbook, as rows of tables and as plain Python sees it."""

import random
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from functools import cached_property

from tests.support import days

FIRST, LAST = date(2026, 1, 5), date(2026, 3, 29)
WEEK = days(date(2026, 3, 23), LAST)
CLIENT = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
# Clients that come on these days, and whether they are active then: what chance alone seldom brings.
EXACT = {
    str(uuid.UUID(int=n)): visits
    for n, visits in enumerate(
        [
            {37: True, 63: True, 77: True},  # back after 13 days away
            {62: True, 77: True},  # back after 14 days away, first seen right before
            {52: False, 60: True},  # a new profile, active in week 1 and not in week 0
        ]
    )
}
ADDONS = {"a@x": False, "b@x": False, "c@x": None, "system@x": True}


def sample_id(client: str) -> int | None:
    return zlib.crc32(client.encode()) % 100 if len(client) == 36 else None


def random_days(seed: int) -> list[dict]:
    """Rows of clients_daily_v1 of clients that begin, come often or seldom, pause, return, change and stay away."""
    chance = random.Random(seed)
    ids = [CLIENT, "odd", *(str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(115)), *EXACT]
    rows = []
    for n, client in enumerate(ids):
        first = 0 if n % 3 == 0 else chance.randrange(48, 74) if n % 3 == 1 else chance.randrange(84)
        # Every fifth stays away, every fifth comes back in the last week, the others in between.
        ends = {1: 84, 2: chance.randrange(77, 84)}.get(n % 5, chance.randrange(first, 84))
        pause = range(chance.randrange(first, 84), ends)
        habit = 0.6 if client == CLIENT else chance.choice([0.05, 0.3, 0.6, 1.0])
        there = [k for k in range(first, 84) if k == first or (k not in pause and chance.random() < habit)]
        there = sorted(EXACT.get(client, there))
        branch = chance.choice([None, "control", "treatment"])
        created = FIRST + timedelta(days=there[0] - chance.choice([0, 0, 0, 2, 6, 7]) * (client not in EXACT))
        for number in range(there[0], 84):
            apps = ["Fleet" if n % 10 == 9 else "Firefox"] if number in there else []
            # The same client may use two applications.
            apps += ["Fleet"] if n < 20 and n != 9 and n != 19 and chance.random() < 0.2 else []
            day = FIRST + timedelta(days=number)
            active = EXACT.get(client, {}).get(number)
            ticks = chance.choice([9, 300, 5000] if habit == 1 else [None, 0, 9, 720, 1000, 5000])
            pages = chance.choice([1, 20] if habit == 1 else [0, 1, 2, 3, 20])
            ticks = ticks if active is None else 720 * active
            pages = pages if active is None else 1
            addons = [a for a in ADDONS if chance.random() < 0.3]
            experiments = {"old": "a"} | ({"new-tab-layout": branch} if branch and number > 50 else {})
            row = {
                "submission_date": day,
                "client_id": client,
                "sample_id": sample_id(client),
                "channel": ["nightly", "nightly", "nightly", "release", "release", "release", None][n % 7],
                "os": chance.choice(["Linux", "Windows"]) if n % 4 else None,
                "country": chance.choice(["DE", "DE", "FR", None]),
                "app_version": "10.0" if number > chance.randrange(60, 90) else "9.0",
                "profile_creation_date": created,
                "profile_age_in_days": (day - created).days,
                "reports_uris": True,
                "active_ticks_sum": ticks,
                "active_hours_sum": ticks and ticks / 720,
                "uri_count_sum": pages,
                "devtools_opened_sum": chance.choice([None, 0, 0, 1]) if n % 3 < 2 else 0,
                "experiments": [{"key": key, "value": value} for key, value in sorted(experiments.items())],
                "active_addons": [{"id": a, "name": a.upper(), "is_system": ADDONS[a]} for a in addons],
                "pings_aggregated_by_this_row": chance.randrange(1, 9),
            }
            rows += [row | {"app_name": app} for app in apps]
    return rows


def random_histograms(seed: int) -> list[dict]:
    """Rows of histogram_aggregates_by_build_v1; without app_build_id, they are rows of histogram_aggregates_v1."""
    chance = random.Random(seed)
    rows = []
    for day in [date(2026, 3, 22), *WEEK]:
        for app, channel, os, build, probe in (
            ("Firefox", "nightly", "Linux", "20260301", "GC_MS"),
            ("Firefox", "nightly", "BSD", "20260301", "GC_MS"),
            ("Firefox", "nightly", "Windows", "20260301", "GC_MS"),
            ("Firefox", "nightly", "Windows", "20260308", "GC_MS"),
            ("Firefox", "release", "Windows", "20260201", "GC_MS"),
            ("Firefox", "release", None, None, "GC_MS"),
            ("Firefox", "release", "Windows", "20260201", "browser_engagement_max_concurrent_tab_count"),
            ("Firefox", "nightly", "Windows", "20260301", "OTHER_MS"),
            ("Fleet", "nightly", "Windows", "20260301", "GC_MS"),
        ):
            slower = 5000 if os == "BSD" else {"20260308": 300, "20260201": 40}.get(build, 1)
            for layout in ["scalar/2-digits"] if "tab" in probe else ["0/50/1-10000", "0/9/1-1000"][: 1 + (os is None)]:
                buckets = sorted(chance.sample([0, 1, 9, 19, 20, 95, 100], 4))
                rows.append(
                    {
                        "submission_date": day,
                        "app_name": app,
                        "channel": channel,
                        "os": os,
                        "app_build_id": build,
                        "probe": probe,
                        "key": "minor" if os == "BSD" else "",
                        "layout": layout,
                        "n_clients": 9,
                        "n_pings": 12,
                        "buckets": [
                            {
                                "bucket": bucket * (1 if "tab" in probe else slower),
                                # The slowest are few clients with many pings.
                                "pings": chance.randrange(1, 200),
                                "clients": chance.randrange(1, 3 * 10**9) // (100 if bucket == buckets[-1] else 1),
                            }
                            for bucket in buckets
                        ],
                        "saturated": False,
                    }
                )
    return rows


class Person:
    """A client of Firefox as its days say, in plain Python."""

    def __init__(self, rows: list[dict]):
        self.rows = {row["submission_date"]: row for row in rows}
        self.first = min(self.rows)
        self.id = rows[0]["client_id"]
        self.bucket = None if rows[0]["sample_id"] is None else rows[0]["sample_id"] % 20
        self.made = rows[0]["profile_creation_date"]

    @cached_property
    def active(self) -> set[date]:
        return {d for d, row in self.rows.items() if (row["active_ticks_sum"] or 0) > 0 and row["uri_count_sum"] > 0}

    @cached_property
    def dev_tools(self) -> set[date]:
        return {d for d, row in self.rows.items() if (row["devtools_opened_sum"] or 0) > 0}

    def last(self, day: date) -> dict | None:
        """What the client was like on its last of the 28 days up to `day`; None where it was not seen in them."""
        seen = self.rows.keys() & set(back(day, 0, 28))
        return self.rows[max(seen)] if seen else None

    def segment(self, day: date) -> str | None:
        count = len(self.active & set(back(day, 0, 28)))
        return ["infrequent", "casual", "regular", "core", "core"][count // 7] if count else None

    def new_on(self, day: date) -> bool:
        """Whether the profile was made on the day, and a ping of the next 6 days said so."""
        return self.made == day and any(0 <= (d - day).days <= 6 for d in self.rows)


def back(day: date, ago: int, count: int) -> list[date]:
    """`count` days up to the one `ago` days before `day`."""
    return [day - timedelta(days=ago + n) for n in range(count)]


def week(first: date, number: int) -> set[date]:
    """Week `number` from a day on."""
    return {first + timedelta(days=7 * number + n) for n in range(7)}


class World:
    """What was loaded."""

    def __init__(self):
        self.daily = random_days(seed=45)
        self.histograms = random_histograms(seed=8)
        of_client = defaultdict(list)
        for row in self.daily:
            if row["app_name"] == "Firefox":
                of_client[row["client_id"]].append(row)
        self.people = [Person(rows) for rows in of_client.values()]

    def groups(self, day: date, name: str) -> dict[object, list[Person]]:
        """People seen in the 28 days up to a day, by what they were like when last seen."""
        found = defaultdict(list)
        for person in self.people:
            if row := person.last(day):
                found[row[name]].append(person)
        return found

    def merged(self, wanted: Callable[[dict], bool], by: tuple[str, ...], count: str) -> dict[tuple, Counter]:
        """Histograms of Firefox's week, bucket by bucket."""
        found = defaultdict(Counter)
        for row in self.histograms:
            if row["submission_date"] in WEEK and (row["app_name"], row["key"]) == ("Firefox", "") and wanted(row):
                for bucket in row["buckets"]:
                    found[tuple(row[name] for name in by)][bucket["bucket"]] += bucket[count]
        return found
