"""By hand, with a range: rebuild every table of it (or one table and what follows), one query a table."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from telemetry_warehouse.operators import DEFAULTS, Backfill

with DAG(
    "backfill",
    description="Rebuild a range of days, each table in one pass",
    schedule=None,
    start_date=datetime(2013, 1, 1),
    max_active_runs=1,
    default_args=DEFAULTS,
    params={
        "start_date": Param(type="string", format="date", title="First day"),
        "end_date": Param(type="string", format="date", title="Last day"),
        "select": Param(
            None,
            type=["null", "string"],
            title="A table, or table+ for all that follows",
            description="Empty: every table",
        ),
        "dry_run": Param(False, type="boolean", title="Only log the plan", description="Build nothing"),
    },
    tags=["warehouse"],
):
    Backfill(task_id="rebuild_range", retries=0, execution_timeout=timedelta(hours=12))
