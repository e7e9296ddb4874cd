"""Whether the expectations of all tables make sense, asked when the project is deployed and not when a gate runs."""

import hashlib

from telemetry_warehouse import lineage, schemas, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.expectations import SHAPES, parse
from telemetry_warehouse.settings import ROOT


def check(warehouse: Warehouse) -> None:
    """Raises WarehouseError, naming the file, at the first expectation that no gate could judge.

    What has been found good once is not looked at again: that would take the seconds in which Great Expectations loads.
    """
    settings = warehouse.settings
    digest = hashlib.sha256((settings.dbt_target / "project.checksum").read_bytes())
    for path in (*sorted((ROOT / "sql").glob("*.yml")), *sorted((ROOT / "plugins").glob("*/gates/*.py"))):
        digest.update(path.read_bytes())
    digest.update(repr(sorted(lineage.types_there(settings))).encode())
    stamp = settings.dbt_target / "expectations.checksum"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    for document_type in schemas.load(settings.schemas).values():
        parse(stages.live_definition(document_type), stages.live_inputs(document_type))
    for step in lineage.load(settings).steps:
        names = {*step.inputs, *step.shapes}
        if SHAPES & names or any(table.split(".")[0].endswith("_stable") for table in step.inputs.values()):
            names.add("pings")
        parse(stages.definition(warehouse, step), names)
    stamp.write_text(digest.hexdigest())
