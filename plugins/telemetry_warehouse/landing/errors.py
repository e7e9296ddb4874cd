"""The errors tables: which there are, and how long their rows stay."""

from datetime import UTC, datetime, timedelta

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse


def table_ids(warehouse: Warehouse) -> list[str]:
    """The ids of the errors tables that exist, of namespaces too whose schemas are gone."""
    datasets = sorted(dataset.dataset_id for dataset in warehouse.client.list_datasets())
    ids = [f"{dataset}.pings" for dataset in datasets if dataset.endswith("_errors")]
    return [table_id for table_id in ids if warehouse.exists(table_id)]


def expire(warehouse: Warehouse) -> None:
    """Deletes error rows that are older than the settings keep them.

    Not by the age of their partition: a message may claim a day long past, and would be gone as it arrives.
    """
    before = datetime.now(UTC) - timedelta(days=warehouse.settings.error_days)
    for table_id in table_ids(warehouse):
        warehouse.query(
            f"DELETE FROM {tables.quoted(table_id)}"
            " WHERE submission_timestamp >= TIMESTAMP '1960-01-01' AND landed_at < @before",
            {"before": before},
        )
