"""From rows of derived.histogram_aggregates_v1 to the arrays that `scan` judges.

A series is a probe (and key, and bucket layout) of an application over all channels and systems, and one more for each
channel. A probe whose layout changes is another series, so it starts anew. Clients without a channel count in the first
kind only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from telemetry_warehouse.changes.scan import MIN_CLIENTS
from telemetry_warehouse.changes.window import MIN_REFERENCE_DAYS

# Counts held at once; a warehouse of many probes is judged block by block.
_BLOCK_COUNTS = 16_000_000

AGGREGATES = pa.schema(
    {
        "submission_date": pa.date32(),
        "app_name": pa.string(),
        "channel": pa.string(),
        "os": pa.string(),
        "probe": pa.string(),
        "key": pa.string(),
        "layout": pa.string(),
        "n_clients": pa.int64(),
        "buckets": pa.list_(pa.struct({"bucket": pa.int64(), "clients": pa.int64()})),
    }
)


class SeriesKey(NamedTuple):
    """What a series is of; channel or os None means all of them."""

    app_name: str
    channel: str | None
    os: str | None
    probe: str
    key: str
    layout: str


@dataclass(frozen=True)
class Block:
    """Series of similar numbers of buckets, on a day axis without holes.

    counts: int64 (series, days, buckets), in units of 1e-9 clients. n_clients: int64 (series, days). buckets: for each
    series its lower bounds in order; where it has fewer than the block's widest, the last counts are empty.
    """

    keys: list[SeriesKey]
    buckets: list[np.ndarray]
    counts: np.ndarray
    n_clients: np.ndarray


def blocks(aggregates: pa.Table | Iterable[Mapping], first_day: date, last_day: date) -> Iterator[Block]:
    """The series of first_day..last_day that have enough clients ever to be judged, in blocks.

    aggregates: columns of the table, others are ignored; rows of other days too.
    """
    table = _as_table(aggregates)
    days = (last_day - first_day).days + 1
    day = table["submission_date"].cast(pa.int32()).to_numpy() - (first_day - date(1970, 1, 1)).days
    table, day = table.filter((day >= 0) & (day < days)), day[(day >= 0) & (day < days)]

    row, series, keys = _series_of_rows(table)
    n_clients = np.zeros((len(keys), days), np.int64)
    np.add.at(n_clients, (series, day[row]), table["n_clients"].to_numpy()[row])
    enough = (n_clients >= MIN_CLIENTS).sum(axis=1) >= MIN_REFERENCE_DAYS

    entries = _Entries(table, day, row, series, len(keys))
    wanted = np.flatnonzero(enough & (entries.widths > 0))
    wanted = wanted[np.argsort(entries.widths[wanted], kind="stable")]
    while len(wanted):
        size = max(1, _BLOCK_COUNTS // (days * int(entries.widths[wanted].max())))
        part, wanted = wanted[:size], wanted[size:]
        counts = entries.counts(part, days)
        yield Block([keys[s] for s in part], [entries.buckets(s) for s in part], counts, n_clients[part])


def _as_table(aggregates) -> pa.Table:
    if not isinstance(aggregates, pa.Table):
        aggregates = pa.Table.from_pylist([dict(row) for row in aggregates], AGGREGATES)
    return aggregates.combine_chunks()


def _series_of_rows(table: pa.Table) -> tuple[np.ndarray, np.ndarray, list[SeriesKey]]:
    """Each row belongs to one series, or to two: returns row indices, their series, and the key of each series."""
    names = ("app_name", "channel", "probe", "key", "layout")
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in names}
    app, channel, probe, key, layout = (_codes(table[name]) for name in names)
    row = np.concatenate([np.arange(len(table)), np.flatnonzero(channel >= 0)])
    own_channel = np.concatenate([np.full(len(table), -1), channel[channel >= 0]])
    series = np.zeros(len(row), np.int64)
    for code in (app[row], own_channel + 1, probe[row], key[row], layout[row]):
        series = np.unique(series * (code.max(initial=0) + 1) + code, return_inverse=True)[1]
    first = np.unique(series, return_index=True)[1]
    keys = [
        SeriesKey(
            columns["app_name"][r],
            None if c < 0 else columns["channel"][r],
            None,
            columns["probe"][r],
            columns["key"][r],
            columns["layout"][r],
        )
        for r, c in zip(row[first], own_channel[first], strict=True)
    ]
    return row, series, keys


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each value; -1 for NULL."""
    return column.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)


class _Entries:
    """The buckets of all rows as flat arrays ordered by series, and their places in the arrays of a block."""

    def __init__(self, table: pa.Table, day, row, series, n_series: int):
        lists = table["buckets"].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
        flat = pc.list_flatten(lists)
        bucket, clients = (pc.struct_field(flat, name).to_numpy() for name in ("bucket", "clients"))
        starts = np.cumsum(lengths) - lengths

        # One copy of a row's buckets for each series the row belongs to, series by series.
        order = np.argsort(series, kind="stable")
        row, series = row[order], series[order]
        many = lengths[row]
        at = np.repeat(starts[row] - (np.cumsum(many) - many), many) + np.arange(many.sum())
        self.day, self.series, self.clients = np.repeat(day[row], many), np.repeat(series, many), clients[at]
        self.first = np.searchsorted(self.series, np.arange(n_series + 1))

        values, code = np.unique(bucket, return_inverse=True)
        pairs, place = np.unique(self.series * max(len(values), 1) + code[at], return_inverse=True)
        self.bounds = values[pairs % max(len(values), 1)] if len(pairs) else values
        self.pair_first = np.searchsorted(pairs // max(len(values), 1), np.arange(n_series + 1))
        self.place = place - self.pair_first[self.series]
        self.widths = np.diff(self.pair_first)

    def buckets(self, series: int) -> np.ndarray:
        return self.bounds[self.pair_first[series] : self.pair_first[series + 1]]

    def counts(self, part: np.ndarray, days: int) -> np.ndarray:
        counts = np.zeros((len(part), days, self.widths[part].max()), np.int64)
        for i, series in enumerate(part):
            own = slice(self.first[series], self.first[series + 1])
            np.add.at(counts[i], (self.day[own], self.place[own]), self.clients[own])
        return counts
