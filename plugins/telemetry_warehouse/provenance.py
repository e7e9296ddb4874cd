"""Which code built the days that readers see."""

from collections.abc import Iterable
from datetime import date, timedelta

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import Step


def built_by_older_code(warehouse: Warehouse, steps: Iterable[Step]) -> dict[str, list[tuple[date, date]]]:
    """For each table, the published days, as ranges of first and last, that other code than today's built last."""
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    runs = warehouse.rows(
        "SELECT table_name, start_date, end_date, checksum FROM monitoring.pipeline_runs"
        " WHERE status = 'published' ORDER BY token"
    )
    built: dict[str, dict[date, str]] = {step.table: {} for step in steps}
    for run in runs:
        if run["table_name"] in built:
            days = days_of(run["start_date"], run["end_date"])
            built[run["table_name"]].update(dict.fromkeys(days, run["checksum"]))
    return {
        step.table: _ranges(sorted(day for day, code in built[step.table].items() if code != step.code))
        for step in steps
    }


def _ranges(days: list[date]) -> list[tuple[date, date]]:
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
