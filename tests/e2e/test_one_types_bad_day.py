"""One ping type's day is bad: the rest is built, what reads it waits or goes without it, and all is mended."""

import copy
import re
import shutil
from dataclasses import replace
from datetime import date, timedelta

import orjson
import pytest

from telemetry_warehouse import backfill, exclusions, lineage, night, plan
from telemetry_warehouse.errors import NotAllBuilt, Refused
from telemetry_warehouse.landing import land
from telemetry_warehouse.lineage import Lineage, Step
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.schemas import TypeName
from tests.e2e.test_reruns import a_ping
from tests.support import checksum, command, days, load_rows

MAIN, FLIGHT = "telemetry_stable.main_v4", "fleet_stable.flight_v1"
DAILY, LAST_SEEN = "derived.clients_daily_v1", "derived.clients_last_seen_v1"
FIRST, BAD, THIRD, FOURTH, FIFTH = days(date(2024, 10, 1), date(2024, 10, 5))
TYPE = TypeName("telemetry", "main", "4")


def quiet(line: str) -> None:
    pass


def a_flight(day: date, number: int) -> tuple[bytes, dict]:
    document_id, client_id = f"{number:08x}-0000-4000-8000-0000000000f1", "00000000-0000-4000-8000-0000000000f2"
    document = {"client_id": client_id, "app_name": "Fleet", "channel": "UA", "country": "US"}
    document |= {"scheduled_departure": f"{day}T12:00:00Z", "duration_minutes": 60, "cancelled": False}
    attributes = {"uri": f"/submit/fleet/flight/1/{document_id}", "submission_timestamp": f"{day}T12:00:00Z"}
    return orjson.dumps(document), attributes


@pytest.fixture
def few_tables(chain, simulated, monkeypatch) -> Lineage:
    """The chain with four of its tables, so that nights are short."""
    chosen = [step for step in lineage.load(chain.settings).steps if step.table in (MAIN, FLIGHT, DAILY, LAST_SEEN)]
    known, read_by_views = Lineage(chosen), lineage.read_by_views(chain.settings)
    monkeypatch.setattr(lineage, "load", lambda settings: known)
    monkeypatch.setattr(lineage, "read_by_views", lambda settings: read_by_views)
    return known


@pytest.fixture
def pings_of_five_days(chain, simulated):
    for n, day in enumerate(days(FIRST, FIFTH)):
        publish(chain.settings, [a_ping(simulated.truth, day, 0xE0 + n, f"{day}T12:00:00Z"), a_flight(day, 0xE0 + n)])
    assert land(chain, until_empty=True).landed == 10


@pytest.fixture
def bad_day(chain, pings_of_five_days):
    """The second day has a ping in live that no gate lets pass."""
    load_rows(chain, "telemetry_live.main_v4", [{"document_id": "BAD", "submission_timestamp": f"{BAD}T10:00:00Z"}])
    yield
    mend(chain)


def mend(chain) -> None:
    chain.query(
        f"DELETE FROM telemetry_live.main_v4 WHERE DATE(submission_timestamp) = '{BAD}' AND document_id = 'BAD'"
    )


def published(chain, run: str) -> dict[str, list[date]]:
    """The days that a run has published; other tests of the chain may give their runs the same name."""
    rows = chain.rows(
        "SELECT table_name, start_date, end_date FROM monitoring.pipeline_runs"
        f" WHERE status = 'published' AND run = @run AND start_date >= '{FIRST}'",
        {"run": run},
    )
    found: dict[str, list[date]] = {}
    for row in rows:
        found.setdefault(row["table_name"], []).extend(days(row["start_date"], row["end_date"]))
    return {table: sorted(of_table) for table, of_table in found.items()}


def told(chain) -> list[tuple]:
    return [
        (row["table_name"], row["start_date"])
        for row in chain.rows(
            "SELECT table_name, start_date FROM monitoring.notifications WHERE notified_date >= '2000-01-01'"
            f" AND start_date BETWEEN '{FIRST}' AND '{FIFTH}' ORDER BY notified_at"
        )
    ]


def lacking(chain) -> set[tuple]:
    """Table and day of what lacks the pings of the bad day, as analysts see it."""
    rows = chain.rows(
        "SELECT table_name, submission_date, one.ping_type, one.excluded_date, one.reason"
        " FROM telemetry.published_days, UNNEST(exclusions) AS one"
        f" WHERE submission_date BETWEEN '{FIRST}' AND '{FIFTH}'"
    )
    assert {(row["ping_type"], row["excluded_date"], row["reason"]) for row in rows} <= {(str(TYPE), BAD, "broken")}
    return {(row["table_name"], row["submission_date"]) for row in rows}


