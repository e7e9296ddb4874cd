"""Whether the expectations of all tables make sense, asked when the project is deployed and not when a gate runs."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from telemetry_warehouse import lineage, schemas, stages, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.gates.expectations import SHAPES, parse
from telemetry_warehouse.schemas import DocumentType
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.type_tables import TypeTables

# What a query in the gate of a stable table may read beside the candidate.
_STABLE_INPUTS = ("live",)


def check(warehouse: Warehouse, say: Callable[[str], None] = print) -> None:
    """Raises WarehouseError, naming the file, at the first expectation that no gate could judge.

    Says which of a ping type's own could not be: the stage of its stable table will fail, and no other. What has been
    found good once is not looked at again: that would take the seconds in which Great Expectations loads.
    """
    settings = warehouse.settings
    digest = hashlib.sha256((settings.dbt_target / "project.checksum").read_bytes())
    for path in (*sorted((ROOT / "sql").glob("*.yml")), *sorted((ROOT / "plugins").glob("*/gates/*.py"))):
        digest.update(path.read_bytes())
    digest.update(repr(sorted(lineage.types_there(settings))).encode())
    # Whether a type's own expectations make sense depends on its columns too.
    digest.update(repr(schemas.fingerprint(settings.schemas)).encode())
    stamp = settings.dbt_target / "expectations.checksum"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    types = schemas.load(settings.schemas).values()
    for document_type in types:
        parse(stages.live_definition(document_type), stages.live_inputs(document_type))
        parse(stages.stable_definition(document_type, ()), _STABLE_INPUTS)
    for step in lineage.load(settings).steps:
        if step.kind != "dedup":
            names = {*step.inputs, *step.shapes}
            if SHAPES & names or any(table.split(".")[0].endswith("_stable") for table in step.inputs.values()):
                names.add("pings")
            parse(stages.definition(warehouse, step), names)
    refused = schemas.expectations_without_schema(settings.schemas)
    for tables_of_type in type_tables.load(warehouse):
        try:
            own_expectations(tables_of_type, settings.schemas)
        except WarehouseError as error:
            refused.append(f"{error}; {tables_of_type.stable.id} is not built until that is mended")
    for line in refused:
        say(f"EXPECTATION REFUSED: {line}")
    if not refused:
        stamp.write_text(digest.hexdigest())


def own_expectations(tables_of_type: DocumentType | TypeTables, directories: Iterable[Path]) -> int:
    """How many expectations a ping type has of its own. Raises WarehouseError, naming file and line, for one that the
    gate of the stable table could not judge."""
    own = schemas.expectations_of(directories, tables_of_type.name)
    if own:
        parse(stages.stable_definition(tables_of_type, directories), _STABLE_INPUTS)
    return len(own)
