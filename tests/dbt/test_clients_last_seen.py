"""clients_last_seen_v1 against a plain reading of its rule, day after day, and a range against its days."""

import random
from datetime import date, timedelta

MASK = 2**28 - 1
FIRST = date(2026, 1, 1)
BRANCHES = [("e1", "a"), ("e1", "b"), ("e2", "a")]
PATTERNS = {
    "seen": lambda r: True,
    "active": lambda r: (
        (r["active_ticks_sum"] or 0) > 0 and (r["uri_count_sum"] or 0) > 0
        if r["reports_uris"]
        else (r["duration_sum"] or 0) > 0
    ),
    "visited_1_uri": lambda r: (r["uri_count_sum"] or 0) >= 1,
    "visited_5_uri": lambda r: (r["uri_count_sum"] or 0) >= 5,
    "visited_10_uri": lambda r: (r["uri_count_sum"] or 0) >= 10,
    "interacted": lambda r: (r["active_ticks_sum"] or 0) > 0,
    "had_8_active_ticks": lambda r: (r["active_ticks_sum"] or 0) >= 8,
    "opened_dev_tools": lambda r: (r["devtools_opened_sum"] or 0) > 0,
}


def random_days(seed: int, days: int, clients: int) -> list[dict]:
    """Rows of clients_daily_v1: clients that come, stay away around four weeks, and come back."""
    chance = random.Random(seed)
    rows = []
    for client in range(clients):
        busy = chance.choice([0.03, 0.1, 0.5])
        for n in range(days):
            if chance.random() > busy:
                continue
            day = FIRST + timedelta(days=n)
            age = chance.choice([None, -1, 0, 0, 3, 6, 7, n])
            rows.append(
                {
                    "submission_date": day,
                    "app_name": chance.choice(["Firefox", "Fleet"]) if client % 3 == 0 else "Firefox",
                    "client_id": f"c{client}",
                    "sample_id": client,
                    "os": chance.choice(["a", "b", None]),
                    "country": chance.choice(["DE", None]),
                    "profile_age_in_days": age,
                    "profile_creation_date": age if age is None else day - timedelta(days=age),
                    "reports_uris": chance.choice([True, False]),
                    "active_ticks_sum": chance.choice([None, 0, 1, 8]),
                    "uri_count_sum": chance.choice([None, 0, 1, 5, 10]),
                    "duration_sum": chance.choice([None, 0, 1]),
                    "devtools_opened_sum": chance.choice([None, 0, 1]),
                    "experiments": [{"key": k, "value": v} for k, v in BRANCHES if chance.random() < 0.2],
                }
            )
    return rows


def last_seen(daily: list[dict], days: list[date]) -> dict[tuple, dict]:
    """The rule as SEMANTICS has it, one day from the day before: (day, app, client) → patterns and dimensions."""
    found, previous = {}, {}
    for day in days:
        today = {(r["app_name"], r["client_id"]): r for r in daily if r["submission_date"] == day}
        rows = {}
        for key in previous.keys() | today.keys():
            before, now = previous.get(key, {}), today.get(key)
            row = {name: (before.get(name, 0) << 1) & MASK for name in (*PATTERNS, "created_profile")}
            branches = {k: (bits << 1) & MASK for k, bits in before.get("experiments", {}).items()}
            if now:
                for name, holds in PATTERNS.items():
                    row[name] |= bool(holds(now))
                if now["profile_age_in_days"] in range(7):
                    row["created_profile"] |= 1 << now["profile_age_in_days"]
                for e in now["experiments"]:
                    branches[e["key"], e["value"]] = branches.get((e["key"], e["value"]), 0) | 1
            row["experiments"] = {k: bits for k, bits in sorted(branches.items()) if bits}
            row["dimensions"] = (now["os"], now["country"]) if now else before["dimensions"]
            if row["seen"]:
                rows[key] = row
        found |= {(day, *key): row for key, row in rows.items()}
        previous = rows
    return found


def as_plain(rows: list[dict]) -> dict[tuple, dict]:
    return {
        (r["submission_date"], r["app_name"], r["client_id"]): {
            name: r[f"days_{name}_bits"] for name in (*PATTERNS, "created_profile")
        }
        | {
            "experiments": {(e["key"], e["value"]): e["bits"] for e in r["experiments"]},
            "dimensions": (r["os"], r["country"]),
        }
        for r in rows
    }


def loaded(project, rows: list[dict]) -> None:
    dates = ("submission_date", "profile_creation_date")
    project.load("clients_daily_v1", [r | {name: r[name] and str(r[name]) for name in dates} for r in rows])


def test_every_bit_of_a_long_range_and_of_its_parts(project):
    rows = random_days(seed=3, days=80, clients=30)
    loaded(project, rows)
    days = [FIRST + timedelta(days=n) for n in range(80)]
    project.build("clients_last_seen_v1", days[0], days[-1])
    in_one = project.rows("clients_last_seen_v1")
    assert as_plain(in_one) == last_seen(rows, days)

    # A day alone, a few days and five weeks, each continuing from the day before it, leave every row as it was.
    for first, last in ((10, 10), (30, 33), (40, 75)):
        project.build("clients_last_seen_v1", days[first], days[last])
    assert project.rows("clients_last_seen_v1") == in_one


def test_night_after_night_equals_a_range(project):
    rows = random_days(seed=4, days=6, clients=12)
    loaded(project, rows)
    days = [FIRST + timedelta(days=n) for n in range(6)]
    for day in days:
        project.build("clients_last_seen_v1", day)
    nights = project.rows("clients_last_seen_v1")
    project.empty("clients_last_seen_v1")
    project.build("clients_last_seen_v1", days[0], days[-1])
    assert project.rows("clients_last_seen_v1") == nights
