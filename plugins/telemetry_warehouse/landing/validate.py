"""The schema's step: the document's type is one of ours, and the document is as its schema says."""

from itertools import islice

from telemetry_warehouse.landing.message import Rejected
from telemetry_warehouse.schemas import DocumentType, TypeName, Types

_MAX_MESSAGE = 500
_MAX_FAULTS = 1000


class UnknownType(LookupError):
    """No schema of ours has this namespace, type and version; such messages can be landed once there is one."""


class UnusableSchema(LookupError):
    """There is a schema, and it cannot be used; such messages can be landed once it is mended."""


def find_type(name: TypeName, types: Types) -> DocumentType:
    """The message's type. Raises Rejected where no schema of ours says what it is, or one that cannot be used."""
    if name in types:
        return types[name]
    if fault := types.faults.get(name):
        message = f"the schema cannot be used: {fault}"
        raise Rejected("schema", message, UnusableSchema(message))
    message = f"no schema for {str(name)[:200]}"
    raise Rejected("schema", message, UnknownType(message))


def problem(document: dict, validator, sensitive: bool) -> Rejected | None:
    """The first thing that is wrong and where in the document it is; None for a document as its schema says.

    `sensitive`: the document may hold what nobody is to read, so neither values nor keys of it are quoted.
    """
    if validator.is_valid(document):
        return None
    try:
        error = next(validator.iter_errors(document))
    except ValueError as error:
        # It looks for the fault less deep than it validates.
        return Rejected("schema", f"not as its schema says: {error}"[:_MAX_MESSAGE], error)
    if sensitive:
        return Rejected("schema", f"not as {'/'.join(map(str, error.schema_path))} says"[:_MAX_MESSAGE], error)
    where = ".".join(map(str, error.instance_path)) or "the document"
    return Rejected("schema", f"{where}: {error.message}"[:_MAX_MESSAGE], error)


def faults(document: dict, validator) -> set[tuple] | None:
    """What is wrong with a document and where, without its values; None where that is too much or too deep to list."""
    try:
        errors = list(islice(validator.iter_errors(document), _MAX_FAULTS + 1))
    except ValueError:
        return None
    found = set()
    for error in errors:
        missing = error.message if error.kind.name == "required" else None
        found.add((tuple(error.instance_path), tuple(error.schema_path), missing))
    return found if len(errors) <= _MAX_FAULTS else None
