"""histogram_aggregates_v1 against a plain reading of its rule, on random pings."""

import random
from datetime import date, timedelta

from tests.dbt.project import histogram, main_ping

DAY = date(2026, 3, 1)
INT64_MAX = 2**63 - 1


def random_pings(seed: int) -> list[dict]:
    chance = random.Random(seed)

    def one():
        values = {bucket: chance.choice([0, 0, 1, 2, 7]) for bucket in chance.sample([-5, 0, 1, 10, 100], 3)}
        return histogram(values, kind=chance.choice([0, 1]))

    return [
        main_ping(
            DAY + timedelta(days=chance.randrange(2)),
            f"d{n}",
            chance.choice([None, *(f"c{c}" for c in range(8))]),
            os=chance.choice(["a", None]),
            histograms={probe: one() for probe in ("P", "Q") if chance.random() < 0.7},
            keyed_histograms={"K": {key: one() for key in "xy" if chance.random() < 0.5}},
        )
        for n in range(200)
    ]


def expected(pings: list[dict]) -> dict[tuple, tuple]:
    """(day, os, probe, key, layout) → (clients, pings, [(bucket, pings, shares)])."""
    clients: dict[tuple, dict[str, dict[int, int]]] = {}
    counted: dict[tuple, int] = {}
    for ping in pings:
        plain = [(h["key"], "", h["value"]) for h in ping["payload"]["histograms"]]
        keyed = [(p["key"], h["key"], h["value"]) for p in ping["payload"]["keyed_histograms"] for h in p["value"]]
        for probe, key, hist in plain + keyed:
            values = {int(v["key"]): v["value"] for v in hist["values"] if v["value"] > 0}
            if ping["client_id"] is None or not values:
                continue
            layout = f"{hist['histogram_type']}/{hist['bucket_count']}/{'-'.join(map(str, hist['range']))}"
            day = date.fromisoformat(ping["submission_timestamp"][:10])
            series = (day, ping["normalized_os"], probe, key, layout)
            sums = clients.setdefault(series, {}).setdefault(ping["client_id"], {})
            for bucket, count in values.items():
                sums[bucket] = sums.get(bucket, 0) + count
            counted[series] = counted.get(series, 0) + 1
    result = {}
    for series, by_client in clients.items():
        buckets = sorted({bucket for sums in by_client.values() for bucket in sums})
        result[series] = (
            len(by_client),
            counted[series],
            [
                (
                    bucket,
                    sum(sums.get(bucket, 0) for sums in by_client.values()),
                    sum(sums.get(bucket, 0) * 10**9 // sum(sums.values()) for sums in by_client.values()),
                )
                for bucket in buckets
            ],
        )
    return result


def found(project) -> dict[tuple, tuple]:
    return {
        (r["submission_date"], r["os"], r["probe"], r["key"], r["layout"]): (
            r["n_clients"],
            r["n_pings"],
            [(b["bucket"], b["pings"], b["clients"]) for b in r["buckets"]],
        )
        for r in project.rows("histogram_aggregates_v1")
    }


def test_random_pings_equal_plain_python_alone_and_in_a_range(project):
    pings = random_pings(seed=2)
    project.load("main", pings)
    project.build("histogram_aggregates_v1", DAY, DAY + timedelta(days=1))
    assert found(project) == expected(pings)
    in_one = project.rows("histogram_aggregates_v1")
    project.build("histogram_aggregates_v1", DAY + timedelta(days=1))
    project.build("histogram_aggregates_v1", DAY)
    assert project.rows("histogram_aggregates_v1") == in_one


def test_sums_stay_at_the_end_of_int64_and_say_so(project):
    project.load(
        "main",
        [
            main_ping(DAY, "d1", "c1", histograms={"P": histogram({0: INT64_MAX, 1: INT64_MAX})}),
            main_ping(DAY, "d2", "c1", histograms={"P": histogram({0: 5}), "Q": histogram({0: 1})}),
            main_ping(DAY, "d3", "c2", histograms={"P": histogram({0: 1})}),
        ],
    )
    project.build("histogram_aggregates_v1", DAY)
    rows = {row["probe"]: row for row in project.rows("histogram_aggregates_v1")}
    assert rows["P"]["saturated"] and not rows["Q"]["saturated"]
    assert [b["pings"] for b in rows["P"]["buckets"]] == [INT64_MAX, INT64_MAX]
    assert rows["P"]["n_clients"] == 2


def test_early_flights_have_buckets_below_zero(project):
    project.load(
        "flight",
        [
            {
                "document_id": "f1",
                "submission_timestamp": f"{DAY}T01:00:00Z",
                "client_id": "plane",
                "normalized_app_name": "Fleet",
                "histograms": [{"key": "departure_delay_minutes", "value": histogram({-15: 1}, 1, (-60, 600))}],
            }
        ],
    )
    project.build("histogram_aggregates_v1", DAY)
    assert found(project) == {(DAY, None, "departure_delay_minutes", "", "1/10/-60-600"): (1, 1, [(-15, 1, 10**9)])}
