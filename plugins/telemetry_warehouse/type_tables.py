"""The live and stable tables of every document type, and what keeps a type's schema from being applied to them.

A schema that cannot be used, or that asks for what its tables cannot become, stops the new pings of its own type alone.
What has landed of it stays, is deduplicated with the columns that the tables have, and is read as before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from google.api_core.exceptions import BadRequest, NotFound

from telemetry_warehouse import lineage, remake, schemas
from telemetry_warehouse.bigquery import DAY_IN_MS, Warehouse
from telemetry_warehouse.errors import Refused, WarehouseError, one_line
from telemetry_warehouse.schemas import DocumentType, TypeName
from telemetry_warehouse.tables import Table

# What BigQuery, or our look at its table, says of columns that a table cannot take.
REFUSALS = (Refused, BadRequest)
# Subject of a fault, a type or a file, and why its schema cannot be applied.
Faults = Mapping[TypeName | Path, str]


class TypeTables(NamedTuple):
    """A type's tables; of a DocumentType these are attributes of the same names."""

    name: TypeName
    live: Table
    stable: Table


def load(warehouse: Warehouse) -> list[DocumentType | TypeTables]:
    """The tables of every type: as its schema says, or where that cannot be used, as they are in BigQuery.

    A type that has neither is left out.
    """
    types = schemas.load(warehouse.settings.schemas)
    known: dict[str, DocumentType | TypeTables] = {t.stable.id: t for t in types.values()}
    for name in types.faults:
        if isinstance(name, TypeName) and lineage.stable_table(name) not in known:
            found = _as_they_are(warehouse, name)
            if found is not None:
                known[found.stable.id] = found
    return list(known.values())


def of(warehouse: Warehouse, stable: str) -> DocumentType | TypeTables:
    """The tables of the type whose stable table has this id. Raises WarehouseError where there are none."""
    for found in load(warehouse):
        if found.stable.id == stable:
            return found
    raise WarehouseError(f"{stable} has no table, and no schema that could make one; see `./warehouse schemas`")


def _as_they_are(warehouse: Warehouse, name: TypeName) -> TypeTables | None:
    stable = _as_it_is(warehouse, lineage.stable_table(name), ("document_id",))
    if stable is None:
        return None
    live = _as_it_is(warehouse, lineage.live_table(name))
    if live is None:
        dataset, table = lineage.live_table(name).split(".")
        live = Table(dataset, table, stable.columns, partition_field="submission_timestamp")
    return TypeTables(name, live, stable)


def _as_it_is(warehouse: Warehouse, table_id: str, grain: tuple[str, ...] = ()) -> Table | None:
    try:
        found = warehouse.client.get_table(table_id)
    except NotFound:
        return None
    expiration = found.time_partitioning.expiration_ms
    return Table(
        found.dataset_id,
        found.table_id,
        tuple(found.schema),
        found.description or "",
        partition_field=found.time_partitioning.field,
        retention_days=expiration and int(expiration) // DAY_IN_MS,
        grain=grain,
        clustering=tuple(found.clustering_fields or ()),
    )


def ensure(warehouse: Warehouse, document_type: DocumentType) -> None:
    """Gives both tables of a type the columns of its schema; if they never got a row, they may be made anew for it.

    Raises one of REFUSALS where a table cannot become what the schema says.
    """
    remake.type_tables(warehouse, document_type)
    warehouse.ensure(document_type.stable)
    warehouse.ensure(document_type.live)


def apply(warehouse: Warehouse) -> Faults:
    """Gives the stable table of every type the columns of its schema.

    Returns what is wrong with schemas that cannot be applied. They stop nothing here; such a type that has no table yet
    counts as not there until its schema is mended.
    """
    types = schemas.load(warehouse.settings.schemas)
    faults: dict[TypeName | Path, str] = {subject: str(fault) for subject, fault in types.faults.items()}
    for document_type in types.values():
        try:
            remake.type_tables(warehouse, document_type)
            warehouse.ensure(document_type.stable)
            # There from its first landing on; it must be able to take the columns by then.
            warehouse.missing_columns(document_type.live)
        except REFUSALS as refusal:
            faults[document_type.name] = one_line(refusal)
    names = [name for name in faults if isinstance(name, TypeName)]
    lineage.set_types_without_table(
        warehouse.settings, [name for name in names if not warehouse.exists(lineage.stable_table(name))]
    )
    return faults


def faults(warehouse: Warehouse) -> Faults:
    """What is wrong with the schemas that cannot be used or applied; changes nothing."""
    types = schemas.load(warehouse.settings.schemas)
    found: dict[TypeName | Path, str] = {subject: str(fault) for subject, fault in types.faults.items()}
    for document_type in types.values():
        try:
            for table in (document_type.stable, document_type.live):
                warehouse.missing_columns(table)
        except REFUSALS as refusal:
            found[document_type.name] = one_line(refusal)
    return found


def lines(faults: Faults) -> list[str]:
    """What a person reads of faults: a line for each cause, with the types that it keeps from landing."""
    by_cause: dict[str, list[str]] = {}
    for subject, why in faults.items():
        by_cause.setdefault(why, []).append(str(subject))
    return [
        f"SCHEMA REFUSED: {' and '.join(sorted(subjects))}: {why}; their new pings become error rows, all else goes on."
        " Mend it, see `./warehouse schemas`, and land them with `./warehouse replay`"
        for why, subjects in sorted(by_cause.items())
    ]
