"""Plans of long ranges: they are answered whatever the years, from the same number of queries as a week's."""

from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import agreement, plan, refusals, resume, revert, runs, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.schemas import TypeName

LONG_AGO, WEEK = date(1021, 3, 1), timedelta(days=6)
TODAY = datetime.now(UTC).date()
MAIN = TypeName("telemetry", "main", "4")


@pytest.fixture
def warehouse(prepared_home) -> Warehouse:
    return Warehouse(prepared_home)


@pytest.fixture
def first_ping(warehouse, monkeypatch):
    """Says when the first ping was landed, of a type whose tables keep their days for ever."""

    def say(day: date | None) -> None:
        monkeypatch.setattr(refusals, "first_pings", lambda warehouse: {MAIN: day} if day else {})

    return say


def sent(warehouse, monkeypatch) -> list[str]:
    """The queries that are sent from now on."""
    queries, send = [], Warehouse.query

    def query(self, sql, *arguments, **options):
        queries.append(sql)
        return send(self, sql, *arguments, **options)

    monkeypatch.setattr(Warehouse, "query", query)
    return queries


def a_publish(table: str, first: date, last: date, token: int, run: str) -> dict:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=token)
    return {
        "table_name": table, "start_date": first, "end_date": last, "token": token, "run": run, "status": "published",
        "started_at": at, "ended_at": at, "started_date": at.date(), "checksum": "c",
    }  # fmt: skip


def test_a_thousand_years_are_planned_with_the_queries_of_a_week(warehouse, first_ping, monkeypatch):
    first_ping(LONG_AGO)
    asked = {}
    for name, end in (("week", LONG_AGO + WEEK), ("thousand years", date(2021, 3, 3))):
        with monkeypatch.context() as patch:
            asked[name] = sent(warehouse, patch)
            planned, said = plan.make(warehouse, LONG_AGO, end), []
            plan.show(warehouse, planned, said.append)
            resume.begin(warehouse, planned, "cut short")
            assert resume.begin(warehouse, planned, "again").published == frozenset()
            resume.end(warehouse, planned, "again")
        assert {(one.start, one.end) for one in planned.tables} == {(LONG_AGO, end)} and len(said) > 28
    assert len(asked["week"]) == len(asked["thousand years"])


def test_a_thousand_years_that_were_cut_short_go_on_where_they_were(warehouse, first_ping):
    """Every chunk was published but one of deduplication: it, and what reads it, is built anew."""
    first_ping(LONG_AGO)
    planned = plan.make(warehouse, LONG_AGO, date(2021, 3, 3))
    resume.begin(warehouse, planned, "cut short")
    steps = {one.step.table: one.step for one in planned.tables}
    chunks = [(one.step.table, *days) for one in planned.tables for days in one.chunks(366)]
    lacking = next(chunk for chunk in chunks if chunk[0] == "telemetry_stable.main_v4" and chunk[1].year == 1500)
    began = datetime.now(UTC)
    rows = [
        a_publish(table, first, last, number, "thousand years")
        | {"started_at": began, "ended_at": began, "started_date": TODAY, "checksum": steps[table].code}
        for number, (table, first, last) in enumerate(chunks, 1)
        if (table, first, last) != lacking
    ]
    times = runs.times_published([row | {"times": 1} for row in rows])
    for row in rows:
        days = (row["start_date"], row["end_date"])
        row["inputs_published"] = runs.inputs_counted(times, steps[row["table_name"]], *days)
    runs_table = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs_table)
    warehouse.load_rows(runs_table, rows)
    try:
        anew = set(chunks) - resume.begin(warehouse, planned, "again").published
        resume.end(warehouse, planned, "again")
    finally:
        warehouse.query("DELETE FROM monitoring.pipeline_runs WHERE run = 'thousand years'")
    assert lacking in anew and ("derived.clients_daily_v1", *lacking[1:]) in anew
    # What continues from its own yesterday is built anew from there on.
    assert {first for table, first, _ in anew if table == "derived.clients_daily_v1"} == {lacking[1]}
    assert {first for table, first, _ in anew if table == "derived.clients_last_seen_v1"} == {
        first for table, first, _ in chunks if table == "derived.clients_last_seen_v1" and first >= lacking[1]
    }
    assert not [one for one in anew if one[0] == "fleet_stable.flight_v1"]


