"""The first steps of a message: decompress, parse, and read what its URI says it is."""

import re
import zlib

import orjson

from telemetry_warehouse.landing.message import Rejected, as_uuid
from telemetry_warehouse.schemas import TypeName

# What a message (at most 10 MB) may unpack to, and what its finished row may have: a batch must fit in memory.
MAX_DOCUMENT_BYTES = 16_000_000
_GZIP = b"\x1f\x8b"
_ZEROS = re.compile(rb"\0*")
# What is handed to the decompressor of a further member at first: what it does not need of it, it copies.
_FIRST_CHUNK = 1024
_SUBMIT = "/submit/"


def decompress(data: bytes) -> bytes:
    """The document's text; gzip is known by its first two bytes.

    A gzip file is one member after the other (RFC 1952), and their texts together are its text. Zeros after a member
    are padding, as gzip itself has it; anything else there is an error. Never unpacks more than MAX_DOCUMENT_BYTES + 1.
    """
    if not data.startswith(_GZIP):
        return data
    texts: list[bytes] = []
    room = MAX_DOCUMENT_BYTES
    position, chunk = 0, len(data)
    while position < len(data):
        if not data.startswith(_GZIP, position):
            raise Rejected("decompress", f"{len(data) - position:,} bytes follow the end of the gzip stream")
        position, room = _unpack_member(data, position, chunk, texts, room)
        position = _ZEROS.match(data, position).end()
        chunk = _FIRST_CHUNK
    return b"".join(texts)


def _unpack_member(data: bytes, position: int, chunk: int, texts: list[bytes], room: int) -> tuple[int, int]:
    """Appends the text of the member at `position` to `texts`; returns where it ends, and the room that is left.

    Chunks get longer, so that many short members cost no more than their length.
    """
    stream = zlib.decompressobj(wbits=31)
    view = memoryview(data)
    while not stream.eof:
        if position == len(data):
            raise Rejected("decompress", "the gzip stream ends early")
        part = view[position : position + chunk]
        try:
            text = stream.decompress(part, room + 1)
        except zlib.error as error:
            raise Rejected("decompress", f"not valid gzip: {error}", error) from error
        room -= len(text)
        if room < 0:
            raise Rejected("decompress", f"more than {MAX_DOCUMENT_BYTES:,} bytes when decompressed")
        if text:
            texts.append(text)
        position += len(part)
        chunk *= 2
    return position - len(stream.unused_data), room


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
