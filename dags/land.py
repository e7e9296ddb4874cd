"""Every ten minutes: what waits on Pub/Sub goes to the live tables."""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from telemetry_warehouse.operators import DEFAULTS, Land, WatchBacklog

with DAG(
    "land",
    description="Drain Pub/Sub into the live and error tables",
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["warehouse"],
):
    Land(task_id="land_pings", execution_timeout=timedelta(minutes=30))
    # Beside landing and not after it: a drain that never ends is what it is there to tell.
    WatchBacklog(task_id="watch_backlog", retries=0)
