"""What merging a schema directory would do to the tables, said before it is merged."""

from collections.abc import Callable, Iterable
from pathlib import Path

from telemetry_warehouse import schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused, SettingsError
from telemetry_warehouse.landing.document import Steps


def check(warehouse: Warehouse, directories: Iterable[Path], say: Callable[[str], None]) -> None:
    """Says of each document type what would be new; changes nothing.

    Raises SchemaError for a schema that is none, Refused where a table cannot take a changed one.
    """
    for directory in directories:
        if not Path(directory).is_dir():
            raise SettingsError(f"{directory} is not a directory of schemas")
    refused = []
    types = schemas.load(directories)
    # Any key will do to see whether the marks of sensitive fields are right.
    Steps(types, "no key")
    for document_type in types.values():
        try:
            found = [warehouse.missing_columns(table) for table in (document_type.live, document_type.stable)]
        except Refused as refusal:
            refused.append(str(refusal))
            say(f"{document_type.name}: refused")
            continue
        if None in found:
            say(f"{document_type.name}: new, lands in {document_type.live.id} and {document_type.stable.id}")
        else:
            columns = sorted({path for paths in found for path in paths})
            said = f"{len(columns)} new columns: {', '.join(columns)}" if columns else "as its tables are"
            say(f"{document_type.name}: {said}")
    if refused:
        raise Refused("; ".join(refused))
