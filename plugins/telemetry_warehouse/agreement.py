"""Do published tables agree with each other? The data tests of dbt_project/tests, on days that were built."""

from datetime import date

from telemetry_warehouse import dbt, lineage, runs
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused


def check(warehouse: Warehouse, start: date, end: date) -> int:
    """Runs every data test on start..end; returns how many there are.

    Raises Refused for a range without days, or with days that a table was never built for, because tests hold of
    nothing; WarehouseError naming the tests that found rows which should not be.
    """
    if start > end:
        raise Refused(f"{start} is after {end}; give the first day first")
    wanted = [step.table for step in lineage.load(warehouse.settings).steps if step.kind == "model"]
    for table, missing in runs.never_built(warehouse, wanted, start, end).items():
        if missing:
            day = missing[0]
            raise Refused(f"{table} was never built for {day}; run `./warehouse backfill {day} {end}` first")
    return dbt.run_tests(warehouse.settings, start, end)
