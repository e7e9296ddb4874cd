"""The people behind the pings: who exists, who is active on a day, and what each of their pings says.

A population is stepped day by day. It keeps one row per living client, so memory follows the number of clients and
not the number of days; all of a day is drawn with array operations from that day's own random stream.
"""

import datetime
from dataclasses import dataclass

import numpy as np

from telemetry_warehouse.simulate import catalogue
from telemetry_warehouse.simulate.catalogue import choose
from telemetry_warehouse.simulate.clock import DAY_IN_US, HOUR_IN_US, days_since_1970, midnight

_BIRTHS = 0.013  # newcomers a day, as a share of the clients of the first day
_LEAVE = 0.008  # of the clients, every day
_LEAVE_AT_ONCE = 0.15  # of the newcomers, after their first day
_MOST_PINGS = 24  # of one client in a day
_LATE = 0.03

# How likely a ping is in each hour of the sender's local day.
_HOURS = (1, 1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 8, 8, 8, 8, 8, 8, 8, 8, 9, 10, 9, 6, 3)


@dataclass(frozen=True)
class Pings:
    """The pings that arrive on a day, in order of receipt; every array has one item per ping.

    `clients` is the population's table and `who` the rows in it; `received` and `made` are microseconds since 1970,
    `lengths` seconds, -1 where unknown; a ping without `engagement` does not say ticks, pages and tabs.
    """

    day: datetime.date
    clients: dict[str, np.ndarray]
    who: np.ndarray
    received: np.ndarray
    made: np.ndarray
    session_id: np.ndarray
    counter: np.ndarray
    profile_counter: np.ndarray
    lengths: np.ndarray
    engagement: np.ndarray
    ticks: np.ndarray
    uris: np.ndarray
    devtools: np.ndarray

    def __len__(self) -> int:
        return len(self.who)

    def of_client(self, column: str, rows: slice) -> np.ndarray:
        """The client's value of a column, for a slice of the pings."""
        return self.clients[column][self.who[rows]]


class Population:
    """Clients that come, are active by the rhythm of the week, and leave. `clients` of them live on the first day."""

    def __init__(self, clients: int, first_day: datetime.date, seed: int):
        self._births = clients * _BIRTHS
        self._seed = seed
        self._next_day = first_day
        rng = np.random.default_rng([seed, 0])
        age = rng.exponential(400, clients).astype(int) + 1
        self._clients = _make_clients(rng, days_since_1970(first_day) - age)

    def step(self) -> Pings:
        """The pings of the next day."""
        day, self._next_day = self._next_day, self._next_day + datetime.timedelta(days=1)
        rng = np.random.default_rng([self._seed, 0, day.toordinal()])
        self._clients = self._come_and_go(rng, days_since_1970(day))
        return self._send(rng, day)

    def _come_and_go(self, rng: np.random.Generator, today: int) -> dict[str, np.ndarray]:
        new = _make_clients(rng, np.full(rng.poisson(self._births), today))
        born = self._clients["born"]
        stays = rng.random(len(born)) >= np.where(born == today - 1, _LEAVE_AT_ONCE, _LEAVE)
        return {name: np.concatenate([column[stays], new[name]]) for name, column in self._clients.items()}

    def _send(self, rng: np.random.Generator, day: datetime.date) -> Pings:
        clients = self._clients
        chance = clients["weekend" if day.weekday() >= 5 else "weekday"]
        active = np.flatnonzero((rng.random(len(chance)) < chance) | (clients["born"] == days_since_1970(day)))
        how_many = np.minimum(1 + rng.poisson(clients["subsessions"][active]), _MOST_PINGS)
        who = np.repeat(active, how_many)
        clock = _time_of_day(rng, clients["utc_offset"][who])
        order = np.lexsort((clock, who))
        who, clock = who[order], clock[order]

        place = np.arange(len(who)) - np.repeat(np.cumsum(how_many) - how_many, how_many)
        starts = rng.random(len(who)) < np.where(place == 0, 0.85, 0.5)
        session_start = np.maximum.accumulate(np.where(starts | (place == 0), np.arange(len(who)), 0))
        continued = ~starts[session_start]  # its session began on a day before
        counter = np.arange(len(who)) - session_start + 1 + continued
        profile_counter = clients["sent"][who] + place + 1
        clients["sent"] = clients["sent"] + np.bincount(who, minlength=len(chance))

        eager = clients["eagerness"][who]
        lengths = np.minimum(rng.lognormal(7.5, 1.1, len(who)), 86_400).astype(int)
        ticks = np.minimum(rng.lognormal(4.0, 1.0, len(who)) * eager, lengths / 5).astype(int)
        uris = rng.poisson(rng.gamma(1.5, 8.0, len(who)) * eager)
        idle = rng.random(len(who)) < 0.12
        received = midnight(day) + clock
        late = (rng.random(len(who)) < _LATE) * rng.integers(1, 11, len(who))
        under_way = rng.exponential(30e6, len(who)).astype(int)

        columns = dict(
            who=who,
            received=received,
            made=received - under_way - late * DAY_IN_US + clients["clock_error"][who],
            session_id=uuids(rng, len(who))[session_start],
            counter=counter,
            profile_counter=profile_counter,
            lengths=np.where(rng.random(len(who)) < 0.005, -1, lengths),
            engagement=rng.random(len(who)) >= 0.02,
            ticks=np.where(idle, 0, ticks),
            uris=np.where(idle, 0, uris),
            devtools=rng.poisson(clients["devtools"][who]),
        )
        order = np.argsort(clock, kind="stable")
        return Pings(day=day, clients=clients, **{name: column[order] for name, column in columns.items()})


