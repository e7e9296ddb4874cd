"""A DAG for the tests of Airflow itself: one task tells what it sees, one takes its time."""

import json
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), default_args={"retries": 1, "retry_delay": timedelta(seconds=1)})
def probe():
    @task
    def tell(params=None):
        seen = {
            "WAREHOUSE_HOME": os.environ["WAREHOUSE_HOME"],
            "imported": sorted({"great_expectations", "dbt.cli.main", "google.cloud.bigquery"} & set(sys.modules)),
        }
        Path(params["to"]).write_text(json.dumps(seen))

    @task
    def linger(params=None):
        # The first attempt goes on until it is killed.
        first = Path(params["to"] + ".first")
        if not first.exists():
            first.write_text(f"{os.getpid()} {os.getppid()}")
            time.sleep(600)

    tell() >> linger()


probe()
