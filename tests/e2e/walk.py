"""`python -m tests.e2e.walk SEED FIRST LAST`: wipes random days of a published warehouse and builds them again, in one
pass in chunks of a random size or night by night, in random order. Fails where any table then differs from before.

A process of its own, because dbt is slow in a test run.
"""

import random
import sys
from dataclasses import replace
from datetime import date, timedelta

from telemetry_warehouse import backfill, plan, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.settings import Settings
from tests.support import checksums, days

SELECTORS = ("clients_last_seen_v1+", "clients_last_seen_v1+", "histogram_aggregates_v1", "active_users_v1")


def main(arguments: list[str]) -> None:
    seed, first, last = int(arguments[0]), *map(date.fromisoformat, arguments[1:])
    warehouse, chance = Warehouse(Settings.load()), random.Random(seed)
    before = checksums(warehouse, first, last)
    steps = ["pass", "nights"]
    chance.shuffle(steps)
    for number, kind in enumerate(steps):
        start = last - timedelta(days=chance.randint(2, 4))
        planned = plan.make(warehouse, start, start + timedelta(days=chance.randint(0, 2)), chance.choice(SELECTORS))
        size, run = chance.randint(1, 4), f"walk {seed}.{number}"
        print(f"{kind}, in chunks of {size}: {'; '.join(one.line for one in planned.tables)}", flush=True)
        _wipe(warehouse, planned)
        if kind == "pass":
            backfill.run(Warehouse(replace(warehouse.settings, backfill_days=size)), planned, run)
        else:
            for day in days(start, max(one.end for one in planned.tables)):
                for one in planned.tables:
                    if day <= one.end:
                        stages.run(warehouse, one.step, day, day, run)
        after = checksums(warehouse, first, last)
        if after != before:
            sys.exit(f"{kind} has changed {[table for table in before if after[table] != before[table]]}")


def _wipe(warehouse: Warehouse, planned: plan.Plan) -> None:
    for one in planned.tables:
        table = stages.definition(warehouse, one.step)
        condition = f"{table.day} BETWEEN DATE '{one.start}' AND DATE '{one.end}'"
        warehouse.query(f"DELETE FROM {table.id} WHERE {condition}")


if __name__ == "__main__":
    main(sys.argv[1:])
