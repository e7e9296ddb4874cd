"""What the warehouse says of single clients, and how little of its tables it asks for."""

import re
import uuid
import zlib
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.cli import main
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.history import history
from tests.dbt.project import main_ping
from tests.support import load_rows

DAILY, FIRST_SEEN = "derived.clients_daily_v1", "derived.clients_first_seen_v1"
MAIN, FLIGHT = "telemetry_stable.main_v4", "fleet_stable.flight_v1"
ONE, OTHER, NOBODY = sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, f"history/{n}")) for n in range(3))
SINCE, UNTIL = date(2025, 6, 1), date(2025, 6, 28)
RANGE = ("--since", str(SINCE), "--until", str(UNTIL))


def sample_id(client: str) -> int:
    return zlib.crc32(client.encode()) % 100


def day_row(client: str, day: str, app: str = "Firefox") -> dict:
    return {
        "submission_date": day,
        "app_name": app,
        "client_id": client,
        "sample_id": sample_id(client),
        "channel": "release",
        "pings_aggregated_by_this_row": 2,
        "active_hours_sum": 0.5,
    }


def ping(client: str, day: str, name: str, second: int, app: str = "Firefox") -> dict:
    said = {"sample_id": sample_id(client), "app_name": app, "channel": "beta", "os": "Linux", "country": "DE"}
    return main_ping(date.fromisoformat(day), name, client, second, **said)


def flight(client: str, day: str, name: str) -> dict:
    return {
        "document_id": name,
        "submission_timestamp": f"{day}T12:00:00Z",
        "client_id": client,
        "sample_id": sample_id(client),
        "normalized_app_name": "Fleet",
        "normalized_channel": "UA",
    }


@pytest.fixture(scope="module")
def warehouse(prepared_home) -> Warehouse:
    warehouse = Warehouse(prepared_home)
    days = ["2025-05-31", "2025-06-01", "2025-06-28", "2025-06-29"]
    rows = [day_row(ONE, day) for day in days] + [day_row(ONE, "2025-06-28", "Fleet"), day_row(OTHER, "2025-06-15")]
    load_rows(warehouse, DAILY, rows)
    pings = [ping(ONE, day, f"one-{day}-{second}", second) for day in days for second in (1, 59)]
    load_rows(warehouse, MAIN, [*pings, ping(OTHER, "2025-06-15", "other", 7), ping(NOBODY, "2025-05-01", "old", 0)])
    load_rows(warehouse, FLIGHT, [flight(ONE, "2025-06-28", "flight"), flight(ONE, "2025-05-31", "old-flight")])
    first_days = {"Firefox": "2025-05-01", "Fleet": "2025-04-01"}
    nobody = {"client_id": NOBODY, "sample_id": sample_id(NOBODY)}
    first_seen = [nobody | {"app_name": app, "first_seen_date": day} for app, day in first_days.items()]
    load_rows(warehouse, FIRST_SEEN, first_seen)
    yield warehouse
    since = {DAILY: "submission_date >= '2025-01-01'", FIRST_SEEN: "TRUE"}
    for table in (DAILY, FIRST_SEEN, MAIN, FLIGHT):
        of_days = since.get(table, "DATE(submission_timestamp) >= '2025-01-01'")
        warehouse.query(f"DELETE FROM {table} WHERE {of_days} AND client_id IN ('{ONE}', '{OTHER}', '{NOBODY}')")


