"""Time as the simulation keeps it: whole microseconds since 1970, UTC."""

import datetime

import numpy as np

DAY_IN_US = 86_400_000_000
HOUR_IN_US = 3_600_000_000

_EPOCH = datetime.date(1970, 1, 1).toordinal()


def days_since_1970(day: datetime.date) -> int:
    return day.toordinal() - _EPOCH


def midnight(day: datetime.date) -> int:
    """The first microsecond of a day."""
    return days_since_1970(day) * DAY_IN_US


def instants(microseconds: np.ndarray, unit: str = "us") -> list[str]:
    """RFC 3339 texts of an array of times, to the microsecond or the millisecond ("ms")."""
    return [text + "Z" for text in np.datetime_as_string(microseconds.astype("M8[us]"), unit=unit).tolist()]


def instant(microseconds: int) -> str:
    return instants(np.array([microseconds]))[0]
