"""distributions_v1 against a plain reading of its rule, on random aggregates."""

import random
from collections import defaultdict
from datetime import date, timedelta

from telemetry_warehouse.changes.scan import MIN_CLIENTS

DAY = date(2026, 3, 9)
LAST = DAY + timedelta(days=2)


def random_aggregates(seed: int, builds: list[str | None]) -> list[dict]:
    chance = random.Random(seed)
    rows = []
    for number in range(-7, 3):
        for channel in ("beta", "release", None):
            for os in ("a", "b", None):
                for build in builds:
                    clients = chance.choice([0, 1, 24, 25, 49, 50, 100, 10**6])
                    buckets = chance.sample([-5, 0, 1, 100], chance.randint(1, 4))
                    shares = [chance.randrange(1, 10**9) for _ in buckets]
                    if not clients:
                        continue
                    rows.append({
                        "submission_date": str(DAY + timedelta(days=number)), "app_name": "App", "channel": channel,
                        "os": os, "app_build_id": build, "probe": chance.choice("PQ"), "key": "", "layout": "l",
                        "n_clients": clients, "n_pings": clients, "saturated": False,
                        "buckets": [
                            {"bucket": bucket, "pings": 1, "clients": share}
                            for bucket, share in sorted(zip(buckets, shares, strict=True))
                        ],
                    })  # fmt: skip
    # A series has one row a day.
    names = ("submission_date", "channel", "os", "app_build_id", "probe")
    return list({tuple(row[name] for name in names): row for row in rows}.values())


def night_of(row: dict, axis: str) -> date | None:
    submitted = date.fromisoformat(row["submission_date"])
    if axis == "submission_date":
        return submitted
    try:
        built = date.fromisoformat(row["app_build_id"][:8])
    except (TypeError, ValueError):
        return None
    return built + timedelta(days=6) if built <= submitted <= built + timedelta(days=6) else None


def expected(aggregates: list[dict], axis: str) -> dict[tuple, tuple]:
    """(night, channel, os, probe) → (clients, {bucket: clients})."""
    found: dict[tuple, list] = defaultdict(lambda: [0, defaultdict(int)])
    for row in aggregates:
        night = night_of(row, axis)
        if night is None or not DAY <= night <= LAST:
            continue
        for channel in {row["channel"], None}:
            for os in {row["os"], None}:
                entry = found[night, channel, os, row["probe"]]
                entry[0] += row["n_clients"]
                for one in row["buckets"]:
                    entry[1][one["bucket"]] += one["clients"]
    return {s: (clients, dict(buckets)) for s, (clients, buckets) in found.items() if clients >= MIN_CLIENTS}


def test_random_aggregates_equal_plain_python_alone_and_in_a_range(project):
    of_all = random_aggregates(1, [None])
    by_build = random_aggregates(2, ["20260303101500", "20260304", "20260304220000", "20269904", "nightly", None])
    project.load("histogram_aggregates_v1", [{k: v for k, v in row.items() if k != "app_build_id"} for row in of_all])
    project.load("histogram_aggregates_by_build_v1", by_build)
    project.build("distributions_v1", DAY, LAST)
    in_one = project.rows("distributions_v1")
    for axis, aggregates in (("submission_date", of_all), ("build_date", by_build)):
        found = {
            (r["submission_date"], r["channel"], r["os"], r["probe"]): (
                r["n_clients"],
                {b["bucket"]: b["clients"] for b in r["buckets"]},
            )
            for r in in_one
            if r["axis"] == axis
        }
        assert found == expected(aggregates, axis) and len(found) > 20
    for row in in_one:
        assert [b["bucket"] for b in row["buckets"]] == sorted(b["bucket"] for b in row["buckets"])
    for day in (LAST, DAY, DAY + timedelta(days=1)):
        project.build("distributions_v1", day)
    assert project.rows("distributions_v1") == in_one
