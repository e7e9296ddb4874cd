"""Days as people write them."""

import re
from datetime import date

from telemetry_warehouse.errors import Refused

_WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# No table looks further than some hundred days back or ahead, so that every day that it needs is one of the calendar.
FIRST = date(1000, 1, 1)
LAST = date(9000, 12, 31)


def parse_day(text: str) -> date:
    """The day that a person names; raises Refused, naming it, for what is not a day of FIRST..LAST as 2013-02-28."""
    try:
        day = date.fromisoformat(text) if _WRITTEN.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise Refused(f"{text!r} is not a date; write it as 2013-02-28")
    if not FIRST <= day <= LAST:
        raise Refused(f"{text} is too near to an end of the calendar; give a day from {FIRST} to {LAST}")
    return day
