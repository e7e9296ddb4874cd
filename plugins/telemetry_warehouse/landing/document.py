"""A message's way: decompress → parse → URI → schema → normalise → shape, to a row of its table or an error row."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from telemetry_warehouse.fields import SchemaError
from telemetry_warehouse.landing.decode import (
    MAX_DOCUMENT_BYTES,
    decompress,
    document_uuid,
    parse,
    read_uri,
    uri_parts,
)
from telemetry_warehouse.landing.exact import check
from telemetry_warehouse.landing.message import (
    VALID,
    Message,
    Rejected,
    format_timestamp,
    known_attributes,
    timestamp,
)
from telemetry_warehouse.landing.normalise import standard_columns
from telemetry_warehouse.landing.shape import MISSING, Shape, Unstorable, compile_shape
from telemetry_warehouse.landing.validate import faults, find_type, problem
from telemetry_warehouse.privacy import Undecided, redacted_schema, redaction
from telemetry_warehouse.schemas import ADDITIONAL, DocumentType, TypeName, Types, clean
from telemetry_warehouse.validators import compile_schema

UNKNOWN_NAMESPACE = "unknown"
_MAX_MESSAGE = 1000
# The steps whose messages quote the document.
_QUOTING = ("parse", "shape", "internal")


@dataclass(slots=True)
class Row:
    """A message as a row. `document_type` is None where it could not land; `line` is NDJSON with its newline.

    `data` is what may be kept of the message's bytes: all, unless its schema has sensitive fields; then `redaction`
    says what was done to them (see `Message`).
    """

    table: str
    document_type: DocumentType | None
    name: TypeName | None
    submission_timestamp: str
    line: bytes
    data: bytes
    redaction: str | None = None
    error_type: str | None = None


@dataclass(slots=True)
class _Kept:
    """What may be kept of a message in hand.

    text: the message's, once it is known to be JSON. valid: it is as its schema says, and `data` is without what the
    schema marks.
    """

    data: bytes
    redaction: str | None
    text: bytes | None = None
    valid: bool = False


class Steps:
    """The steps, compiled for a set of document types; knows no Pub/Sub and no BigQuery.

    A message of a type whose schema cannot be used becomes an error row that says why, without its sensitive fields
    where the marks of the schema are right.

    `pii_key` is the secret of hashed fields. Raises SchemaError and SettingsError as `privacy.redaction` does.
    """

    def __init__(self, types: Types, pii_key: str | None = None):
        self.types = types
        self._namespaces = {clean(name.namespace) for name in (*types, *types.faults) if isinstance(name, TypeName)}
        self._shapes: dict[tuple[TypeName, bool], Shape] = {}
        self._redactions = {
            name: found for name, t in types.items() if (found := redaction(t.schema, str(t.path), pii_key))
        }
        self._validators_of_redacted = {name: _validator_of_redacted(types[name]) for name in self._redactions}
        for name, fault in types.faults.items():
            if fault.schema and (found := redaction(fault.schema, str(name), pii_key)):
                self._redactions[name] = found
        self._fingerprints = {name: found.fingerprint for name, found in self._redactions.items()}
        self._refused: dict[TypeName, str] = {}

    def knows(self, name: TypeName | None) -> bool:
        """Whether there are files of this type, whatever is wrong with them."""
        return name in self.types or name in self.types.faults

    def refuse(self, name: TypeName, why: str) -> None:
        """From now on, messages of this type become error rows: its table cannot take them."""
        self._refused[name] = why

    def row(self, message: Message, now: datetime) -> Row:
        """The message's row: of its live table, or of an errors table. `now` (aware) decides what has expired."""
        bad_timestamp = None
        try:
            received = timestamp(message.attributes["submission_timestamp"])
        except KeyError:
            received = format_timestamp(message.published)
        except ValueError as error:
            received, bad_timestamp = format_timestamp(message.published), error
        kept = _Kept(message.data, message.redaction)
        try:
            return self._row(message, received, bad_timestamp, now, kept)
        except Rejected as error:
            rejection = error
        except Exception as error:
            # One message that we are not ready for must not keep all others from landing.
            rejection = Rejected("internal", f"landing failed with {type(error).__name__}", error)
        rejection = self._withhold(rejection, message, kept)
        return self.error(message, received, rejection, now, kept.data, kept.redaction)

    def _row(self, message: Message, received: str, bad_timestamp, now: datetime, kept: _Kept) -> Row:
        text = decompress(message.data)
        document = parse(text)
        kept.text = text
        if not isinstance(document, dict):
            raise Rejected("parse", f"a JSON {type(document).__name__}, not an object")
        small, fault = check(text, document)
        if fault is not None:
            raise Rejected("parse", fault)
        _raise_former(message, "parse")
        name, document_id = read_uri(message.attributes.get("uri"))
        document_id = document_uuid(document_id)
        document_type = find_type(name, self.types)
        self._validate(document, document_type, message)
        document = self._redact(document, name, message, kept)
        if bad_timestamp is not None:
            raise Rejected("normalise", f"the attribute submission_timestamp: {bad_timestamp}", bad_timestamp)
        row = {"document_id": document_id, "submission_timestamp": received}
        row |= standard_columns(document, message.attributes, document_type)
        line = self._line(document, small, row, document_type)
        _check_retention(received, document_type, now)
        if name in self._refused:
            raise Rejected("load", self._refused[name])
        return Row(document_type.live.id, document_type, name, received, line, kept.data, kept.redaction)

    def _validate(self, document: dict, document_type: DocumentType, message: Message) -> None:
        name = document_type.name
        if message.redaction is None:
            validator = document_type.validator
        elif message.fingerprint != self._fingerprints.get(name):
            raise Rejected("privacy", "kept when other fields were hashed, or with another key; it cannot land again")
        elif message.landed or message.verdict == VALID:
            return
        else:
            _raise_former(message, "schema")
            validator = self._validators_of_redacted[name]
        fault = problem(document, validator, name in self._redactions)
        if fault is not None:
            raise fault

    def _redact(self, document: dict, name: TypeName, message: Message, kept: _Kept) -> dict:
        redact = self._redactions.get(name)
        if redact is None:
            return document
        try:
            kept.data = redact(kept.text.decode(), hashed=message.redaction is not None).encode()
        except Undecided as error:
            raise Rejected("schema", str(error), error) from error
        kept.redaction = f"{self._fingerprints[name]} {VALID}"
        kept.valid = True
        return parse(kept.data)

    def _withhold(self, rejection: Rejected, message: Message, kept: _Kept) -> Rejected:
        """Takes out of `kept` what its schema marks, and out of the rejection what quotes it.

        What cannot be parsed, or has no schema, is kept whole.
        """
        name = _type_name(message)
        redact = self._redactions.get(name)
        if redact is None or kept.text is None:
            return rejection
        if not kept.valid:
            again = message.redaction is not None
            kept.data = redact(kept.text.decode(), suspicious=True, hashed=again).encode()
            kept.redaction = message.redaction if again else self._fingerprints[name]
            if not again and self._fault_is_gone(rejection, name, kept):
                kept.redaction += f" {rejection.step}"
        if len(kept.data) > MAX_DOCUMENT_BYTES:
            kept.data = b""
        if rejection.step in _QUOTING:
            return Rejected(rejection.step, "not told, for its type has sensitive fields", rejection.cause)
        return rejection

    def _fault_is_gone(self, rejection: Rejected, name: TypeName, kept: _Kept) -> bool:
        """Whether what is kept of a refused document lacks some of what it was refused for."""
        document = parse(kept.data)
        if rejection.step == "parse":
            return check(kept.data, document)[1] is None
        # A schema that cannot be used has not looked at the document.
        if rejection.step != "schema" or name not in self.types:
            return False
        before = faults(parse(kept.text), self.types[name].validator)
        after = faults(document, self._validators_of_redacted[name])
        return not before or after is None or not before <= after

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
            line = _ndjson(row)
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

    def error(
        self, message: Message, received: str, rejection: Rejected, now: datetime, data: bytes, redaction: str | None
    ) -> Row:
        """The message's error row, with `data` as its payload."""
        namespace, kind, version, document_id = uri_parts(message.attributes.get("uri"))
        name = _type_name(message)
        dataset = clean(namespace or "")
        if dataset not in self._namespaces:
            dataset = UNKNOWN_NAMESPACE
        row = {
            "error_type": rejection.step,
            "error_message": str(rejection)[:_MAX_MESSAGE],
            "exception_class": type(rejection.cause or rejection).__name__,
            "document_namespace": namespace,
            "document_type": kind,
            "document_version": version,
            "document_id": document_id,
            "submission_timestamp": received,
            "landed_at": format_timestamp(now),
            "attributes": [{"key": k, "value": v} for k, v in known_attributes(message.attributes).items()],
            "payload": base64.b64encode(data).decode(),
            "redaction": redaction,
        }
        line = _ndjson(row)
        return Row(f"{dataset}_errors.pings", None, name, received, line, data, redaction, rejection.step)


