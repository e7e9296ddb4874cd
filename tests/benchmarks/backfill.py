"""A range in one pass against its nights: what SQL costs and what surrounds it, and the memory of our own process."""

import multiprocessing
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import backfill, lineage, night, plan, stages, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import standins
from telemetry_warehouse.plan import Plan, Planned
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.simulate.population import messages
from tests.benchmarks.__main__ import Result
from tests.benchmarks.night import busy_seconds, quiet
from tests.conftest import temporary_home

CLIENTS = 200_000
DAYS = 90
TIMED_NIGHTS = 10
# A client is seen on one day in so many, or the range would not fit on a machine of two cores.
ONE_DAY_IN = 10
# One query of histograms over more pings would want more memory than the stand-in has on a machine of 24 GB.
DAYS_AT_ONCE = 15
SIMULATED_CLIENTS = 500
SIMULATED_DAYS = 10
COPIES_AT_ONCE = 20
STABLE = "telemetry_stable.main_v4"
LIVE = "telemetry_live.main_v4"
AIM_SQL, AIM_OVERALL, AIM_RSS_MB = 2, 10, 1000


def run(
    clients: int = CLIENTS, days: int = DAYS, timed_nights: int = TIMED_NIGHTS, days_at_once: int = DAYS_AT_ONCE
) -> Iterator[Result]:
    end = datetime.now(UTC).date() - timedelta(days=2)
    start = end - timedelta(days=days - 1)
    with temporary_home() as settings:
        standins.up(settings, say=quiet)
        warehouse = Warehouse(settings)
        night.prepare(warehouse)
        pings = _fill_stable(warehouse, clients, start, end)
        # A process of its own, so that its memory is not that of what made the data.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            began, ended, rss_mb = pool.submit(_one_pass, str(settings.home), start, end, days_at_once).result()
        pass_busy, _ = busy_seconds(warehouse, began, ended)
        pass_wall = (ended - began).total_seconds()
        nights_busy = nights_wall = 0.0
        for number in range(timed_nights):
            day = end - timedelta(days=timed_nights - 1 - number)
            began = datetime.now(UTC)
            for step in _derived(warehouse):
                stages.run(warehouse, step, day, day, f"night of {day}", quiet)
            ended = datetime.now(UTC)
            nights_busy += busy_seconds(warehouse, began, ended)[0] * days / timed_nights
            nights_wall += (ended - began).total_seconds() * days / timed_nights
        name = f"{days} days of all derived tables for {clients:,} clients ({pings:,} pings)"
        how = f"{timed_nights} nights timed, scaled to {days}; the bound is one pass, {days_at_once} days a query"
        rest = (nights_wall - nights_busy, pass_wall - pass_busy)
        for what, nights, one_pass, aim in (
            ("SQL", nights_busy, pass_busy, f"; aim at least {AIM_SQL}"),
            ("what surrounds SQL", *rest, ""),
            ("overall", nights_wall, pass_wall, f"; aim at least {AIM_OVERALL}"),
        ):
            yield Result(f"{name}: {what}", f"{nights:.0f} s", f"{one_pass:.1f} s", nights / one_pass, how + aim)
        bound = f"{AIM_RSS_MB} MB is the aim"
        yield Result(f"{name}: peak memory of our process", f"{rss_mb:.0f} MB", bound, rss_mb / AIM_RSS_MB, "one pass")


def _derived(warehouse: Warehouse) -> list[lineage.Step]:
    return [step for step in lineage.load(warehouse.settings).steps if step.kind != "dedup"]


def _one_pass(home: str, start: date, end: date, days_at_once: int) -> tuple[datetime, datetime, float]:
    settings = {"WAREHOUSE_HOME": home, "WAREHOUSE_BACKFILL_DAYS": str(days_at_once)}
    warehouse = Warehouse(Settings.load(settings))
    began = datetime.now(UTC)
    planned = tuple(Planned(step, start, end) for step in _derived(warehouse))
    backfill.run(warehouse, plan.checked(warehouse, Plan(start, end, None, planned)), "one pass", quiet)
    ended = datetime.now(UTC)
    return began, ended, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _fill_stable(warehouse: Warehouse, clients: int, start: date, end: date) -> int:
    """Simulated pings, copied to other clients and days; how many there are."""
    simulated = min(clients, SIMULATED_CLIENTS)
    first = end - timedelta(days=SIMULATED_DAYS - 1)
    publish(warehouse.settings, messages(clients=simulated, first_day=first, days=SIMULATED_DAYS, seed=1))
    land(warehouse, until_empty=True)
    warehouse.ensure_dataset("benchmark")
    warehouse.query(
        "CREATE TABLE benchmark.landed AS SELECT *, DATE_DIFF(DATE(submission_timestamp), DATE"
        f" '{first}', DAY) AS nth_day FROM {LIVE} WHERE DATE(submission_timestamp) BETWEEN '{first}' AND '{end}'"
        " QUALIFY ROW_NUMBER() OVER (PARTITION BY document_id ORDER BY submission_timestamp) = 1"
    )
    copies = clients // simulated
    for low in range(0, copies, COPIES_AT_ONCE):
        high = min(low + COPIES_AT_ONCE, copies) - 1
        # A client's simulated days come again and again; of each time, one day in ONE_DAY_IN is kept, its own.
        again = f"DATE_DIFF(day, DATE '{start}', DAY)"
        bucket = f"MOD(ABS(IFNULL(sample_id, 0) * 7 + copy * 3 + {again}), {ONE_DAY_IN})"
        warehouse.query(
            f"INSERT INTO {STABLE} SELECT landed.* EXCEPT (nth_day) REPLACE ("
            f"CONCAT(FORMAT('%04x%04x', copy, {again}), SUBSTR(document_id, 9)) AS document_id,"
            " CONCAT(FORMAT('%08x', copy), SUBSTR(client_id, 9)) AS client_id,"
            " TIMESTAMP_ADD(submission_timestamp, INTERVAL DATE_DIFF(day, DATE(submission_timestamp), DAY) DAY)"
            " AS submission_timestamp)"
            f" FROM benchmark.landed AS landed CROSS JOIN UNNEST(GENERATE_ARRAY({low}, {high})) AS copy"
            f" CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(DATE '{start}', DATE '{end}')) AS day"
            f" WHERE MOD({again}, {SIMULATED_DAYS}) = nth_day AND {bucket} = 0"
        )
    # Dedup is not what is measured: its tables are as if it had been there.
    runs = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs)
    now = datetime.now(UTC)
    built = {"start_date": start, "end_date": end, "started_date": now.date(), "started_at": now, "ended_at": now}
    stable = [step.table for step in lineage.load(warehouse.settings).steps if step.kind == "dedup"]
    warehouse.load_rows(runs, ({"table_name": name, "status": "published", **built} for name in stable))
    days = f"DATE(submission_timestamp) BETWEEN '{start}' AND '{end}'"
    [row] = warehouse.rows(f"SELECT COUNT(*) AS n FROM {STABLE} WHERE {days}")
    return row["n"]