def let_go(chain) -> set[date]:
    return {one["submission_date"] for one in exclusions.not_ended(chain) if one["reason"] == "broken"}


def clients(chain, table: str, day: date) -> set[str]:
    return {row["app_name"] for row in chain.rows(f"SELECT app_name FROM {table} WHERE submission_date = '{day}'")}


def test_a_bad_day_stops_what_reads_it_can_be_let_go_and_is_mended(chain, few_tables, bad_day):
    night.run(chain, FIRST, "bad day 1", quiet)

    with pytest.raises(NotAllBuilt) as left:
        night.run(chain, BAD, "bad day 2", quiet)
    for part in (f"{DAILY} (for {MAIN} {BAD})", f"{LAST_SEEN} (for {MAIN} {BAD})", "ids_are_lower_case"):
        assert part in str(left.value)
    assert published(chain, "bad day 2") == {FLIGHT: [BAD]}
    report = (chain.settings.home / "reports" / f"{BAD}.md").read_text()
    for line in (f"| {FLIGHT} | published |", f"| {MAIN} | failed |", f"| {DAILY} | waits for {MAIN} {BAD} |"):
        assert line in report

    with pytest.raises(
        NotAllBuilt, match=rf"waiting: .*{LAST_SEEN} \(for {MAIN} {BAD}\); failed: .*ids_are_lower_case"
    ):
        night.run(chain, THIRD, "bad day 3", quiet)
    assert published(chain, "bad day 3") == {MAIN: [THIRD], FLIGHT: [THIRD], DAILY: [THIRD]}
    assert told(chain) == [(MAIN, BAD)]

    night.run(chain, BAD, "let go", quiet, [TYPE], "broken")
    assert published(chain, "let go") == {FLIGHT: [BAD], DAILY: [BAD], LAST_SEEN: [BAD]}
    assert clients(chain, DAILY, BAD) == {"Fleet"}
    assert lacking(chain) == {(DAILY, BAD), (LAST_SEEN, BAD)}
    assert BAD in let_go(chain)

    said = []
    night.run(chain, FOURTH, "bad day 4", said.append)
    assert [line for line in said if line.startswith(f"{MAIN} {BAD} is still left out: ")]
    assert published(chain, "bad day 4")[LAST_SEEN] == [THIRD, FOURTH]
    assert lacking(chain) == {(DAILY, BAD), *((LAST_SEEN, day) for day in (BAD, THIRD, FOURTH))}

    mend(chain)
    night.run(chain, FIFTH, "mended", quiet)
    again = published(chain, "mended")
    assert (again[MAIN], again[DAILY]) == ([BAD, FIFTH], [BAD, FIFTH])
    assert again[LAST_SEEN] == [BAD, THIRD, FOURTH, FIFTH]
    assert lacking(chain) == set() and told(chain) == [(MAIN, BAD)]
    assert BAD not in let_go(chain)
    condition = f"submission_date BETWEEN '{FIRST}' AND '{FIFTH}'"
    before = [checksum(chain, table, condition) for table in (DAILY, LAST_SEEN)]
    backfill.run(chain, plan.make(chain, FIRST, FIFTH), "all anew", quiet)
    assert [checksum(chain, table, condition) for table in (DAILY, LAST_SEEN)] == before


def test_pings_that_are_published_and_bad_are_left_out_and_stay_in_their_own_table(chain, few_tables, simulated):
    day = date(2024, 11, 20)
    publish(chain.settings, [a_ping(simulated.truth, day, 0xEA, f"{day}T12:00:00Z"), a_flight(day, 0xEA)])
    assert land(chain, until_empty=True).landed == 2
    night.run(chain, day, "as sent", quiet)
    assert clients(chain, DAILY, day) == {"Firefox", "Fleet"}
    night.run(chain, day, "left out", quiet, [TYPE], "broken")
    assert clients(chain, DAILY, day) == clients(chain, LAST_SEEN, day) == {"Fleet"}
    [kept] = chain.rows(f"SELECT COUNT(*) AS n FROM {MAIN} WHERE DATE(submission_timestamp) = '{day}'")
    assert kept["n"] == 1
    stable = plan.make(chain, day, day, MAIN)
    backfill.run(chain, stable, "well again", quiet)
    assert exclusions.in_force(plan.runs.published(chain, [MAIN], day, day)) == {}
    night.rebuild_earlier_days(chain, day + timedelta(days=1), "caught up", quiet)
    assert published(chain, "caught up") == {DAILY: [day], LAST_SEEN: [day]}
    assert clients(chain, DAILY, day) == {"Firefox", "Fleet"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ["2024-10-02", "--without", "acme/none/1", "--why", "x"],
            "there is no ping type acme/none/1; there are fleet/",
        ),
        (
            ["2024-10-02", "--without", "telemetry/main/4"],
            "say why 2024-10-02 may go without telemetry/main/4: --why TEXT",
        ),
        (["2999-10-02", "--without", "telemetry/main/4", "--why", "x"], "2999-10-02 has not ended yet"),
        (["2024-10-02", "--why", "x"], "give --without NAMESPACE/TYPE/VERSION too"),
        (["1999-10-02"], "1999-10-02 lies before every ping that was landed, the first of which is of"),
    ],
)
def test_a_night_that_makes_no_sense_is_refused_in_a_line(chain, simulated, arguments, said):
    done = command(chain.settings, "night", *arguments)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


