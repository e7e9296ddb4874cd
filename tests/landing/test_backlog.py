"""Whether landing keeps up, as monitoring.landing tells it."""

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from telemetry_warehouse import tables
from telemetry_warehouse.errors import Behind
from telemetry_warehouse.landing import backlog, watch_backlog

NOON = datetime(2031, 1, 5, 12, tzinfo=UTC)


def cycles(warehouse, monkeypatch, *told: tuple[int, int, bool]) -> None:
    """A landing table of the test's own, with cycles of (minute after noon, seconds waited, drained)."""
    table = dataclasses.replace(tables.from_file("monitoring", "landing"), dataset=f"backlog_{uuid.uuid4().hex[:12]}")
    warehouse.ensure(table)
    ended = [NOON + timedelta(minutes=minute) for minute, _, _ in told]
    warehouse.load_rows(
        table,
        [
            {
                "cycle_id": str(number),
                "landed_date": at.date(),
                "ended_at": at,
                "received": 5,
                "max_wait_seconds": wait,
                "drained": drained,
            }
            for number, (at, (_, wait, drained)) in enumerate(zip(ended, told, strict=True))
        ],
    )
    rows = warehouse.rows
    monkeypatch.setattr(warehouse, "rows", lambda sql, *rest: rows(sql.replace("monitoring.landing", table.id), *rest))


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def test_landing_that_reaches_the_end_is_not_behind(warehouse, monkeypatch):
    cycles(warehouse, monkeypatch, (0, 600, False), (40, 900, False), (41, 950, True))
    found = watch_backlog(warehouse, at(50))
    assert (found.landed_at, found.drained_at, found.wait_seconds, found.grows) == (at(41), at(41), 0, False)


def test_a_long_backlog_that_shrinks_raises_no_alarm(warehouse, monkeypatch):
    cycles(warehouse, monkeypatch, (0, 5, True), (10, 9000, False), (60, 8000, False))
    assert watch_backlog(warehouse, at(61)).wait_seconds == 8000


def test_a_backlog_that_grows_for_half_an_hour_raises_with_what_to_do(warehouse, monkeypatch):
    cycles(warehouse, monkeypatch, (0, 5, True), (10, 600, False), (39, 1200, False), (41, 1300, False))
    assert not backlog(warehouse, at(40)).grows
    with pytest.raises(Behind, match="since 2031-01-05 12:10 UTC: messages wait 1,300 s and waited 600 s then"):
        watch_backlog(warehouse, at(42))


def test_without_landing_there_is_nothing_to_be_behind_with(warehouse, monkeypatch):
    cycles(warehouse, monkeypatch, (0, 5, True))
    found = watch_backlog(warehouse, NOON - timedelta(days=1))
    assert (found.landed_at, found.drained_at, found.grows) == (None, None, False)
