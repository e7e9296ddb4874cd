"""Measures the detector beside its peers on simulated series and prints docs/changes.md's tables.

`PYTHONPATH=plugins OMP_NUM_THREADS=1 .venv/pipeline/bin/python -m tests.changes.measure`, after `./setup.sh bench`.
"""

import argparse
import json
import multiprocessing
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from telemetry_warehouse.changes import martingale, scan
from telemetry_warehouse.changes.discoveries import log10_e, stand
from telemetry_warehouse.changes.scan import Tracker, checked_sample, walk
from telemetry_warehouse.changes.window import WINDOW
from telemetry_warehouse.settings import ROOT
from tests.changes.series import FIRST_DAY, KINDS, WORLDS, World, simulate

_AT_ONCE = 250
_CHANGE = 100
_WITHIN = 30
LARGE, SMALL = (1e4, 3e5), (1e3, 1e4)
OURS = "reference-window scan"
NIGHTS = 365
SERIES = 5000
# Alarms as (series, day), and CPU seconds, of each method.
Alarms = dict[str, tuple[list[tuple[int, int]], float]]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.changes.measure", description=__doc__)
    arguments.add_argument("--seed", type=int, default=20131, help="another seed is another world")
    arguments.add_argument("--years", type=int, default=1000, help="unchanged series-years a world")
    arguments.add_argument("--changed", type=int, default=200, help="changed series a kind and world")
    arguments.add_argument("--fleet", type=int, default=2000, help="series of a fleet")
    chosen = arguments.parse_args()
    compare(chosen.seed, chosen.years, chosen.changed)
    small(chosen.seed, chosen.changed)
    fleets(chosen.seed, chosen.fleet)
    speed(chosen.seed)


def compare(seed: int, years: int, changed: int) -> None:
    """Every method on the same series: false alarms a year, and what they find."""
    table: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for number, world in enumerate(WORLDS):
        false: dict[str, int] = {}
        for first in range(0, years, _AT_ONCE):
            simulated = simulate(world, [seed, number, 99, first], min(_AT_ONCE, years - first), NIGHTS)
            for name, (alarms, took) in _alarms(simulated).items():
                false[name] = false.get(name, 0) + len(alarms)
                seconds[name] = seconds.get(name, 0) + took
        for name, count in false.items():
            upper = chi2.ppf(0.95, 2 * count + 2) / 2 / years
            table.setdefault(name, []).append(f"{count / years:.3f} (<{upper:.3f})")
    for number, kind in enumerate(KINDS):
        for place, world in enumerate(WORLDS):
            simulated = simulate(
                world, [seed, number, place], changed, _CHANGE + _WITHIN, kind=kind, change=_CHANGE, clients=LARGE
            )
            for name, (alarms, _) in _alarms(simulated).items():
                table[name].append(_found(alarms, changed))
    print(f"false alarms a series-year of {years:,} unchanged ones, 1,000–300,000 clients (95%: below)")
    print(f"found within {_WITHIN} days @ median delay, {changed} series each, 10,000–300,000 clients; seed {seed}\n")
    columns = [f"false {w}" for w in WORLDS] + [f"{kind} {w}" for kind in KINDS for w in WORLDS]
    print("| method | " + " | ".join(columns) + " | series-days/s |")
    print("|---" * (len(columns) + 2) + "|")
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells) + f" | {2 * years * NIGHTS / seconds[name]:,.0f} |")


def _alarms(simulated: World) -> Alarms:
    found = {}
    for name, method in _methods().items():
        began = time.process_time()
        alarms = method(simulated.counts, FIRST_DAY, simulated.n_clients)
        found[name] = [(alarm.series, alarm.detected) for alarm in alarms], time.process_time() - began
    return found | _peers(simulated.counts)


def _methods() -> dict[str, Callable]:
    """Everything that takes series and gives alarms."""

    def filtered(counts, first_day, n_clients):
        return [alarm for alarm in martingale.scan(counts, first_day, n_clients) if alarm.effect >= 0.02]

    return {OURS: scan, "martingale as published": martingale.scan, "the same, effect of .02 at least": filtered}


def _peers(counts: np.ndarray) -> Alarms:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.npz"
        np.savez(path, counts=counts)
        command = [ROOT / ".venv/bench/bin/python", ROOT / "tests" / "changes" / "peers.py", path]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {
        name: ([tuple(alarm) for alarm in found["alarms"]], found["seconds"])
        for name, found in json.loads(done.stdout).items()
    }


def _found(alarms: list[tuple[int, int]], series: int) -> str:
    first: dict[int, int] = {}
    for one, day in sorted(alarms):
        if day >= _CHANGE:
            first.setdefault(one, day - _CHANGE)
    return f"{len(first) / series:.3f}@{np.median(list(first.values())):.0f}" if first else "0"


