"""Tables that were never used are made anew where their definition has changed, so that a new model can be mended.

What has a row, or a day that was published, is never dropped: `Warehouse.ensure` adds columns and refuses the rest.
"""

import os
import socket

from google.api_core.exceptions import NotFound

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.locks import table_lock
from telemetry_warehouse.schemas import DocumentType
from telemetry_warehouse.tables import Table


def published_table(warehouse: Warehouse, table: Table) -> None:
    """Makes a table anew that differs from its definition, is empty and was never published.

    Raises Busy where somebody else goes on building it.
    """
    if _can_go(warehouse, table):
        # Who builds it holds the lock until its days are published, and then it stays.
        with table_lock(warehouse.settings, table.id, _holder()):
            if _can_go(warehouse, table):
                _make_anew(warehouse, table)


def _can_go(warehouse: Warehouse, table: Table) -> bool:
    return warehouse.differs(table) and _is_empty(warehouse, table) and not _was_published(warehouse, table)


def type_tables(warehouse: Warehouse, document_type: DocumentType) -> None:
    """Makes a type's tables anew where they differ from its schema, both are empty and no ping of it was ever landed.

    Raises Busy where somebody else goes on building the stable one.
    """
    if _may_all_go(warehouse, document_type):
        with table_lock(warehouse.settings, document_type.stable.id, _holder()):
            if _may_all_go(warehouse, document_type):
                for table in (document_type.live, document_type.stable):
                    if warehouse.differs(table):
                        _make_anew(warehouse, table)


def _may_all_go(warehouse: Warehouse, document_type: DocumentType) -> bool:
    both = (document_type.live, document_type.stable)
    return (
        any(warehouse.differs(table) for table in both)
        and all(_is_empty(warehouse, table) for table in both)
        and not _was_landed(warehouse, document_type)
    )


def _make_anew(warehouse: Warehouse, table: Table) -> None:
    warehouse.drop(table.id)
    warehouse.create(table)


def _is_empty(warehouse: Warehouse, table: Table) -> bool:
    try:
        return not warehouse.client.get_table(table.id).num_rows
    except NotFound:
        return True


def _was_published(warehouse: Warehouse, table: Table) -> bool:
    runs = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs)
    return bool(
        warehouse.rows(
            f"SELECT 1 AS one FROM {runs.id} WHERE status = 'published' AND table_name = @table LIMIT 1",
            {"table": table.id},
        )
    )


def _was_landed(warehouse: Warehouse, document_type: DocumentType) -> bool:
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    name = document_type.name
    return bool(
        warehouse.rows(
            f"SELECT 1 AS one FROM {landing.id} WHERE landed_date >= '2000-01-01' AND landed > 0"
            " AND document_namespace = @namespace AND document_type = @type AND document_version = @version LIMIT 1",
            {"namespace": name.namespace, "type": name.type, "version": name.version},
        )
    )


def _holder() -> str:
    return f"new definition on {socket.gethostname()}-{os.getpid()}"
