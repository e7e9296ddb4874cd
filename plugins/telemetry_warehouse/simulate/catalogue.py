"""What simulated clients are made of: places, systems, channels, settings, with how common each is."""

from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    country: str
    subdivision: str | None
    city: str | None
    utc_offset: int  # minutes that local time is ahead of UTC
    locale: str
    weight: float


class System(NamedTuple):
    name: str  # as the client reports it
    version: str
    architecture: str
    user_agent: str
    weight: float


class Channel(NamedTuple):
    name: str
    release_days: int  # a new build every so many days
    suffix: str  # of the version that people see
    weight: float


class Experiment(NamedTuple):
    name: str
    start: int  # the day of the simulation on which it starts, counted from 0
    days: int
    share: float
    branches: tuple[str, ...]


PLACES = (
    Place("US", "CA", "San Francisco", -480, "en-US", 14),
    Place("US", "NY", "New York", -300, "en-US", 14),
    Place("DE", "BE", "Berlin", 60, "de", 9),
    Place("DE", "BY", "München", 60, "de", 6),
    Place("FR", "IDF", "Paris", 60, "fr", 9),
    Place("BR", "SP", "São Paulo", -180, "pt-BR", 9),
    Place("IN", "KA", "Bengaluru", 330, "en-US", 9),
    Place("GB", "ENG", "London", 0, "en-GB", 7),
    Place("JP", "13", "Tokyo", 540, "ja", 6),
    Place("PL", None, None, 60, "pl", 5),
    Place("KE", None, "Nairobi", 180, "en-GB", 3),
    Place("NZ", None, "Auckland", 720, "en-GB", 2),
    Place("??", "??", "??", 0, "en-US", 2),
)

SYSTEMS = (
    System("Windows_NT", "10.0", "x86-64", "Windows NT 10.0; Win64; x64", 62),
    System("WINNT", "6.1", "x86", "Windows NT 6.1", 6),
    System("Darwin", "24.6.0", "aarch64", "Macintosh; Intel Mac OS X 10.15", 17),
    System("Linux", "6.8.0", "x86-64", "X11; Linux x86_64", 15),
)

CHANNELS = (
    Channel("release", 28, "", 74),
    Channel("esr", 28, "esr", 8),
    Channel("beta", 7, "b", 11),
    Channel("nightly", 1, "a1", 7),
)

EXPERIMENTS = (
    Experiment("tab-groups-rollout", 0, 400, 0.3, ("control", "treatment")),
    Experiment("faster-first-paint", 8, 14, 0.2, ("control", "lazy", "eager")),
)

DISTRIBUTIONS = ((None, 92), ("canonical", 5), ("yandex", 3))
MEMORY_MB = ((3_800, 15), (7_900, 40), (16_200, 35), (32_500, 10))  # the first is a slow machine, the last a fast one
SEARCH_ENGINES = (("google", 80), ("ddg", 15), ("bing", 5))

LONGEST_UPDATE_LAG = 20  # days until the last client has taken a new build

# Days since 1970 that some clients say their profile was made on: before the calendar, in the future, beyond any date.
ABSURD_CREATION_DAYS = (-800_000, -1, 0, 40_000, 10_000_000)


def choose(rng: np.random.Generator, weights, n: int) -> np.ndarray:
    """n indices drawn in proportion to the weights."""
    cumulative = np.cumsum(np.asarray(weights, float))
    return np.searchsorted(cumulative / cumulative[-1], rng.random(n), side="right")
