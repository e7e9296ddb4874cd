"""Errors that a person is meant to read: one line that names the value and the fix."""

from datetime import date


def one_line(text: object) -> str:
    """The text of anything, an error of a library for one, without its line breaks."""
    return " ".join(str(text).split())


class WarehouseError(Exception):
    """Base of every expected failure; the command line prints it as one line and exits non-zero."""


class SettingsError(WarehouseError):
    """A setting in the environment that cannot be used."""


class NotRunning(WarehouseError):
    """A server that the work needs is not running."""


class GateFailed(WarehouseError):
    """A critical expectation did not hold; nothing was published.

    `table` is the one judged, `day` the first that failed, `expectations` the names of what did not hold.
    """

    def __init__(self, message: str, table: str, day: date, expectations: list[str]):
        super().__init__(message)
        self.table, self.day, self.expectations = table, day, expectations


class NotAllBuilt(WarehouseError):
    """Tables of a run failed or wait for others; what did not depend on them is published."""


class NightUnfinished(WarehouseError):
    """Tables of a night are not published although its deadline has passed."""


class NotPassed(WarehouseError):
    """The verdict that somebody asked for is that a day did not pass."""


class Behind(WarehouseError):
    """What waits on Pub/Sub grows faster than it lands."""


class Busy(WarehouseError):
    """Another run holds what this one needs; the same work may succeed later."""


class Refused(WarehouseError):
    """Work that would give wrong or incomplete tables, refused before it starts."""
