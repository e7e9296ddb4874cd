"""Errors that a person is meant to read: one line that names the value and the fix."""

import re
from datetime import date

# Characters that move the cursor, end a line, change its direction or are not to be seen. Joiners (U+200C, U+200D) are
# not among them: scripts and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object, keep: str = "") -> str:
    """The text of anything that comes from data, as it can be printed in a line: what would move the cursor or fake a
    line is written as an escape such as \\x1b, but for the characters in `keep`."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), str(text))


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return _SHORT.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


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
