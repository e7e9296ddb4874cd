"""Which alarms of a night stand, so that of all that stand in a calendar month few are expected to be false.

Every series judged on a night is a hypothesis, "this series has not changed", with an e-value: a number that is 1 or
less on average where the hypothesis holds. The night's alarms are chosen by e-BH (Wang and Ramdas, 2022), with the
month's level spread evenly over its nights and raised by what stood before in the month, as e-LOND does (Xu and Ramdas,
2024): k alarms stand if each has an e-value of at least series × 31 / (false_share × (k + those before in the month)).
That holds the expected share of false alarms whatever the dependence between series and nights, and a month in which
nothing changes has any alarm at all with at most that probability.

The e-value of a score comes from simulation, not from theory: see docs/changes.md.
"""

import numpy as np

from telemetry_warehouse.changes.window import MIN_SCORE

NIGHTS_OF_A_MONTH = 31
# e = 10^3.6 × exp(1.2 × (score − 5)): on unchanged series a night scores 5 or more three times in 100,000, and the rest
# falls off by a factor of exp(1.7) for each unit of score.
_LOG10_AT_LEAST_SCORE = 3.6
_LOG10_PER_SCORE = 1.2 / np.log(10)
# One day in a hundred is odd by itself, whatever its score; so many days alone say no more than this.
_LOG10_PER_DAY = 2.0
_LOG10_OF_NO_DAY = -0.7


def log10_e(score: float, days: int) -> float:
    """log10 of the e-value of an alarm with this score, `days` days after its change, that day included.

    -inf below MIN_SCORE: no evidence.
    """
    if not score >= MIN_SCORE:
        return -np.inf
    by_score = _LOG10_AT_LEAST_SCORE + _LOG10_PER_SCORE * (score - MIN_SCORE)
    return float(min(by_score, _LOG10_OF_NO_DAY + _LOG10_PER_DAY * days))


def stand(evidence: np.ndarray, series: int, before: int, false_share: float) -> np.ndarray:
    """Which alarms of a night stand, bool (alarms,).

    evidence: log10 of their e-values. series: how many were judged that night. before: how many stood before in the
    same calendar month.
    """
    if not len(evidence):
        return np.zeros(0, bool)
    ordered = np.sort(evidence)[::-1]
    k = np.arange(1, len(ordered) + 1)
    enough = ordered >= np.log10(series * NIGHTS_OF_A_MONTH / false_share) - np.log10(k + before)
    return evidence >= ordered[np.flatnonzero(enough)[-1]] if enough.any() else np.zeros(len(evidence), bool)
