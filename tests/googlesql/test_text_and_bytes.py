"""Text and bytes on the emulator, with the reference engine's answers: by a list of expressions, and by any values."""

import base64
import json
from pathlib import Path

import pytest
from google.api_core.exceptions import GoogleAPIError
from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.googlesql.engine import Refused
from tests.googlesql.values import plain

# An expression a line; a refusal of one engine is a refusal of the other.
EXPRESSIONS = Path(__file__).with_name("text_and_bytes.txt").read_text().splitlines()
REFUSED = "refused"

texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.text("\\x41'\"`%é\n\r\0:@?u0{}$", max_size=12)
byte_strings = st.binary(max_size=12) | texts.map(str.encode)


@pytest.fixture(scope="module")
def client(warehouse_home):
    client = warehouse_home.bigquery_client()
    client.query_and_wait("CREATE SCHEMA IF NOT EXISTS text_and_bytes")
    return client


def on_emulator(client, select: str, *parameters: ScalarQueryParameter) -> list[dict] | str:
    try:
        rows = client.query_and_wait(select, job_config=QueryJobConfig(query_parameters=parameters))
    except GoogleAPIError:
        return REFUSED
    return [dict(row) for row in rows]


def by_reference(googlesql, select: str) -> list[dict] | str:
    try:
        columns, rows = googlesql.evaluate(select, googlesql.new_catalogue("none"), {})
    except Refused:
        return REFUSED
    return [{c.name: plain(cell, c.type) for c, cell in zip(columns, row.cell, strict=True)} for row in rows]


def test_every_expression_has_the_reference_engines_answer(client, googlesql):
    different = {}
    for expression in EXPRESSIONS:
        select = f"SELECT {expression} AS x"
        answers = on_emulator(client, select), by_reference(googlesql, select)
        if answers[0] != answers[1]:
            different[expression] = answers
    assert different == {}


def of_text(text: str) -> str:
    """A literal of a text, every character of which is an escape or stands for itself."""
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\x00"}
    return "'" + "".join(escapes.get(c, c) for c in text) + "'"


def of_bytes(value: bytes) -> str:
    return "b'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"


QUESTIONS = {
    "text": "{t}",
    "as_bytes": "CAST({t} AS BYTES)",
    "there_and_back": "CAST(CAST({t} AS BYTES) AS STRING)",
    "bytes": "{b}",
    "as_text": "SAFE_CAST({b} AS STRING)",
    "converted": "SAFE_CONVERT_BYTES_TO_STRING({b})",
    "hex": "TO_HEX({b})",
    "base64": "TO_BASE64({b})",
    "from_base64": "FROM_BASE64(TO_BASE64({b}))",
    "digest": "TO_HEX(SHA256({b})) || TO_HEX(MD5({t}))",
    "both": "{b} || CAST({t} AS BYTES)",
    "lengths": "[LENGTH({b}), BYTE_LENGTH({t}), CHAR_LENGTH({t}), BYTE_LENGTH({b})]",
    "parts": "[SUBSTR({b}, {n}), SUBSTR({b}, {n}, 2), LEFT({b}, 2), RIGHT({b}, 3), REVERSE({b})]",
    "parts_of_text": "[SUBSTR({t}, {n}), SUBSTR({t}, {n}, 2), LEFT({t}, 2), RIGHT({t}, 3), REVERSE({t})]",
    "replaced": "REPLACE({b}, SUBSTR({b}, 2, 1), CAST({t} AS BYTES))",
    "replaced_text": "REPLACE({t}, SUBSTR({t}, 2, 1), '\\\\x41')",
    "found": "[STRPOS({b}, SUBSTR({b}, 2, 1)), STRPOS({t}, SUBSTR({t}, 2, 1))]",
    "compared": "[{b} < CAST({t} AS BYTES), {b} = CAST({t} AS BYTES), STARTS_WITH({b}, SUBSTR({b}, 1, 2)), {t} < 'x']",
    "json": "TO_JSON_STRING(STRUCT({t} AS t, {b} AS b, [{b}] AS l))",
    "literals": "FORMAT('%T %T %t', {t}, {b}, {b})",
}


