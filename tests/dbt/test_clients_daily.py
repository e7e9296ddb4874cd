"""clients_daily_v1 and what it leaves out: each rule of a column, and a random day against plain Python."""

import random
from collections import Counter
from datetime import date, timedelta

from tests.dbt.project import main_ping

DAY = date(2026, 3, 1)
DIMENSIONS = (
    *("channel", "os", "os_version", "locale", "app_version", "app_build_id", "distribution_id"),
    *("is_default_browser", "profile_creation_date"),
)
PLACE = ("country", "subdivision1", "subdivision2", "city")


def daily(project, pings: list[dict]) -> list[dict]:
    """The rows of clients_daily_v1 for pings given by their activity fields; one row's client is the only one."""
    project.load("main", [main_ping(DAY, **ping) for ping in pings])
    project.build("clients_daily_v1", DAY)
    return project.rows("clients_daily_v1")


def day_of(*pings: dict) -> list[dict]:
    return [{"document_id": f"d{n}", "client_id": "c", "second": n, **ping} for n, ping in enumerate(pings)]


def test_rules_of_columns(project):
    cases = {
        "ties go to the value seen last": ([{"os": "a"}, {"os": "b"}, {"os": "b"}, {"os": "a"}], {"os": "a"}),
        "the most frequent value wins": ([{"os": "a"}, {"os": "a"}, {"os": "b"}], {"os": "a"}),
        "null is no value, '' is": ([{"os": None}, {"os": None}, {"os": ""}], {"os": ""}),
        "false is a value": (
            [{"is_default_browser": True}, {"is_default_browser": False}, {"is_default_browser": False}],
            {"is_default_browser": False},
        ),
        "a city comes with its country": (
            [{"country": "DE", "city": "x"}, {"country": "DE", "city": "y"}, {"country": "US", "city": "y"}]
            + [{"country": "US", "city": "y"}],
            {"country": "US", "city": "y"},
        ),
        "an unknown country is no place": (
            [{"country": "??", "city": "x"}, {"city": "x"}, {"country": "DE", "city": "z"}],
            {"country": "DE", "city": "z"},
        ),
        "an unknown city is null": ([{"country": "DE", "city": "??"}], {"country": "DE", "city": None}),
        "sums are null only if every value is": (
            [{"uri_count": None}, {"uri_count": 0}],
            {"uri_count_sum": 0, "devtools_opened_sum": None},
        ),
        "means leave null out": ([{"memory_mb": 1}, {"memory_mb": 2}, {}], {"memory_mb_mean": 1.5}),
        "maxima and minima leave null out": (
            [{"concurrent_tabs": 3, "first_paint_ms": 7}, {"concurrent_tabs": 5, "first_paint_ms": 4}, {}],
            {"concurrent_tabs_max": 5, "first_paint_ms_min": 4, "first_paint_ms_mean": 5.5, "unique_domains_max": None},
        ),
        "ever is true of one ping, and null of none": (
            [{"is_default_browser": False}, {"is_default_browser": True}, {"is_default_browser": False}, {}],
            {"is_default_browser": False, "is_default_browser_ever": True},
        ),
        "ever of nothing": ([{}], {"is_default_browser_ever": None}),
        "numbers that are not promised to be whole are rounded down": (
            [{"windows_build_number": 19045.0}, {"windows_build_number": 19045.9}, {"windows_build_number": 1e300}],
            {"windows_build_number": 19045},
        ),
        "the first graphics adapter": ([{"gfx_vendor_ids": ["0x10de", "0x8086"]}, {}], {"gfx_vendor_id": "0x10de"}),
        "each add-on as most pings have it, in order": (
            [
                {"addons": {"b@x": {"name": "B", "version": "1.0"}, "a@x": {"version": 2, "is_system": True}}},
                {"addons": {"b@x": {"name": "B", "version": "1.1"}}},
                {"addons": {"b@x": {"name": "B", "version": "1.0"}}},
            ],
            {
                "active_addons": [
                    {"id": "a@x", "name": None, "version": "2", "type": None, "is_system": True},
                    {"id": "b@x", "name": "B", "version": "1.0", "type": None, "is_system": None},
                ]
            },
        ),
        "mean of nothing": ([{}], {"memory_mb_mean": None}),
        "hours are of ticks of 5 seconds and of seconds": (
            [{"active_ticks": 720, "duration": 1800}, {"active_ticks": 360, "duration": 5400}],
            {"active_hours_sum": 1.5, "subsession_hours_sum": 2.0, "active_ticks_sum": 1080, "duration_sum": 7200},
        ),
        "the older measurement of ticks stands in": (
            [{"older_active_ticks": 5}, {"active_ticks": 1, "older_active_ticks": 9}],
            {"active_ticks_sum": 6},
        ),
        "a sum stays at the end of int64": (
            [{"uri_count": 2**63 - 1}, {"uri_count": 2**63 - 1}],
            {"uri_count_sum": 2**63 - 1},
        ),
        "sessions": (
            [{"subsession_counter": 1}, {"subsession_counter": 1}, {"subsession_counter": 2}, {}],
            {"sessions_started_on_this_day": 2, "pings_aggregated_by_this_row": 4},
        ),
        "each experiment has its branch, in order": (
            [{"experiments": {"b": "x", "a": "1"}}, {"experiments": {"b": "y"}}, {"experiments": {"c": None}}],
            {"experiments": [{"key": "a", "value": "1"}, {"key": "b", "value": "y"}]},
        ),
        "an age can be negative": (
            [{"profile_creation_date": 20515}],
            {"profile_age_in_days": -2, "profile_creation_date": DAY + timedelta(days=2)},
        ),
        "a number that is no date is not believed": (
            [{"profile_creation_date": 10**15}],
            {"profile_creation_date": None, "profile_age_in_days": None},
        ),
    }
    pings = [
        ping | {"client_id": name, "document_id": f"{name} {ping['document_id']}"}
        for name, (given, _) in cases.items()
        for ping in day_of(*given)
    ]
    rows = {row["client_id"]: row for row in daily(project, pings)}
    for name, (_, expected) in cases.items():
        found = {column: rows[name][column] for column in expected}
        assert found == expected, name


