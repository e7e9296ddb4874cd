"""The text of the histograms in main pings: observations drawn, counted by bucket and written, many pings at a time."""

from functools import cache

import numpy as np

from telemetry_warehouse.simulate.probes import MACHINES, PROBES, Probe

_PRESENT = 0.95  # a ping has a probe's histogram
_MOST_IN_A_BUCKET = 127  # more than any ping has: observations are Poisson, of mean 25 at most


class Histograms:
    """The histograms of one day, whose distributions are those of probes.distributions for that day."""

    def __init__(self, distributions: list[np.ndarray]):
        self._cumulative = [_stacked(shares) for shares in distributions]

    def texts(self, machine: np.ndarray, esr: np.ndarray, rng: np.random.Generator) -> tuple[list[str], list[str]]:
        """The JSON of `histograms` and of `keyedHistograms` for pings from these machines (indices of MACHINES).

        `esr` says which pings come from that channel.
        """
        plain, keyed = [], {}
        for probe, cumulative in zip(PROBES, self._cumulative, strict=True):
            able = np.ones(len(esr), bool) if probe.esr is None else esr == probe.esr
            rows = np.flatnonzero(able & (rng.random(len(esr)) < _PRESENT))
            column = [""] * len(esr)
            texts = _histogram_texts(probe, cumulative, machine[rows], rng)
            for row, text in zip(rows.tolist(), texts, strict=True):
                column[row] = text
            (keyed.setdefault(probe.name, []) if probe.key else plain).append(column)
        by_probe = [[f'"{name}":{text}' for text in _objects(columns)] for name, columns in keyed.items()]
        return _objects(plain), _objects(by_probe)


def _histogram_texts(probe: Probe, cumulative: np.ndarray, machine: np.ndarray, rng: np.random.Generator) -> list[str]:
    """'"NAME":{...}' of the probe for each ping, given the kind of machine that each comes from."""
    n, buckets = len(machine), cumulative.shape[1]
    owner = np.repeat(np.arange(n), rng.poisson(probe.per_ping, n))
    # Row k of `cumulative` runs from k to k + 1, so that one search serves every kind of machine.
    found = np.searchsorted(cumulative.ravel(), rng.random(len(owner)) + machine[owner], side="right")
    counts = np.bincount(owner * buckets + found - machine[owner] * buckets, minlength=n * buckets).reshape(n, buckets)
    sums = (counts @ probe.values[:buckets]).tolist()
    shown = counts > 0
    if probe.weights:
        shown[:] = True  # real pings name empty buckets too
    row, bucket = np.nonzero(shown)
    items = _bucket_texts(probe)[bucket * (_MOST_IN_A_BUCKET + 1) + counts[row, bucket]].tolist()
    ends = np.cumsum(shown.sum(axis=1)).tolist()
    layout = probe.layout
    head = f'"{probe.key or probe.name}":{{"bucket_count":{layout.buckets},"histogram_type":{layout.kind},'
    head += f'"range":[{layout.low},{layout.high}],"sum":'
    return [
        f'{head}{total},"values":{{{",".join(items[start:end])}}}}}'
        for start, end, total in zip([0, *ends][:-1], ends, sums, strict=True)
    ]


@cache
def _bucket_texts(probe: Probe) -> np.ndarray:
    """'"bound":count' for every bucket and count."""
    texts = [f'"{bound}":{count}' for bound in probe.bounds.tolist() for count in range(_MOST_IN_A_BUCKET + 1)]
    return np.array(texts, object)


def _objects(columns: list[list[str]]) -> list[str]:
    """One JSON object per row from columns of members, '' where a row has none."""
    return ["{" + ",".join(filter(None, members)) + "}" for members in zip(*columns, strict=True)]


def _stacked(shares: np.ndarray) -> np.ndarray:
    """Cumulative shares (machines, buckets) with k added to row k, its last item exactly k + 1."""
    cumulative = np.cumsum(shares, axis=1)
    cumulative[:, -1] = 1.0
    return np.minimum(cumulative, 1.0) + np.arange(len(MACHINES))[:, None]
