"""A simulated year, from its messages to every table: each row and column equals a plain computation from the pings.

The simulator's people come nearly every day; here they also stay away, for days or for months. A quarter of flights
comes with them, for clients without an id and an application that does not count pages. Messages become rows as they
do when they land; whether landing and the simulator are right is proved elsewhere.
"""

import random
import uuid
import zlib
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from functools import cache, cached_property

import orjson
import pytest

from telemetry_warehouse import dedup, schemas
from telemetry_warehouse.landing.document import Steps
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.simulate.flights import flights
from telemetry_warehouse.simulate.population import messages
from tests.dbt.project import SOURCES, Project
from tests.e2e import plain
from tests.e2e.test_flights_and_real_pings import DATED_AT, NOT_SAID, SAID_AT, at

# Nearly three weeks more than a year, so that the first cohorts are over before the end.
FIRST, LAST = date(2013, 1, 1), date(2014, 1, 19)
LAST_FLIGHT = date(2013, 3, 31)
CLIENT_DAY = ("submission_date", "app_name", "client_id")
RETENTION = ("submission_date", "window_days", "metric_date", *plain.GROUP)


# --- The messages


@cache
def away(client_id: str) -> set[date]:
    """The days on which a client is not there."""
    chance, day, days = random.Random(client_id), FIRST, set()
    keenness = chance.choice([0.05, 0.3, 0.9])
    while day <= LAST:
        for _ in range(chance.randrange(1, 60)):
            if chance.random() > keenness:
                days.add(day)
            day += timedelta(days=1)
        # Around four weeks, so that clients come back on the last day of the window and on the day after.
        for _ in range(chance.choice([0, 3, 26, 27, 28, 29, 90])):
            days.add(day)
            day += timedelta(days=1)
    return days


def sent():
    """(document, attributes) of everything that is sent; what is not a JSON object never lands."""
    for data, attributes in messages(clients=30, first_day=FIRST, days=(LAST - FIRST).days + 1, seed=36):
        try:
            document = orjson.loads(data)
            client_id = document["clientId"].lower()
        except (orjson.JSONDecodeError, TypeError, KeyError):
            continue
        if date.fromisoformat(attributes["submission_timestamp"][:10]) not in away(client_id):
            # Histograms are most of a ping, and no table of this test reads them.
            for name in ("histograms", "keyedHistograms"):
                del document["payload"][name]
            # A ping in fifty names no client.
            if (chance := zlib.crc32(attributes.get("uri", "").encode()) % 100) < 2:
                document["clientId"] = (None, *filter(None, plain.NO_CLIENTS))[chance + 1].upper()
            yield document, attributes
    for data, attributes in flights(FIRST, LAST_FLIGHT):
        document = orjson.loads(data)
        if document["client_id"] is None or document["tail_number"].endswith("9AA"):
            yield document, attributes


# --- What a ping says, read without the pipeline


def believed(days_since_1970: int | None) -> date | None:
    try:
        return None if days_since_1970 is None else date(1970, 1, 1) + timedelta(days=days_since_1970)
    except OverflowError:
        return None


def received(attributes: dict) -> dict:
    """What a ping's attributes say."""
    return {
        "document_id": attributes["uri"].split("/")[5].lower(),
        "submission_timestamp": datetime.fromisoformat(attributes["submission_timestamp"]),
        "country": attributes.get("geo_country"),
        "subdivision1": attributes.get("geo_subdivision1"),
        "city": attributes.get("geo_city"),
        "tags": attributes.get("x_source_tags"),
    }


def main_ping(document: dict) -> dict:
    os, application = at(document, "environment/system/os/name"), document["application"]
    said = {name: at(document, path) for name, path in SAID_AT.items()}
    dates = {name: believed(at(document, path)) for name, path in DATED_AT.items()}
    enrolled = at(document, "environment/experiments", {})
    return (
        said
        | dates
        | {
            "client_id": document["clientId"].lower(),
            "app_name": application["name"],
            "channel": application["channel"],
            "app_version": application["version"],
            "app_display_version": application["displayVersion"],
            "app_build_id": application["buildId"],
            "architecture": application["architecture"],
            "os": {"Windows_NT": "Windows", "WINNT": "Windows", "Darwin": "Mac"}.get(os, os),
            "experiments": {name: experiment["branch"] for name, experiment in enrolled.items()},
            "active_ticks": at(document, "payload/processes/parent/scalars/browser.engagement.active_ticks"),
            "reports_uris": True,
        }
    )


