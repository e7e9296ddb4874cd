"""`make run`: real flights and a simulated population go through the whole warehouse, the last nights under Airflow.

Each finished part is written down in the home, so that a second run starts the servers and shows the summary again.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import backfill, night, plan
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.files import write_whole
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import airflow, standins
from telemetry_warehouse.local.airflow_api import AirflowApi
from telemetry_warehouse.publishing import publish, publish_file
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.simulate.flights import flights
from telemetry_warehouse.simulate.population import simulate
from telemetry_warehouse.summary import print_summary

# Six weeks, because the detector wants three to compare with; United's departures change in the last of them.
FLIGHTS = (date(2013, 2, 1), date(2013, 3, 14))
POPULATION_DAYS = 29
POPULATION_CLIENTS = 400
SEED = 2013
NIGHTS = 2

Say = Callable[[str], None]


def run(settings: Settings, say: Say, yesterday: date) -> None:
    """Runs what of the sample has not run in this home yet, then prints the summary."""
    began = time.monotonic()
    say("1. servers")
    standins.up(settings, say)
    settings = Settings.load()
    parts = _Parts(settings)
    # The days of a sample begun before midnight stay what they were.
    yesterday = date.fromisoformat(parts.remember("yesterday", yesterday.isoformat()))
    first = yesterday - timedelta(days=POPULATION_DAYS - 1)
    nights = (yesterday - timedelta(days=NIGHTS - 1), yesterday)
    warehouse = Warehouse(settings)
    night.prepare(warehouse)
    # Airflow takes a while to start and is first needed for the nights.
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(airflow.start, settings, say)
        _history(settings, warehouse, parts, first, nights[0] - timedelta(days=1), say)
        started.result()
    if "nights" not in parts.done:
        say(f"4. nights of {nights[0]} and {nights[1]} under Airflow's scheduler")
        _run_nights(settings, *nights, say)
        parts.remember("nights", "yes")
    say(f"done in {time.monotonic() - began:.0f} s\n")
    address = f"Airflow at {airflow.url(settings)}, user {airflow.USER}, password {airflow.password(settings)}"
    print_summary(warehouse, address, nights[1])


def _history(settings: Settings, warehouse: Warehouse, parts: "_Parts", first: date, last: date, say: Say) -> None:
    """Everything before the nights: the pings of all days, and the tables up to `last`."""
    if "landed" not in parts.done:
        say(f"2. pings of {FLIGHTS[0]}..{FLIGHTS[1]} (flights) and from {first} on (simulated)")
        _publish_and_land(settings, warehouse, first, say)
        parts.remember("landed", "yes")
    if "backfilled" not in parts.done:
        say("3. history: each table in one pass over the days")
        backfill.run(warehouse, plan.make(warehouse, *FLIGHTS), "sample-flights", say)
        backfill.run(warehouse, plan.make(warehouse, first, last), "sample-population", say)
        parts.remember("backfilled", "yes")


def _publish_and_land(settings: Settings, warehouse: Warehouse, first: date, say: Say) -> None:
    folder = settings.home / "sample"
    simulate(folder, clients=POPULATION_CLIENTS, first_day=first, days=POPULATION_DAYS, seed=SEED)
    sent = publish(settings, flights(*FLIGHTS))
    say(f"   {sent:,} flights published")
    sent = publish_file(settings, folder / "messages.ndjson", say=say)
    say(f"   {sent:,} simulated messages published; what is true of them is in {folder / 'truth'}")
    land(warehouse, until_empty=True, say=say)


def _run_nights(settings: Settings, first: date, last: date, say: Say) -> None:
    """Has the scheduler run the nights first..last, then lets it keep to its timetable."""
    api = AirflowApi(settings)
    api.wait_for_dag("night")
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last)]
    # Before the timetable is let loose, or it would run the last night first.
    # A sample that was cut short has created them already.
    going = [r for r in _nights(api, midnights) if r["state"] != "failed"]
    if len(going) < len(midnights):
        api.backfill("night", *midnights, reprocess="failed")
    api.pause("night", False)
    failed = []
    for run in _runs_of(api, midnights):
        say(f"   night of {run['logical_date'][:10]}")
        if api.wait_for_run("night", run["dag_run_id"], 600, lambda line: say(f"     {line}")) != "success":
            failed.append(run["logical_date"][:10])
    if failed:
        raise WarehouseError(f"the night of {failed[0]} failed; ./warehouse status shows what and why")
    api.pause("land", False)
    api.pause("backfill", False)


def _nights(api: AirflowApi, midnights: list[datetime]) -> list[dict]:
    return [r for r in api.runs("night") if datetime.fromisoformat(r["logical_date"]) in midnights]


def _runs_of(api: AirflowApi, midnights: list[datetime]) -> list[dict]:
    """The runs of night for these midnights, oldest first, once all have been created."""
    while True:
        runs = _nights(api, midnights)
        if len(runs) == len(midnights):
            return sorted(runs, key=lambda run: run["logical_date"])
        time.sleep(0.5)


class _Parts:
    """Which parts of the sample this home has done."""

    def __init__(self, settings: Settings):
        self.path = settings.home / "sample.json"
        self.done = json.loads(self.path.read_text()) if self.path.exists() else {}

    def remember(self, name: str, value: str) -> str:
        if name not in self.done:
            self.done[name] = value
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(self.done))
        return self.done[name]
