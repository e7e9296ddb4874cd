"""Simulated series of histograms whose changes are known: two worlds of noise, seven kinds of change.

A probe is a log-normal quantity (half of them with a second, slower mode) in exponential buckets. `week`: more spread
than multinomial, the quantity 4% larger at weekends, fewer clients then. `hard` adds to that a jitter of the quantity
from day to day (1%), a slow wander (1%, autocorrelation 0.6) and one day in a hundred when a fifth of the clients
report something else altogether.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from scipy.special import ndtr

FIRST_DAY = date(2024, 1, 1)  # a Monday
WORLDS = ("week", "hard")
KINDS = ("shift 10%", "shift 20%", "new mode", "bins swapped", "gradual", "3-day spike", "tiny")
_HIGHEST = 10_000


@dataclass(frozen=True)
class World:
    """counts (series, days, buckets), n_clients (series, days), and the day of the change."""

    counts: np.ndarray
    n_clients: np.ndarray
    change: int | None


def simulate(
    world: str,
    seed,
    series: int,
    days: int,
    buckets: int = 50,
    kind: str | None = None,
    change: int | None = None,
    clients: tuple[float, float] = (1e3, 3e5),
) -> World:
    """A World of `series` series with `clients` (from, to) a day; with a kind, each changes so on day `change`."""
    rng = np.random.default_rng(seed)
    day = np.arange(days)
    weekend = day % 7 >= 5
    edges = np.concatenate([[-np.inf], np.linspace(0, np.log(_HIGHEST), buckets - 1), [np.inf]])
    centre, width = rng.uniform(2, 6.5, (series, 1)), rng.uniform(0.4, 1.5, (series, 1))
    second = np.where(rng.random((series, 1)) < 0.5, rng.uniform(0.05, 0.4, (series, 1)), 0)
    far = rng.uniform(1, 2.5, (series, 1))

    move = 0.04 * weekend + np.zeros((series, 1))
    if world == "hard":
        move = move + rng.normal(0, 0.01, (series, days)) + _wander(rng, series, days, 0.01, 0.6)
    after = np.zeros(days, bool) if change is None else day >= change
    size = {"shift 10%": 0.1, "shift 20%": 0.2, "tiny": 0.005}.get(kind, 0)
    move = move + np.log1p(size) * after
    if kind == "gradual":
        move = move + np.log(1.25) * np.clip((day - change) / 30, 0, 1)
    odd = after & (day < change + 3) if kind == "3-day spike" else np.zeros(days, bool)
    strange = (0.2 * odd)[None, :] + np.zeros((series, 1))
    if world == "hard":
        strange = np.maximum(strange, 0.2 * (rng.random((series, days)) < 0.01))
    elsewhere = rng.uniform(1, 8, (series, days)) if kind != "3-day spike" else centre + 1.5 * width + np.zeros(days)

    def binned(mean, sd):
        return np.diff(ndtr((edges - mean[:, :, None]) / sd[:, :, None]), axis=2)

    wide = width + np.zeros(days)
    slow = second[:, :, None]
    shares = (1 - slow) * binned(centre + move, wide) + slow * binned(centre + far + move, wide / 3)
    shares = (1 - strange[:, :, None]) * shares + strange[:, :, None] * binned(elsewhere, np.full_like(elsewhere, 0.3))
    if kind == "new mode":
        part = (0.08 * after)[None, :, None]
        shares = (1 - part) * shares + part * binned(centre + 2 * width + np.zeros(days), np.full((series, days), 0.2))
    if kind == "bins swapped":
        _swap(rng, shares, after)
    level = 10 ** rng.uniform(*np.log10(clients), (series, 1)) * np.where(weekend, 0.7, 1)
    n_clients = rng.poisson(level * np.exp(rng.normal(0, 0.05, (series, days))))
    spread = 10 ** rng.uniform(np.log10(2), 1, (series, 1, 1))  # variance over the multinomial's
    rate = rng.gamma(np.maximum(shares * n_clients[:, :, None] / (spread - 1), 1e-12)) * (spread - 1)
    return World(rng.poisson(rate), n_clients, change)


def _wander(rng, series, days, sd, correlation):
    steps = rng.normal(0, sd, (series, days))
    steps[:, 1:] *= np.sqrt(1 - correlation**2)
    for day in range(1, days):
        steps[:, day] += correlation * steps[:, day - 1]
    return steps


def _swap(rng, shares, after):
    """Exchanges one of the two fullest buckets with the fullest that has at least 4 points of share less."""
    usual = shares.mean(axis=1)
    for one in range(len(shares)):
        order = np.argsort(usual[one])
        high = order[-1 - int(rng.integers(2))]
        low = order[np.searchsorted(usual[one][order], usual[one][high] - 0.04) - 1]
        days = np.flatnonzero(after)
        shares[one][np.ix_(days, [high, low])] = shares[one][np.ix_(days, [low, high])]
