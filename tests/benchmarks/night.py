"""What a night costs when there is nothing to do: the wall time of an empty day, with and without the scheduler."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from telemetry_warehouse import night
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.local import airflow, standins
from telemetry_warehouse.local.airflow_api import AirflowApi
from tests.benchmarks.__main__ import Result
from tests.conftest import temporary_home

# Up to yesterday, for which the scheduler would start a night of its own as soon as it may.
DAYS = [datetime.now(UTC).date() - timedelta(days=ago) for ago in (3, 2, 1)]
AIM_SECONDS = 60


def run() -> Iterator[Result]:
    with temporary_home() as settings:
        standins.up(settings, say=quiet)
        warehouse = Warehouse(settings)
        night.prepare(warehouse)
        night.run(warehouse, DAYS[0], "warm-up", quiet)
        began = datetime.now(UTC)
        night.run(warehouse, DAYS[1], "without Airflow", quiet)
        yield result(
            warehouse, "a night of an empty day, one process", began, datetime.now(UTC), "tables one after the other"
        )
        airflow.start(settings, quiet)
        api = AirflowApi(settings)
        api.wait_for_dag("night")
        midnight = datetime(DAYS[2].year, DAYS[2].month, DAYS[2].day, tzinfo=UTC)
        api.backfill("night", midnight, midnight)
        api.pause("night", False)
        while not (runs := [r for r in api.runs("night") if datetime.fromisoformat(r["logical_date"]) == midnight]):
            time.sleep(0.2)
        state = api.wait_for_run("night", runs[0]["dag_run_id"], 600)
        done = api.run("night", runs[0]["dag_run_id"])
        began, ended = (datetime.fromisoformat(done[name]) for name in ("start_date", "end_date"))
        yield result(
            warehouse,
            "a night of an empty day, under Airflow's scheduler",
            began,
            ended,
            f"{state}; aim below {AIM_SECONDS} s",
        )


def result(warehouse: Warehouse, name: str, began: datetime, ended: datetime, note: str) -> Result:
    """Against the time in which BigQuery jobs ran, one or several at once."""
    busy, jobs = busy_seconds(warehouse, began, ended)
    wall = (ended - began).total_seconds()
    bound = f"{busy:.1f} s in which one of its {jobs} BigQuery jobs ran"
    return Result(name, f"{wall:.1f} s", bound, wall / busy, note)


def busy_seconds(warehouse: Warehouse, began: datetime, ended: datetime) -> tuple[float, int]:
    """The time in which any BigQuery job ran that was begun between the two moments, and how many they were."""
    jobs = [
        job
        for job in warehouse.client.list_jobs(all_users=True, max_results=2000)
        if job.started and job.ended and began <= job.created <= ended
    ]
    busy, reached = 0.0, began
    for job in sorted(jobs, key=lambda job: job.started):
        start = max(job.started, reached)
        if job.ended > start:
            busy += (job.ended - start).total_seconds()
            reached = job.ended
    return busy, len(jobs)


def quiet(line: str) -> None:
    pass
