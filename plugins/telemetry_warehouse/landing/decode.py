"""The first steps of a message: decompress, parse, and read what its URI says it is."""

import re
import zlib

import orjson

from telemetry_warehouse.landing.message import Rejected, as_uuid
from telemetry_warehouse.schemas import TypeName

# What a message (at most 10 MB) may unpack to, and what its finished row may have: a batch must fit in memory.
MAX_DOCUMENT_BYTES = 16_000_000
_GZIP = b"\x1f\x8b"
_SUBMIT = "/submit/"


def decompress(data: bytes) -> bytes:
    """The document's text; gzip is known by its first two bytes. Never holds more than MAX_DOCUMENT_BYTES + 1 of it."""
    if not data.startswith(_GZIP):
        return data
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(data, MAX_DOCUMENT_BYTES + 1)
    except zlib.error as error:
        raise Rejected("decompress", f"not valid gzip: {error}", error) from error
    if len(text) > MAX_DOCUMENT_BYTES:
        raise Rejected("decompress", f"more than {MAX_DOCUMENT_BYTES:,} bytes when decompressed")
    if not stream.eof:
        raise Rejected("decompress", "the gzip stream ends early")
    if stream.unused_data:
        raise Rejected("decompress", f"{len(stream.unused_data):,} bytes follow the end of the gzip stream")
    return text


def parse(text: bytes) -> object:
    """What the JSON text says; only an object is a document."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected("parse", f"not valid JSON: {error}", error) from error


def uri_parts(uri: str | None) -> tuple[str | None, str | None, str | None, str | None]:
    """Namespace, type, version and document id as they are written in a URI, None for what it does not say.

    A query says nothing, nor does what follows the document id. Nothing is decoded, and case counts.
    """
    path = (uri or "").partition("?")[0]
    if not path.startswith(_SUBMIT):
        return None, None, None, None
    namespace, kind, version, document_id, *_ = *path[len(_SUBMIT) :].split("/", 4), "", "", ""
    return namespace or None, kind or None, version or None, document_id or None


def read_uri(uri: str | None) -> tuple[TypeName, str]:
    """What the document is, and its id as it is written, from `/submit/<namespace>/<type>/<version>/<document_id>`."""
    if uri is None:
        raise Rejected("uri", "the message has no attribute uri")
    namespace, kind, version, document_id = uri_parts(uri)
    if not (namespace and kind and version and document_id):
        raise Rejected("uri", f"{uri[:200]!r} is not /submit/<namespace>/<type>/<version>/<document_id>")
    return TypeName(namespace, kind, version), document_id


def document_uuid(document_id: str) -> str:
    found = as_uuid(document_id)
    if found is None:
        raise Rejected("uri", f"the document_id {document_id[:100]!r} is not a UUID")
    return found
