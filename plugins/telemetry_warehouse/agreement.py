"""Do published tables agree with each other? The data tests of dbt_project/tests, on days that were built."""

from datetime import date, timedelta

from telemetry_warehouse import dbt, lineage, stages
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
    runs = stages.published(warehouse, wanted, start, end)
    for table in wanted:
        built = [(run["start_date"], run["end_date"]) for run in runs if run["table_name"] == table]
        for day in (start + timedelta(days=n) for n in range((end - start).days + 1)):
            if not any(first <= day <= last for first, last in built):
                raise Refused(f"{table} was never built for {day}; run `./warehouse backfill {day} {end}` first")
    return dbt.run_tests(warehouse.settings, start, end)
