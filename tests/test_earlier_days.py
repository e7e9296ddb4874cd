"""Which days a night mends, as functions of what monitoring says."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import earlier_days, exclusions
from telemetry_warehouse.earlier_days import Log
from telemetry_warehouse.exclusions import Excluded
from telemetry_warehouse.lineage import Lineage, Step
from telemetry_warehouse.progress import waits_for
from tests.support import days

TODAY = date(2026, 11, 20)
NAMES = {"a_stable.ping_v1": "a/ping/1", "b_stable.ping_v1": "b/ping/1"}
STABLE_A, STABLE_B = NAMES


def step(table, kind="model", inputs=(), carries=0, yesterday=False) -> Step:
    return Step(
        table, kind, {name.split(".")[0] + name.split(".")[1]: name for name in inputs}, carries, yesterday, "c"
    )


KNOWN = Lineage(
    [
        step(STABLE_A, "dedup", ["a_live.ping_v1"], 2),
        step(STABLE_B, "dedup", ["b_live.ping_v1"], 2),
        step("derived.daily", inputs=[STABLE_A, STABLE_B]),
        step("derived.of_a", inputs=[STABLE_A]),
        step("derived.last_seen", inputs=["derived.daily"], carries=27, yesterday=True),
    ]
)
TABLES = [one.table for one in KNOWN.steps]


def ago(count: int) -> date:
    return TODAY - timedelta(days=count)


def at(hours: float) -> datetime:
    return datetime(2026, 11, 20, tzinfo=UTC) + timedelta(hours=hours)


def run(table: str, start: date, end: date, hours: float = 0, excluded: str = "") -> dict:
    times = {"started_at": at(hours), "ended_at": at(hours + 0.5), "token": round(1000 * hours), "times": 1}
    return {
        "table_name": table,
        "start_date": start,
        "end_date": end,
        "excluded": excluded,
        "is_exclusion": False,
    } | times


def let_go(table: str, day: date, hours: float) -> dict:
    return run(table, day, day, hours) | {"ended_at": at(hours), "is_exclusion": True}


def landed(table: str, day: date, hours: float) -> dict:
    return {"table": table, "submission_date": day, "landed_at": at(hours)}


def log(*published: dict, landings: tuple = ()) -> Log:
    return Log(TODAY, list(published), list(landings))


def all_built(start: date, end: date, but: tuple = ()) -> list[dict]:
    return [run(table, start, end) for table in TABLES if table not in but]


def test_a_table_lacks_the_days_after_its_first_of_the_last_weeks():
    known = log(run(STABLE_A, ago(9), ago(7)), run(STABLE_A, ago(4), ago(4)), run(STABLE_B, ago(40), ago(29)))
    assert earlier_days.missed(KNOWN, known) == {
        STABLE_A: {ago(6), ago(5), *days(ago(3), ago(1))},
        # Its last day is the one before those weeks.
        STABLE_B: set(days(ago(28), ago(1))),
    }
    assert earlier_days.missed(KNOWN, log(run(STABLE_B, ago(40), ago(30)))) == {}


def test_pings_that_land_late_make_their_day_stale_in_what_holds_them_and_nowhere_else():
    known = log(*all_built(ago(9), ago(1)), landings=[landed(STABLE_A, ago(5), 3)])
    assert earlier_days.late(KNOWN, known) == {ago(5)}
    look_back = {ago(5), ago(4), ago(3)}
    assert earlier_days.stale(KNOWN, known) == dict.fromkeys(
        (STABLE_A, "derived.daily", "derived.of_a", "derived.last_seen"), look_back
    )
    again = run(STABLE_A, ago(5), ago(3), hours=4)
    assert STABLE_A not in earlier_days.stale(KNOWN, log(*known.published, again, landings=known.landed))


def test_a_day_that_was_built_before_a_types_first_ping_came_lacks_it():
    known = log(*all_built(ago(9), ago(1), but=(STABLE_B,)), landings=[landed(STABLE_B, ago(5), 3)])
    stale = earlier_days.stale(KNOWN, known)
    assert stale[STABLE_B] == {ago(5)} and ago(5) in stale["derived.daily"] and "derived.of_a" not in stale
    assert earlier_days.stale(KNOWN, log(landings=[landed(STABLE_B, ago(5), 3)])) == {}


def test_what_was_built_without_a_type_is_stale_once_the_type_is_published():
    lacking = exclusions.to_text([Excluded(ago(3), "b/ping/1", ago(3))])
    before = [*all_built(ago(9), ago(1), but=(STABLE_B,)), let_go(STABLE_B, ago(3), 1)]
    before.append(run("derived.daily", ago(3), ago(3), 2, lacking))
    assert earlier_days.stale(KNOWN, log(*before)) == {}
    assert exclusions.in_force(before) == {STABLE_B: {ago(3)}}
    after = [*before, run(STABLE_B, ago(3), ago(3), 5)]
    assert earlier_days.stale(KNOWN, log(*after)) == {"derived.daily": {ago(3)}}
    assert exclusions.in_force(after) == {}


def test_what_a_stage_was_built_without_is_what_its_inputs_lack_for_as_long_as_it_shows():
    daily, last_seen = KNOWN.step("daily"), KNOWN.step("last_seen")
    found = [let_go(STABLE_B, ago(3), 1)]
    assert exclusions.of_stage(found, daily, ago(5), ago(1), NAMES) == [Excluded(ago(3), "b/ping/1", ago(3))]
    assert exclusions.of_stage(found, daily, ago(2), ago(1), NAMES) == []
    found = [run("derived.daily", ago(9), ago(1), 2, exclusions.to_text([Excluded(ago(3), "b/ping/1", ago(3))]))]
    until = ago(3) + timedelta(days=27)
    assert exclusions.of_stage(found, last_seen, ago(2), ago(2), NAMES) == [Excluded(ago(3), "b/ping/1", until)]
    found = [run("derived.last_seen", ago(3), ago(3), 2, exclusions.to_text([Excluded(ago(3), "b/ping/1", until)]))]
    assert exclusions.of_stage(found, last_seen, ago(2), ago(2), NAMES) == [Excluded(ago(3), "b/ping/1", until)]
    assert exclusions.of_stage(found, last_seen, until + timedelta(days=2), until + timedelta(days=2), NAMES) == []


def test_a_bad_day_of_one_type_stops_what_reads_it_until_it_is_let_go():
    known = log(*all_built(ago(9), ago(2)), *all_built(ago(1), ago(1), but=(STABLE_B, "derived.daily")))
    known = log(
        *(row for row in known.published if row["table_name"] != "derived.last_seen" or row["end_date"] < ago(1))
    )
    unbuilt = earlier_days.not_built(KNOWN, known)
    assert unbuilt == dict.fromkeys((STABLE_B, "derived.daily", "derived.last_seen"), {ago(1): f"{STABLE_B} {ago(1)}"})
    waiting = {one.table: waits_for(one, TODAY, TODAY, unbuilt) for one in KNOWN.steps}
    assert waiting == dict.fromkeys(TABLES) | {"derived.last_seen": f"{STABLE_B} {ago(1)}"}
    let_through = log(*known.published, let_go(STABLE_B, ago(1), 3))
    causes = {cause for of_table in earlier_days.not_built(KNOWN, let_through).values() for cause in of_table.values()}
    assert causes == {f"derived.daily {ago(1)}"}


def test_days_that_read_what_is_built_are_built_again_where_they_are_published():
    known = log(*all_built(ago(40), ago(1)))
    wanted = earlier_days.with_what_follows(KNOWN, known, {STABLE_A: {ago(5)}})
    assert wanted == {
        STABLE_A: {ago(5)},
        "derived.daily": {ago(5)},
        "derived.of_a": {ago(5)},
        "derived.last_seen": set(days(ago(5), ago(1))),
    }
    assert earlier_days.with_what_follows(KNOWN, log(), {STABLE_A: {ago(5)}}) == {STABLE_A: {ago(5)}}


def test_inputs_that_were_never_built_come_first():
    known = log(*all_built(ago(9), ago(1), but=(STABLE_B,)))
    assert earlier_days.with_inputs(KNOWN, known, {"derived.daily": {ago(2)}})[STABLE_B] == {ago(2)}


tables = st.sampled_from(TABLES)
published = st.lists(
    st.builds(lambda table, first, more, hours: run(table, first, min(first + timedelta(days=more), ago(1)), hours),
              tables, st.integers(1, 35).map(ago), st.integers(0, 9), st.integers(0, 20))
)  # fmt: skip
exclusions_made = st.lists(
    st.builds(let_go, st.sampled_from([STABLE_A, STABLE_B]), st.integers(1, 28).map(ago), st.integers(0, 20))
)
landings = st.lists(
    st.builds(landed, st.sampled_from([STABLE_A, STABLE_B]), st.integers(1, 35).map(ago), st.integers(0, 20))
)


@given(published, exclusions_made, landings)
def test_what_is_missed_and_what_is_stale_is_past_and_has_a_reason(runs, let, late):
    known = log(*runs, *let, landings=late)
    missed, stale = earlier_days.missed(KNOWN, known), earlier_days.stale(KNOWN, known)
    for table, of_table in missed.items():
        assert not of_table & known.newest(table).keys() and all(ago(28) <= day < TODAY for day in of_table)
    for table, of_table in stale.items():
        for day in of_table:
            newest = known.newest(table).get(day)
            assert day < TODAY
            assert newest is None or any(row["landed_at"] > newest["started_at"] for row in late)
    unbuilt = earlier_days.not_built(KNOWN, known)
    for table, of_table in unbuilt.items():
        assert of_table.keys() <= missed[table] and not of_table.keys() & exclusions.in_force(let + runs).get(
            table, set()
        )
        for day, cause in of_table.items():
            name, first = cause.split(" ")
            # What must be mended first waits for nothing itself.
            assert unbuilt[name][date.fromisoformat(first)] == cause and date.fromisoformat(first) <= day


@given(st.lists(st.builds(Excluded, st.dates(), st.sampled_from(list(NAMES.values())), st.dates()), unique=True))
def test_what_was_left_out_reads_back_as_it_was_written(excluded):
    assert exclusions.from_text(exclusions.to_text(excluded)) == sorted(excluded)
