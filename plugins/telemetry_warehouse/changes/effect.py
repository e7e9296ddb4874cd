"""How much a distribution has changed: its quantiles before and after, and the buckets that gained and lost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from telemetry_warehouse.layouts import BOOLEAN, CATEGORICAL, FLAG, Layout, ends

# Of the buckets that gained, and of those that lost, as many are named.
MOST_BUCKETS = 3
# Decimals of what is stored.
DECIMALS = 6

Shares = Iterable[Mapping]


@dataclass(frozen=True)
class Effect:
    """Quantiles are in the probe's unit; None for categories, which have no order.

    gained, lost: the at most MOST_BUCKETS buckets whose share grew, or shrank, most, each with by how much (above 0).
    """

    median_before: float | None
    median_after: float | None
    p95_before: float | None
    p95_after: float | None
    gained: list[dict]
    lost: list[dict]


def effect(before: Shares, after: Shares, layout: str) -> Effect:
    """The effect of a change between two distributions, lists of {bucket, share}; layout as the tables write it.

    Raises ValueError where one of them holds nothing.
    """
    old, new = (_by_bucket(shares) for shares in (before, after))
    quantiles = [quantile(shares, layout, p) for p in (0.5, 0.95) for shares in (old, new)]
    moved = {bucket: round(new.get(bucket, 0) - old.get(bucket, 0), DECIMALS) for bucket in {*old, *new}}
    most = sorted(moved, key=lambda bucket: (-abs(moved[bucket]), bucket))
    gained = [{"bucket": bucket, "share": moved[bucket]} for bucket in most if moved[bucket] > 0]
    lost = [{"bucket": bucket, "share": -moved[bucket]} for bucket in most if moved[bucket] < 0]
    return Effect(*quantiles, gained[:MOST_BUCKETS], lost[:MOST_BUCKETS])


def quantile(shares: Mapping[int, float], layout: str, p: float) -> float | None:
    """Where the share p (0 to 1) of a distribution lies at or below, as if each bucket were filled evenly.

    shares: by lower bound, of any sum. None for categories. Raises ValueError where they hold nothing.
    """
    parsed = Layout.parse(layout)
    if parsed and parsed.kind in (BOOLEAN, FLAG, CATEGORICAL):
        return None
    filled = sorted(bucket for bucket, share in shares.items() if share > 0)
    if not filled:
        raise ValueError("a distribution without any share has no quantile")
    held = np.array([shares[bucket] for bucket in filled], float)
    below = np.concatenate([[0.0], np.cumsum(held)])
    wanted = p * below[-1]
    # A bound that is met exactly is met, whatever the sums' last digits are.
    place = min(int(np.searchsorted(np.round(below[1:] / below[-1], 2 * DECIMALS), p)), len(filled) - 1)
    end = ends(layout, sorted(shares))[sorted(shares).index(filled[place])]
    part = min(max((wanted - below[place]) / held[place], 0.0), 1.0)
    return round(float(filled[place] + part * (end - filled[place])), DECIMALS)


def total_variation(before: Mapping[int, int], after: Mapping[int, int]) -> float:
    """The total variation distance of two distributions given by their counts: 0 where they are alike, at most 1."""
    buckets = sorted({*before, *after})
    old, new = (np.array([counts.get(bucket, 0) for bucket in buckets], float) for counts in (before, after))
    return round(float(np.abs(new / new.sum() - old / old.sum()).sum() / 2), DECIMALS)


def _by_bucket(shares: Shares) -> dict[int, float]:
    return {one["bucket"]: one["share"] for one in shares}
