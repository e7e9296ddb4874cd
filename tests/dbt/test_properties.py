"""Properties over arbitrary input: dedup, mode_last, the functions on bits, and a range built in any parts.

A query costs more than what it computes, so an example is a batch: many documents, lists, patterns or clients that
have nothing to do with each other. A failure shows the batch's wrong ones, the smallest first, in place of shrinking.
"""

import json
import uuid
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from telemetry_warehouse import dedup
from telemetry_warehouse.bigquery import Warehouse
from tests.dbt.project import Project, main_ping
from tests.e2e import plain
from tests.support import load_rows

FIRST = date(2026, 1, 1)

batches = settings(max_examples=1, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)


def batch_of(one, size: int):
    """Lists of `size`; hypothesis begins with the simplest, whose items are all the same, and that says little."""
    return st.lists(one, min_size=size, max_size=size).filter(lambda batch: len(set(map(repr, batch))) > size // 3)


def smallest(wrong: list) -> list:
    return sorted(wrong, key=lambda each: len(repr(each)))[:3]


@pytest.fixture(scope="module")
def warehouse(warehouse_home) -> Warehouse:
    return Warehouse(warehouse_home)


# --- Dedup

DAYS = 9
TAGS = st.sampled_from([None, None, None, "", "perf", "automations", "Automation", "automation", "perf, automation"])
# What is received of one document: (day, second, tags). Few instants, so that some are received at once.
received = st.lists(st.tuples(st.integers(0, DAYS - 1), st.integers(0, 2), TAGS), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def live(warehouse) -> str:
    dataset = f"properties_{uuid.uuid4().hex[:12]}"
    warehouse.ensure_dataset(dataset)
    warehouse.query(
        f"CREATE TABLE {dataset}.live (document_id STRING, submission_timestamp TIMESTAMP, n INT64,"
        " metadata STRUCT<header STRUCT<x_source_tags STRING>>) PARTITION BY DATE(submission_timestamp)"
        " OPTIONS (require_partition_filter = TRUE)"
    )
    return f"{dataset}.live"


def instant(day: int, second: int) -> datetime:
    return datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=day, seconds=second)


def kept(live: str, first: int, last: int, look_back: int, slices: int = 1) -> str:
    """A query of the documents that days first..last keep."""
    days = (FIRST + timedelta(days=n) for n in (first, last))
    return union(f"({select})" for select in dedup.selects(live, *days, slices, look_back))


def union(queries) -> str:
    return "(" + " UNION ALL ".join(f"SELECT * FROM {query}" for query in queries) + ")"


@settings(batches, max_examples=2)
@given(documents=batch_of(received, 60), look_back=st.integers(0, 4), slices=st.integers(2, 5))
def test_dedup_of_any_arrangement(warehouse, live, documents, look_back, slices):
    pings = [
        {"document_id": str(d), "submission_timestamp": instant(day, second), "tags": tags, "n": n}
        for d, arrangement in enumerate(documents)
        for n, (day, second, tags) in enumerate(arrangement)
    ]
    warehouse.query(f"TRUNCATE TABLE {live}")
    load_rows(warehouse, live, [
        {name: ping[name] for name in ("document_id", "submission_timestamp", "n")}
        | {"metadata": {"header": {"x_source_tags": ping["tags"]}}}
        for ping in pings
    ])  # fmt: skip
    in_one = kept(live, 0, DAYS - 1, look_back)
    ways = {
        "in one": in_one,
        "in one again": in_one,
        "of what was kept": kept(in_one, 0, DAYS - 1, look_back),
        "day by day": union(kept(live, n, n, look_back) for n in range(DAYS)),
        "in slices": kept(live, 0, DAYS - 1, look_back, slices),
    }
    found = {way: {} for way in ways}
    for way, query in ways.items():
        for row in warehouse.rows(f"SELECT document_id, submission_timestamp, n FROM {query}"):
            found[way].setdefault(row["document_id"], []).append((row["submission_timestamp"], row["n"]))

    expected = {}
    for ping in plain.deduplicated(pings, look_back):
        expected.setdefault(ping["document_id"], []).append(ping["submission_timestamp"])
    wrong = []
    for d, arrangement in enumerate(documents):
        of_way = {way: sorted(rows.get(str(d), [])) for way, rows in found.items()}
        instants = [moment for moment, _ in of_way["in one"]]
        # Of those received at one instant any may be kept, but not one that is tagged.
        tagged = any("automation" in (arrangement[n][2] or "").split(", ") for _, n in of_way["in one"])
        differing = any(of != of_way["in one"] for of in of_way.values())
        if instants != sorted(expected.get(str(d), [])) or tagged or differing:
            wrong.append((arrangement, of_way))
    assert smallest(wrong) == []


# --- mode_last

VALUES = st.sampled_from([None, "", "a", "A", "ä", "0", " "])


def literal(value: str | None) -> str:
    return "NULL" if value is None else f"'{value}'"


@batches
@given(lists=batch_of(st.lists(VALUES, max_size=7), 150))
def test_mode_last_of_any_list(warehouse, prepared_home, lists):
    rows = [f"STRUCT({n} AS n, ARRAY<STRING>[{', '.join(map(literal, each))}] AS list)" for n, each in enumerate(lists)]
    found = warehouse.rows(f"SELECT udf.mode_last(list) AS mode FROM UNNEST([{', '.join(rows)}]) ORDER BY n")
    pairs = [(each, row["mode"]) for each, row in zip(lists, found, strict=True)]
    wrong = [(each, mode) for each, mode in pairs if mode != plain.mode_last(each)]
    assert smallest(wrong) == []


saying = st.fixed_dictionaries({
    "os": VALUES,
    "is_default_browser": st.sampled_from([None, True, False]),
    "country": st.sampled_from([None, "??", "DE", "US"]),
    "subdivision1": st.sampled_from([None, "??", "BE"]),
    "city": st.sampled_from([None, "??", "x", "y"]),
    "experiments": st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]), max_size=2),
})  # fmt: skip


