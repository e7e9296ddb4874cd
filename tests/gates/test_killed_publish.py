"""A publish whose process, or whose transaction, ends in the middle."""

import time
from datetime import date

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.publish import announce, publish
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.tables import Table, column
from tests.conftest import environment_of
from tests.support import Command, sent

DAY = date(2013, 2, 1)
ROWS = Table(
    "killed_test", "rows_v1", (column("submission_date", "DATE"), column("n", "INT64")),
    partition_field="submission_date",
)  # fmt: skip
# The transaction deletes the day's rows, and then waits for these, which would take years.
ENDLESS = " CROSS JOIN ".join(f"UNNEST(GENERATE_ARRAY(1, 1000)) AS n{number}" for number in range(6))


def publish_candidate(arguments: list[str]) -> None:
    candidate, token = arguments
    publish(Warehouse(Settings.load()), ROWS, candidate, DAY, DAY, int(token))


def rows(warehouse) -> list[int]:
    found = warehouse.rows(f"SELECT n FROM {ROWS.id} WHERE submission_date = '{DAY}' ORDER BY n")
    return [row["n"] for row in found]


def recorded(warehouse, token: int) -> int:
    sql = "SELECT COUNT(*) AS n FROM monitoring.pipeline_runs WHERE table_name = @table AND token = @token"
    return warehouse.rows(sql, {"table": ROWS.id, "token": token})[0]["n"]


def test_a_publish_that_is_killed_within_its_transaction_is_no_publish(warehouse):
    warehouse.drop(ROWS.id)
    warehouse.ensure_dataset("killed_test_candidates")
    for name, select in (
        ("old", f"SELECT DATE '{DAY}' AS submission_date, 1 AS n"),
        ("new", f"SELECT DATE '{DAY}' AS submission_date, MAX(n0 * n1 + n2) AS n FROM {ENDLESS}"),
    ):
        warehouse.query(f"CREATE OR REPLACE VIEW killed_test_candidates.{name} AS {select}")
    old = announce(warehouse, ROWS, "old")
    publish(warehouse, ROWS, "killed_test_candidates.old", DAY, DAY, old)
    new = announce(warehouse, ROWS, "new")
    arguments, environment = ["killed_test_candidates.new", str(new)], environment_of(warehouse.settings)
    Command(publish_candidate, arguments, environment, sent("BEGIN TRANSACTION")).kill_at_its_point()

    while not (running := [j for j in warehouse.client.list_jobs(state_filter="running") if "killed_test" in j.query]):
        time.sleep(0.01)
    assert rows(warehouse) == [1]
    [job] = running
    job.cancel()
    while not job.done():
        time.sleep(0.01)
    assert rows(warehouse) == [1]
    assert (recorded(warehouse, old), recorded(warehouse, new)) == (1, 0)

    publish(warehouse, ROWS, "killed_test_candidates.old", DAY, DAY, new)
    assert rows(warehouse) == [1] and recorded(warehouse, new) == 1
