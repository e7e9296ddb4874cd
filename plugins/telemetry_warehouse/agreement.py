"""Do published tables agree with each other? The data tests of dbt_project/tests, on days that were built."""

from datetime import date

from telemetry_warehouse import dbt, lineage, refusals, runs
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import within
from telemetry_warehouse.errors import Refused


def check(warehouse: Warehouse, start: date, end: date) -> int:
    """Runs every data test on start..end; returns how many there are.

    Raises Refused for a range without days, or with days that a table was never built for, because tests hold of
    nothing; WarehouseError naming the tests that found rows which should not be.
    """
    if start > end:
        raise Refused(f"{start} is after {end}; give the first day first")
    refusals.refuse_unfinished(end)
    known, firsts = lineage.load(warehouse.settings), refusals.first_pings(warehouse)
    for reason in refusals.before_every_ping(firsts.values(), start, end):
        raise Refused(reason)
    wanted = [step.table for step in known.steps if step.kind == "model"]
    for table, missing in runs.never_built(warehouse, wanted, start, end).items():
        # Before the first ping there is nothing to build.
        first = refusals.first_ping_of(known, table, firsts) or start
        if lacking := within(missing, (first, end)):
            days = f"{lacking[0][0]} {lacking[-1][1]}"
            raise Refused(f"{table} was never built for {lacking[0][0]}; run `./warehouse backfill {days}` first")
    return dbt.run_tests(warehouse.settings, start, end)
