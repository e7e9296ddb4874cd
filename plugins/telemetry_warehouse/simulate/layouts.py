"""Bucket layouts of histograms: the lower bounds that a probe's kind, range and bucket count stand for.

The linear and exponential layouts are those of Mozilla's histograms (base/histogram.cc, after Chromium): bucket 0 takes
what is below the range, the last bucket what is at its end or above.
"""

import math
from dataclasses import dataclass

EXPONENTIAL, LINEAR, BOOLEAN, FLAG, COUNT, CATEGORICAL = range(6)


@dataclass(frozen=True)
class Layout:
    """A histogram type (as pings number them), the lower bounds of buckets 1 and last, and the number of buckets."""

    kind: int
    low: int
    high: int
    buckets: int

    def bounds(self) -> list[int]:
        """The lower bound of every bucket, ascending; `buckets` of them."""
        spaced = exponential if self.kind == EXPONENTIAL else linear
        return spaced(self.low, self.high, self.buckets)


def exponential(low: int, high: int, buckets: int) -> list[int]:
    """Lower bounds that grow by a constant factor, at least by 1; bucket 0 starts at 0."""
    bounds = [0, low]
    while len(bounds) < buckets:
        step = (math.log(high) - math.log(bounds[-1])) / (buckets - len(bounds))
        bounds.append(max(bounds[-1] + 1, math.floor(bounds[-1] * math.exp(step) + 0.5)))
    return bounds


def linear(low: int, high: int, buckets: int) -> list[int]:
    """Evenly spaced lower bounds. Bucket 0 starts at 0, or one step below a range that itself starts below zero."""
    steps = max(buckets - 2, 1)
    bounds = [math.floor(low + (high - low) * i / steps + 0.5) for i in range(buckets - 1)]
    return [0 if low > 0 else bounds[0] - (bounds[1] - bounds[0]), *bounds]
