"""Backfills in chunks, in any order, cut short, and beside a night: always the bytes that were there before."""

import re
from dataclasses import replace
from datetime import date, timedelta

import pytest

from telemetry_warehouse import backfill, digest, lineage, night, plan, resume, stages
from telemetry_warehouse.errors import NotAllBuilt
from telemetry_warehouse.estimate import estimate
from telemetry_warehouse.forecast import forecast
from telemetry_warehouse.landing import land
from telemetry_warehouse.publishing import publish
from tests.conftest import environment_of
from tests.e2e import walk
from tests.e2e.test_reruns import DAYS, a_ping
from tests.support import Command, Point, begin, checksums, command, sent, succeed, wait_for_jobs

LAST = DAYS[1]
USE = "clients_last_seen_v1+"
SEED = "9"


def quiet(line: str) -> None:
    pass


def published(chain, run: str) -> list[dict]:
    return chain.rows(
        "SELECT table_name, start_date, end_date, started_at, ended_at FROM monitoring.pipeline_runs"
        " WHERE status = 'published' AND run LIKE @run ORDER BY started_at",
        {"run": run},
    )


def test_ranges_chunks_and_nights_in_any_order_give_the_same_bytes(chain, simulated):
    process = Command(walk.main, [SEED, *map(str, DAYS)], environment_of(chain.settings))
    out, err = process.communicate()
    assert process.returncode == 0, out[-3000:] + err[-2000:]


def test_a_backfill_killed_anywhere_goes_on_and_builds_nothing_twice(chain, simulated):
    before, first = checksums(chain, *DAYS), LAST - timedelta(days=2)
    arguments = ["backfill", first, LAST, "--select", USE]
    run, whole = f"backfill-{first}-{LAST}-%", plan.make(chain, first, LAST, USE)
    for point in (
        Point("telemetry_warehouse.stages:run", nth=2),  # between the first chunk and the second
        sent("_v1__20"),  # a build
        sent("_v1__20", nth=2),  # a gate
        sent("BEGIN TRANSACTION", nth=2),
        Point("telemetry_warehouse.stages:publish", nth=2, after=True),
    ):
        begin(chain.settings, *arguments, stop_at=point, WAREHOUSE_BACKFILL_DAYS=2).kill_at_its_point()
        wait_for_jobs(chain)
    process = begin(chain.settings, *arguments, WAREHOUSE_BACKFILL_DAYS=2)
    out, err = process.communicate()
    assert process.returncode == 0, err
    [line] = [line for line in out.splitlines() if line.startswith("this goes on with the backfill begun at")]
    assert f"derived.clients_last_seen_v1 {first}..{first + timedelta(days=1)}" in line
    chunks = [(row["table_name"], row["start_date"]) for row in published(chain, run)]
    planned = [(one.step.table, start) for one in whole.tables for start, _ in one.chunks(2)]
    assert sorted(chunks) == sorted(planned)
    assert checksums(chain, *DAYS) == before


@pytest.fixture
def cut_short(chain, simulated):
    """A backfill of a day that has published its table and did not live to say that it has ended."""
    planned = plan.make(chain, LAST, LAST, "change_scores_v1")
    resume.begin(chain, planned, "cut short")
    [one] = planned.tables
    stages.run(chain, one.step, one.start, one.end, "cut short", quiet)
    yield planned
    resume.end(chain, planned, "cut short")


def test_what_was_published_stands_until_an_input_or_the_code_changes(chain, cut_short):
    [one] = cut_short.tables
    assert resume.begin(chain, cut_short, "again").published == {(one.step.table, LAST, one.end)}
    changed = replace(cut_short, tables=(replace(one, step=replace(one.step, code="another")),))
    assert resume.begin(chain, changed, "again").published == frozenset()
    succeed(chain.settings, "backfill", LAST, LAST, "--select", "distributions_v1")
    assert resume.begin(chain, cut_short, "again").published == frozenset()


def test_a_backfill_that_ended_is_built_anew_when_asked_for_again(chain, cut_short):
    resume.end(chain, cut_short, "again")
    begun = resume.begin(chain, cut_short, "again")
    assert not begun.resumed and begun.published == frozenset()


