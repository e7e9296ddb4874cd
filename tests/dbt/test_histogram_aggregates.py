"""histogram_aggregates_v1 against a plain reading of its rule, on random pings."""

import random
from datetime import date, timedelta

from tests.dbt.project import histogram, main_ping
from tests.e2e.plain import NO_CLIENTS, two_digits

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
            chance.choice([*NO_CLIENTS, *(f"c{c}" for c in range(8))]),
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
            if ping["client_id"] in NO_CLIENTS or not values:
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
    # One client has both halves, the other all of its one observation in bucket 0: each counts once all the same.
    assert [b["clients"] for b in rows["P"]["buckets"]] == [10**9 + 10**9 // 2, 10**9 // 2]


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


def test_every_histogram_and_numeric_scalar_of_every_process_is_found(project):
    others = {"a.new_one": 1234, "another": -57, "text": 'x","fake":9,', "yes": True, "half": 1.5}
    others |= {"big": 2e18, "last": 0}
    pings = [
        main_ping(
            DAY,
            "d1",
            "c1",
            uri_count=98765,
            keyed_scalars={"search.counts": {"enter": 3, "flag": True, "name": "7", "share": 0.5}},
            histograms={"content/GC_MS": histogram({7: 1})},
            content_histograms={"GC_MS": histogram({5: 2})},
            content_keyed_histograms={"K": {"x": histogram({1: 1})}},
            content_scalars={"media.count": 41, "text": "x"},
            content_keyed_scalars={"k.s": {"y": -1234}},
            socket_histograms={"GC_MS": histogram({3: 4})},
            socket_keyed_histograms={"K": {"x": histogram({2: 2})}},
            socket_scalars={"media.count": 7},
            socket_keyed_scalars={"k.s": {"y": 8}},
            additional_properties={"payload": {"processes": {"parent": {"scalars": others}}}},
        ),
        main_ping(DAY, "d2", "c1", uri_count=98000),
        main_ping(DAY, "d3", "c2", uri_count=0),
    ]
    project.load("main", pings)
    project.build("histogram_aggregates_v1", DAY)
    whole = 10**9
    scalars = {
        ("browser_engagement_total_uri_count", ""): (2, 3, [(0, 1, whole), (98000, 2, whole)]),
        ("search_counts", "enter"): (1, 1, [(3, 1, whole)]),
        ("content/media_count", ""): (1, 1, [(41, 1, whole)]),
        ("content/k_s", "y"): (1, 1, [(-1300, 1, whole)]),
        ("socket/media_count", ""): (1, 1, [(7, 1, whole)]),
        ("socket/k_s", "y"): (1, 1, [(8, 1, whole)]),
        ("a_new_one", ""): (1, 1, [(1200, 1, whole)]),
        ("another", ""): (1, 1, [(-57, 1, whole)]),
        ("half", ""): (1, 1, [(1, 1, whole)]),
        ("big", ""): (1, 1, [(2 * 10**18, 1, whole)]),
        ("search_counts", "share"): (1, 1, [(0, 1, whole)]),
        ("last", ""): (1, 1, [(0, 1, whole)]),
    }
    expected = {(DAY, None, *probe, "scalar/2-digits"): row for probe, row in scalars.items()}
    expected[DAY, None, "content/GC_MS", "", "0/10/1-100"] = (1, 1, [(5, 2, whole)])
    expected[DAY, None, "content_GC_MS", "", "0/10/1-100"] = (1, 1, [(7, 1, whole)])
    expected[DAY, None, "content/K", "x", "0/10/1-100"] = (1, 1, [(1, 1, whole)])
    expected[DAY, None, "socket/GC_MS", "", "0/10/1-100"] = (1, 1, [(3, 4, whole)])
    expected[DAY, None, "socket/K", "x", "0/10/1-100"] = (1, 1, [(2, 2, whole)])
    assert found(project) == expected


def test_a_map_with_too_many_names_is_counted_and_not_carried(project):
    many = {f"INVENTED_{n}": histogram({1: 1}) for n in range(5001)}
    numbers = dict.fromkeys(many, "7")
    project.load(
        "main",
        [
            main_ping(DAY, "d1", "c1", histograms=many | {"P": histogram({0: 1})}),
            main_ping(DAY, "d2", "c1", histograms={"P": histogram({0: 1})}, content_histograms=many),
            main_ping(DAY, "d3", "c1", keyed_histograms={"K": many, "L": {"x": histogram({0: 1})}}),
            main_ping(DAY, "d4", "c1", keyed_histograms={name: {"x": one} for name, one in many.items()}),
            main_ping(DAY, "d5", "c1", content_scalars=numbers, keyed_scalars={"k": numbers}),
        ],
    )
    project.build("histogram_aggregates_v1", DAY)
    over, whole = "over 5000 names", 10**9
    counted = {
        (over, ""): (1, 1, [(5000, 1, whole)]),
        ("content/" + over, ""): (1, 2, [(5000, 2, whole)]),
        ("K", over): (1, 1, [(5000, 1, whole)]),
        (over, over): (1, 1, [(5000, 1, whole)]),
        ("k", over): (1, 1, [(5000, 1, whole)]),
    }
    expected = {(DAY, None, *name, "scalar/2-digits"): row for name, row in counted.items()}
    expected[DAY, None, "P", "", "0/10/1-100"] = (1, 1, [(0, 1, whole)])
    expected[DAY, None, "L", "x", "0/10/1-100"] = (1, 1, [(0, 1, whole)])
    assert found(project) == expected


def test_a_scalar_keeps_its_two_leading_digits_rounded_down_whatever_its_size(project):
    values = [0, 9, 10, 99, 100, 109, 12345, -9, -10, -99, -100, -101, -12345, 10**18 - 1, INT64_MAX, -INT64_MAX - 1]
    project.load("main", [main_ping(DAY, f"d{n}", f"c{n}", uri_count=value) for n, value in enumerate(values)])
    project.build("histogram_aggregates_v1", DAY)
    [(_, _, buckets)] = found(project).values()
    expected = {two_digits(max(value, -9 * 10**18)) for value in values}
    assert [bucket for bucket, _, _ in buckets] == sorted(expected)


def test_by_build_a_client_counts_once_in_each_build_that_it_ran(project):
    project.load(
        "main",
        [
            main_ping(DAY, "d1", "c1", app_build_id="1", histograms={"P": histogram({0: 3})}),
            main_ping(DAY, "d2", "c1", app_build_id="2", histograms={"P": histogram({0: 1, 1: 1})}),
            main_ping(DAY, "d3", "c2", app_build_id="2", histograms={"P": histogram({1: 1})}),
            main_ping(DAY, "d4", "c3", histograms={"P": histogram({1: 1})}),
        ],
    )
    project.build("histogram_aggregates_by_build_v1", DAY)
    rows = {row["app_build_id"]: row for row in project.rows("histogram_aggregates_by_build_v1")}
    assert {build: (row["n_clients"], row["n_pings"]) for build, row in rows.items()} == {
        "1": (1, 1),
        "2": (2, 2),
        None: (1, 1),
    }
    assert rows["2"]["buckets"] == [
        {"bucket": 0, "pings": 1, "clients": 10**9 // 2},
        {"bucket": 1, "pings": 2, "clients": 10**9 * 3 // 2},
    ]
