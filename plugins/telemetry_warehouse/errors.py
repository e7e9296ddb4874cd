"""Errors that a person is meant to read: one line that names the value and the fix."""


class WarehouseError(Exception):
    """Base of every expected failure; the command line prints it as one line and exits non-zero."""


class SettingsError(WarehouseError):
    """A setting in the environment that cannot be used."""


class NotRunning(WarehouseError):
    """A server that the work needs is not running."""


class GateFailed(WarehouseError):
    """A critical expectation did not hold; nothing was published."""


class Behind(WarehouseError):
    """What waits on Pub/Sub grows faster than it lands."""


class Busy(WarehouseError):
    """Another run holds what this one needs; the same work may succeed later."""


class Refused(WarehouseError):
    """Work that would give wrong or incomplete tables, refused before it starts."""
