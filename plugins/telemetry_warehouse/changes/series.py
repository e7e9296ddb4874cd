"""From rows of derived.distributions_v1 to the arrays that are judged.

A series is a probe (and key, and bucket layout) of an application, of all or of one channel and of all or of one
operating system, along one axis of days. A probe whose layout changes is another series, so it starts anew.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Counts held at once; a warehouse of many probes is judged block by block.
_BLOCK_COUNTS = 16_000_000

DISTRIBUTIONS = pa.schema(
    {
        "submission_date": pa.date32(),
        "axis": pa.string(),
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
    """What a series is of; channel or os None means all of them. axis: submission_date or build_date."""

    axis: str
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


def blocks(
    distributions: pa.Table | Iterable[Mapping],
    first_day: date,
    last_day: date,
    known: Mapping[SeriesKey, Iterable[int]],
) -> Iterator[Block]:
    """The series of first_day..last_day, in blocks.

    distributions: columns of the table, others are ignored; rows of other days too. known: buckets that a series has in
    any case, because something is known of them.
    """
    table = _as_table(distributions)
    days = (last_day - first_day).days + 1
    day = table["submission_date"].cast(pa.int32()).to_numpy() - (first_day - date(1970, 1, 1)).days
    inside = (day >= 0) & (day < days)
    table, day = table.filter(inside), day[inside]
    table = pa.concat_tables([table, _empty_rows(known, first_day)]).combine_chunks()
    day = np.append(day, np.zeros(len(table) - len(day), day.dtype))

    series, keys = _series_of_rows(table)
    n_clients = np.zeros((len(keys), days), np.int64)
    np.add.at(n_clients, (series, day), table["n_clients"].to_numpy())

    entries = _Entries(table, day, series, len(keys))
    wanted = np.flatnonzero(entries.widths > 0)
    wanted = wanted[np.argsort(entries.widths[wanted], kind="stable")]
    while len(wanted):
        size = max(1, _BLOCK_COUNTS // (days * int(entries.widths[wanted].max())))
        part, wanted = wanted[:size], wanted[size:]
        counts = entries.counts(part, days)
        yield Block([keys[s] for s in part], [entries.buckets(s) for s in part], counts, n_clients[part])


def _as_table(distributions) -> pa.Table:
    if not isinstance(distributions, pa.Table):
        return pa.Table.from_pylist([dict(row) for row in distributions], DISTRIBUTIONS)
    # An engine may say that some of them are never NULL.
    return distributions.select(DISTRIBUTIONS.names).cast(DISTRIBUTIONS)


def _empty_rows(known: Mapping[SeriesKey, Iterable[int]], day: date) -> pa.Table:
    rows = [
        {
            "submission_date": day,
            **key._asdict(),
            "n_clients": 0,
            "buckets": [{"bucket": bucket, "clients": 0} for bucket in buckets],
        }
        for key, buckets in known.items()
    ]
    return pa.Table.from_pylist(rows, DISTRIBUTIONS)


def _series_of_rows(table: pa.Table) -> tuple[np.ndarray, list[SeriesKey]]:
    """The series of each row, and the key of each series."""
    series = np.zeros(len(table), np.int64)
    for name in SeriesKey._fields:
        code = _codes(table[name]) + 1
        series = np.unique(series * (code.max(initial=0) + 1) + code, return_inverse=True)[1]
    first = np.unique(series, return_index=True)[1]
    columns = table.select(SeriesKey._fields).take(pa.array(first)).to_pylist()
    return series, [SeriesKey(**row) for row in columns]


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each value; -1 for NULL."""
    return column.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)


class _Entries:
    """The buckets of all rows as flat arrays ordered by series, and their places in the arrays of a block."""

    def __init__(self, table: pa.Table, day, series, n_series: int):
        lists = table["buckets"].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
        flat = pc.list_flatten(lists)
        bucket, clients = (pc.struct_field(flat, name).to_numpy() for name in ("bucket", "clients"))
        starts = np.cumsum(lengths) - lengths

        order = np.argsort(series, kind="stable")
        many = lengths[order]
        at = np.repeat(starts[order] - (np.cumsum(many) - many), many) + np.arange(many.sum())
        self.day, self.series = np.repeat(day[order], many), np.repeat(series[order], many)
        self.clients = clients[at]
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