def expected_row(pings: list[dict]) -> dict:
    """The rules of SEMANTICS, read again: pings of one client and day, by time and document."""
    pings = sorted(pings, key=lambda p: (p["second"], p["document_id"]))

    def mode_last(values):
        counts = Counter(v for v in values if v is not None)
        latest = {v: n for n, v in enumerate(values)}
        return max(counts, key=lambda v: (counts[v], latest[v]), default=None)

    def known(value):
        return None if value == "??" else value

    def total(name):
        values = [p[name] for p in pings if p.get(name) is not None]
        return sum(values) if values else None

    places = [tuple(known(p.get(n)) for n in PLACE) if known(p.get("country")) is not None else None for p in pings]
    row = {name: mode_last([p.get(name) for p in pings]) for name in DIMENSIONS}
    row |= dict(zip(PLACE, mode_last(places) or (None,) * 4, strict=True))
    keys = sorted({key for p in pings for key in p.get("experiments", {})})
    branches = {key: mode_last([p.get("experiments", {}).get(key) for p in pings]) for key in keys}
    row["experiments"] = [{"key": k, "value": v} for k, v in branches.items() if v is not None]
    if row["profile_creation_date"] is not None:
        row["profile_creation_date"] = date(1970, 1, 1) + timedelta(days=row["profile_creation_date"])
    row |= {f"{name}_sum": total(name) for name in ("uri_count", "duration", "active_ticks", "devtools_opened")}
    row["sessions_started_on_this_day"] = sum(p.get("subsession_counter") == 1 for p in pings)
    row["pings_aggregated_by_this_row"] = len(pings)
    return row


