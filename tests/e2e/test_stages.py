"""A stage that is cut short, that meets another writer, or that could not be complete."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import backfill, lineage, night, plan, refusals, runs, stages
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.landing import land
from telemetry_warehouse.publishing import publish
from tests.e2e.test_reruns import DAYS, a_ping
from tests.support import Point, begin, checksum, checksums, load_rows, sent, succeed, wait_for_jobs

LAST = DAYS[1]


def step(chain, table: str) -> lineage.Step:
    return lineage.load(chain.settings).step(table)


def refuse(chain, table: str, start: date, end: date) -> None:
    wanted = step(chain, table)
    refusals.refuse_bad_range(chain, wanted, start, end, runs.published_around(chain, [(wanted, start, end)]))


@pytest.mark.parametrize("table", ["telemetry_stable.main_v4", "derived.clients_last_seen_v1"])
def test_a_stage_killed_half_way_changes_nothing_and_can_be_run_again(chain, simulated, table):
    of_days = f"{stages.definition(chain, step(chain, table)).day} BETWEEN '{DAYS[0]}' AND '{DAYS[1]}'"
    before, all_before = checksum(chain, table, of_days), checksums(chain, *DAYS)
    arguments = ["backfill", str(LAST), str(LAST), "--select", table]
    candidate = f"{table.split('.')[1]}__{LAST:%Y%m%d}_"
    for point in (
        sent(candidate),  # the build
        Point("telemetry_warehouse.stages:judge"),
        sent(candidate, nth=2),  # the gate
        Point("telemetry_warehouse.stages:publish"),
        sent("BEGIN TRANSACTION"),
    ):
        begin(chain.settings, *arguments, stop_at=point).kill_at_its_point()
        wait_for_jobs(chain)
        assert checksum(chain, table, of_days) == before, point
    # BigQuery has ended the last transaction by itself: the backfill goes on after it, and the next one begins anew.
    succeed(chain.settings, *arguments)
    published = Point("telemetry_warehouse.stages:publish", after=True)
    begin(chain.settings, *arguments, stop_at=published).kill_at_its_point()
    assert checksum(chain, table, of_days) == before
    succeed(chain.settings, *arguments)
    assert checksums(chain, *DAYS) == all_before


def test_a_ping_that_lands_while_its_day_is_judged_fails_no_gate_and_makes_the_day_stale(chain, simulated, monkeypatch):
    day = date(2024, 5, 20)
    stable = step(chain, "telemetry_stable.main_v4")
    stages.run(chain, stable, day, day, "first", print)
    judge = stages.judge

    def land_then_judge(warehouse, table, *arguments):
        if table.id == stable.table:
            publish(chain.settings, [a_ping(simulated.truth, day, 0xB1, f"{day}T12:00:00Z")])
            assert land(chain, until_empty=True).landed == 1
        return judge(warehouse, table, *arguments)

    monkeypatch.setattr(stages, "judge", land_then_judge)
    assert stages.run(chain, stable, day, day, "racing", print).rows == 0
    monkeypatch.undo()
    assert night.stale_days(chain, day + timedelta(days=1)) == [day]
    assert stages.run(chain, stable, day, day, "again", print).rows == 1
    assert night.stale_days(chain, day + timedelta(days=1)) == []


def test_a_stage_asks_once_what_was_published(chain, simulated):
    began = datetime.now(UTC)
    stages.run(chain, step(chain, "clients_last_seen_v1"), LAST, LAST, "asks once", print)
    jobs = chain.client.list_jobs(min_creation_time=began)
    asked = [job.query for job in jobs if job.job_type == "query" and "FROM monitoring.pipeline_runs" in job.query]
    # The token that it leaves, which is larger than any before, is another question.
    assert len([query for query in asked if "monitoring.publish_tokens" not in query]) == 1


def test_a_table_that_goes_on_from_a_day_never_built_is_refused_with_what_to_run(chain, simulated):
    gap = LAST + timedelta(days=20)
    with pytest.raises(Refused, match=rf"not built; run `./warehouse backfill .* {gap - timedelta(days=1)}` first"):
        refuse(chain, "clients_last_seen_v1", gap, gap)


def test_a_gap_begins_after_what_is_old_enough_to_be_carried_no_further(chain, simulated):
    """Of clients_last_seen_v1 a day matters for 27 more: what lies before those needs no yesterday."""
    built, now = date(2025, 9, 1), datetime.now(UTC)
    row = {"table_name": "derived.clients_daily_v1", "status": "published", "start_date": built, "end_date": built}
    times = {"started_date": now.date(), "started_at": now, "ended_at": now}
    load_rows(chain, "monitoring.pipeline_runs", [row | times])
    try:
        for days_later, gap in ((28, True), (29, False)):
            day = built + timedelta(days=days_later)
            with pytest.raises(Refused) as refused:
                refuse(chain, "clients_last_seen_v1", day, day)
            assert (f"continues from {day - timedelta(days=1)}, and its days {built}.." in str(refused.value)) == gap
    finally:
        chain.query(f"DELETE FROM monitoring.pipeline_runs WHERE start_date = '{built}'")


def test_a_table_whose_input_was_never_built_is_refused_with_what_to_run(chain, simulated):
    start, end = date(2024, 4, 20), date(2024, 4, 22)
    said = "reads derived.clients_daily_v1, which was never built for 2024-04-20..2024-04-22; run `./warehouse backfill"
    with pytest.raises(Refused, match=re.escape(said)):
        refuse(chain, "clients_first_seen_v1", start, end)


def test_days_before_every_ping_of_what_a_table_is_made_of_count_as_built_and_empty(chain, simulated):
    refuse(chain, "clients_first_seen_v1", date(2024, 2, 28), date(2024, 3, 2))
    refuse(chain, "clients_last_seen_v1", date(2024, 3, 1), date(2024, 3, 1))


def test_a_backfill_that_could_not_be_complete_is_refused_before_anything_is_built(chain, simulated):
    [before] = chain.rows("SELECT COUNT(*) AS n FROM monitoring.pipeline_runs")
    with pytest.raises(Refused, match="telemetry_stable.main_v4, which was never built for 2024-04-20..2024-04-22"):
        planned = plan.make(chain, date(2024, 4, 20), date(2024, 4, 22), "clients_daily_v1+")
        backfill.run(chain, planned, "unready", print)
    [after] = chain.rows("SELECT COUNT(*) AS n FROM monitoring.pipeline_runs")
    assert before == after
