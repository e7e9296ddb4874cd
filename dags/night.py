"""The night of day D starts when D has ended; its tables and their order are read from dbt's manifest."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param
from airflow.timetables.interval import CronDataIntervalTimetable

from telemetry_warehouse import lineage
from telemetry_warehouse.operators import (
    DEFAULTS,
    REBUILD_EARLIER_DAYS,
    BuildTable,
    CheckEarlierDays,
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
    params={
        "without": Param(
            None,
            type=["null", "string"],
            title="Ping types that the day goes without",
            description="Such as telemetry/main/4, with spaces between; empty: none",
        ),
        "why": Param(None, type=["null", "string"], title="Why the day may go without them"),
    },
    tags=["warehouse"],
):
    landed = LandUntilPast(task_id="land_until_midnight", execution_timeout=timedelta(hours=2))
    deployed = Deploy(task_id="deploy_functions_and_views")
    rebuilt = RebuildEarlierDays(task_id=REBUILD_EARLIER_DAYS, execution_timeout=timedelta(hours=6))
    [landed, deployed] >> rebuilt
    checked = CheckEarlierDays(task_id="check_earlier_days")
    rebuilt >> checked
    steps = lineage.load(Settings.load())
    tasks = {}
    for step in steps.steps:
        task = tasks[step.table] = BuildTable(task_id=step.table, table=step.table)
        rebuilt >> task
        [tasks[parent.table] for parent in steps.upstream(step)] >> task
    tasks["derived.changes_v1"] >> TellChanges(task_id="tell_changes")
    # A teardown runs also where a table has failed, and the run of the DAG fails all the same.
    [checked, *tasks.values()] >> WriteReport(task_id="write_report").as_teardown()