def test_pings_that_land_meanwhile_are_deduplicated_again(chain, simulated):
    day = date(2024, 9, 10)
    planned = plan.make(chain, day, day, "telemetry_stable.main_v4")
    resume.begin(chain, planned, "first")
    stages.run(chain, planned.tables[0].step, day, day, "first", quiet)
    assert resume.begin(chain, planned, "second").published
    publish(chain.settings, [a_ping(simulated.truth, day, 0xC1, f"{day}T12:00:00Z")])
    assert land(chain, until_empty=True).landed == 1
    assert not resume.begin(chain, planned, "third").published
    resume.end(chain, planned, "third")


def test_a_night_and_a_backfill_at_once_take_turns_on_each_table_and_overlap_on_others(chain, simulated):
    before, first = checksums(chain, *DAYS), LAST - timedelta(days=3)
    within_a_stage = Point("telemetry_warehouse.stages:judge")
    processes = [
        begin(chain.settings, "backfill", first, LAST, "--select", "clients_daily_v1+", stop_at=within_a_stage),
        begin(chain.settings, "night", LAST, stop_at=within_a_stage),
    ]
    for process in processes:
        process.wait_until_stopped()
    for process in processes:
        process.go_on()
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    by_run = [published(chain, f"%-{process.pid}") for process in processes]
    meetings = [
        (one["table_name"], other["table_name"])
        for one in by_run[0]
        for other in by_run[1]
        if one["started_at"] < other["ended_at"] and other["started_at"] < one["ended_at"]
    ]
    assert meetings and not [table for table, other in meetings if table == other]
    assert checksums(chain, *DAYS) == before


def test_a_day_that_a_night_builds_meanwhile_is_built_again_from_what_changed(chain, simulated):
    """The night of the next day continues from a day that the backfill is about to replace."""
    day = LAST - timedelta(days=1)
    before = checksums(chain, *DAYS)
    whole = plan.make(chain, day, day, "change_scores_v1")
    # As planned before the last day was there.
    planned = replace(whole, tables=(replace(whole.tables[0], end=day),))
    backfill.run(chain, planned, "before the night", quiet)
    built = [(row["start_date"], row["end_date"]) for row in published(chain, "before the night")]
    assert built == [(day, day), (LAST, whole.tables[0].end)]
    assert checksums(chain, *DAYS) == before


def test_nights_that_were_missed_are_caught_up_in_one_pass(chain, simulated, monkeypatch):
    """Only deduplication was ever run near these days, so that is what must be caught up."""
    told = []
    monkeypatch.setattr(digest, "tell", lambda warehouse, day, say: told.append(day))
    first, today = date(2024, 7, 1), date(2024, 7, 5)
    stable = lineage.load(chain.settings).step("telemetry_stable.main_v4")
    publish(chain.settings, [a_ping(simulated.truth, date(2024, 7, 3), 0xD1, "2024-07-03T12:00:00Z")])
    assert land(chain, until_empty=True).landed == 1
    stages.run(chain, stable, first, first, "the last night", quiet)
    night.rebuild_earlier_days(chain, today, "caught up", quiet)
    [caught_up] = published(chain, "caught up")
    assert caught_up["table_name"] == stable.table
    assert (caught_up["start_date"], caught_up["end_date"]) == (first + timedelta(days=1), today - timedelta(days=1))
    assert told == [first + timedelta(days=n) for n in (1, 2, 3)]
    night.rebuild_earlier_days(chain, today, "nothing left", quiet)
    assert published(chain, "nothing left") == [] and len(told) == 3