@pytest.fixture
def home(warehouse, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_HOME", str(warehouse.settings.home))


def days_of(found) -> list[tuple]:
    return [(row["client_id"], str(row["submission_date"]), row["app_name"]) for row in found.days]


def test_days_come_newest_first_and_only_those_asked_for(warehouse):
    found = history(warehouse, [ONE], since=SINCE, until=UNTIL)
    assert days_of(found) == [
        (ONE, "2025-06-28", "Firefox"),
        (ONE, "2025-06-28", "Fleet"),
        (ONE, "2025-06-01", "Firefox"),
    ]
    assert (found.days[0]["pings"], found.days[0]["active_hours_sum"]) == (2, 0.5)


def test_pings_of_every_document_type_come_newest_first(warehouse):
    found = history(warehouse, [ONE], since=SINCE, until=UNTIL)
    assert [(row["document_type"], row["document_id"]) for row in found.pings] == [
        ("fleet/flight/1", "flight"),
        ("telemetry/main/4", "one-2025-06-28-59"),
        ("telemetry/main/4", "one-2025-06-28-1"),
        ("telemetry/main/4", "one-2025-06-01-59"),
        ("telemetry/main/4", "one-2025-06-01-1"),
    ]
    assert found.pings[1] == {
        "client_id": ONE,
        "submission_timestamp": datetime(2025, 6, 28, 0, 0, 59, tzinfo=UTC),
        "document_type": "telemetry/main/4",
        "document_id": "one-2025-06-28-59",
        "app_name": "Firefox",
        "channel": "beta",
        "os": "Linux",
        "country": "DE",
    }


def test_an_application_leaves_out_days_and_pings_of_others(warehouse):
    found = history(warehouse, [ONE], app="Fleet", since=SINCE, until=UNTIL)
    assert days_of(found) == [(ONE, "2025-06-28", "Fleet")]
    assert [row["document_id"] for row in found.pings] == ["flight"]


def test_several_clients_in_any_case_and_twice_come_one_after_the_other(warehouse):
    found = history(warehouse, [OTHER.upper(), ONE, ONE.upper()], since=SINCE, until=UNTIL)
    assert [row[:2] for row in days_of(found)] == [
        (ONE, "2025-06-28"),
        (ONE, "2025-06-28"),
        (ONE, "2025-06-01"),
        (OTHER, "2025-06-15"),
    ]
    assert [row["client_id"] for row in found.pings] == [ONE] * 5 + [OTHER]


def test_a_client_that_only_has_pings_is_found(warehouse):
    found = history(warehouse, [NOBODY], since=date(2025, 4, 30), until=date(2025, 5, 1))
    assert (found.days, [row["document_id"] for row in found.pings]) == ([], ["old"])


def test_without_days_it_is_the_28_up_to_yesterday(warehouse):
    before = datetime.now(UTC).date()
    with pytest.raises(WarehouseError) as raised:
        history(warehouse, [OTHER])
    ends = [day - timedelta(days=1) for day in (before, datetime.now(UTC).date())]
    texts = [f"nothing is known of {OTHER} from {end - timedelta(days=27)} to {end}" for end in ends]
    assert str(raised.value) in texts


@pytest.mark.parametrize(("app", "first_day"), [(None, "2025-04-01"), ("Firefox", "2025-05-01")])
def test_where_nothing_is_found_the_error_says_where_to_look(warehouse, app, first_day):
    with pytest.raises(WarehouseError, match=f"first seen on {first_day}, so widen the days with --since"):
        history(warehouse, [NOBODY], app=app, since=SINCE, until=UNTIL)


def test_every_query_names_days_then_sample_then_client_as_constants(warehouse):
    began = datetime.now(UTC)
    history(warehouse, [ONE, OTHER], app="Firefox", since=SINCE, until=UNTIL)
    jobs = warehouse.client.list_jobs(min_creation_time=began, all_users=True)
    sent = [job.query for job in jobs if job.job_type == "query" and OTHER in job.query]
    reads = [select for query in sent for select in query.split("UNION ALL")]
    assert sorted(re.search(r"FROM (\S+)", select)[1].replace("`", "") for select in reads) == [DAILY, FLIGHT, MAIN]
    samples = ", ".join(map(str, sorted({sample_id(ONE), sample_id(OTHER)})))
    for select in reads:
        day = "submission_date" if DAILY in select else "DATE(submission_timestamp)"
        assert (
            f"WHERE {day} BETWEEN DATE '{SINCE}' AND DATE '{UNTIL}' AND sample_id IN ({samples})"
            f" AND client_id IN ('{ONE}', '{OTHER}') AND " in select
        )


def test_tables_are_clustered_in_the_order_of_these_conditions_stable_ones_by_channel_before(warehouse):
    def definition(table):
        found = warehouse.client.get_table(table)
        return found.time_partitioning and found.time_partitioning.field, found.clustering_fields

    assert definition(DAILY) == ("submission_date", ["sample_id", "client_id"])
    assert definition(FIRST_SEEN) == (None, ["sample_id", "client_id"])
    for stable in (MAIN, FLIGHT):
        assert definition(stable) == ("submission_timestamp", ["normalized_channel", "sample_id", "client_id"])


def test_the_command_shows_days_before_pings(home, capsys):
    assert main(["history", ONE.upper(), *RANGE]) == 0
    shown = capsys.readouterr().out
    parts = ["Days", "2025-06-28", "2025-06-01", "Pings", "fleet/flight/1", "one-2025-06-28-59", "one-2025-06-01-1"]
    places = [shown.index(parts[0])]
    for part in parts[1:]:
        places.append(shown.index(part, places[-1]))
    assert main(["history", ONE, "--app", "Fleet", *RANGE]) == 0
    assert "Firefox" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((ONE[:-1], *RANGE), f"'{ONE[:-1]}' is not a client id; write it as 859c8a32-"),
        ((f"{ONE}' OR 'x", *RANGE), "is not a client id"),
        ((ONE, "--since", "2025-06-02", "--until", "2025-06-01"), "2025-06-02 is after 2025-06-01"),
        ((ONE, "--until", "1000-01-01"), "from 0999-12-05 to 1000-01-01"),
        ((ONE, "--app", "x'y", *RANGE), f"nothing is known of {ONE} in x'y from 2025-06-01 to 2025-06-28"),
    ],
)
def test_what_cannot_be_shown_is_one_line_that_names_it(home, capsys, arguments, said):
    assert main(["history", *arguments]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_date_that_is_none_is_bad_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["history", ONE, "--since", "June"])
    assert stopped.value.code == 2 and "'June' is not a date; write it as 2013-02-28" in capsys.readouterr().err