@st.composite
def pings_of_a_client(draw):
    """A few pings, several of which may say the same."""
    sayings = st.sampled_from(draw(st.lists(saying, min_size=1, max_size=3)))
    pings = draw(st.lists(st.tuples(st.integers(0, 2), sayings), min_size=1, max_size=6))
    return [{"second": second} | said for second, said in pings]


@batches
@given(clients=batch_of(pings_of_a_client(), 60), chance=st.randoms(use_true_random=False))
def test_a_clients_day_of_any_pings(warehouse_home, clients, chance):
    project = Project(warehouse_home, f"dbt_{uuid.uuid4().hex[:12]}")
    for client, pings in enumerate(clients):
        for ping, n in zip(pings, chance.sample(range(100), len(pings)), strict=True):
            # Of pings received in the same second, the document_id says which is last.
            ping |= {"client_id": str(client), "document_id": f"{client}-{n:02}", "subdivision2": None}
    project.load("main", [main_ping(FIRST, **ping) for pings in clients for ping in pings])
    project.build("clients_daily_v1", FIRST)
    found = {row["client_id"]: row for row in project.rows("clients_daily_v1")}
    assert found.keys() == {str(client) for client in range(len(clients))}
    wrong = []
    for client, pings in enumerate(clients):
        pings.sort(key=lambda ping: (ping["second"], ping["document_id"]))
        expected = {name: plain.mode_last([p[name] for p in pings]) for name in ("os", "is_default_browser")}
        expected |= plain.place(pings) | {"experiments": plain.experiments([p["experiments"] for p in pings])}
        if (row := {name: found[str(client)][name] for name in expected}) != expected:
            wrong.append((pings, row, expected))
    assert smallest(wrong) == []


# --- Bits

MASK = 2**28 - 1
# Any pattern, and those around the ends.
patterns = st.integers(0, MASK) | st.sampled_from([0, 1, 1 << 27, MASK, MASK - 1, 1 << 26])


@st.composite
def readings(draw):
    """(bits, previous bits, start_offset, n_bits): a range that the pattern has."""
    age = draw(st.integers(0, 27))
    return draw(patterns), draw(patterns), -age, draw(st.integers(1, age + 1))


def newest_first(bits: int) -> list[int]:
    """How many days ago each day is that is set."""
    return [age for age in range(28) if bits >> age & 1]


@batches
@given(batch=batch_of(readings(), 200))
def test_functions_on_any_bits(warehouse, prepared_home, batch):
    rows = (f"STRUCT({n} AS nth, {b} AS b, {p} AS p, {s} AS s, {k} AS k)" for n, (b, p, s, k) in enumerate(batch))
    found = warehouse.rows(
        "SELECT udf.bits28_to_string(b) AS text, udf.bits28_from_string(udf.bits28_to_string(b)) AS back,"
        f" udf.bits28_to_dates(b, DATE '{FIRST}') AS dates, udf.bits28_days_since_seen(b) AS days_since,"
        " udf.bits28_range(b, s, k) AS part, udf.bits28_active_in_range(b, s, k) AS is_active,"
        " udf.shift_28_bits_one_day(p) AS shifted, udf.combine_adjacent_days_28_bits(p, b) AS combined,"
        f" TO_JSON_STRING(udf.bits28_retention(b, DATE '{FIRST}')) AS retention"
        f" FROM UNNEST([{', '.join(rows)}]) ORDER BY nth"
    )
    wrong = []
    for each, row in zip(batch, found, strict=True):
        bits, previous, start, n = each
        days = [FIRST - timedelta(days=age) for age in newest_first(bits)]
        yesterday = [FIRST - timedelta(days=age + 1) for age in newest_first(previous)]
        text = "".join("1" if age in newest_first(bits) else "0" for age in reversed(range(28)))
        part = text[27 + start : 27 + start + n]
        expected = {
            "text": text,
            "back": bits,
            "dates": sorted(days),
            "days_since": (FIRST - max(days)).days if days else None,
            "part": int(part, 2),
            "is_active": "1" in part,
            "shifted": plain.bits(yesterday, FIRST),
            "combined": plain.bits(yesterday + days, FIRST),
            "retention": retention(set(newest_first(bits))),
        }
        row["retention"] = json.loads(row["retention"])
        if row != expected:
            wrong.append((each, row, expected))
    assert smallest(wrong) == []


