"""Bucket layouts of histograms: the lower bounds that a probe's kind, range and bucket count stand for.

The linear and exponential layouts are those of Mozilla's histograms (base/histogram.cc, after Chromium): bucket 0 takes
what is below the range, the last bucket what is at its end or above.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

EXPONENTIAL, LINEAR, BOOLEAN, FLAG, COUNT, CATEGORICAL = range(6)
# As the column `layout` of histogram tables writes a layout, and a scalar.
_TEXT = re.compile(r"([0-5])/(\d{1,5})/(-?\d{1,18})-(-?\d{1,18})")
_SCALAR = "scalar/2-digits"
# Clients send the layout; one that would have more buckets is not believed.
_MOST_BUCKETS = 10_000


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

    @classmethod
    def parse(cls, text: str) -> "Layout | None":
        """The layout that the column `layout` names; None where it names none that a histogram can have."""
        match = _TEXT.fullmatch(text)
        if not match:
            return None
        kind, buckets, low, high = map(int, match.groups())
        least = 1 if kind == EXPONENTIAL else -math.inf
        return cls(kind, low, high, buckets) if least <= low < high and 3 <= buckets <= _MOST_BUCKETS else None


def ends(layout: str, buckets: Iterable[int]) -> list[int]:
    """Where each of these buckets, given by lower bounds in order, ends.

    A bucket reaches to the next one of its layout, and where the layout is not known to the next one given. The last,
    which has no end, ends where it begins.
    """
    buckets = list(buckets)
    if layout == _SCALAR:
        return [bucket + _width_of_scalar(bucket) for bucket in buckets]
    parsed = Layout.parse(layout)
    bounds = sorted({*buckets, *(parsed.bounds() if parsed else ())})
    after = [bisect_right(bounds, bucket) for bucket in buckets]
    return [bounds[place] if place < len(bounds) else bucket for place, bucket in zip(after, buckets, strict=True)]


def _width_of_scalar(bucket: int) -> int:
    """A scalar's bucket is the value with all but its two leading digits 0, rounded down."""
    largest = bucket if bucket >= 0 else -bucket - 1
    return 10 ** max(len(str(largest)) - 2, 0)


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
