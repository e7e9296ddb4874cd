"""The simulated population: repeatable, true to what it says is true, and as varied as real traffic."""

import csv
import gzip
import json
import tempfile
from collections import Counter, defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_warehouse.simulate.clients import Population
from telemetry_warehouse.simulate.population import messages, simulate
from telemetry_warehouse.simulate.transmission import MALFORMED
from tests.simulate import reading

FIRST_DAY = date(2026, 3, 2)  # a Monday
RUN = {"clients": 300, "first_day": FIRST_DAY, "days": 21, "seed": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    return folder, simulate(folder, **RUN)


@pytest.fixture(scope="module")
def received(run) -> list[reading.Message]:
    return reading.read_lines(run[0] / "messages.ndjson")


def _csv(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Repeatable


def test_the_same_seed_gives_the_same_bytes(run, tmp_path):
    simulate(tmp_path, **RUN)
    first = _files(run[0])
    assert first == _files(tmp_path)
    assert sorted(first) == ["messages.ndjson", "truth/documents.ndjson", "truth/errors.csv", "truth/messages.csv",
                             "truth/planted.csv", "truth/usage.csv"]  # fmt: skip


def test_another_seed_gives_other_messages(run):
    of_seed = {seed: [data for data, _ in messages(**RUN | {"seed": seed, "days": 2})] for seed in (7, 8)}
    assert not set(of_seed[7]) & set(of_seed[8]) - {b""}  # a message broken to nothing is the same in both


def test_the_iterator_gives_the_messages_of_the_file(received):
    assert list(messages(**RUN)) == [(m.data, m.attributes) for m in received]


def test_a_longer_run_begins_like_a_shorter_one(received):
    shorter = list(messages(**RUN | {"days": 9}))
    assert shorter == [(m.data, m.attributes) for m in received[: len(shorter)]]


# True


def _assert_true(folder: Path, truth, received: list[reading.Message]) -> None:
    kept = reading.documents(received)
    written = {(row["submission_date"], row["document_id"]): row["client_id"] for row in truth.documents()}
    assert written == kept

    told = Counter()
    for row in _csv(folder / "truth/errors.csv"):
        told[row["submission_date"], row["error_type"]] += int(row["messages"])
        assert MALFORMED[row["kind"]].step == row["error_type"]
    assert told == reading.errors(received)

    for row in _csv(folder / "truth/usage.csv"):
        day = row["submission_date"]
        counted = [reading.users(kept, day, window) for window in (1, 7, 28)]
        assert [int(row["dau"]), int(row["wau"]), int(row["mau"])] == counted, day

    per_day = defaultdict(Counter)
    for message in received:
        per_day[message.day.isoformat()][message.verdict] += 1
    rows = _csv(folder / "truth/messages.csv")
    for row in rows:
        day, verdicts = row["submission_date"], per_day[row["submission_date"]]
        documents = sum(day == kept_day for kept_day, _ in kept)
        assert row == {
            "submission_date": day,
            "received": str(verdicts.total()),
            "malformed": str(verdicts.total() - verdicts["good"] - verdicts["automation"]),
            "landed": str(verdicts["good"] + verdicts["automation"]),
            "automation": str(verdicts["automation"]),
            "duplicates": str(verdicts["good"] - documents),
            "documents": str(documents),
        }
    assert truth.totals["received"] == len(received)


def test_the_truth_is_what_a_second_reading_finds(run, received):
    _assert_true(*run, received)


@settings(max_examples=15, deadline=None)
@given(
    clients=st.integers(0, 40),
    days=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    first=st.dates(date(1990, 1, 1), date(2150, 1, 1)),
)
def test_the_truth_holds_for_any_population(clients, days, seed, first):
    with tempfile.TemporaryDirectory() as folder:
        truth = simulate(Path(folder), clients=clients, first_day=first, days=days, seed=seed)
        _assert_true(Path(folder), truth, reading.read_lines(Path(folder) / "messages.ndjson"))
        assert [row["submission_date"] for row in truth.messages] == [
            (first + timedelta(days=n)).isoformat() for n in range(days)
        ]


def test_what_was_planted_is_written_down(run):
    rows = _csv(run[0] / "truth/planted.csv")
    assert {row["probe"] for row in rows} == {change.probe for change in run[1].planted}
    assert {row["kind"] for row in rows} == {"shift", "new mode", "spike", "gradual", "tiny"}


# In order of receipt


def test_messages_come_in_order_of_receipt_and_within_the_days(received):
    times = [m.attributes["submission_timestamp"] for m in received]
    assert times == sorted(times)
    assert {m.day for m in received} == {FIRST_DAY + timedelta(days=n) for n in range(RUN["days"])}


def test_some_are_received_in_the_first_and_in_the_last_microsecond_of_a_day(received):
    clocks = Counter(m.attributes["submission_timestamp"][10:] for m in received)
    assert clocks["T23:59:59.999999Z"] > 5 and clocks["T00:00:00.000000Z"] > 1


# As varied as real traffic


def test_every_kind_of_malformed_message_is_sent_and_refused_where_it_says(run, received):
    sent = Counter()
    for row in run[1].errors:
        sent[row["kind"]] += row["messages"]
    assert sent.keys() == MALFORMED.keys()
    assert {m.verdict for m in received} == {"good", "automation", "decompress", "parse", "uri", "schema"}


@pytest.mark.parametrize("kind", MALFORMED)
def test_each_way_to_break_a_message_is_refused_by_its_step(received, kind):
    step, break_message, plain = MALFORMED[kind]
    for good in [m for m in received if m.verdict == "good" and m.data[:1] == b"{"][:1000]:
        broken = reading.read(*break_message(good.data, good.attributes))
        assert broken.verdict == step
        assert plain == isinstance(broken.document, dict)


def test_duplicates_come_at_every_distance(received):
    times = defaultdict(list)
    for m in received:
        if m.verdict == "good":
            times[m.document_id].append(m)
    distances = Counter()
    for copies in times.values():
        for earlier, later in zip(copies, copies[1:], strict=False):
            same = earlier.attributes["submission_timestamp"] == later.attributes["submission_timestamp"]
            distances["same instant" if same else (later.day - earlier.day).days] += 1
            assert earlier.data == later.data
    assert min(distances[d] for d in ("same instant", 0, 1, 2, 3)) > 0
    assert max(d for d in distances if d != "same instant") <= 6


def test_a_document_sent_as_automation_may_come_again_as_itself(received):
    automated = {m.document_id for m in received if m.verdict == "automation"}
    assert automated & {m.document_id for m in received if m.verdict == "good"}
    assert any(m.attributes.get("x_source_tags") == "automation-free" for m in received if m.verdict == "good")


def test_ids_are_unique_however_they_are_written(received):
    good = [m for m in received if m.verdict == "good"]
    assert any(m.attributes["uri"] != m.attributes["uri"].lower() and m.document["clientId"].isupper() for m in good)
    clients = defaultdict(set)
    for m in good:
        clients[m.document_id].add(m.client_id)
        assert m.document["id"].lower() == m.document_id
    assert all(len(owners) == 1 for owners in clients.values())


def test_some_are_compressed(received):
    compressed = [m for m in received if m.verdict == "good" and m.data[:2] == b"\x1f\x8b"]
    assert compressed and all(json.loads(gzip.decompress(m.data)) == m.document for m in compressed)


def test_some_were_made_long_before_they_arrived(received):
    ages = Counter((m.day - date.fromisoformat(m.document["creationDate"][:10])).days for m in received if m.document)
    assert ages[0] > 0.9 * ages.total() and all(ages[days] for days in range(2, 10))
    assert ages[3650] or ages[-400]  # clocks that are years off


def test_values_that_trip_the_careless_are_there(received):
    good = [m.document for m in received if m.verdict == "good"]
    profiles = [d["environment"]["profile"].get("creationDate") for d in good]
    assert {None, -1, 40_000, 10_000_000} <= set(profiles)
    assert any(d["payload"]["info"]["subsessionLength"] is None for d in good)
    scalars = [d["payload"]["processes"]["parent"]["scalars"] for d in good]
    assert any("browser.engagement.active_ticks" not in s for s in scalars)
    assert any(s.get("browser.engagement.active_ticks") == 0 for s in scalars)
    assert {d["environment"]["settings"]["isDefaultBrowser"] for d in good} == {True, False, None}
    assert {m.attributes["geo_country"] for m in received} >= {"US", "BR", "??"}
    assert any(sum(h["values"].values()) == 0 for d in good for h in d["payload"]["histograms"].values())


def test_a_session_is_counted_up(received):
    first_receipts = {m.document_id: m for m in reversed(received) if m.document_id}
    counters = defaultdict(list)
    for m in received:
        if first_receipts.get(m.document_id) is m:
            info = m.document["payload"]["info"]
            counters[info["sessionId"]].append(info["subsessionCounter"])
    assert max(map(len, counters.values())) > 3
    assert all(a < b for c in counters.values() for a, b in zip(c, c[1:], strict=False))


def test_builds_roll_out_and_experiments_start_and_end(received):
    builds, experiments = defaultdict(set), defaultdict(set)
    for m in received:
        if m.verdict == "good":
            application = m.document["application"]
            builds[application["channel"]].add(application["buildId"])
            for name, experiment in m.document["environment"]["experiments"].items():
                experiments[name, experiment["branch"]].add((m.day - FIRST_DAY).days)
    assert len(builds["nightly"]) > 15 > len(builds["beta"]) > len(builds["release"]) > 1
    assert min(experiments["faster-first-paint", "lazy"]) == 8 and max(experiments["faster-first-paint", "lazy"]) == 20
    assert min(experiments["tab-groups-rollout", "control"]) == 0


# A population


def _clients_by_day(first_day: date, days: int, clients: int, seed: int) -> list[int]:
    population = Population(clients, first_day, seed)
    return [len(np.unique(population.step().who)) for _ in range(days)]


def test_weekends_are_quieter_and_the_population_grows():
    active = _clients_by_day(FIRST_DAY, 56, 2_000, seed=3)
    weekdays = [n for i, n in enumerate(active) if i % 7 < 5]
    weekends = [n for i, n in enumerate(active) if i % 7 >= 5]
    assert max(weekends[:4]) < 0.85 * min(weekdays[:10])
    assert np.mean(weekdays[-10:]) > 1.1 * np.mean(weekdays[:10])


def test_the_table_of_clients_does_not_grow_with_the_days():
    population = Population(500, FIRST_DAY, seed=3)
    sizes = [len(population.step().clients["born"]) for _ in range(500)]
    assert max(sizes) < 2 * 500
    assert np.mean(sizes[-50:]) < 1.15 * np.mean(sizes[300:350])


def test_clients_come_and_leave(run, received):
    seen = defaultdict(set)
    for m in received:
        if m.verdict == "good":
            seen[m.day].add(m.client_id)
    days = sorted(seen)
    before = set().union(*(seen[d] for d in days[:7]))
    after = set().union(*(seen[d] for d in days[-7:]))
    assert len(before - after) > 20 and len(after - before) > 20
