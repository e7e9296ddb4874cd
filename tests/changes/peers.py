"""Run in the environment that has the peers: series in an .npz file → JSON with each peer's alarms and CPU seconds.

The file holds counts (series, days, buckets). A peer gets what its users would give it: river the mean bucket of each
day, in standard deviations of the first four weeks; crepes how far each day lies from the mean of the earlier ones;
ruptures, which looks back over all days at once, the roots of shares. Alarms are [series, day].
"""

import json
import sys
import time

import crepes
import numpy as np
import river
import ruptures
from crepes.martingales import SimpleJumper, semi_online_p_values
from river.drift import ADWIN, PageHinkley

THRESHOLD = 20


def main() -> None:
    counts = np.load(sys.argv[1])["counts"]
    shares = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)
    means = shares @ np.arange(counts.shape[2])
    usual = means[:, :28]
    means = (means - usual.mean(axis=1, keepdims=True)) / np.maximum(usual.std(axis=1, keepdims=True), 1e-9)
    peers = {
        f"river {river.__version__} ADWIN on the mean": lambda series: _river(ADWIN(), means[series]),
        f"river {river.__version__} PageHinkley on the mean": lambda series: _river(PageHinkley(), means[series]),
        f"crepes {crepes.__version__} SimpleJumper": lambda series: _crepes(shares[series]),
        f"ruptures {ruptures.__version__} KernelCPD, looking back": lambda series: _ruptures(np.sqrt(shares[series])),
    }
    found = {}
    for name, scan in peers.items():
        began = time.process_time()
        alarms = [[series, int(day)] for series in range(len(counts)) for day in scan(series)]
        found[name] = {"alarms": alarms, "seconds": time.process_time() - began}
    print(json.dumps(found))


def _river(detector, values) -> list[int]:
    alarms = []
    for day, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(day)
    return alarms


def _crepes(shares) -> list[int]:
    alarms, start = [], 0
    while start < len(shares) - 1:
        days = shares[start:]
        means = np.cumsum(days, axis=0)[:-1] / np.arange(1, len(days))[:, None]
        strange = np.append(0, np.linalg.norm(days[1:] - means, axis=1))
        values = SimpleJumper().apply(semi_online_p_values(strange, seed=0))
        above = np.flatnonzero(values >= THRESHOLD)
        if not len(above):
            return alarms
        start += int(above[0])
        alarms.append(start)
    return alarms


def _ruptures(roots) -> list[int]:
    noise = np.median(np.sum(np.diff(roots, axis=0) ** 2, axis=1)) / 2
    # The usual penalty of least squares: variance × log(days), here for all buckets together.
    penalty = 2 * noise * np.log(len(roots))
    return ruptures.KernelCPD(kernel="linear", min_size=3).fit(roots).predict(pen=penalty)[:-1]


if __name__ == "__main__":
    main()