def flight_ping(document: dict) -> dict:
    minutes = document["duration_minutes"]
    return {
        "client_id": document["client_id"],
        "app_name": document["app_name"],
        "channel": document["channel"],
        "country": document["country"],
        "city": document["origin"],
        "duration": minutes and minutes * 60,
        "reports_uris": False,
    }


def as_ping(document: dict, attributes: dict) -> dict:
    said = main_ping(document) if "clientId" in document else flight_ping(document)
    sample_id = None if said["client_id"] is None else zlib.crc32(said["client_id"].encode()) % 100
    return NOT_SAID | received(attributes) | said | {"sample_id": sample_id}


# --- The tables as they are and as they should be


class Year(Project):
    """All tables of the year, built in one pass each."""

    def __init__(self, settings):
        super().__init__(settings, f"year_{uuid.uuid4().hex[:12]}")
        self.landed = self._land()
        self._deduplicate()
        for model in ("clients_daily_v1", "clients_left_out_v1", "clients_first_seen_v1", "clients_last_seen_v1"):
            self.build(model, FIRST, LAST)
        for model in ("active_users_v1", "retention_v1", "cohorts_v1"):
            self.build(model, FIRST, LAST)

    def _land(self) -> list[dict]:
        """Loads the live tables; returns the pings that are in them."""
        types = schemas.load(self.settings.schemas)
        steps, lines, pings = Steps(types), defaultdict(list), []
        for document, attributes in sent():
            arrived = datetime.fromisoformat(attributes["submission_timestamp"])
            row = steps.row(Message(orjson.dumps(document), attributes, "", arrived), arrived)
            if row.document_type is not None:
                lines[row.name].append(row.line)
                pings.append(as_ping(document, attributes))
        self.live = {}
        for name, source in SOURCES.items():
            type_name = schemas.TypeName(*source)
            self.live[name] = self._own(types[type_name].live)
            self.warehouse.ensure(self.live[name])
            self.warehouse.load(self.live[name], b"".join(lines[type_name]))
        return pings

    def _deduplicate(self) -> None:
        for name, live in self.live.items():
            columns = ", ".join(f"`{column}`" for column in self.table(name).column_names)
            for select in dedup.selects(live.id, FIRST, LAST, slices=3):
                self.warehouse.query(f"INSERT INTO {self.table(name).id} ({columns}) SELECT {columns} FROM ({select})")

    def read(self, name: str, columns: str = "*") -> list[dict]:
        table = self.table(name)
        days = f" WHERE {table.day} >= '1900-01-01'" if table.partition_field else ""
        return self.warehouse.arrow(f"SELECT {columns} FROM {table.id}{days}").to_pylist()

    # The same, from the pings.

    @cached_property
    def pings(self) -> list[dict]:
        return plain.deduplicated(self.landed)

    @cached_property
    def clients_daily(self) -> dict:
        return plain.clients_daily(self.pings)

    @cached_property
    def clients_last_seen(self) -> dict:
        return plain.clients_last_seen(self.clients_daily, FIRST, LAST)

    @cached_property
    def retention(self) -> dict:
        return plain.retention(self.clients_daily, self.clients_last_seen)

    @cached_property
    def cohorts(self) -> dict:
        return plain.cohorts(self.clients_daily, FIRST, LAST)


@pytest.fixture(scope="module")
def year(warehouse_home) -> Year:
    return Year(warehouse_home)


def assert_same(rows: list[dict], expected: dict[tuple, dict], *key: str) -> None:
    """Every row and every column; shows the first few that differ."""
    found = {tuple(row[name] for name in key): row for row in rows}
    assert len(found) == len(rows), "a key is there twice"
    assert (sorted(found.keys() - expected, key=str)[:3], sorted(expected.keys() - found, key=str)[:3]) == ([], [])
    differing = [each for each in expected if found[each] != expected[each]]
    shown = [
        (each, {n: (row.get(n, "absent"), want.get(n, "absent")) for n in row | want if row.get(n) != want.get(n)})
        for each in differing[:3]
        for row, want in [(found[each], expected[each])]
    ]
    assert not differing, f"{len(differing)} of {len(expected)} rows differ, such as (found, expected) {shown}"


# --- The tests


