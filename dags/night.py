"""The night of day D starts when D has ended; its tables and their order are read from dbt's manifest."""

from datetime import datetime, timedelta

from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from telemetry_warehouse import lineage
from telemetry_warehouse.operators import (
    DEFAULTS,
    BuildTable,
    Deploy,
    LandUntilPast,
    RebuildEarlierDays,
    TellChanges,
    WriteReport,
)
from telemetry_warehouse.settings import Settings

with DAG(
    "night",
    description="Deduplicate yesterday and build, gate and publish every table of it",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2013, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["warehouse"],
):
    landed = LandUntilPast(task_id="land_until_midnight", execution_timeout=timedelta(hours=2))
    deployed = Deploy(task_id="deploy_functions_and_views")
    rebuilt = RebuildEarlierDays(task_id="rebuild_earlier_days", execution_timeout=timedelta(hours=6))
    [landed, deployed] >> rebuilt
    steps = lineage.load(Settings.load())
    tasks = {}
    for step in steps.steps:
        task = tasks[step.table] = BuildTable(task_id=step.table, table=step.table)
        rebuilt >> task
        [tasks[parent.table] for parent in steps.upstream(step)] >> task
    tasks["derived.changes_v1"] >> TellChanges(task_id="tell_changes")
    # A teardown runs also where a table has failed, and the run of the DAG fails all the same.
    list(tasks.values()) >> WriteReport(task_id="write_report").as_teardown()
