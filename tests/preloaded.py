"""Imports what commands use, in the process that `tests.support.Command` forks them from."""

import gc

from telemetry_warehouse import stages  # noqa: F401
from telemetry_warehouse.local.airflow_scheduler import import_what_tasks_use

import_what_tasks_use()
gc.freeze()
