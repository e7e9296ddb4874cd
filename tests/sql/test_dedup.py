"""sql/dedup.sql against a plain reading of the rule, and its gate."""

import random
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import dedup
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.files import read_yaml
from telemetry_warehouse.lineage import LOOK_BACK_DAYS
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.tables import Table
from tests.support import load_rows

FIRST = date(2026, 3, 1)
COLUMNS = (
    "document_id STRING, submission_timestamp TIMESTAMP, n INT64, additional_properties JSON,"
    " metadata STRUCT<header STRUCT<x_source_tags STRING>>"
)
TAGS = [None, None, "", "perf", "automation", "perf, automation ", "automations", "Automation"]


@pytest.fixture(scope="module")
def warehouse(warehouse_home) -> Warehouse:
    return Warehouse(warehouse_home)


@pytest.fixture
def live(warehouse) -> str:
    dataset = f"dedup_{uuid.uuid4().hex[:12]}"
    warehouse.ensure_dataset(dataset)
    warehouse.query(
        f"CREATE TABLE {dataset}.live ({COLUMNS}) PARTITION BY DATE(submission_timestamp)"
        " OPTIONS (require_partition_filter = TRUE)"
    )
    return f"{dataset}.live"


def message(day: int, document_id: str, n: int = 0, second: int = 0, tags: str | None = None) -> dict:
    return {
        "document_id": document_id,
        "submission_timestamp": f"{FIRST + timedelta(days=day)}T00:00:{second:02}Z",
        "n": n,
        "additional_properties": {"n": n},
        "metadata": {"header": {"x_source_tags": tags}},
    }


def kept(warehouse, live: str, start: int, end: int, look_back: int = 2, slices: int = 1) -> list[tuple]:
    """(day, document_id, n) of the documents of days start..end, in order."""
    first, last = FIRST + timedelta(days=start), FIRST + timedelta(days=end)
    rows = [row for select in dedup.selects(live, first, last, slices, look_back) for row in warehouse.rows(select)]
    return sorted(((r["submission_timestamp"].date() - FIRST).days, r["document_id"], r["n"]) for r in rows)


def expected(messages: list[dict], start: int, end: int, look_back: int = 2) -> list[tuple]:
    """(day, document_id, second) of the documents kept: ties are the hash's to decide."""
    candidates = [
        ((date.fromisoformat(m["submission_timestamp"][:10]) - FIRST).days, m["document_id"], m["submission_timestamp"])
        for m in messages
        if "automation" not in [t.strip() for t in (m["metadata"]["header"]["x_source_tags"] or "").split(",")]
    ]
    result = []
    for day in range(start, end + 1):
        before = {i for d, i, _ in candidates if day - look_back <= d < day}
        for document in {i for d, i, _ in candidates if d == day} - before:
            result.append((day, document, min(t for d, i, t in candidates if (d, i) == (day, document))))
    return sorted(result)


def test_random_messages_equal_the_rule_for_days_ranges_and_look_backs(warehouse, live):
    chance = random.Random(8)
    messages = [
        message(chance.randrange(9), f"d{chance.randrange(60)}", n, chance.randrange(50), chance.choice(TAGS))
        for n in range(400)
    ]
    load_rows(warehouse, live, messages)
    times = {m["n"]: m["submission_timestamp"] for m in messages}
    for start, end, look_back in ((2, 8, 2), (5, 5, 2), (4, 6, 0), (4, 8, 4)):
        found = kept(warehouse, live, start, end, look_back)
        assert [(day, document, times[n]) for day, document, n in found] == expected(messages, start, end, look_back)


def test_ties_are_broken_the_same_way_in_any_order_of_landing(warehouse, live):
    messages = [message(0, f"d{n % 5}", n) for n in range(20)]
    load_rows(warehouse, live, messages)
    first = kept(warehouse, live, 0, 0)
    warehouse.query(f"DELETE FROM {live} WHERE DATE(submission_timestamp) = '{FIRST}'")
    load_rows(warehouse, live, reversed(messages))
    assert kept(warehouse, live, 0, 0) == first
    assert len(first) == 5


def test_slices_never_show_in_the_result_and_share_the_work(warehouse, live):
    chance = random.Random(9)
    messages = [message(chance.randrange(4), f"d{chance.randrange(80)}", n, chance.randrange(3)) for n in range(300)]
    load_rows(warehouse, live, messages)
    whole = kept(warehouse, live, 1, 3)
    for slices in (2, 5):
        assert kept(warehouse, live, 1, 3, slices=slices) == whole
    last = FIRST + timedelta(days=3)
    sizes = [len(warehouse.rows(select)) for select in dedup.selects(live, FIRST, last, 5)]
    assert sum(sizes) == len(kept(warehouse, live, 0, 3)) and all(0 < size < sum(sizes) / 2 for size in sizes)


