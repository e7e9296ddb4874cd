"""Rows of changes_v1 from verdicts as the detector writes them."""

from datetime import date

import pytest

from telemetry_warehouse.changes.alert_rows import alert_id, alert_rows, series_of

NIGHT = date(2024, 3, 12)
SCORE = {
    "submission_date": NIGHT, "axis": "submission_date", "app_name": "App", "channel": None, "os": "Linux",
    "probe": "P", "key": "", "layout": "1/80/-90-300", "n_clients": 500, "noise": 0.01, "score": 7.5, "log10_e": 4.2,
    "alert": "changed", "change_date": date(2024, 3, 10), "closes": None, "effect": 0.4, "noisy": None,
    "shares_before": [{"bucket": 0, "share": 0.9}, {"bucket": 50, "share": 0.1}],
    "shares_after": [{"bucket": 0, "share": 0.5}, {"bucket": 50, "share": 0.5}],
}  # fmt: skip


def test_a_row_says_what_changed_and_by_how_much():
    [row] = alert_rows([SCORE, SCORE | {"alert": None, "os": None}], [], 0.02)
    assert row["alert_id"] == alert_id(series_of(SCORE), date(2024, 3, 10)) and len(row["alert_id"]) == 12
    assert (row["detected_date"], row["change_date"], row["kind"]) == (NIGHT, date(2024, 3, 10), "changed")
    assert row["median_before"] == pytest.approx(2.777778) and row["median_after"] == 5
    assert row["gained"] == [{"bucket": 50, "share": 0.4}] and row["lost"] == [{"bucket": 0, "share": 0.4}]
    assert row["withheld"] is None and row["movers"] == []


def test_by_build_days_are_those_of_the_builds():
    reverted = SCORE | {"axis": "build_date", "alert": "reverted", "closes": date(2024, 3, 1)}
    [row] = alert_rows([reverted], [], 0.02)
    assert (row["detected_date"], row["change_date"], row["closes"]) == (NIGHT, date(2024, 3, 4), date(2024, 2, 24))
    assert row["alert_id"] == alert_id(series_of(reverted), date(2024, 3, 4))


def test_what_is_small_or_noisy_is_withheld_with_the_reason():
    small, noisy = SCORE | {"effect": 0.0199}, SCORE | {"noisy": "5 changes within 140 days"}
    assert alert_rows([small], [], 0.0199)[0]["withheld"] is None
    assert alert_rows([small], [], 0.02)[0]["withheld"].startswith("small: 0.0199 of the clients moved")
    assert alert_rows([noisy], [], 0.02)[0]["withheld"] == "noisy: 5 changes within 140 days"


def test_ids_tell_series_and_changes_apart_and_nothing_else():
    others = [SCORE | {name: "other"} for name in ("axis", "app_name", "channel", "os", "probe", "key", "layout")]
    ids = {alert_id(series_of(row), SCORE["change_date"]) for row in (SCORE, *others)}
    assert len(ids) == 8 and alert_id(series_of(SCORE), NIGHT) not in ids
    assert alert_id(series_of(SCORE | {"score": 1, "submission_date": NIGHT}), SCORE["change_date"]) in ids


def test_each_alert_is_explained_by_its_own_parts_whatever_the_order():
    def part(of, since, value, clients):
        whole = {"dimension": value and "country", "value": value, "since": since, "n_clients": sum(clients.values())}
        buckets = [{"bucket": bucket, "clients": n} for bucket, n in clients.items()]
        return of | {"detected_date": NIGHT, "buckets": buckets} | whole

    beta = SCORE | {"channel": "beta"}
    parts = [part(of, since, None, {0: 50, 1: 50}) for of in (SCORE, beta) for since in (False, True)]
    parts += [part(beta, False, "DE", {0: 40}), part(beta, True, "DE", {0: 10, 1: 30})]
    found = alert_rows([beta, SCORE], reversed(parts), 0.02)
    assert [(row["channel"], row["movers"]) for row in found] == [
        (None, []), ("beta", [{"dimension": "country", "value": "DE", "effect": 0.75, "share": 0.4}]),
    ]  # fmt: skip
