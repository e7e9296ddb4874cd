"""Runs `airflow scheduler` in a process that has imported what the tasks use.

Executor workers are forked from the scheduler and tasks from the workers, so a task finds great_expectations, dbt and
the clients imported (6 to 10 s otherwise). Only imports: a channel or a thread would not survive the fork.
"""

import gc
import importlib
import sys
import threading

TASKS_USE = (
    "dbt.adapters.bigquery",
    "dbt.cli.main",
    "google.cloud.bigquery",
    "google.cloud.pubsub_v1",
    "great_expectations",
    "pandas",
)


def import_what_tasks_use() -> None:
    for module in TASKS_USE:
        importlib.import_module(module)


def main() -> None:
    import_what_tasks_use()
    if threading.active_count() > 1:
        sys.exit(f"an import started threads, and the scheduler must fork: {threading.enumerate()}")
    from airflow.__main__ import main as airflow

    # What is imported stays; no task needs to look through it, or copy the memory of it by doing so.
    gc.freeze()

    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    airflow()


if __name__ == "__main__":
    main()
