from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_warehouse.changes.table import METHOD, WINDOW_DAYS, changes_rows
from tests.changes.aggregates import rows_of

FIRST = date(2024, 3, 1)
OLD, NEW = np.array([0.5, 0.3, 0.2, 0]), np.array([0.2, 0.3, 0.4, 0.1])


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def planted(seed: int, changes: list[int], days: int, clients: int = 5000, **of) -> list[dict]:
    """A series that goes from OLD to NEW on the first change, back on the second, and so on."""
    shares = np.where((np.searchsorted(changes, np.arange(days), side="right") % 2)[:, None], NEW, OLD)
    return rows_of(np.random.default_rng(seed).multinomial(clients, shares), np.full(days, clients), FIRST, **of)


def test_a_row_says_what_changed_since_when_and_how_much():
    aggregates = planted(1, [80], 90, channel="beta") + planted(2, [], 90)
    found = changes_rows(aggregates, [], day(0), day(89))
    assert [row["channel"] for row in found] == [None, "beta"]
    beta = found[1]
    assert beta | {"score": 0, "effect": 0, "shares_before": 0, "shares_after": 0} == {
        "detected_date": day(82), "app_name": "App", "channel": "beta", "os": None, "probe": "delay", "key": "",
        "layout": "9/1-9", "change_date": day(80), "method": METHOD, "score": 0, "effect": 0, "n_clients": 5000,
        "shares_before": 0, "shares_after": 0,
    }  # fmt: skip
    assert list(beta)[:4] == ["detected_date", "app_name", "channel", "os"]
    assert 5 < beta["score"] < 38
    assert beta["effect"] == pytest.approx(0.3, abs=0.02)
    assert [s["bucket"] for s in beta["shares_before"]] == [0, 10, 20]
    assert [s["bucket"] for s in beta["shares_after"]] == [0, 10, 20, 30]
    for name, truth in (("shares_before", OLD), ("shares_after", NEW)):
        assert [s["share"] for s in beta[name]] == pytest.approx(truth[truth > 0], abs=0.01)
        assert all(s["share"] == round(s["share"], 6) for s in beta[name])


def test_only_days_asked_for_and_a_change_once():
    aggregates = planted(3, [80], 100, channel=None)
    assert [row["detected_date"] for row in changes_rows(aggregates, [], day(62), day(99))] == [day(82)]
    assert changes_rows(aggregates, [], day(62), day(81)) == []
    previous = changes_rows(aggregates, [], day(82), day(82))
    assert len(previous) == 1
    assert changes_rows(aggregates, previous, day(83), day(99)) == []
    assert changes_rows(aggregates, [], day(83), day(83)) != []  # without it, the change is seen again


def test_rows_of_days_that_are_rebuilt_are_no_history():
    aggregates = planted(4, [80], 100, channel=None)
    published = changes_rows(aggregates, [], day(62), day(99))
    assert changes_rows(aggregates, published, day(62), day(99)) == published


def test_the_newest_previous_change_counts_whatever_the_order():
    aggregates = planted(5, [30, 70, 120], 130, channel=None)
    whole = changes_rows(aggregates, [], day(0), day(129))
    assert [row["change_date"] for row in whole] == [day(30), day(70), day(120)]
    for previous in (whole[:2], whole[1::-1]):
        assert changes_rows(aggregates, previous, day(110), day(129)) == whole[2:]


def test_a_new_layout_starts_anew():
    days = 120
    old = [row for row in planted(6, [], days, channel=None) if row["submission_date"] < day(80)]
    new = planted(6, [0], days, channel=None, layout="9/1-99")
    new = [row for row in new if row["submission_date"] >= day(80)]
    assert changes_rows(old + new, [], day(0), day(days - 1)) == []


def test_ordered_by_day_and_series():
    aggregates = planted(7, [85], 95, app_name="Zoo")
    aggregates += planted(8, [80], 95, channel="b") + planted(9, [80], 95, channel="a")
    found = changes_rows(reversed(aggregates), [], day(0), day(94))
    assert [(row["app_name"], row["channel"]) for row in found] == [
        ("App", None), ("App", "a"), ("App", "b"), ("Zoo", None), ("Zoo", "release"),
    ]  # fmt: skip


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="start_date 2024-03-02 is after end_date 2024-03-01"):
        changes_rows([], [], day(1), day(0))


@settings(max_examples=8, deadline=None)
@given(st.data(), st.integers(0, 1000))
def test_a_day_has_the_same_rows_alone_in_a_range_and_in_one_piece(data, seed):
    rng = np.random.default_rng(seed)
    days = 140
    aggregates = []
    for number, probe in enumerate("abc"):
        changes = sorted(rng.integers(20, days, 3).tolist())
        rows = planted(seed + number, changes, days, clients=int(rng.integers(60, 3000)), probe=probe)
        rare = rng.integers(len(rows))  # a bucket that only some windows see
        rows[rare]["buckets"] += [{"bucket": -5, "pings": 1, "clients": 1}]
        aggregates += [row for row in rows if rng.random() > 0.03]
    whole = changes_rows(aggregates, [], day(0), day(days - 1))
    pieces, start = [], 0
    while start < days:
        end = min(start + data.draw(st.integers(0, 25)), days - 1)
        read = [r for r in aggregates if day(start - WINDOW_DAYS) <= r["submission_date"] <= day(end)]
        known = [row for row in pieces if row["detected_date"] >= day(start - WINDOW_DAYS)]
        pieces += changes_rows(read, known, day(start), day(end))
        start = end + 1
    assert pieces == whole