def reading(step: Step, table: str) -> Step:
    """The step as if it read the table too, without the expectation that its staging models keep every ping of it."""
    node = copy.deepcopy(step.node)
    meta = node["config"]["meta"]
    meta["expectations"] = [e for e in meta["expectations"] if e.get("name") != "staging_keeps_every_ping"]
    return replace(step, inputs=step.inputs | {table.split(".")[1]: table}, node=node)


@pytest.fixture
def new_type(chain, few_tables, simulated, monkeypatch, request) -> tuple[str, date]:
    """A ping type that clients_daily reads, with pings on the days 4 and 6 of those that the others are built for, and
    built for the last of these alone."""
    first, last = request.param, request.param + timedelta(days=5)
    publish(chain.settings, [a_flight(first, 0xEB), a_ping(simulated.truth, first, 0xEC, f"{first}T12:00:00Z")])
    assert land(chain, until_empty=True).landed == 2
    backfill.run(chain, plan.make(chain, first, last), "before it", quiet)
    folder = chain.settings.schemas[0] / "acme" / "beacon"
    folder.mkdir(parents=True)
    request.addfinalizer(lambda: shutil.rmtree(folder.parent))
    (folder / "beacon.1.schema.json").write_text('{"type": "object", "properties": {"city": {"type": "string"}}}')
    (folder / "beacon.1.table.yml").write_text("{live_days: null, stable_days: null}")
    table = "acme_stable.beacon_v1"
    steps = [reading(s, table) if s.table == DAILY else s for s in few_tables.steps]
    dedup = next(step for step in steps if step.kind == "dedup")
    beacon = replace(dedup, table=table, inputs={"live": "acme_live.beacon_v1"})
    known = Lineage([beacon, *steps])
    monkeypatch.setattr(lineage, "load", lambda settings: known)
    for n, day in enumerate((last, first + timedelta(days=3))):
        uri = f"/submit/acme/beacon/1/0000000{n}-0000-4000-8000-0000000000f3"
        publish(chain.settings, [(b'{"city": "Oslo"}', {"uri": uri, "submission_timestamp": f"{day}T12:00:00Z"})])
        assert land(chain, until_empty=True).landed == 1
        if day == last:
            backfill.run(chain, plan.make(chain, last, last, table), "its first day", quiet)
    return table, first


@pytest.mark.parametrize("new_type", [date(2025, 1, 10)], indirect=True)
def test_a_new_type_is_empty_before_its_first_ping_and_what_a_refusal_suggests_works(chain, new_type):
    table, first = new_type
    third, fifth = first + timedelta(days=2), first + timedelta(days=4)
    planned = plan.make(chain, first, third, "clients_daily_v1+")
    # What clients_last_seen carries on is built for all six days, of which the new type has a ping on the fourth.
    assert planned.refusals == () and {one.start for one in planned.tables} == {first}
    with pytest.raises(Refused, match=f"{table}, which was never built for {first + timedelta(days=3)}") as refused:
        plan.make(chain, first, fifth, "clients_daily_v1").refuse()
    for line in re.findall(r"run `\./warehouse ([^`]+)`", str(refused.value)):
        command, *days_given = line.split()
        assert command == "backfill"
        backfill.run(chain, plan.make(chain, *map(date.fromisoformat, days_given)), "as suggested", quiet)
    plan.make(chain, first, fifth, "clients_daily_v1").refuse()


@pytest.mark.parametrize("new_type", [date(2025, 5, 1)], indirect=True)
def test_a_late_ping_of_a_day_that_others_were_built_for_without_it_is_in_it_after_the_next_night(chain, new_type):
    table, first = new_type
    day = first + timedelta(days=3)
    night.rebuild_earlier_days(chain, first + timedelta(days=6), "late", quiet)
    built = published(chain, "late")
    assert day in built[table] and day in built[DAILY] and built[LAST_SEEN][-1] == first + timedelta(days=5)
