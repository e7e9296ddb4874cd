from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from telemetry_warehouse.changes import series
from telemetry_warehouse.changes.scan import MIN_CLIENTS
from telemetry_warehouse.changes.series import SeriesKey, blocks
from tests.changes.aggregates import UNIT, rows_of

FIRST = date(2024, 3, 1)
DAYS = 20
LAST = FIRST + timedelta(days=DAYS - 1)


def rows(count=100, days=DAYS, buckets=3, **of):
    counts = np.full((days, buckets), count)
    return rows_of(counts, counts.sum(axis=1), FIRST, **of)


def collected(aggregates) -> dict:
    """Series key → (buckets, counts without the padding, n_clients)."""
    return {
        key: (block.buckets[i].tolist(), block.counts[i, :, : len(block.buckets[i])], block.n_clients[i])
        for block in blocks(aggregates, FIRST, LAST)
        for i, key in enumerate(block.keys)
    }


def test_one_series_over_all_channels_and_one_for_each_channel_over_all_systems():
    unknown = rows(10, channel=None) + rows(7, channel=None, os="Mac")
    found = collected(rows(100) + rows(30, os="Mac") + rows(200, channel="beta") + unknown)
    totals = {key: (counts[0, 0] // UNIT, clients[0]) for key, (_, counts, clients) in found.items()}
    assert totals == {
        SeriesKey("App", None, None, "delay", "", "9/1-9"): (347, 3 * 347),
        SeriesKey("App", "release", None, "delay", "", "9/1-9"): (130, 390),
        SeriesKey("App", "beta", None, "delay", "", "9/1-9"): (200, 600),
    }


def test_applications_probes_keys_and_layouts_are_apart():
    parts = [{}, {"app_name": "Other"}, {"probe": "other"}, {"key": "k"}, {"layout": "9/1-99"}]
    found = collected([row for part in parts for row in rows(**part)])
    assert len(found) == 2 * len(parts)
    assert {clients.max() for _, _, clients in found.values()} == {300}


def test_days_without_rows_are_empty_and_rows_of_other_days_are_left_out():
    given = [row for row in rows() if row["submission_date"].day not in (3, 4)]
    outside = rows_of(np.full((40, 3), 5), np.full(40, 500), FIRST - timedelta(days=10))
    given += [row for row in outside if not FIRST <= row["submission_date"] <= LAST]
    (_, counts, n_clients) = collected(given)["App", None, None, "delay", "", "9/1-9"]
    gaps = np.isin(np.arange(DAYS), (2, 3))
    assert counts.shape == (DAYS, 3)
    assert (n_clients == np.where(gaps, 0, 300)).all()
    assert (counts == np.where(gaps, 0, 100 * UNIT)[:, None]).all()


def test_buckets_are_ordered_and_may_lie_below_zero():
    given = rows(buckets=2)
    given[3]["buckets"] = [{"bucket": b, "pings": 1, "clients": b * b} for b in (70, -15, 10)]
    buckets, counts, _ = collected(given)["App", None, None, "delay", "", "9/1-9"]
    assert buckets == [-15, 0, 10, 70]
    assert counts[3].tolist() == [225, 0, 100, 4900]


def test_series_that_never_have_enough_clients_are_left_out():
    few = rows_of(np.full((DAYS, 1), MIN_CLIENTS - 1), np.full(DAYS, MIN_CLIENTS - 1), FIRST, probe="few")
    young = rows(days=13, probe="young")
    assert {key.probe for key in collected(rows() + few + young)} == {"delay"}


def test_blocks_stay_small_and_together_hold_everything(monkeypatch):
    given = [row for n in range(1, 8) for row in rows(buckets=n, probe=f"p{n}")]
    whole = collected(given)
    monkeypatch.setattr(series, "_BLOCK_COUNTS", DAYS * 10)
    parts = list(blocks(given, FIRST, LAST))
    assert len(parts) > 3
    assert max(part.counts.size for part in parts) <= DAYS * 10
    for key, (buckets, counts, n_clients) in collected(given).items():
        assert buckets == whole[key][0] and (counts == whole[key][1]).all() and (n_clients == whole[key][2]).all()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_arrow_table_gives_what_its_rows_give(chunked):
    given = rows() + rows(30, channel="beta", os=None) + rows(10, channel=None)
    table = pa.Table.from_pylist(given)
    if chunked:
        table = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    found, expected = collected(table), collected(given)
    assert list(found) == list(expected)
    for key in expected:
        assert all(np.array_equal(a, b) for a, b in zip(found[key], expected[key], strict=True))


def test_sums_are_exact_beyond_what_a_double_holds():
    given = rows_of(np.full((DAYS, 1), 10**8), np.full(DAYS, 10**8), FIRST)
    given += rows_of(np.full((DAYS, 1), 1), np.ones(DAYS), FIRST, channel="beta")
    for row in given:
        row["buckets"][0]["clients"] += 1
    (_, counts, _) = collected(given)["App", None, None, "delay", "", "9/1-9"]
    assert counts[0, 0] == (10**8 + 1) * UNIT + 2


def test_nothing_in_nothing_out():
    assert collected([]) == {}
    assert collected(pa.Table.from_pylist(rows()).slice(0, 0)) == {}
    assert collected([row | {"buckets": []} for row in rows()]) == {}
