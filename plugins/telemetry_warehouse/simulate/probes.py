"""The histograms that simulated clients send, and the changes planted in them.

Each probe has a distribution over its buckets for every day: a log-normal or a table of weights, moved by what moves
real ones: slow and fast machines, weekends, a little of every day's own, and changes planted on known days.
"""

import datetime
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from telemetry_warehouse.layouts import BOOLEAN, CATEGORICAL, COUNT, EXPONENTIAL, LINEAR, Layout

MACHINES = {"slow": 1.3, "usual": 1.0, "fast": 0.8}  # how much longer the same work takes there
_WEEKEND = 1.04
_DAY_JITTER = 0.01
_RAMP_DAYS = 10
_SPIKE_DAYS = 3

KINDS = ("shift", "new mode", "spike", "gradual", "tiny")


@dataclass(frozen=True)
class Change:
    """A planted change of one probe from `day` on.

    `size` is, for "shift" and "tiny", how much everything grows (0.2: by 20%); for "spike" the same, for three days
    only; for "gradual" the growth that is reached, in equal steps, on the tenth day; for "new mode" the share of
    observations that move to four times where they were.
    """

    probe: str
    day: datetime.date
    kind: str
    size: float
    key: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind of change {self.kind!r} is not one of {', '.join(KINDS)}")

    def on(self, day: datetime.date) -> tuple[float, float]:
        """(factor on everything, share in the new mode) on a day."""
        age = (day - self.day).days
        if age < 0 or (self.kind == "spike" and age >= _SPIKE_DAYS):
            return 1.0, 0.0
        if self.kind == "new mode":
            return 1.0, self.size
        reached = min(1.0, (age + 1) / _RAMP_DAYS) if self.kind == "gradual" else 1.0
        return 1.0 + self.size * reached, 0.0


@dataclass(frozen=True)
class Probe:
    """A histogram: its layout, observations per ping, and either a log-normal (median, spread) or weights by bucket.

    `esr` limits a probe to the clients on the esr channel (True) or off it (False): there one probe has two layouts.
    """

    name: str
    layout: Layout
    per_ping: float
    median: float = 0.0
    spread: float = 0.0
    weights: tuple[float, ...] = ()
    key: str = ""
    esr: bool | None = None

    @cached_property
    def bounds(self) -> np.ndarray:
        return np.array(self.layout.bounds())

    @property
    def values(self) -> np.ndarray:
        """What an observation in each bucket adds to the histogram's sum; a count adds 1 from its only bucket."""
        return np.ones(self.layout.buckets, int) if self.layout.kind == COUNT else self.bounds

    def shares(self, factor: float, new_mode: float) -> np.ndarray:
        """The probability of each bucket when everything is `factor` times its usual and `new_mode` of it four times.

        Weights are tilted: the odds of each bucket against the one below it are multiplied by the factor.
        """
        usual = self._shares(factor)
        return usual if not new_mode else (1 - new_mode) * usual + new_mode * self._shares(4 * factor)

    def _shares(self, factor: float) -> np.ndarray:
        if self.weights:
            tilted = np.array(self.weights) * factor ** np.arange(len(self.weights))
            return tilted / tilted.sum()
        inner = (np.log(self.bounds[1:]) - math.log(self.median * factor)) / self.spread
        below = [0.5 * math.erfc(-z / math.sqrt(2)) for z in inner.tolist()]
        return np.diff([0.0, *below, 1.0])


_SHORT = Layout(EXPONENTIAL, 1, 10_000, 50)
_FRAME = Layout(LINEAR, 8, 792, 100)
_PERCENT = Layout(LINEAR, 1, 100, 20)
_YES_NO = Layout(BOOLEAN, 1, 2, 3)
_ONE_OF_8 = Layout(CATEGORICAL, 1, 50, 51)
_RESULT = Layout(LINEAR, 1, 16, 17)