def test_the_year_has_what_can_go_wrong(year):
    landed = Counter(ping["document_id"] for ping in year.landed)
    days = defaultdict(set)
    for ping in year.landed:
        days[ping["document_id"]].add(ping["submission_timestamp"].date())
    assert {max(of) - min(of) for of in days.values()} >= {timedelta(days=n) for n in (0, 1, 2, 3)}
    kept = Counter(ping["document_id"] for ping in year.pings)
    assert max(landed.values()) > 2 and max(kept.values()) > 1, "a document that comes back after the look-back"
    tags = {ping["tags"] for ping in year.landed}
    assert tags >= {"automation", "perf, automation", "automation,nightly", "automation-free"}
    assert any(ping["client_id"] is None for ping in year.pings)

    ages = [row["profile_age_in_days"] for row in year.clients_daily.values()]
    assert None in ages and min(age for age in ages if age is not None) < 0
    firsts = plain.clients_first_seen(year.clients_daily).values()
    made = [(row["profile_creation_date"], row["first_seen_date"]) for row in firsts if row["profile_creation_date"]]
    assert any(FIRST < created == first for created, first in made), "made in the year"
    assert any(created < FIRST < first for created, first in made), "made before it"
    assert any(timedelta(days=0) < first - created <= timedelta(days=6) for created, first in made)

    gaps, of_client = set(), defaultdict(list)
    for day, app_name, client_id in sorted(year.clients_daily):
        if of_client[app_name, client_id]:
            gaps.add((day - of_client[app_name, client_id][-1]).days)
        of_client[app_name, client_id].append(day)
    assert gaps >= {27, 28, 29} and max(gaps) > 60

    first_painters = {
        (day, e["bits"]) for (day, *_), row in year.clients_last_seen.items() for e in row["experiments"]
        if e["key"] == "faster-first-paint"
    }  # fmt: skip
    assert date(2013, 1, 9) <= min(first_painters)[0] and max(first_painters)[0] < date(2013, 2, 19)
    assert any(bits & 1 for _, bits in first_painters) and (1 << 27) in {bits for _, bits in first_painters}
    assert {plain.segment(row["days_active_bits"].bit_count()) for row in year.clients_last_seen.values()} == {
        *plain.SEGMENTS,
        None,
    }


@pytest.mark.parametrize("name, app_name", [("main", "Firefox"), ("flight", "Fleet")])
def test_stable_holds_the_pings(year, name, app_name):
    found = Counter(tuple(row.values()) for row in year.read(name, "document_id, submission_timestamp"))
    expected = [ping for ping in year.pings if ping["app_name"] == app_name]
    assert found == Counter((ping["document_id"], ping["submission_timestamp"]) for ping in expected)


def test_clients_daily(year):
    assert_same(year.read("clients_daily_v1"), year.clients_daily, *CLIENT_DAY)


def test_pings_left_out(year):
    expected = plain.clients_left_out(year.pings)
    assert {reason for _, _, reason in expected} == set(plain.NO_CLIENTS.values())
    assert_same(year.read("clients_left_out_v1"), expected, "submission_date", "app_name", "reason")


def test_clients_first_seen(year):
    expected = plain.clients_first_seen(year.clients_daily)
    assert_same(year.read("clients_first_seen_v1"), expected, "app_name", "client_id")


def test_every_bit_of_every_pattern(year):
    assert_same(year.read("clients_last_seen_v1"), year.clients_last_seen, *CLIENT_DAY)


def test_daily_weekly_and_monthly_users(year):
    expected = plain.active_users(year.clients_last_seen)
    assert_same(year.read("active_users_v1"), expected, "submission_date", *plain.GROUP)


def test_retention(year):
    assert_same(year.read("retention_v1"), year.retention, *RETENTION)


def test_retention_had_something_to_count(year):
    for name in next(iter(year.retention.values())).keys() - {*RETENTION}:
        assert sum(row[name] or 0 for row in year.retention.values()) > 0, name


def test_no_part_of_retention_exceeds_its_whole(year):
    parts = {
        "active_on_metric_date_and_after": "active_on_metric_date",
        "active_on_metric_date": "active_in_week_0",
        **{f"active_in_week_0_and_{week}": "active_in_week_0" for week in (1, 2, 3)},
        **{f"new_profiles_active_in_week_{week}": "new_profiles" for week in (0, 1, 2, 3)},
    }
    rows = year.read("retention_v1")
    assert [(row, part) for row in rows for part, whole in parts.items() if (row[part] or 0) > row[whole]] == []


def test_cohorts(year):
    key = ("submission_date", "cohort_week", "weeks_since", "app_name", "channel", "country", "os")
    assert_same(year.read("cohorts_v1"), year.cohorts, *key)


def test_cohorts_begin_and_end_in_the_year(year):
    weeks = defaultdict(set)
    for row in year.cohorts.values():
        weeks[row["cohort_week"]].add(row["weeks_since"])
    assert weeks[date(2012, 12, 31)] == set(range(53)) and max(weeks[date(2013, 1, 14)]) == 52
    assert any(row["seen"] == 0 for row in year.cohorts.values())
    assert any(row["seen"] > row["active"] > 0 for row in year.cohorts.values())
