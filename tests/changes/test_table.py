import itertools
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from telemetry_warehouse.changes.table import NOISY_CHANGES, WINDOW_DAYS, score_rows
from tests.changes.aggregates import rows_of
from tests.changes.series import simulate

FIRST = date(2024, 3, 1)
OLD, NEW = np.array([0.5, 0.3, 0.2, 0]), np.array([0.2, 0.3, 0.4, 0.1])


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def planted(seed: int, changes: list[int], days: int, clients: int = 5000, **of) -> list[dict]:
    """A series that goes from OLD to NEW on the first change, back on the second, and so on."""
    shares = np.where((np.searchsorted(changes, np.arange(days), side="right") % 2)[:, None], NEW, OLD)
    return rows_of(np.random.default_rng(seed).multinomial(clients, shares), np.full(days, clients), FIRST, **of)


def alerts(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["alert"]]


def test_a_row_says_what_changed_since_when_and_how_much():
    rows = score_rows(planted(1, [80], 90, channel="beta") + planted(2, [], 90), [], day(0), day(89))
    assert len(rows) == 180
    [beta] = alerts(rows)
    assert beta | {"score": 0, "log10_e": 0, "effect": 0, "doubt": 0, "shares_before": 0, "shares_after": 0} == {
        "submission_date": day(82), "axis": "submission_date", "app_name": "App", "channel": "beta", "os": "Linux",
        "probe": "delay", "key": "", "layout": "9/1-9", "n_clients": 5000, "noise": beta["noise"], "score": 0,
        "log10_e": 0, "alert": "changed", "change_date": day(80), "closes": None, "effect": 0, "doubt": 0,
        "noisy": None, "shares_before": 0, "shares_after": 0,
    }  # fmt: skip
    assert 5 < beta["score"] < 38
    assert beta["log10_e"] == pytest.approx(5.3)  # all that three days can say
    assert 0 < beta["noise"] < 0.1 and 0 < beta["doubt"] < 0.5
    assert beta["effect"] == pytest.approx(0.3, abs=0.02)
    assert [s["bucket"] for s in beta["shares_before"]] == [0, 10, 20]
    assert [s["bucket"] for s in beta["shares_after"]] == [0, 10, 20, 30]
    for name, truth in (("shares_before", OLD), ("shares_after", NEW)):
        assert [s["share"] for s in beta[name]] == pytest.approx(truth[truth > 0], abs=0.01)
        assert all(s["share"] == round(s["share"], 9) for s in beta[name])


def test_a_night_that_cannot_be_judged_has_no_score_and_one_without_clients_no_row():
    rows = planted(3, [], 60)
    rows[30]["n_clients"] = 40  # too few
    del rows[40]
    scores = {row["submission_date"]: row["score"] for row in score_rows(rows, [], day(0), day(59))}
    assert day(40) not in scores
    assert scores[day(30)] is None and scores[day(5)] is None
    assert scores[day(31)] is not None and scores[day(59)] is not None


def test_a_change_that_is_undone_is_a_row_that_closes_it():
    rows = alerts(score_rows(planted(4, [150, 155], 170), [], day(0), day(169)))
    assert [(row["alert"], row["change_date"], row["closes"]) for row in rows] == [
        ("changed", day(150), None), ("reverted", day(155), day(150)),
    ]  # fmt: skip
    assert rows[1]["log10_e"] is None and rows[1]["effect"] == pytest.approx(0.3, abs=0.03)
    later = alerts(score_rows(planted(5, [100, 160], 180), [], day(0), day(179)))
    assert [(row["alert"], row["change_date"], row["closes"]) for row in later] == [
        ("changed", day(100), None), ("reverted", day(160), day(100)),
    ]  # fmt: skip


def test_a_series_that_keeps_changing_is_noisy_and_says_why():
    changes = [60 + 25 * n for n in range(NOISY_CHANGES)]
    shapes = np.random.default_rng(6).dirichlet(np.full(6, 2.0), len(changes) + 1)
    of_day = shapes[np.searchsorted(changes, np.arange(300), side="right")]
    rows = rows_of(np.random.default_rng(7).multinomial(20_000, of_day), np.full(300, 20_000), FIRST)
    found = score_rows(rows, [], day(0), day(299))
    noisy = [row for row in found if row["noisy"]]
    last = [row for row in alerts(found) if row["alert"] == "changed"][-1]
    assert noisy[0] == last and last["noisy"] == f"{NOISY_CHANGES} changes within {WINDOW_DAYS + 1} days"
    assert noisy[-1]["submission_date"] < day(299)  # once it has calmed down


