"""clients_first_seen_v1: whichever days are rebuilt, in whatever order, the rows are those of all days read at once."""

import random
import uuid
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dbt.project import Project

FIRST = date(2026, 1, 1)
DAYS, CLIENTS = 6, 300

# Ranges in the order in which they are rebuilt. Every client has a history of its own in them, so that one example
# holds three hundred.
ranges = st.lists(st.tuples(st.integers(0, DAYS - 1), st.integers(1, DAYS)), min_size=5, max_size=6)


@pytest.fixture(scope="module")
def project(warehouse_home) -> Project:
    return Project(warehouse_home, f"dbt_{uuid.uuid4().hex[:12]}")


def row(day: int, client: int) -> dict:
    return {
        "submission_date": str(FIRST + timedelta(days=day)),
        "app_name": "Firefox" if client else "Other",
        "client_id": f"c{max(client, 1)}",  # the first two share an id, and differ by application
        "os": f"as on day {day}",
        "country": "DE",
    }


def replace_days(project: Project, days: dict[int, set[int]]) -> None:
    table = project.table("clients_daily_v1").id
    dates = ", ".join(f"DATE '{FIRST + timedelta(days=day)}'" for day in days)
    project.warehouse.query(f"DELETE FROM {table} WHERE submission_date IN ({dates})")
    project.load("clients_daily_v1", [row(day, client) for day, clients in days.items() for client in clients])


def found(project: Project) -> dict[tuple, tuple]:
    rows = project.rows("clients_first_seen_v1")
    result = {(r["app_name"], r["client_id"]): (r["first_seen_date"], r["second_seen_date"], r["os"]) for r in rows}
    assert len(result) == len(rows)
    return result


def expected(state: dict[int, set[int]]) -> dict[tuple, tuple]:
    result = {}
    for client in range(CLIENTS):
        days = sorted(day for day, clients in state.items() if client in clients)
        if days:
            dates = [FIRST + timedelta(days=day) for day in days]
            one = row(days[0], client)
            result[one["app_name"], one["client_id"]] = (dates[0], dates[1] if len(dates) > 1 else None, one["os"])
    return result


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(ranges, st.integers())
def test_rebuilds_in_any_order_give_what_all_days_give(project, ranges, seed):
    chance = random.Random(seed)
    state = {day: set() for day in range(DAYS)}
    replace_days(project, state)
    project.empty("clients_first_seen_v1")
    for start, length in ranges:
        days = range(start, min(start + length, DAYS))
        state |= {day: {client for client in range(CLIENTS) if chance.random() < 0.25} for day in days}
        replace_days(project, {day: state[day] for day in days})
        project.build("clients_first_seen_v1", FIRST + timedelta(days=days[0]), FIRST + timedelta(days=days[-1]))
        assert found(project) == expected(state)


def test_days_that_wait_for_their_turn_do_no_harm(project):
    # clients_daily_v1 changes on three days at once; then clients_first_seen_v1 takes them one by one, last first.
    replace_days(project, {0: {1}, 1: {1, 2}, 2: set(), 3: {2}, 4: {0}, 5: {1}})
    project.empty("clients_first_seen_v1")
    project.build("clients_first_seen_v1", FIRST, FIRST + timedelta(days=5))
    state = {0: set(), 1: {2}, 2: {1}, 3: {1, 2}, 4: set(), 5: {1}}
    replace_days(project, {day: state[day] for day in (0, 1, 2, 3, 4)})
    for day in (4, 1, 3, 0, 2):
        project.build("clients_first_seen_v1", FIRST + timedelta(days=day))
    assert found(project) == expected(state)


def test_a_client_without_days_is_gone(project):
    replace_days(project, {day: {1} if day == 2 else set() for day in range(DAYS)})
    project.empty("clients_first_seen_v1")
    project.build("clients_first_seen_v1", FIRST + timedelta(days=2))
    replace_days(project, {2: set()})
    project.build("clients_first_seen_v1", FIRST + timedelta(days=2))
    assert found(project) == {}