def small(seed: int, changed: int) -> None:
    """What is found in series of few clients, and how often the date is right."""
    print(f"\n{OURS} by clients a day: found within {_WITHIN} days @ median delay (share with the exact date)\n")
    columns = [(world, size) for world in WORLDS for size in (SMALL, LARGE)]
    print("| kind | " + " | ".join(f"{world} {low:,.0f}–{high:,.0f}" for world, (low, high) in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for number, kind in enumerate(KINDS):
        cells = []
        for place, (world, size) in enumerate(columns):
            simulated = simulate(
                world, [seed, 50 + number, place], changed, _CHANGE + _WITHIN, kind=kind, change=_CHANGE, clients=size
            )
            alarms = [a for a in scan(simulated.counts, FIRST_DAY, simulated.n_clients) if a.detected >= _CHANGE]
            exact = np.mean([a.changed == _CHANGE for a in alarms]) if alarms else 0
            cells.append(_found([(a.series, a.detected) for a in alarms], changed) + f" ({exact:.2f})")
        print(f"| {kind} | " + " | ".join(cells) + " |")


def fleets(seed: int, series: int, false_share: float = 0.05) -> None:
    """A year of a fleet of which some series change: of the alarms that stand, how many are false."""
    print(f"\na fleet of {series:,} series over {NIGHTS} nights, false_share {false_share}\n")
    print("| world | change | stand | of them false | found of the changed | median delay | each series by itself |")
    print("|---" * 7 + "|")
    for number, world in enumerate(WORLDS):
        for part in (0, 0.05, 0.5):
            print("| " + " | ".join(_fleet(world, [seed, 900 + number], series, part, false_share)) + " |", flush=True)


def _fleet(world: str, seed: list[int], series: int, part: float, false_share: float) -> list[str]:
    trackers, truth = [], {}
    rng = np.random.default_rng(seed)
    kinds = KINDS[:6]
    alone_true = alone_false = 0
    for number, first in enumerate(range(0, series, 50)):
        change = int(rng.integers(WINDOW, WINDOW + NIGHTS - 30))
        changing = rng.random() < part
        kind = kinds[number % len(kinds)] if changing else None
        simulated = simulate(world, [*seed, first], 50, WINDOW + NIGHTS, kind=kind, change=change if changing else None)
        if changing:
            truth |= {(number, one): change for one in range(50)}
        sample = checked_sample(simulated.counts, simulated.n_clients)
        trackers.append(Tracker(simulated.counts, sample, WINDOW))
        for alarm in scan(simulated.counts, FIRST_DAY, simulated.n_clients):
            true = changing and change <= alarm.detected <= change + _WITHIN + 30
            if alarm.detected >= WINDOW:
                alone_true, alone_false = alone_true + true, alone_false + (not true)
    nights = _Nights(trackers, series, false_share)
    found = [one for one in walk(trackers, range(WINDOW, WINDOW + NIGHTS), nights.accept) if one[1].score]
    delays: dict[tuple[int, int], int] = {}
    for number, alarm in found:
        changed = truth.get((number, alarm.series))
        if changed is not None and changed <= alarm.detected <= changed + _WITHIN + 30:
            delays.setdefault((number, alarm.series), alarm.detected - changed)
    true = sum(
        (number, alarm.series) in truth and 0 <= alarm.detected - truth[number, alarm.series] <= _WITHIN + 30
        for number, alarm in found
    )
    share = f"{len(delays) / len(truth):.3f}" if truth else "–"
    delay = f"{np.median(list(delays.values())):.0f}" if delays else "–"
    return [
        world,
        f"{len(truth):,}",
        f"{len(found):,}",
        f"{len(found) - true} ({(len(found) - true) / max(len(found), 1):.3f})",
        share,
        delay,
        f"{alone_true + alone_false:,}, {alone_false} of them false",
    ]


class _Nights:
    def __init__(self, trackers, series: int, false_share: float):
        self.trackers, self.series, self.false_share, self.before = trackers, series, false_share, {}

    def accept(self, day: int, found) -> np.ndarray:
        month = (day - WINDOW) // 31
        evidence = np.array([log10_e(alarm.score, alarm.days) for _, alarm in found])
        stands = stand(evidence, self.series, self.before.get(month, 0), self.false_share)
        self.before[month] = self.before.get(month, 0) + int(stands.sum())
        return stands


SPEEDS = {"a night": (WINDOW, WINDOW - 1), "from scratch": (NIGHTS, 0)}


class Speed(NamedTuple):
    """CPU seconds, those of taking √share of the same counts, which any method on shares must do, and peak memory."""

    seconds: float
    bound: float
    megabytes: float


def speed(seed: int) -> None:
    print("\n| 50 buckets, *hard* | CPU seconds | series-days/s | × √share | peak memory |")
    print("|---" * 5 + "|")
    for what, (days, start) in SPEEDS.items():
        took = measured_speed(seed, days, start)
        judged = SERIES * (days - start)
        print(
            f"| {what}: {SERIES:,} series × {days - start} days | {took.seconds:.1f} | {judged / took.seconds:,.0f} |"
            f" {took.seconds / took.bound:.0f} | {took.megabytes:,.0f} MB |",
            flush=True,
        )


def measured_speed(seed: int, days: int, start: int) -> Speed:
    """Of SERIES series, judged from day index `start` on."""
    # A process of its own, so that its memory is not that of what came before.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_speed, seed, days, start).result()


def _speed(seed: int, days: int, start: int) -> Speed:
    counts, n_clients = np.zeros((SERIES, days, 50), np.int32), np.zeros((SERIES, days), np.int64)
    parts = [slice(first, first + _AT_ONCE) for first in range(0, SERIES, _AT_ONCE)]
    for number, part in enumerate(parts):
        simulated = simulate("hard", [seed, 7, number], _AT_ONCE, days)
        counts[part], n_clients[part] = simulated.counts, simulated.n_clients
    began = time.process_time()
    for part in parts:
        np.sqrt(counts[part] / counts[part].sum(axis=2, keepdims=True))
    bound = time.process_time() - began
    began = time.process_time()
    if start:
        for part in parts:
            tracker = Tracker(counts[part], n_clients[part], start)
            list(walk([tracker], range(start, days), lambda day, found: np.ones(len(found), bool)))
    else:
        scan(counts, FIRST_DAY, n_clients)
    seconds = time.process_time() - began
    return Speed(seconds, bound, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
