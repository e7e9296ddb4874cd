"""A night of a million pings: where the time goes, table by table, and how much of it is not spent in the warehouse."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from telemetry_warehouse import night
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import standins
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.simulate.population import messages
from tests.benchmarks.__main__ import Result
from tests.benchmarks.night import busy_seconds, quiet
from tests.conftest import temporary_home

DAY = datetime.now(UTC).date() - timedelta(days=2)
PINGS = 1_000_000
CLIENTS = 5_500
LIVE = "telemetry_live.main_v4"
COPIES_AT_ONCE = 10
MOST_OVERHEAD_SECONDS = 10


def run() -> Iterator[Result]:
    with temporary_home() as settings:
        warehouse, landed = land_a_day(settings, CLIENTS)
        copies = PINGS // landed
        multiply(warehouse, copies)
        seconds = {outcome.table: outcome.seconds for outcome in night.run(warehouse, DAY, "a million pings", quiet)}
        stages = warehouse.rows(
            "SELECT table_name, started_at, ended_at, row_count"
            " FROM monitoring.pipeline_runs WHERE run = 'a million pings' ORDER BY started_at"
        )
        for stage in stages:
            # The record of a stage is a part of its publish.
            ended = stage["ended_at"] + timedelta(seconds=seconds[stage["table_name"]]["publish"])
            wall = (ended - stage["started_at"]).total_seconds()
            busy, jobs = busy_seconds(warehouse, stage["started_at"], ended)
            parts = ", ".join(f"{part} {took:.1f}" for part, took in seconds[stage["table_name"]].items())
            yield Result(
                f"a night of {landed * copies:,} pings: {stage['table_name']}",
                f"{wall:.1f} s ({parts}), {stage['row_count']:,} rows",
                f"{busy:.1f} s in which one of its {jobs} BigQuery jobs ran",
                wall / busy,
                f"{wall - busy:.1f} s are not SQL; aim below {MOST_OVERHEAD_SECONDS} s",
            )


def land_a_day(settings: Settings, clients: int) -> tuple[Warehouse, int]:
    """A warehouse with the pings of DAY in live, and how many they are."""
    standins.up(settings, say=quiet)
    warehouse = Warehouse(settings)
    night.prepare(warehouse)
    publish(settings, messages(clients=clients, first_day=DAY, days=1, seed=1))
    return warehouse, land(warehouse, until_empty=True).landed


def multiply(warehouse: Warehouse, copies: int, there: int = 1) -> None:
    """Puts the landed pings, which live has `there` times, beside themselves until it has them `copies` times, of other
    clients each time."""
    warehouse.ensure_dataset("benchmark")
    warehouse.query(
        "CREATE TABLE IF NOT EXISTS benchmark.landed AS"
        f" SELECT * FROM {LIVE} WHERE DATE(submission_timestamp) = '{DAY}'"
    )
    for first in range(there, copies, COPIES_AT_ONCE):
        _copy(warehouse, first, min(first + COPIES_AT_ONCE, copies) - 1)


def _copy(warehouse: Warehouse, first: int, last: int) -> None:
    """The landed pings again, from other clients: copies number `first` to `last`."""
    warehouse.query(
        f"INSERT INTO {LIVE} SELECT landed.* REPLACE ("
        "CONCAT(FORMAT('%08x', copy), SUBSTR(document_id, 9)) AS document_id,"
        " CONCAT(FORMAT('%08x', copy), SUBSTR(client_id, 9)) AS client_id)"
        f" FROM benchmark.landed AS landed CROSS JOIN UNNEST(GENERATE_ARRAY({first}, {last})) AS copy"
    )