PROBES = (
    Probe("GC_MS", _SHORT, 25, median=22, spread=0.4),
    Probe("CYCLE_COLLECTOR", _SHORT, 25, median=9, spread=0.8, esr=False),
    Probe("CYCLE_COLLECTOR", Layout(EXPONENTIAL, 1, 5_000, 30), 25, median=9, spread=0.8, esr=True),
    Probe("FX_TAB_SWITCH_TOTAL_E10S_MS", Layout(EXPONENTIAL, 1, 1_000, 20), 20, median=35, spread=0.5),
    Probe("INPUT_EVENT_RESPONSE_MS", _SHORT, 25, median=4, spread=0.5),
    Probe("MEMORY_TOTAL", Layout(EXPONENTIAL, 32_768, 16_777_216, 100), 3, median=900_000, spread=0.6),
    Probe("CONTENT_FRAME_TIME_VSYNC", _FRAME, 20, median=80, spread=0.5),
    Probe("PLACES_AUTOCOMPLETE_TIME_MS", Layout(LINEAR, 50, 1_000, 20), 15, median=160, spread=0.6),
    Probe("GC_MMU_50", _PERCENT, 15, median=45, spread=0.4),
    Probe("HTTP_CACHE_DISPOSITION", _RESULT, 20, weights=(0.55, 0.2, 0.15, 0.07, 0.03)),
    Probe("HTTP_CONNECTION_KIND", _ONE_OF_8, 12, weights=(0.4, 0.3, 0.15, 0.08, 0.04, 0.02, 0.005, 0.005)),
    Probe("GC_SLICE_WAS_LONG", _YES_NO, 10, weights=(0.8, 0.2)),
    Probe("BROWSER_IS_USER_DEFAULT", _YES_NO, 1, weights=(0.35, 0.65)),
    Probe("SEARCH_COUNT", Layout(COUNT, 1, 2, 3), 2, weights=(1.0,)),
    Probe("IPC_MESSAGE_TIME_MS", _SHORT, 10, median=3, spread=0.5, key="content"),
    Probe("IPC_MESSAGE_TIME_MS", _SHORT, 10, median=6, spread=0.4, key="gpu"),
    Probe("IPC_MESSAGE_TIME_MS", _SHORT, 5, median=5, spread=0.8, key="socket"),
)


def default_changes(first_day: datetime.date) -> list[Change]:
    """Changes for a run of 29 days or more, late enough that a detector has its reference days by then.

    A probe that is not named here never changes; GC_SLICE_WAS_LONG changes too little for anyone to be told.
    """
    day = [first_day + datetime.timedelta(days=n) for n in range(24)]
    return [
        Change("CONTENT_FRAME_TIME_VSYNC", day[18], "gradual", 0.5),
        Change("GC_MS", day[22], "shift", 0.3),
        Change("INPUT_EVENT_RESPONSE_MS", day[22], "shift", 0.3),
        Change("HTTP_CACHE_DISPOSITION", day[22], "shift", 0.5),
        Change("GC_MMU_50", day[22], "spike", 0.3),
        Change("FX_TAB_SWITCH_TOTAL_E10S_MS", day[23], "new mode", 0.2),
        Change("IPC_MESSAGE_TIME_MS", day[23], "shift", 0.4, key="gpu"),
        Change("GC_SLICE_WAS_LONG", day[22], "tiny", 0.02),
    ]


def distributions(day: datetime.date, seed: int, changes: list[Change]) -> list[np.ndarray]:
    """For each of PROBES, the shares of its buckets by machine: arrays (machines, buckets).

    The buckets end where a table of weights ends.
    """
    weekend = _WEEKEND if day.weekday() >= 5 else 1.0
    jitter = np.exp(_DAY_JITTER * np.random.default_rng([seed, 1, day.toordinal()]).standard_normal(len(PROBES)))
    result = []
    for probe, own in zip(PROBES, jitter.tolist(), strict=True):
        factor, new_mode = weekend * own, 0.0
        for change in changes:
            if (change.probe, change.key) == (probe.name, probe.key):
                grown, moved = change.on(day)
                factor, new_mode = factor * grown, max(new_mode, moved)
        result.append(np.array([probe.shares(factor * machine, new_mode) for machine in MACHINES.values()]))
    return result
