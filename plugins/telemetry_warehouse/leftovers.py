"""What is published and no longer built: tables, views, functions and columns that a change of the project left behind.

They go on answering with what they had, so nobody who reads them is told by an error.
"""

from telemetry_warehouse import lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.differences import column_notes
from telemetry_warehouse.settings import ROOT


def find(warehouse: Warehouse) -> list[str]:
    """A line for each thing that is there and that nothing builds any more, with what to do about it."""
    settings = warehouse.settings
    steps = lineage.load(settings).steps
    built = {step.table for step in steps} | {path.stem for path in (ROOT / "sql" / "tables").glob("monitoring.*.yml")}
    views = {view.id for view in lineage.views(settings)}
    datasets = sorted(dataset.dataset_id for dataset in warehouse.client.list_datasets())
    found = []
    for dataset in datasets:
        if dataset in ("derived", "monitoring") or dataset.endswith("_stable"):
            source = "schema" if dataset.endswith("_stable") else "model"
            found += [
                f"the table {table} answers with the days that it has, and no {source} builds it any more:"
                f" bring its {source} back, or drop it (`bq rm -t {table}`)"
                for table in _tables(warehouse, dataset)
                if table not in built
            ]
    found += [
        f"the view {view} answers, and no model defines it any more: bring its model back, or drop it"
        f" (`bq rm -t {view}`)"
        for view in (_tables(warehouse, "telemetry") if "telemetry" in datasets else ())
        if view not in views
    ]
    known = lineage.functions(settings)
    found += [
        f"the function {function} answers, and no file defines it any more: bring its file back, or drop it"
        f" (`bq rm --routine {function}`)"
        for function in (_functions(warehouse) if "udf" in datasets else ())
        if function not in known
    ]
    for step in steps:
        if step.kind != "dedup":
            found += column_notes(warehouse, stages.definition(warehouse, step))
    return found


def _tables(warehouse: Warehouse, dataset: str) -> list[str]:
    return sorted(f"{dataset}.{table.table_id}" for table in warehouse.client.list_tables(dataset))


def _functions(warehouse: Warehouse) -> list[str]:
    return sorted(f"udf.{routine.reference.routine_id}" for routine in warehouse.client.list_routines("udf"))