def _make_clients(rng: np.random.Generator, born: np.ndarray) -> dict[str, np.ndarray]:
    """One row per client; `born` is the day, counted from 1970, on which each first used the application."""
    n = len(born)
    place = choose(rng, [p.weight for p in catalogue.PLACES], n)
    weekday = rng.beta(5, 2.2, n)
    said = born - (rng.random(n) < 0.2) * rng.integers(1, 7, n)
    absurd = np.array(catalogue.ABSURD_CREATION_DAYS)[rng.integers(0, len(catalogue.ABSURD_CREATION_DAYS), n)]
    wrong_clock = rng.choice([-HOUR_IN_US, 2 * HOUR_IN_US, -10 * 365 * DAY_IN_US, 400 * DAY_IN_US], n)
    return {
        "client_id": uuids(rng, n),
        "born": born,
        "place": place,
        "utc_offset": np.array([p.utc_offset for p in catalogue.PLACES])[place],
        "system": choose(rng, [s.weight for s in catalogue.SYSTEMS], n),
        "channel": choose(rng, [c.weight for c in catalogue.CHANNELS], n),
        "distribution": choose(rng, [weight for _, weight in catalogue.DISTRIBUTIONS], n),
        "memory": choose(rng, [weight for _, weight in catalogue.MEMORY_MB], n),
        "engine": choose(rng, [weight for _, weight in catalogue.SEARCH_ENGINES], n),
        "is_default": choose(rng, (60, 35, 5), n),
        "update_lag": np.minimum(rng.geometric(0.25, n) - 1, catalogue.LONGEST_UPDATE_LAG),
        "creation_day": np.where(rng.random(n) < 0.03, absurd, said),
        "says_creation": rng.random(n) >= 0.01,
        "clock_error": np.where(rng.random(n) < 0.03, wrong_clock, 0),
        "weekday": weekday,
        "weekend": np.minimum(weekday * rng.uniform(0.3, 1.1, n), 1.0),
        "subsessions": rng.gamma(1.5, 1.2, n),
        "eagerness": rng.lognormal(0, 0.5, n),
        "devtools": np.where(rng.random(n) < 0.06, 0.5, 0.0),
        "sent": rng.integers(0, 200, n),
        **{f"branch of {e.name}": _branches(rng, e, n) for e in catalogue.EXPERIMENTS},
    }


def _branches(rng: np.random.Generator, experiment: catalogue.Experiment, n: int) -> np.ndarray:
    """The index of each client's branch, -1 for those who are not in the experiment."""
    return np.where(rng.random(n) < experiment.share, rng.integers(0, len(experiment.branches), n), -1)


def _time_of_day(rng: np.random.Generator, utc_offset: np.ndarray) -> np.ndarray:
    """Microseconds since UTC midnight. A few are the very first or the very last of the day."""
    n = len(utc_offset)
    local = choose(rng, _HOURS, n) * HOUR_IN_US + rng.integers(0, HOUR_IN_US, n)
    clock = (local - utc_offset * 60_000_000) % DAY_IN_US
    edge = rng.random(n)
    return np.select([edge < 0.001, edge < 0.004], [0, DAY_IN_US - 1], clock)


def uuids(rng: np.random.Generator, n: int) -> np.ndarray:
    """n random UUIDs (version 4) as text, an array of str objects."""
    digits = rng.bytes(16 * n).hex()
    return np.array([_uuid(digits[i : i + 32]) for i in range(0, 32 * n, 32)], dtype=object)


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
