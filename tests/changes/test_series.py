from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from telemetry_warehouse.changes import series
from telemetry_warehouse.changes.series import DISTRIBUTIONS, SeriesKey, blocks
from tests.changes.aggregates import UNIT, rows_of

FIRST = date(2024, 3, 1)
DAYS = 20
LAST = FIRST + timedelta(days=DAYS - 1)
SERIES = SeriesKey("submission_date", "App", "release", "Linux", "delay", "", "9/1-9")


def rows(count=100, days=DAYS, buckets=3, **of):
    counts = np.full((days, buckets), count)
    return rows_of(counts, counts.sum(axis=1), FIRST, **of)


def collected(aggregates) -> dict:
    """Series key → (buckets, counts without the padding, n_clients)."""
    return {
        key: (block.buckets[i].tolist(), block.counts[i, :, : len(block.buckets[i])], block.n_clients[i])
        for block in blocks(aggregates, FIRST, LAST, {})
        for i, key in enumerate(block.keys)
    }


def test_whatever_a_row_differs_in_is_another_series():
    parts = [
        {}, {"axis": "build_date"}, {"app_name": "Other"}, {"channel": None}, {"channel": "beta"}, {"os": None},
        {"probe": "other"}, {"key": "k"}, {"layout": "9/1-99"},
    ]  # fmt: skip
    found = collected([row for part in parts for row in rows(**part)])
    usual = dict(zip(SeriesKey._fields, SERIES, strict=True))
    assert set(found) == {SeriesKey(**(usual | part)) for part in parts}
    assert {clients.max() for _, _, clients in found.values()} == {300}


def test_days_without_rows_are_empty_and_rows_of_other_days_are_left_out():
    given = [row for row in rows() if row["submission_date"].day not in (3, 4)]
    outside = rows_of(np.full((40, 3), 5), np.full(40, 500), FIRST - timedelta(days=10))
    given += [row for row in outside if not FIRST <= row["submission_date"] <= LAST]
    (_, counts, n_clients) = collected(given)[SERIES]
    gaps = np.isin(np.arange(DAYS), (2, 3))
    assert counts.shape == (DAYS, 3)
    assert (n_clients == np.where(gaps, 0, 300)).all()
    assert (counts == np.where(gaps, 0, 100 * UNIT)[:, None]).all()


def test_buckets_are_ordered_and_may_lie_below_zero():
    given = rows(buckets=2)
    given[3]["buckets"] = [{"bucket": b, "clients": b * b} for b in (70, -15, 10)]
    buckets, counts, _ = collected(given)[SERIES]
    assert buckets == [-15, 0, 10, 70]
    assert counts[3].tolist() == [225, 0, 100, 4900]


def test_a_series_has_the_buckets_that_are_known_of_it():
    [block] = blocks(rows(), FIRST, LAST, {SERIES: [-5, 10, 99]})
    assert block.buckets[0].tolist() == [-5, 0, 10, 20, 99]
    assert block.counts[0, 0].tolist() == [0, 100 * UNIT, 100 * UNIT, 100 * UNIT, 0]
    assert block.n_clients[0].tolist() == [300] * DAYS


def test_blocks_stay_small_and_together_hold_everything(monkeypatch):
    given = [row for n in range(1, 8) for row in rows(buckets=n, probe=f"p{n}")]
    whole = collected(given)
    monkeypatch.setattr(series, "_BLOCK_COUNTS", DAYS * 10)
    parts = list(blocks(given, FIRST, LAST, {}))
    assert len(parts) > 3
    assert max(part.counts.size for part in parts) <= DAYS * 10
    for key, (buckets, counts, n_clients) in collected(given).items():
        assert buckets == whole[key][0] and (counts == whole[key][1]).all() and (n_clients == whole[key][2]).all()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("never_null", [False, True])
def test_an_arrow_table_gives_what_its_rows_give(chunked, never_null):
    given = rows() + rows(30, channel="beta", os=None) + rows(10, channel=None)
    table = pa.Table.from_pylist(given, DISTRIBUTIONS)
    if never_null:
        bucket = pa.struct([pa.field("bucket", pa.int64(), False), pa.field("clients", pa.int64(), False)])
        buckets = pa.field("buckets", pa.list_(pa.field("element", bucket, False)), False)
        table = table.cast(DISTRIBUTIONS.set(DISTRIBUTIONS.get_field_index("buckets"), buckets))
    if chunked:
        table = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    found, expected = collected(table), collected(given)
    assert list(found) == list(expected)
    for key in expected:
        assert all(np.array_equal(a, b) for a, b in zip(found[key], expected[key], strict=True))


def test_nothing_in_nothing_out():
    assert collected([]) == {}
    assert collected(pa.Table.from_pylist(rows()).slice(0, 0)) == {}
    assert collected([row | {"buckets": []} for row in rows()]) == {}
