"""What the warehouse says of a simulated population is exactly what is true of it."""

from collections import Counter

import pytest

from telemetry_warehouse.estimate import stage_estimates
from tests.support import succeed

SPAN = "BETWEEN '2024-03-01' AND '2024-04-05'"


@pytest.fixture(scope="module")
def usage(simulated):
    return {row["submission_date"]: row for row in simulated.truth.usage}


def test_every_message_is_landed_or_an_error(simulated):
    totals = simulated.truth.totals
    assert (simulated.totals.received, simulated.totals.landed, simulated.totals.failed) == (
        totals["received"],
        totals["landed"],
        totals["malformed"],
    )
    assert min(totals[name] for name in ("malformed", "duplicates", "automation")) > 0


def test_live_holds_every_message_that_landed(chain, simulated):
    rows = chain.rows(
        "SELECT DATE(submission_timestamp) AS day, COUNT(*) AS n FROM telemetry_live.main_v4"
        f" WHERE DATE(submission_timestamp) {SPAN} GROUP BY day"
    )
    assert {r["day"].isoformat(): r["n"] for r in rows} == {
        row["submission_date"]: row["landed"] for row in simulated.truth.messages
    }


def test_errors_are_those_that_were_broken_by_day_and_step(chain, simulated):
    expected = Counter()
    for row in simulated.truth.errors:
        expected[row["submission_date"], row["error_type"]] += row["messages"]
    found = Counter()
    for table in ("telemetry_errors.pings", "unknown_errors.pings"):
        for row in chain.rows(
            f"SELECT DATE(submission_timestamp) AS day, error_type, COUNT(*) AS n FROM {table}"
            f" WHERE DATE(submission_timestamp) {SPAN} GROUP BY day, error_type"
        ):
            found[row["day"].isoformat(), row["error_type"]] += row["n"]
    assert found == expected


def test_stable_holds_exactly_the_true_documents(chain, simulated):
    found = Counter(
        (r["day"].isoformat(), r["document_id"], r["client_id"])
        for r in chain.rows(
            "SELECT DATE(submission_timestamp) AS day, document_id, client_id FROM telemetry_stable.main_v4"
            f" WHERE DATE(submission_timestamp) {SPAN}"
        )
    )
    expected = Counter((d["submission_date"], d["document_id"], d["client_id"]) for d in simulated.truth.documents())
    assert found == expected


def test_no_address_of_a_client_reached_a_table(chain, simulated):
    for table in ("telemetry_live.main_v4", "telemetry_errors.pings", "unknown_errors.pings"):
        [row] = chain.rows(
            f"SELECT COUNTIF(TO_JSON_STRING(t) LIKE '%203.0.113.%') AS found, COUNT(*) AS n FROM {table} AS t"
            f" WHERE DATE(submission_timestamp) {SPAN}"
        )
        assert row["found"] == 0 and row["n"] > 0


def test_daily_weekly_and_monthly_users_equal_the_truth_on_every_day(chain, usage):
    found = {
        r["day"].isoformat(): (r["dau"], r["wau"], r["mau"])
        for r in chain.rows(
            "SELECT submission_date AS day, SUM(dau) AS dau, SUM(wau) AS wau, SUM(mau) AS mau"
            f" FROM derived.active_users_v1 WHERE submission_date {SPAN} AND app_name = 'Firefox' GROUP BY day"
        )
    }
    assert found == {day: (row["dau"], row["wau"], row["mau"]) for day, row in usage.items()}


def test_the_tables_agree_with_each_other(chain, simulated):
    succeed(chain.settings, "check", simulated.first, simulated.last)


def test_what_the_stages_of_a_night_read_is_estimated_afterwards(chain, simulated):
    runs = chain.rows(
        "SELECT table_name, start_date, end_date, token, started_at, ended_at FROM monitoring.pipeline_runs"
        f" WHERE status = 'published' AND start_date = '{simulated.last}' AND end_date = '{simulated.last}'"
        " AND table_name IN ('derived.clients_last_seen_v1', 'derived.active_users_v1', 'derived.changes_v1',"
        " 'derived.change_scores_v1', 'derived.retention_v1')"
        " QUALIFY ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY ended_at) = 1"
    )
    read = {run["table_name"]: parts for run, parts in zip(runs, stage_estimates(chain, runs), strict=True)}
    assert read["derived.clients_last_seen_v1"]["build"].tables.keys() == {
        "derived.clients_last_seen_v1",
        "derived.clients_daily_v1",
    }
    assert "derived.change_scores_v1" in read["derived.changes_v1"]["build"].tables
    assert "derived.distributions_v1" in read["derived.change_scores_v1"]["build"].tables
    for table in ("derived.clients_last_seen_v1", "derived.active_users_v1", "derived.retention_v1"):
        assert min(part.rows for part in read[table].values()) > 0
    assert 0 < read["derived.active_users_v1"]["build"].bytes < read["derived.clients_last_seen_v1"]["build"].bytes


def test_each_clients_bits_are_the_days_of_its_documents(chain, simulated):
    from datetime import date

    seen = {}
    for document in simulated.truth.documents():
        seen.setdefault(document["client_id"], set()).add(date.fromisoformat(document["submission_date"]))
    expected = {}
    for day in (date(2024, 3, 15), date(2024, 4, 3), date(2024, 4, 5)):
        for client, of_client in seen.items():
            bits = sum(1 << (day - d).days for d in of_client if 0 <= (day - d).days < 28)
            if bits:
                expected[day, client] = bits
    found = {
        (r["submission_date"], r["client_id"]): r["days_seen_bits"]
        for r in chain.rows(
            "SELECT submission_date, client_id, days_seen_bits FROM derived.clients_last_seen_v1"
            " WHERE submission_date IN ('2024-03-15', '2024-04-03', '2024-04-05') AND app_name = 'Firefox'"
        )
    }
    assert found == expected


def test_first_and_second_days_are_those_of_the_documents(chain, simulated):
    days = {}
    for document in simulated.truth.documents():
        days.setdefault(document["client_id"], set()).add(document["submission_date"])
    found = {
        r["client_id"]: [r["first_seen_date"].isoformat(), r["second_seen_date"] and r["second_seen_date"].isoformat()]
        for r in chain.rows(
            "SELECT client_id, first_seen_date, second_seen_date FROM derived.clients_first_seen_v1"
            f" WHERE app_name = 'Firefox' AND first_seen_date {SPAN}"
        )
    }
    assert found == {client: (sorted(of_client) + [None])[:2] for client, of_client in days.items()}