def test_a_random_day_equals_plain_python(project):
    chance = random.Random(11)
    letters = ["", "x", "y", "??", None]
    pings = []
    for n in range(600):
        ping = {name: chance.choice(letters) for name in (*DIMENSIONS[:7], "country", "subdivision1", "city")}
        ping |= {
            "document_id": f"{n:04}",
            "client_id": f"client {chance.randrange(60)}",
            "second": chance.randrange(4),
            "app_name": chance.choice(["Firefox", "Other"]),
            "is_default_browser": chance.choice([True, False, None]),
            "profile_creation_date": chance.choice([20500, 20510, None]),
            "experiments": {k: chance.choice("ab") for k in "pqr" if chance.random() < 0.4},
        }
        for name in ("uri_count", "duration", "active_ticks", "devtools_opened", "subsession_counter"):
            ping[name] = chance.choice([0, 1, 5, None, None])
        pings.append(ping)
    found = {(row["app_name"], row["client_id"]): row for row in daily(project, pings)}
    groups: dict[tuple, list[dict]] = {}
    for ping in pings:
        groups.setdefault((ping["app_name"], ping["client_id"]), []).append(ping)
    assert found.keys() == groups.keys()
    for key, group in groups.items():
        expected = expected_row(group)
        assert {name: found[key][name] for name in expected} == expected


def test_what_is_left_out_is_counted(project, monkeypatch):
    sql = project.sql
    monkeypatch.setattr(project, "sql", lambda *args: sql(*args).replace("150000", "2"))
    pings = day_of({}, {}, {}) + day_of({}, {})
    for n, ping in enumerate(pings):
        ping |= {"document_id": f"d{n}", "client_id": "too many" if n < 3 else "just right"}
    nobody = [{"document_id": f"n{n}", "client_id": None} for n in range(4)]
    ids = ["00000000-0000-0000-0000-000000000000"] * 2 + ["c0ffeec0-ffee-c0ff-eec0-ffeec0ffeec0"] * 3
    nobody += [{"document_id": f"i{n}", "client_id": client_id} for n, client_id in enumerate(ids)]
    rows = daily(project, pings + nobody)
    project.build("clients_left_out_v1", DAY)
    assert [(row["client_id"], row["pings_aggregated_by_this_row"]) for row in rows] == [("just right", 2)]
    left_out = {row["reason"]: (row["pings"], row["clients"]) for row in project.rows("clients_left_out_v1")}
    assert left_out == {
        "no client_id": (4, 0),
        "all-zero client_id": (2, 0),
        "canary client_id": (3, 0),
        "over 2 pings": (3, 1),
    }


def test_a_ping_without_an_application_is_in_no_table_and_counted(project):
    pings = day_of({}, {"app_name": None}, {"app_name": None, "client_id": None})
    assert [row["app_name"] for row in daily(project, pings)] == ["Firefox"]
    project.build("clients_left_out_v1", DAY)
    [left_out] = project.rows("clients_left_out_v1")
    expected = {"app_name": None, "reason": "no application", "ping_type": "telemetry_stable.main_v4", "pings": 2}
    assert {name: left_out[name] for name in expected} == expected


def test_flights_are_clients_too(project):
    flight = {"normalized_app_name": "Fleet", "normalized_channel": "UA", "normalized_country_code": "US"}
    for number, (minutes, origin) in enumerate([(100, "EWR"), (None, "EWR"), (50, "JFK")]):
        project.load(
            "flight",
            [
                flight
                | {
                    "document_id": f"f{number}",
                    "submission_timestamp": f"{DAY}T0{number}:00:00Z",
                    "client_id": "plane",
                    "origin": origin,
                    "duration_minutes": minutes,
                }
            ],
        )
    project.build("clients_daily_v1", DAY)
    (row,) = project.rows("clients_daily_v1")
    expected = {
        "app_name": "Fleet",
        "client_id": "plane",
        "channel": "UA",
        "country": "US",
        "city": "EWR",
        "duration_sum": 9000,
        "active_ticks_sum": None,
        "reports_uris": False,
        "pings_aggregated_by_this_row": 3,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_range_gives_the_same_rows_as_its_days(project):
    days = [DAY + timedelta(days=n) for n in range(3)]
    chance = random.Random(5)
    project.load(
        "main",
        [
            main_ping(
                chance.choice(days), f"{n}", f"c{chance.randrange(9)}", chance.randrange(3), os=chance.choice("ab")
            )
            for n in range(90)
        ],
    )
    project.build("clients_daily_v1", days[0], days[-1])
    in_one = project.rows("clients_daily_v1")
    project.empty("clients_daily_v1")
    for day in reversed(days):
        project.build("clients_daily_v1", day)
    assert project.rows("clients_daily_v1") == in_one
