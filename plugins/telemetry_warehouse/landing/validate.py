"""The schema's step: the document's type is one of ours, and the document is as its schema says."""

from collections.abc import Mapping

from telemetry_warehouse.landing.message import Rejected
from telemetry_warehouse.schemas import DocumentType, TypeName

_MAX_MESSAGE = 500


class UnknownType(LookupError):
    """No schema of ours has this namespace, type and version; such messages can be landed once there is one."""


def find_type(name: TypeName, types: Mapping[TypeName, DocumentType]) -> DocumentType:
    try:
        return types[name]
    except KeyError:
        message = f"no schema for {str(name)[:200]}"
        raise Rejected("schema", message, UnknownType(message)) from None


def validate(document: dict, document_type: DocumentType) -> None:
    """Raises Rejected with the first thing that is wrong and where in the document it is."""
    validator = document_type.validator
    if validator.is_valid(document):
        return
    error = next(validator.iter_errors(document))
    where = ".".join(map(str, error.instance_path)) or "the document"
    raise Rejected("schema", f"{where}: {error.message}"[:_MAX_MESSAGE], error)