def retention(active: set[int]) -> dict:
    """The record of bits28_retention of a client that was active so many days ago."""
    found = {}
    for age in (6, 13, 20, 27):
        found[f"day_{age}"] = {
            "metric_date": str(FIRST - timedelta(days=age)),
            "active_on_metric_date": age in active,
            "active_in_week_0_after_metric_date": bool(active & set(range(age - 6, age))),
        } | {
            f"active_in_week_{week}": bool(active & set(range(age - 7 * week - 6, age - 7 * week + 1)))
            for week in range(age // 7 + 1)
        }
    return found


# --- A range is its parts

SPAN = 60
# Days between a client's visits: the ends of the window, of a week, and of the six days that a profile's age may have.
GAPS = st.sampled_from([1, 1, 2, 5, 6, 7, 8, 20, 26, 27, 28, 29, 35])
said = st.fixed_dictionaries({
    "os": st.sampled_from([None, "a", "b"]),
    "age": st.sampled_from([None, -1, 0, 1, 5, 6, 7]),
    "active_ticks_sum": st.sampled_from([None, 0, 1, 8]),
    "uri_count_sum": st.sampled_from([None, 0, 1, 5, 10]),
    "duration_sum": st.sampled_from([None, 0, 1]),
    "devtools_opened_sum": st.sampled_from([None, 0, 1]),
    "reports_uris": st.booleans(),
    "experiments": st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]), max_size=2),
})  # fmt: skip
visits = st.lists(st.tuples(GAPS, said), min_size=1, max_size=8)
# Where a range is cut into parts: nights alone, and stretches of up to the whole.
cuts = st.sets(st.integers(1, SPAN - 1), min_size=2, max_size=4)


def clients_daily(clients: list) -> dict[tuple, dict]:
    found = {}
    for client, visits in enumerate(clients):
        day = FIRST - timedelta(days=1)
        for gap, said in visits:
            day += timedelta(days=gap)
            key = (day, "Firefox", f"c{client}")
            row = dict(zip(("submission_date", "app_name", "client_id"), key, strict=True)) | {"sample_id": client}
            row |= dict.fromkeys((*plain.DIMENSIONS, *plain.PLACES)) | said
            row["profile_age_in_days"] = age = row.pop("age")
            row["profile_creation_date"] = None if age is None else day - timedelta(days=age)
            row["experiments"] = [{"key": k, "value": v} for k, v in sorted(said["experiments"].items())]
            found[key] = row
    return found


@batches
@given(clients=batch_of(visits, 30), cuts=cuts)
def test_last_seen_in_any_parts(warehouse_home, clients, cuts):
    project = Project(warehouse_home, f"dbt_{uuid.uuid4().hex[:12]}")
    daily = clients_daily(clients)
    project.load("clients_daily_v1", daily.values())
    last = FIRST + timedelta(days=SPAN - 1)
    project.build("clients_last_seen_v1", FIRST, last)
    in_one = project.rows("clients_last_seen_v1")

    # The rows of clients_daily_v1 after the range are not there for plain Python either.
    expected = plain.clients_last_seen({key: row for key, row in daily.items() if key[0] <= last}, FIRST, last)
    found = {(row["submission_date"], row["app_name"], row["client_id"]): row for row in in_one}
    assert smallest([(key, found.get(key), row) for key, row in expected.items() if found.get(key) != row]) == []
    assert len(in_one) == len(expected)

    project.empty("clients_last_seen_v1")
    bounds = [0, *sorted(cuts), SPAN]
    for start, end in pairwise(bounds):
        project.build("clients_last_seen_v1", FIRST + timedelta(days=start), FIRST + timedelta(days=end - 1))
    assert project.rows("clients_last_seen_v1") == in_one, cuts
