"""What merging a schema directory would do to the tables, said before it is merged."""

from collections.abc import Callable, Iterable
from pathlib import Path

from telemetry_warehouse import schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused, SettingsError, WarehouseError
from telemetry_warehouse.fields import beyond_limits
from telemetry_warehouse.gates import sense
from telemetry_warehouse.schemas import DocumentType
from telemetry_warehouse.wording import count


def check(warehouse: Warehouse, directories: Iterable[Path], say: Callable[[str], None]) -> None:
    """Says of each document type what would be new, or why it is refused; changes nothing.

    Raises Refused, with every reason, where a schema cannot be used, is beyond a limit of BigQuery's, or changes what a
    table cannot change, and where no gate could judge an expectation beside it.
    """
    directories = list(directories)
    for directory in directories:
        if not Path(directory).is_dir():
            raise SettingsError(f"{directory} is not a directory of schemas")
    refused = []
    types = schemas.load(directories)
    for subject in sorted({*types, *types.faults}, key=str):
        try:
            if fault := types.faults.get(subject):
                raise Refused(str(fault))
            changes = _changes(warehouse, types[subject])
            own = sense.own_expectations(types[subject], directories)
            say(f"{subject}: {changes}" + (f"; {count(own, 'expectation')} of its own" if own else ""))
        except WarehouseError as refusal:
            refused.append(str(refusal))
            say(f"{subject}: refused: {refusal}")
    for line in schemas.expectations_without_schema(directories):
        refused.append(line)
        say(f"refused: {line}")
    if refused:
        raise Refused("; ".join(dict.fromkeys(refused)))


def _changes(warehouse: Warehouse, document_type: DocumentType) -> str:
    """What would be new of a type. Raises Refused for what cannot be."""
    if beyond := beyond_limits(document_type.schema, str(document_type.path)):
        raise Refused(f"{document_type.path}: {'; '.join(beyond)}")
    found = [warehouse.missing_columns(table) for table in (document_type.live, document_type.stable)]
    if None in found:
        return f"new, lands in {document_type.live.id} and {document_type.stable.id}"
    columns = sorted({path for paths in found for path in paths})
    return f"{len(columns)} new columns: {', '.join(columns)}" if columns else "as its tables are"