def test_monitoring_says_how_far_apart_duplicates_are(warehouse, live):
    messages = [
        *(message(20, "a"), message(20, "a", 1), message(20, "a", 2)),  # two beside the first
        *(message(17, "b"), message(19, "b"), message(20, "b")),  # again after 2 days, and after 1
        *(message(6, "c"), message(20, "c")),  # after 14
        *(message(5, "d"), message(20, "d")),  # after 15, which nobody looks for
        *(message(20, "e"), message(19, "e", tags="automation")),
        *(message(21, "f"), message(20, "f")),  # the day after the range is not looked at
    ]
    load_rows(warehouse, live, messages)
    dataset, name = live.split(".")
    table = Table(dataset, name, (), retention_days=None)
    first, last = FIRST + timedelta(days=19), FIRST + timedelta(days=20)
    for slices in (1, 3):
        sliced = Warehouse(replace(warehouse.settings, dedup_slices=slices))
        dedup.record_distances(sliced, table, table, first, last)
    rows = warehouse.rows(f"SELECT * FROM monitoring.duplicates WHERE table_name = '{live}'")
    for counted_at in {row["counted_at"] for row in rows}:
        counted = [row for row in rows if row["counted_at"] == counted_at]
        assert len(counted) == 2 * 15
        found = {(r["submission_date"], r["distance_days"]): r["messages"] for r in counted if r["messages"]}
        assert found == {(first, 2): 1, (last, 0): 2, (last, 1): 1, (last, 14): 1}
    assert len(rows) == 2 * 2 * 15


def test_days_whose_past_has_expired_are_not_counted_again(warehouse, live):
    dataset, name = live.split(".")
    table, yesterday = Table(dataset, name, (), retention_days=20), datetime.now(UTC).date() - timedelta(days=1)
    dedup.record_distances(warehouse, table, table, yesterday - timedelta(days=30), yesterday)
    rows = warehouse.rows(f"SELECT DISTINCT submission_date FROM monitoring.duplicates WHERE table_name = '{live}'")
    assert len(rows) == 20 - 14 - 1


def test_what_the_gate_reads_is_there_also_where_nothing_can_be_counted(warehouse, live):
    dataset, name = live.split(".")
    table, yesterday = Table(dataset, name, (), retention_days=3), datetime.now(UTC).date() - timedelta(days=1)
    warehouse.drop("monitoring.duplicates")
    dedup.record_distances(warehouse, table, table, yesterday - timedelta(days=7), yesterday)
    assert warehouse.exists("monitoring.duplicates")


def test_a_message_landed_twice_is_one_document(warehouse, live):
    load_rows(warehouse, live, [message(0, "d", 1)] * 3)
    assert kept(warehouse, live, 0, 0) == [(0, "d", 1)]


def violations(warehouse, live: str, candidate: str, day: int) -> set[str]:
    """The names of the gate's own queries that find something."""
    found = set()
    for expectation in read_yaml(ROOT / "sql" / "dedup.yml")["expectations"]:
        names = {"candidate": candidate, "live": live, "start_date": FIRST + timedelta(days=day)}
        query = expectation.get("query", "SELECT 1 FROM UNNEST([]) AS x")
        for name, value in (names | {"end_date": names["start_date"]}).items():
            query = query.replace("{" + name + "}", str(value))
        if warehouse.rows(query):
            found.add(expectation["name"])
    return found


def test_the_gate_sees_what_dedup_must_not_do(warehouse, live):
    assert LOOK_BACK_DAYS == 2, "sql/dedup.yml names the look-back"
    messages = [message(0, "old"), message(2, "old"), message(2, "a"), message(2, "b"), message(2, "b")]
    load_rows(warehouse, live, messages)
    wrong = {
        "document_id IN ('a', 'b')": {"one_row_per_document_and_day"},
        "document_id IN ('a', 'b', 'old') AND submission_timestamp >= '2026-03-03'": {
            "one_row_per_document_and_day",
            "documents_as_in_live",
        },
        "document_id = 'a'": {"documents_as_in_live"},
        "document_id = 'a' OR submission_timestamp < '2026-03-03'": {
            "one_row_per_document_and_day",
            "documents_as_in_live",
        },
    }
    for n, (condition, names) in enumerate(wrong.items()):
        candidate = f"{live}_candidate{n}"
        warehouse.query(
            f"CREATE TABLE {candidate} AS SELECT * FROM {live}"
            f" WHERE DATE(submission_timestamp) >= '2026-01-01' AND ({condition})"
        )
        assert violations(warehouse, live, candidate, day=2) == names, condition
    day = FIRST + timedelta(days=2)
    [right] = dedup.selects(live, day, day)
    warehouse.query(f"CREATE TABLE {live}_right AS {right}")
    assert violations(warehouse, live, f"{live}_right", day=2) == set()
