"""Measures the detector on simulated series and prints docs/changes.md's table: `python -m tests.changes.measure`."""

import argparse
import os
import time

import numpy as np
from scipy.stats import chi2

from telemetry_warehouse.changes import scan
from tests.changes.series import FIRST_DAY, KINDS, WORLDS, simulate

_AT_ONCE = 250
_CHANGE = 100
_WITHIN = 30
SIZES = {"1,000–10,000": (1e3, 1e4), "10,000–300,000": (1e4, 3e5)}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.changes.measure", description=__doc__)
    arguments.add_argument("--seed", type=int, default=20131, help="another seed is another world")
    arguments.add_argument("--years", type=int, default=1000, help="unchanged series-years a world")
    arguments.add_argument("--changed", type=int, default=200, help="changed series a kind, world and size")
    chosen = arguments.parse_args()
    _false_alarms(chosen.seed, chosen.years)
    _detections(chosen.seed, chosen.changed)
    _speed(chosen.seed)


def _false_alarms(seed: int, years: int) -> None:
    print(f"false alarms on unchanged series of 365 days, 50 buckets, 1,000–300,000 clients (seed {seed})")
    for number, world in enumerate(WORLDS):
        alarms, done = 0, 0
        while done < years:
            series = min(_AT_ONCE, years - done)
            simulated = simulate(world, [seed, number, 99, done], series, 365)
            alarms += len(scan(simulated.counts, FIRST_DAY, simulated.n_clients))
            done += series
        upper = chi2.ppf(0.95, 2 * alarms + 2) / 2
        print(f"  {world:5}{alarms:4} in {done:,} series-years = {alarms / done:.4f} (95%: below {upper / done:.4f})")


def _detections(seed: int, changed: int) -> None:
    print(f"\ndetected within {_WITHIN} days @ median delay in days (share with the exact date), {changed} series each")
    columns = [(world, size) for world in WORLDS for size in SIZES]
    print(f"  {'clients a day':14}" + "".join(f"{world + ' ' + size:>24}" for world, size in columns))
    for number, kind in enumerate(KINDS):
        seeds = ([seed, number, i] for i in range(len(columns)))
        cells = [_detected(kind, world, SIZES[size], next(seeds), changed) for world, size in columns]
        print(f"  {kind:14}" + "".join(f"{cell:>24}" for cell in cells))


def _detected(kind: str, world: str, clients, seed, changed: int) -> str:
    simulated = simulate(world, seed, changed, _CHANGE + _WITHIN, kind=kind, change=_CHANGE, clients=clients)
    first = {}
    for alarm in scan(simulated.counts, FIRST_DAY, simulated.n_clients, score_from=_CHANGE):
        first.setdefault(alarm.series, alarm)
    if not first:
        return "0"
    delay = np.median([alarm.detected - _CHANGE for alarm in first.values()])
    exact = np.mean([alarm.changed == _CHANGE for alarm in first.values()])
    return f"{len(first) / changed:.3f} @ {delay:.0f} ({exact:.2f})"


def _speed(seed: int) -> None:
    """CPU seconds, and their ratio to taking √share of the same counts, which any method on shares must do."""
    threads = "" if os.environ.get("OMP_NUM_THREADS") == "1" else " of all threads; OMP_NUM_THREADS=1 gives one core's"
    print(f"\nspeed, 50 buckets, CPU seconds{threads}")
    for what, series, days, start in (("a night", 1000, 63, 62), ("from scratch", 250, 365, 0)):
        simulated = simulate("hard", [seed, 7], series, days)
        began = time.process_time()
        counts = simulated.counts
        np.sqrt(counts / counts.sum(axis=2, keepdims=True))
        bound = time.process_time() - began
        began = time.process_time()
        scan(counts, FIRST_DAY, simulated.n_clients, score_from=start)
        took = time.process_time() - began
        judged = series * (days - start)
        print(
            f"  {what}: {series:,} series × {days - start} days in {took:.2f} s, {judged / took:,.0f} series-days/s,"
            f" {took / bound:.0f} × √share"
        )


if __name__ == "__main__":
    main()
