"""Poison and hostility: each bad message is an error row with its bytes, the good ones between them land."""

import gzip
import uuid

import orjson
import pytest

from telemetry_warehouse.landing import land
from telemetry_warehouse.landing.decode import MAX_DOCUMENT_BYTES, decompress
from telemetry_warehouse.publishing import publish
from tests.landing.rebuild import document_of, same_json
from tests.landing.test_land import SCHEMA, errors, live, make_type, messages

GOOD = [
    {"n": 1, "'; DROP TABLE live; --": "Robert'); DELETE FROM x WHERE ('1'='1", "`b`": "{{ ref('x') }} ${y} %s {0}"},
    {"n": 2, "nul\u0000key": "nul\u0000value", "\u202e\ufeff": "𝔘\u2028\u0085"},
    {"n": 3, "wide": {f"k{k}": k for k in range(10_000)}},
    {"n": 4, "deep": orjson.loads("[" * 90 + "]" * 90)},
    {"n": 5, "": "", " ": {"": {"": None}}},
    {"n": 6, "long": "x" * 3_000_000},
    b'{"n": 7, "dots": "loading................", "more": "x.1234567890123456789 and on"}',
    ('{"n": 8, "digits": " ' + "7" * 5000 + '", "e": "1e-99999999999999999999"}').encode(),
    {"n": 9, "list": orjson.loads("[" * 240 + "]" * 240)},
    gzip.compress(b"") + gzip.compress(b'{"n": 10,') + gzip.compress(b'"x": 1}') + b"\0" * 100,
]
BAD = {
    "gzip bomb": (gzip.compress(b"[" + b" " * 80_000_000 + b"]"), "decompress"),
    "gzip cut short": (gzip.compress(b'{"n": 1}')[:-6], "decompress"),
    "gzip and more": (gzip.compress(b"{}") + b"more", "decompress"),
    "nesting": (b'{"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "parse"),
    "invalid UTF-8": (b'{"n": 1, "a": "\xff\xfe"}', "parse"),
    "NUL bytes": (b"\x00" * 1000, "parse"),
    "duplicate keys": (b'{"n": 1, "n": 2}', "parse"),
    "lone surrogate": (b'{"n": 1, "a": "\\ud800"}', "parse"),
    "NaN": (b'{"n": NaN}', "parse"),
    "a list": (b"[1, 2]", "parse"),
    "nothing": (b" ", "parse"),
    "too large": (b'{"n": 99999999999999999999}', "parse"),
    "exponent": (b'{"n": 1, "a": 1e-99999999999999999999}', "parse"),
    "digits": (b'{"n": 1, "a": ' + b"7" * 5000 + b"}", "parse"),
    "fault deep within": (b'{"n": ' + b"[" * 600 + b"]" * 600 + b"}", "schema"),
    "10 MB": (b'{"n": "' + b"x" * 9_000_000 + b'"}', "schema"),
    "text for a number": (b'{"n": "1; DROP TABLE x"}', "schema"),
}
FOREIGN_URIS = ["", "/submit", "/submit/../../x/1/y", "/submit/`a`/b/1/{id}", "/submit/a/b/1/'"]
OWN_URIS = ["/submit/{ns}/ping/1/no-uuid", "/submit/{ns}/ping/1/", "/submit/{ns}/ping", "/submit/{ns}"]
URIS = [*FOREIGN_URIS, *OWN_URIS]


def test_the_batch_goes_on_whatever_is_in_it(warehouse):
    document_type = make_type(warehouse)
    good, bad = list(messages(document_type, GOOD)), list(messages(document_type, [d for d, _ in BAD.values()]))
    forged = [
        (b'{"n": 1}', {"uri": uri.format(ns=document_type.namespace, id=uuid.uuid4()), "x-forged": "'; --"})
        for uri in URIS
    ]
    absurd = [
        *messages(document_type, [{"n": 1}], submission_timestamp="0000-00-00T00:00:00Z"),
        *messages(document_type, [{"n": 1}], submission_timestamp="9999-12-31T23:59:59Z"),
        *messages(document_type, [{"n": 1}], submission_timestamp="yesterday"),
    ]
    bare = [(b"{}", {})]
    publish(warehouse.settings, [*bad, *forged, *absurd, *bare, *good])

    totals = land(warehouse, until_empty=True)

    assert (totals.landed, totals.failed) == (len(GOOD), len(BAD) + len(URIS) + 4)
    rows = live(warehouse, document_type)
    for row, document in zip(rows, GOOD, strict=True):
        sent = orjson.loads(decompress(document)) if isinstance(document, bytes) else document
        assert same_json(document_of(document_type, row), sent), sent["n"]
    of_type = errors(warehouse, document_type)
    assert [row["error_type"] for row in of_type].count("uri") == len(OWN_URIS)
    found = {row["document_id"]: row for row in of_type if row["error_type"] != "uri"}
    for (name, (data, step)), (_, attributes) in zip(BAD.items(), bad, strict=True):
        row = found[attributes["uri"].rsplit("/", 1)[1]]
        assert (row["error_type"], row["payload"]) == (step, data), name
    assert [r["error_type"] for _, r in found.items()].count("normalise") == 3


@pytest.mark.parametrize("size", [MAX_DOCUMENT_BYTES - 100, MAX_DOCUMENT_BYTES + 100])
def test_a_document_may_unpack_to_16_mb_and_no_more(warehouse, size):
    document_type = make_type(warehouse)
    data = gzip.compress(b'{"n":1,"x":"' + b"x" * (size - 1000) + b'"}' + b" " * 985)
    publish(warehouse.settings, messages(document_type, [data]))
    totals = land(warehouse, until_empty=True)
    assert totals.landed == (size < MAX_DOCUMENT_BYTES)


def test_hundreds_of_columns_and_ten_thousand_values_come_back(warehouse):
    leaf = {"type": "object", "properties": {f"leaf{n}": {"type": "integer"} for n in range(25)}}
    branches = {f"branch{n}": leaf for n in range(20)}
    schema = SCHEMA | {"properties": branches | {"histogram": {"type": "object", "additionalProperties": leaf}}}
    document_type = make_type(warehouse, schema)
    one = {f"leaf{n}": n for n in range(25)}
    document = {f"branch{n}": one for n in range(20)} | {"histogram": {f"probe{n}": one for n in range(380)}}
    publish(warehouse.settings, messages(document_type, [document]))
    assert land(warehouse, until_empty=True).landed == 1
    [row] = live(warehouse, document_type)
    assert len(orjson.dumps(document)) > 100_000 and row["additional_properties"] is None
    assert same_json(document_of(document_type, row), document)