def test_a_fleet_in_which_nothing_changes_is_silent_and_weak_evidence_waits():
    world = simulate("week", 8, 40, 230, kind="shift 10%", change=200, clients=(2e3, 2e4))
    alone = rows_of(world.counts[0], world.n_clients[0], FIRST)
    fleet = [
        row
        for series in range(40)
        for row in rows_of(world.counts[series], world.n_clients[series], FIRST, probe=f"p{series}")
    ]
    found = alerts(score_rows(fleet, [], day(0), day(229), 0.05))
    assert found and all(row["submission_date"] >= day(200) for row in found)
    strict = alerts(score_rows(fleet, [], day(0), day(229), 0.0001))
    assert len(strict) < len(found)
    assert {row["submission_date"] for row in alerts(score_rows(alone, [], day(0), day(229), 0.05))} <= {
        day(n) for n in range(200, 230)
    }


def test_what_stood_earlier_in_the_month_pays_for_less_evidence_and_not_in_the_next():
    changes = {f"p{n}": 160 for n in range(20)} | {"same month": 165, "next month": 188}
    fleet = [row for n, (probe, of) in enumerate(changes.items()) for row in planted(n, [of], 200, probe=probe)]
    # A series that has changed is not judged for three weeks; these always are.
    fleet += [row for n in range(20) for row in planted(50 + n, [], 200, probe=f"quiet{n}")]
    found = {row["probe"]: row["submission_date"] for row in alerts(score_rows(fleet, [], day(150), day(199), 0.001))}
    assert day(160).month == day(167).month != day(188).month
    assert found == {probe: day(of + (3 if probe == "next month" else 2)) for probe, of in changes.items()}


def test_only_days_asked_for_and_a_change_once():
    distributions = planted(9, [80], 100)
    assert [row["submission_date"] for row in alerts(score_rows(distributions, [], day(62), day(99)))] == [day(82)]
    assert alerts(score_rows(distributions, [], day(62), day(81))) == []
    known = alerts(score_rows(distributions, [], day(82), day(82)))
    assert len(known) == 1
    assert alerts(score_rows(distributions, known, day(83), day(99))) == []
    assert alerts(score_rows(distributions, [], day(83), day(83)))  # without it, the change is seen again


def test_rows_of_days_that_are_rebuilt_are_no_history():
    distributions = planted(10, [80], 100)
    published = score_rows(distributions, [], day(62), day(99))
    assert score_rows(distributions, alerts(published), day(62), day(99)) == published


def test_a_new_layout_starts_anew():
    days = 120
    old = [row for row in planted(11, [], days) if row["submission_date"] < day(80)]
    new = planted(11, [0], days, layout="9/1-99")
    new = [row for row in new if row["submission_date"] >= day(80)]
    assert alerts(score_rows(old + new, [], day(0), day(days - 1))) == []


def test_ordered_by_day_and_series():
    distributions = planted(12, [], 3, app_name="Zoo")
    distributions += planted(13, [], 3, channel="b") + planted(14, [], 3, channel=None)
    found = score_rows(reversed(distributions), [], day(0), day(2))
    assert [(row["submission_date"], row["app_name"], row["channel"]) for row in found] == [
        (day(n), *of) for n in range(3) for of in (("App", None), ("App", "b"), ("Zoo", "release"))
    ]


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="start_date 2024-03-02 is after end_date 2024-03-01"):
        score_rows([], [], day(1), day(0))


def test_nothing_in_nothing_out():
    assert score_rows([], [], day(0), day(99)) == []


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@example(198, [1] * 8 + [31, 41, 41, 41, 41, 16])
@given(st.integers(0, 1000), st.lists(st.integers(1, 60), min_size=4, max_size=20))
def test_a_day_has_the_same_rows_alone_in_a_range_and_in_one_piece(seed, sizes):
    rng = np.random.default_rng(seed)
    days = 260
    distributions = []
    for number, probe in enumerate("abc"):
        changes = sorted(rng.integers(20, days, 4).tolist())
        changes += [changes[-1] + 4]
        rows = planted(seed + number, changes, days, clients=int(rng.integers(60, 3000)), probe=probe)
        rare = rng.integers(len(rows))  # a bucket that only some windows see
        rows[rare]["buckets"] += [{"bucket": -5, "clients": 10**8}]
        distributions += [row for row in rows if rng.random() > 0.03]
    whole = score_rows(distributions, [], day(0), day(days - 1))
    pieces, start, size = [], 0, itertools.cycle(sizes)
    while start < days:
        end = min(start + next(size) - 1, days - 1)
        read = [r for r in distributions if day(start - WINDOW_DAYS) <= r["submission_date"] <= day(end)]
        rng.shuffle(read)
        known = [row for row in alerts(pieces) if row["submission_date"] >= day(start - WINDOW_DAYS)]
        pieces += score_rows(read, known, day(start), day(end))
        start = end + 1
    assert pieces == whole
