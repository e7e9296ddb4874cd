"""Which code built the days that readers see."""

from collections.abc import Iterable
from datetime import date

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import Days, merged
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.runs import newest_stages

_ALL = (date.min, date.max)


def built_by_older_code(warehouse: Warehouse, steps: Iterable[Step]) -> dict[str, list[Days]]:
    """For each table, the published days, as ranges of first and last, that other code than today's built last."""
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    runs = warehouse.rows(
        "SELECT table_name, start_date, end_date, token, started_at, checksum FROM monitoring.pipeline_runs"
        " WHERE status = 'published'"
    )
    built: dict[str, list[dict]] = {}
    for run in runs:
        built.setdefault(run["table_name"], []).append(run)
    return {
        step.table: merged(
            days for days, [row] in newest_stages(built.get(step.table, ()), _ALL) if row["checksum"] != step.code
        )
        for step in steps
    }
