"""The change detector: a night, and a year from scratch, beside the least that any method on shares must do."""

from collections.abc import Iterator

from tests.benchmarks.__main__ import Result
from tests.changes.measure import SERIES, SPEEDS, measured_speed

SEED = 20131
AIM_SECONDS = {"a night": 2, "from scratch": 10}


def run() -> Iterator[Result]:
    for what, (days, start) in SPEEDS.items():
        took = measured_speed(SEED, days, start)
        judged = days - start
        yield Result(
            f"change detection, {what}: {SERIES:,} series × {judged} days × 50 buckets",
            f"{took.seconds:.1f} CPU s, {SERIES * judged / took.seconds:,.0f} series-days/s, {took.megabytes:,.0f} MB",
            f"{took.bound:.2f} CPU s for the square roots of the shares alone",
            took.seconds / took.bound,
            f"aim at most {AIM_SECONDS[what]} s and 1,000 MB",
        )