def test_a_plan_begins_with_the_first_ping_and_ends_yesterday(warehouse, first_ping):
    first_ping(TODAY - timedelta(days=9))
    planned = plan.make(warehouse, date.min, date.max)
    assert {(one.start, one.end) for one in planned.tables} == {(TODAY - timedelta(days=9), TODAY - timedelta(days=1))}
    assert f"no ping of {MAIN} was landed for a day before {TODAY - timedelta(days=9)}: the plan begins there" in (
        planned.notes
    )
    assert f"9999-12-31 has not ended yet (UTC); the last day that can be built is {TODAY - timedelta(days=1)}" in (
        planned.refusals
    )


@pytest.mark.parametrize("selector", [None, "telemetry_stable.main_v4", "active_users_v1+"])
@pytest.mark.parametrize(
    "first, start, end, reason",
    [
        (date(2013, 2, 1), LONG_AGO, date(2013, 1, 31), "of 2013-02-01: there is nothing to build; give days"),
        (date(2013, 2, 1), date(3000, 1, 1), date.max, "9999-12-31 has not ended yet"),
        (None, LONG_AGO, date(2021, 3, 3), "there is nothing to build"),
    ],
)
def test_days_of_which_nothing_can_be_built_are_refused_for_that_alone(
    warehouse, first_ping, first, start, end, reason, selector
):
    first_ping(first)
    planned, said = plan.make(warehouse, start, end, selector), []
    plan.show(warehouse, planned, said.append)
    assert planned.tables == () and said == []
    [refused] = planned.refusals
    assert reason in refused


def test_a_check_of_days_before_the_first_ping_says_that_and_suggests_no_backfill(warehouse, first_ping):
    first_ping(date(2013, 2, 1))
    with pytest.raises(Refused, match="^1999-01-01..1999-12-31 lies before every .*; give days from 2013-02-01 on$"):
        agreement.check(warehouse, date(1999, 1, 1), date(1999, 12, 31))
    # What it suggests begins where there is something to build.
    with pytest.raises(Refused, match="never built for 2013-02-01; run `./warehouse backfill 2013-02-01 2013-03-01`"):
        agreement.check(warehouse, LONG_AGO, date(2013, 3, 1))
    with pytest.raises(Refused, match="^9999-12-31 has not ended yet"):
        agreement.check(warehouse, LONG_AGO, date.max)


def test_what_a_revert_of_a_thousand_years_restores_is_found_by_range(warehouse):
    table = tables.Table("plan_test", "rows_v1", (tables.column("submission_date", "DATE"),))
    runs_table = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs_table)
    middle, last = date(1521, 1, 1), date(2021, 3, 3)
    published = [
        a_publish(table.id, LONG_AGO, last, 1, "first"),
        a_publish(table.id, LONG_AGO, last, 2, "second"),
        a_publish(table.id, middle, middle, 3, "third"),
    ]
    warehouse.load_rows(runs_table, published)
    day = timedelta(days=1)
    try:
        parts = revert._previous(warehouse, table, LONG_AGO, last)
        with pytest.raises(Refused, match=f"{last + day} was never published"):
            revert._previous(warehouse, table, LONG_AGO, date.max)
    finally:
        warehouse.query(f"DELETE FROM {runs_table.id} WHERE table_name = '{table.id}'")
    assert [(one.start, one.end, one.undone, one.by) for one in parts] == [
        (LONG_AGO, middle - day, "second", "first"),
        (middle, middle, "third", "second"),
        (middle + day, last, "second", "first"),
    ]
