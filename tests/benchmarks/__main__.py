"""`make bench`: runs every benchmark on servers of its own and writes docs/benchmarks.md.

A benchmark gives its figure, a bound measured in the same run on the same machine, and their ratio, so that results of
different machines can be compared. No test asserts any of it.
"""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime

from telemetry_warehouse.settings import ROOT

RESULTS = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Result:
    """One line of the results: what was measured, the bound, and the ratio of the first to the second."""

    name: str
    measured: str
    bound: str
    ratio: float
    note: str


def main() -> None:
    from tests.benchmarks import backfill, changes, gate, landing, million, night, reading

    results = []
    for benchmark in (changes, landing, night, reading, gate, million, backfill):
        for result in benchmark.run():
            print(
                f"{result.name}: {result.measured}; bound {result.bound}; ratio {result.ratio:.2f}. {result.note}",
                flush=True,
            )
            results.append(result)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}"
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d} ({machine}). Each figure stands beside a bound that was"
        " measured in the same run; compare ratios, not seconds.",
        "",
        "| what | measured | bound | ratio | |",
        "|---|---|---|---|---|",
        *(f"| {r.name} | {r.measured} | {r.bound} | {r.ratio:.2f} | {r.note} |" for r in results),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print(f"written to {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
