"""Imports what commands use, in the process that `tests.support.Command` forks them from."""

import gc
import importlib

from telemetry_warehouse.local.airflow_scheduler import TASKS_USE

for module in (*TASKS_USE, "telemetry_warehouse.stages"):
    importlib.import_module(module)
gc.freeze()