def test_a_missed_night_that_fails_is_told_once_and_caught_up_as_soon_as_it_is_mended(chain, simulated, monkeypatch):
    first, today, said = date(2024, 8, 1), date(2024, 8, 4), []
    stable = lineage.load(chain.settings).step("telemetry_stable.main_v4")
    stages.run(chain, stable, first, first, "the last night", quiet)
    empty = {"name": "never_holds", "query": "SELECT 1 AS one FROM (SELECT COUNT(*) AS n FROM {candidate})"}
    monkeypatch.setattr(
        stages, "definition", lambda *arguments, of=stages.definition: replace(of(*arguments), expectations=(empty,))
    )
    for run in ("stopped", "stopped again"):
        [failed] = night.rebuild_earlier_days(chain, today, run, said.append).failed
        assert failed.startswith(f"{stable.table} 2024-08-02..2024-08-03 failed its gate") and "never_holds" in failed
        assert published(chain, run) == []
    [notice] = [line for line in said if line.startswith("notice: ")]
    assert notice.endswith(f" Run again: ./warehouse night {today}")
    one_day = plan.make(chain, date(2024, 8, 2), date(2024, 8, 2), stable.table)
    with pytest.raises(NotAllBuilt):
        backfill.run(chain, one_day, "stopped too", said.append)
    resume.end(chain, one_day, "stopped too")
    [_, notice] = [line for line in said if line.startswith("notice: ")]
    assert notice.endswith(f" Run again: ./warehouse backfill 2024-08-02 2024-08-02 --select {stable.table}")
    monkeypatch.undo()
    assert night.rebuild_earlier_days(chain, today, "mended", quiet).failed == []
    [mended] = published(chain, "mended")
    assert (mended["table_name"], mended["start_date"], mended["end_date"]) == (
        stable.table, date(2024, 8, 2), date(2024, 8, 3),
    )  # fmt: skip


def test_a_table_last_built_long_ago_begins_anew(chain, simulated):
    night.rebuild_earlier_days(chain, date(2025, 3, 1), "long after", quiet)
    assert published(chain, "long after") == []


def test_a_plan_lists_everything_that_stands_against_it(chain, simulated):
    planned = plan.make(chain, date(2024, 4, 20), date(2024, 4, 22), "clients_daily_v1+")
    for reason in (
        "derived.clients_daily_v1 2024-04-20..2024-04-22 reads telemetry_stable.main_v4, which was never built",
        "derived.clients_last_seen_v1 2024-04-20 continues from 2024-04-19, and its days 2024-04-0",
    ):
        assert any(reason in one for one in planned.refusals)
    # What no ping was landed for needs no building.
    early = plan.make(chain, date(2000, 1, 10), date(2000, 1, 12), "clients_daily_v1+")
    [reason] = early.refusals
    assert "2000-01-10..2000-01-12 lies before every ping that was landed, the first of which is of " in reason
    done = command(chain.settings, "backfill", "2024-04-20", "2999-01-01", "--select", "clients_daily_v1", "--dry-run")
    assert done.returncode == 1
    refused = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    for reason in ("2999-01-01 has not ended yet", "reads telemetry_stable.main_v4, which was never built"):
        assert any(reason in line for line in refused)


def test_days_before_a_types_first_ping_are_noted(chain, simulated):
    planned = plan.make(chain, date(2024, 2, 28), date(2024, 3, 2), "telemetry_stable.main_v4")
    assert planned.refusals == ()
    [note] = planned.notes
    assert "no ping of telemetry/main/4 was landed for a day before 2024-03-01" in note


def test_a_dry_run_says_what_is_read_and_builds_nothing(chain, simulated):
    [before] = chain.rows("SELECT COUNT(*) AS n FROM monitoring.pipeline_runs")
    first = LAST - timedelta(days=4)
    done = command(chain.settings, "backfill", first, LAST - timedelta(days=2), "--select", USE, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert (
        f"derived.clients_last_seen_v1: {first}..{LAST} (5 days); days after {LAST - timedelta(days=2)}" in done.stdout
    )
    reads = f"derived.clients_last_seen_v1 {first - timedelta(days=1)}, derived.clients_daily_v1 {first}..{LAST}: "
    assert reads in done.stdout and "derived.clients_first_seen_v1 (all of it)" in done.stdout
    assert re.search(r"the builds read [\d.]+ kB of what is there now", done.stdout)
    [after] = chain.rows("SELECT COUNT(*) AS n FROM monitoring.pipeline_runs")
    assert before == after


def test_a_forecast_is_near_the_estimate_that_reads_everything(chain, simulated):
    first = LAST - timedelta(days=9)
    steps = [lineage.load(chain.settings).step(name) for name in ("clients_last_seen_v1", "active_users_v1")]
    queries = stages.selects(chain, [(step, first, LAST) for step in steps])
    found = forecast(chain, queries, (first, LAST))
    for table, texts in queries.items():
        exact = sum(estimate(chain, text).bytes for text in texts)
        assert exact / 2 < found[table].bytes < exact * 2