@settings(max_examples=60)
@given(text=texts, value=byte_strings, position=st.integers(-6, 6))
def test_any_text_and_bytes_give_the_reference_engines_answers(client, googlesql, text, value, position):
    def select(t: str, b: str, source: str = "") -> str:
        columns = ", ".join(f"{q.format(t=t, b=b, n=position)} AS {name}" for name, q in QUESTIONS.items())
        return f"SELECT {columns}{source}"

    def apart(answers: list[dict] | str) -> dict:
        assert answers != REFUSED
        [answer] = answers
        # Control characters in JSON have hexadecimal digits in either case.
        answer["json"] = json.loads(answer["json"])
        return {name: (answer[name], expected[name]) for name in QUESTIONS if answer[name] != expected[name]}

    literals = of_text(text), of_bytes(value)
    [expected] = by_reference(googlesql, select(*literals))
    expected["json"] = json.loads(expected["json"])
    assert expected["text"] == text and expected["bytes"] == value
    assert apart(on_emulator(client, select(*literals))) == {}
    rows = f" FROM (SELECT {literals[0]} AS t, {literals[1]} AS b) AS r WHERE t = {literals[0]} AND b = {literals[1]}"
    assert apart(on_emulator(client, select("r.t", "r.b", rows))) == {}
    of_parameters = select("r.t", "r.b", " FROM (SELECT @t AS t, @b AS b) AS r WHERE r.t = @t AND r.b = @b")
    given_both = ScalarQueryParameter("t", "STRING", text), ScalarQueryParameter("b", "BYTES", value)
    # The emulator does not know that a parameter is text, which FORMAT would quote.
    assert apart(on_emulator(client, of_parameters, *given_both)).keys() <= {"literals"}


def test_text_and_bytes_in_tables_views_functions_and_merges(client):
    """The text's escapes, the bytes and what is made of both are the same wherever they stand."""
    text, value = "C:\\x41 \\u00e9 '\"` %s :a @b é\n", b"\xff\x00\\x41\"\xc3\xa9"
    t, b = of_text(text), of_bytes(value)
    client.query_and_wait(
        f"CREATE OR REPLACE TABLE text_and_bytes.kept AS SELECT 1 AS n, {t} AS t, {b} AS b, [STRUCT({b} AS b)] AS l"
    )
    client.query_and_wait(
        "CREATE OR REPLACE VIEW text_and_bytes.seen AS SELECT n, t, b, CAST(t AS BYTES) AS as_bytes,"
        f" SAFE_CAST(b AS STRING) AS as_text, t = {t} AS same_t, b = {b} AS same_b FROM text_and_bytes.kept"
        f" WHERE t = {t} AND b = {b} AND l[OFFSET(0)].b = {b}"
    )
    client.query_and_wait(
        "CREATE OR REPLACE FUNCTION text_and_bytes.told(x BYTES, y STRING) RETURNS STRING AS ("
        f" CONCAT(TO_HEX(SUBSTR(x, 2, 1)), IFNULL(SAFE_CAST(x AS STRING), '?'), CAST(CAST(y AS BYTES) AS STRING), {t}))"
    )
    client.query_and_wait(
        f"MERGE text_and_bytes.kept AS old USING (SELECT 2 AS n, {t} AS t, {b} AS b) AS new ON old.n = new.n"
        f" WHEN NOT MATCHED AND new.t = {t} AND new.b = {b} THEN INSERT (n, t, b) VALUES (n, CONCAT(t, {t}), b || {b})"
    )
    [seen] = client.query_and_wait("SELECT * FROM text_and_bytes.seen")
    assert dict(seen) == {
        "n": 1, "t": text, "b": value, "as_bytes": text.encode(), "as_text": None, "same_t": True, "same_b": True,
    }  # fmt: skip
    [told] = client.query_and_wait("SELECT text_and_bytes.told(b, t) AS x FROM text_and_bytes.kept WHERE n = 1")
    assert told.x == "00?" + text + text
    [merged] = client.query_and_wait("SELECT t, b FROM text_and_bytes.kept WHERE n = 2")
    assert (merged.t, merged.b) == (text * 2, value * 2)
    [row] = client.query_and_wait("SELECT TO_JSON_STRING(k) AS row FROM text_and_bytes.kept AS k WHERE n = 1")
    encoded = base64.b64encode(value).decode()
    assert json.loads(row.row) == {"n": 1, "t": text, "b": encoded, "l": [{"b": encoded}]}
    script = f"DECLARE x BYTES DEFAULT {b}; DECLARE y STRING DEFAULT {t}; SELECT CAST(y AS BYTES) AS y, TO_HEX(x) AS x"
    [of_script] = client.query_and_wait(script)
    assert (of_script.y, of_script.x) == (text.encode(), value.hex())