def _type_name(message: Message) -> TypeName | None:
    """The type that the message's URI names, with or without a document id; None where it names none."""
    namespace, kind, version, _ = uri_parts(message.attributes.get("uri"))
    return TypeName(namespace, kind, version) if namespace and kind and version else None


def _validator_of_redacted(document_type: DocumentType):
    try:
        return compile_schema(redacted_schema(document_type.schema, str(document_type.path)))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise SchemaError(f"{document_type.path} is no schema without its sensitive fields: {reason}") from error


def _ndjson(row: dict) -> bytes:
    # orjson's own bytes keep the buffer they were written in, eight times as large for a flight; a sum has its size.
    return orjson.dumps(row) + b"\n"


def _same(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other


def _raise_former(message: Message, step: str) -> None:
    if message.verdict == step:
        raise Rejected(step, "what was wrong with it was in a sensitive field, which is not kept; it cannot land")


def _check_retention(received: str, document_type: DocumentType, now: datetime) -> None:
    """A row for a day that BigQuery has dropped would vanish as it lands."""
    days = document_type.live.retention_days
    if days is None:
        return
    # A partition lasts from the start of its day, so whole days are all there is to compare.
    day = received[:10]
    if day <= (now - timedelta(days=days)).date().isoformat():
        raise Rejected("expired", f"{document_type.live.id} keeps {days} days, and {day} is further back")
