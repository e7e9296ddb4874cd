"""Doing it again changes nothing; what comes late gets in; what fails its gate does not."""

import json
from datetime import date

import orjson
import pytest

from telemetry_warehouse import night
from telemetry_warehouse.landing import land
from telemetry_warehouse.publishing import publish
from tests.support import checksums, command, succeed

DAYS = (date(2024, 3, 1), date(2024, 4, 5))


def a_ping(truth, day: date, number: int, received: str) -> tuple[bytes, dict]:
    """A good ping of a client that the simulation does not know."""
    with open(truth.folder.parent / "messages.ndjson", "rb") as lines:
        for line in lines:
            message = orjson.loads(line)
            if isinstance(message["data"], dict) and message["data"].get("version") == 4 and "id" in message["data"]:
                break
    document_id, client_id = f"{number:08x}-0000-4000-8000-000000000001", f"{number:08x}-0000-4000-8000-000000000002"
    document = message["data"] | {"id": document_id, "clientId": client_id}
    attributes = {
        "uri": f"/submit/telemetry/main/4/{document_id}",
        "submission_timestamp": received,
        "geo_country": "US",
    }
    return orjson.dumps(document), attributes


def users(chain, day: date) -> tuple[int, int]:
    [row] = chain.rows(
        f"SELECT SUM(dau) AS dau, SUM(mau) AS mau FROM derived.active_users_v1 WHERE submission_date = '{day}'"
    )
    return row["dau"], row["mau"]


def test_a_night_again_leaves_every_table_byte_identical(chain, simulated):
    before = checksums(chain, *DAYS)
    succeed(chain.settings, "night", "2024-04-05")
    assert checksums(chain, *DAYS) == before
    assert all(
        rows
        for table, (rows, _) in before.items()
        if "fleet" not in table and "left_out" not in table and "changes" not in table
    )


def test_a_day_again_out_of_order_leaves_every_table_byte_identical(chain, simulated):
    before = checksums(chain, *DAYS)
    succeed(chain.settings, "night", "2024-03-10")
    assert checksums(chain, *DAYS) == before


@pytest.fixture(scope="module")
def next_night(chain, simulated) -> date:
    """The night of 6 April, for which one ping was received in its last microsecond and landed by the night itself."""
    day = date(2024, 4, 6)
    publish(chain.settings, [a_ping(simulated.truth, day, 0xA1, "2024-04-06T23:59:59.999999Z")])
    succeed(chain.settings, "night", day)
    return day


def test_a_ping_of_2359_that_lands_after_midnight_is_in_its_days_tables(chain, next_night):
    assert users(chain, next_night)[0] == 1
    [row] = chain.rows(
        "SELECT COUNT(*) AS n FROM telemetry_stable.main_v4 WHERE DATE(submission_timestamp) = '2024-04-06'"
    )
    assert row["n"] == 1


def test_a_ping_that_lands_after_its_night_is_there_after_the_next(chain, simulated, next_night):
    publish(chain.settings, [a_ping(simulated.truth, next_night, 0xA2, "2024-04-06T12:00:00Z")])
    land(chain, until_empty=True)
    assert users(chain, next_night)[0] == 1
    assert night.stale_days(chain, date(2024, 4, 7)) == [next_night]
    succeed(chain.settings, "night", "2024-04-07")
    assert users(chain, next_night)[0] == 2
    assert night.stale_days(chain, date(2024, 4, 8)) == []


@pytest.fixture
def broken_expectation(chain):
    """clients_daily_v1 is expected to have no rows, as a manifest with that line in its YAML would say."""
    path = chain.settings.dbt_target / "manifest.json"
    whole = path.read_text()
    manifest = json.loads(whole)
    [node] = [n for n in manifest["nodes"].values() if n["name"] == "clients_daily_v1"]
    node["config"]["meta"]["expectations"].append(
        {"name": "broken_on_purpose", "query": "SELECT client_id, submission_date FROM {candidate}"}
    )
    path.write_text(json.dumps(manifest))
    yield
    path.write_text(whole)


def test_a_failing_gate_stops_the_night_publishes_nothing_and_says_what_failed(chain, simulated, broken_expectation):
    before = checksums(chain, *DAYS)
    done = command(chain.settings, "night", "2024-04-05")
    assert done.returncode == 1
    [line] = [text for text in done.stderr.splitlines() if text.startswith("warehouse:")]
    assert "derived.clients_daily_v1 2024-04-05" in line and "broken_on_purpose" in line and "client_id" in line
    assert "derived.clients_last_seen_v1 2024-04-05 waits for derived.clients_daily_v1 2024-04-05" in done.stdout
    assert "derived.histogram_aggregates_v1 2024-04-05: " in done.stdout
    assert checksums(chain, *DAYS) == before
    [run] = chain.rows(
        "SELECT status, error FROM monitoring.pipeline_runs WHERE table_name = 'derived.clients_daily_v1'"
        " ORDER BY started_at DESC LIMIT 1"
    )
    assert run["status"] == "failed" and "broken_on_purpose" in run["error"]
    candidate = line.rsplit(" ", 1)[1]
    assert chain.rows(f"SELECT COUNT(*) AS n FROM {candidate}")[0]["n"] > 0
    [result] = chain.rows(
        "SELECT passed, examples FROM monitoring.gate_results WHERE checked_date >= '2000-01-01'"
        " AND expectation = 'broken_on_purpose'"
    )
    assert not result["passed"] and len(json.loads(result["examples"])) == 3
