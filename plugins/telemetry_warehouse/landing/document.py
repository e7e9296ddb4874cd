"""A message's way: decompress → parse → URI → schema → normalise → shape, to a row of its table or an error row."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from telemetry_warehouse.landing.decode import MAX_DOCUMENT_BYTES, decompress, document_uuid, parse, read_uri
from telemetry_warehouse.landing.message import Message, Rejected, format_timestamp, timestamp
from telemetry_warehouse.landing.normalise import standard_columns
from telemetry_warehouse.landing.numbers import check_numbers
from telemetry_warehouse.landing.shape import MISSING, Shape, Unstorable, compile_shape
from telemetry_warehouse.landing.validate import find_type, validate
from telemetry_warehouse.schemas import ADDITIONAL, DocumentType, TypeName, clean

UNKNOWN_NAMESPACE = "unknown"
_ADDRESSES = frozenset({"remote_addr", "x_forwarded_for"})
_MAX_MESSAGE = 1000


@dataclass(slots=True)
class Row:
    """A message as a row. `document_type` is None where it could not land; `line` is NDJSON with its newline."""

    table: str
    document_type: DocumentType | None
    name: TypeName | None
    submission_timestamp: str
    line: bytes
    error_type: str | None = None


class Steps:
    """The steps, compiled for a set of document types; knows no Pub/Sub and no BigQuery."""

    def __init__(self, types: Mapping[TypeName, DocumentType]):
        self.types = types
        self._namespaces = {clean(name.namespace) for name in types}
        self._shapes: dict[tuple[TypeName, bool], Shape] = {}

    def row(self, message: Message, now: datetime) -> Row:
        """The message's row: of its live table, or of an errors table. `now` (aware) decides what has expired."""
        attributes = message.attributes
        problem = None
        try:
            received = timestamp(attributes["submission_timestamp"])
        except KeyError:
            received = format_timestamp(message.published)
        except ValueError as error:
            received, problem = format_timestamp(message.published), error
        try:
            document, small = _document(message.data)
            name, document_id = read_uri(attributes.get("uri"))
            document_id = document_uuid(document_id)
            document_type = find_type(name, self.types)
            validate(document, document_type)
            if problem is not None:
                raise Rejected("normalise", f"the attribute submission_timestamp: {problem}", problem)
            row = {"document_id": document_id, "submission_timestamp": received}
            row |= standard_columns(document, attributes, document_type)
            line = self._line(document, small, row, document_type)
            _check_retention(received, document_type, now)
            return Row(document_type.live.id, document_type, name, received, line)
        except Rejected as rejection:
            return self._error(message, received, rejection)

    def _line(self, document: dict, small: bool, row: dict, document_type: DocumentType) -> bytes:
        """The finished line: the standard columns in `row`, the typed columns and additional_properties."""
        try:
            typed, rest = self._shape(document_type, small)(document)
            if rest is not MISSING:
                for key, column in document_type.standard:
                    # A property named as a standard column is that column, unless landing wrote something else there.
                    if key in rest and column in row and _same(rest[key], row[column]):
                        del rest[key]
                if rest or not document:
                    row[ADDITIONAL] = rest
            if typed is not MISSING:
                row |= typed
            line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        except Unstorable as error:
            raise Rejected("shape", str(error), error) from error
        except orjson.JSONEncodeError as error:
            raise Rejected("shape", f"nested too deep: {error}", error) from error
        if len(line) > MAX_DOCUMENT_BYTES:
            raise Rejected("shape", f"its row has {len(line):,} bytes, and the most is {MAX_DOCUMENT_BYTES:,}")
        return line

    def _shape(self, document_type: DocumentType, small: bool) -> Shape:
        key = (document_type.name, small)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = compile_shape(document_type.fields, small)
        return shape

    def _error(self, message: Message, received: str, rejection: Rejected) -> Row:
        try:
            name, document_id = read_uri(message.attributes.get("uri"))
        except Rejected:
            name = document_id = None
        namespace = clean(name.namespace) if name else UNKNOWN_NAMESPACE
        if namespace not in self._namespaces:
            namespace = UNKNOWN_NAMESPACE
        row = {
            "error_type": rejection.step,
            "error_message": str(rejection)[:_MAX_MESSAGE],
            "exception_class": type(rejection.cause or rejection).__name__,
            "document_namespace": name and name.namespace,
            "document_type": name and name.type,
            "document_version": name and name.version,
            "document_id": document_id,
            "submission_timestamp": received,
            "attributes": [
                {"key": key, "value": value}
                for key, value in sorted(message.attributes.items())
                if key.lower().replace("-", "_") not in _ADDRESSES
            ],
            "payload": base64.b64encode(message.data).decode(),
        }
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        return Row(f"{namespace}_errors.pings", None, name, received, line, rejection.step)


def _same(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other


def _document(data: bytes) -> tuple[dict, bool]:
    """The document, and whether all its integers are small enough for shape.compile_shape's promise."""
    text = decompress(data)
    document = parse(text)
    small, inexact = check_numbers(text, document)
    if inexact is not None:
        raise Rejected("parse", f"the number {inexact[:100]} cannot be kept exactly")
    return document, small


def _check_retention(received: str, document_type: DocumentType, now: datetime) -> None:
    """A row for a day that BigQuery has dropped would vanish as it lands."""
    days = document_type.live.retention_days
    if days is None:
        return
    # A partition lasts from the start of its day, so whole days are all there is to compare.
    day = received[:10]
    if day <= (now - timedelta(days=days)).date().isoformat():
        raise Rejected("expired", f"{document_type.live.id} keeps {days} days, and {day} is further back")
