"""Rows and expectations with odd values in them, for tests that hold a gate against Python's own count."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import strategies as st

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed
from telemetry_warehouse.gates.judge import judge
from telemetry_warehouse.tables import Table, column

DAY = date(2013, 2, 1)
VALUES = Table(
    "gates_test_candidates",
    "literals",
    (
        column("submission_date", "DATE"),
        column("client_id", "STRING"),
        column("text", "STRING"),
        column("number", "INT64"),
        column("share", "FLOAT64"),
        column("flag", "BOOL"),
        column("born", "DATE"),
        column("moment", "TIMESTAMP"),
    ),
    partition_field="submission_date",
    require_partition_filter=False,
)
# What some layer on the way from YAML to BigQuery gives a meaning, and what some leave out.
ODD = "%:;'\"`\\{}[]()|.*+?^$_-#@!&=<>~/, \n\r\t\x01\x7f\x85\u00a0\u2028\ufeffaAnxsd01éß中😀"
ODD_TEXTS = [
    "",
    "100% a",
    "100%% a",
    "%s",
    "%(a)s",
    "ns:key",
    r"a\:b",
    r"\\",
    r"\n",
    "{text}",
    "{columns *}",
    "NULL",
    "12.3",
    "it's",
    '"""',
    "--",
]
texts = st.sampled_from(ODD_TEXTS) | st.text(ODD, max_size=6) | st.text(max_size=4)
texts = texts.filter(lambda text: "\0" not in text)
numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
dates = st.dates(date(2012, 1, 1), date(2012, 1, 9))
moments = st.builds(
    lambda day, minutes: datetime.combine(day, time(), UTC) + timedelta(minutes=minutes), dates, st.integers(0, 5)
)
shares = st.sampled_from([0.1, 0.5, 1e-7, 1e16, -0.25, 3.0])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | texts,
            "number": st.none() | numbers,
            "share": st.none() | shares,
            "flag": st.none() | st.booleans(),
            "born": st.none() | dates,
            "moment": st.none() | moments,
        }
    ),
    min_size=1,
    max_size=30,
)


def as_regex(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)


def as_like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def like(pattern: str) -> re.Pattern:
    """A LIKE pattern without escapes, as Python's."""
    return re.compile("".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def of(column: str, kind: str, holds, **arguments) -> tuple[dict, str, object]:
    """An expectation, its column, and whether a value that is not NULL holds it."""
    return {"type": f"expect_column_{kind}", "column": column, **arguments}, column, holds


@st.composite
def expectations(draw) -> list[tuple]:
    some = draw(st.lists(texts, min_size=1, max_size=4))
    one, other = some[0], draw(texts)
    n, m = sorted([draw(numbers), draw(numbers)])
    share, day, moment = draw(shares), draw(dates), draw(moments)
    pattern = draw(st.text("%_ab:'", max_size=5))
    regexes = [as_regex(text) for text in some]
    likes = [as_like(text) for text in some]
    length = draw(st.integers(0, 6))
    return [
        of("text", "values_to_be_in_set", lambda v: v in some, value_set=some),
        of("text", "values_to_be_in_set", lambda v: v in some, value_set=[*some, None]),
        of("text", "values_to_be_in_set", lambda v: False, value_set=[]),
        of("text", "values_to_not_be_in_set", lambda v: v not in some, value_set=some),
        of("text", "values_to_not_be_in_set", lambda v: v not in some, value_set=[*some, None]),
        of("text", "values_to_not_be_in_set", lambda v: True, value_set=[]),
        of("text", "values_to_match_regex", lambda v: one in v, regex=regexes[0]),
        of("text", "values_to_match_regex", lambda v: v == other, regex=rf"\A{as_regex(other)}\z"),
        of("text", "values_to_not_match_regex", lambda v: one not in v, regex=regexes[0]),
        of("text", "values_to_match_regex_list", lambda v: any(t in v for t in some), regex_list=regexes),
        of(
            "text",
            "values_to_match_regex_list",
            lambda v: all(t in v for t in some),
            regex_list=regexes,
            match_on="all",
        ),
        of("text", "values_to_not_match_regex_list", lambda v: not any(t in v for t in some), regex_list=regexes),
        of("text", "values_to_match_like_pattern", lambda v: one in v, like_pattern=f"%{likes[0]}%"),
        of("text", "values_to_match_like_pattern", lambda v: like(pattern).fullmatch(v), like_pattern=pattern),
        of("text", "values_to_not_match_like_pattern", lambda v: v != one, like_pattern=likes[0]),
        of("text", "values_to_match_like_pattern_list", lambda v: v in some, like_pattern_list=likes),
        of("text", "values_to_not_match_like_pattern_list", lambda v: v not in some, like_pattern_list=likes),
        of(
            "text",
            "value_lengths_to_be_between",
            lambda v: 1 <= len(v) <= length + 1,
            min_value=1,
            max_value=length + 1,
        ),
        of("text", "value_lengths_to_equal", lambda v: len(v) == length, value=length),
        of("number", "values_to_be_between", lambda v: n <= v <= m, min_value=n, max_value=m),
        of("number", "values_to_be_between", lambda v: v > n, min_value=n, strict_min=True),
        of("number", "values_to_be_in_set", lambda v: v in (n, m), value_set=[n, m]),
        of("share", "values_to_be_between", lambda v: v <= share, max_value=share),
        of("share", "values_to_be_in_set", lambda v: v == share, value_set=[share]),
        of("flag", "values_to_be_in_set", lambda v: v, value_set=[True]),
        of("flag", "values_to_not_be_in_set", lambda v: v, value_set=[False]),
        of("born", "values_to_be_between", lambda v: v >= day, min_value=day),
        of("born", "values_to_be_between", lambda v: v < day, max_value=str(day), strict_max=True),
        of("born", "values_to_be_in_set", lambda v: v == day, value_set=[day]),
        of("moment", "values_to_be_between", lambda v: v >= moment, min_value=moment),
        of(
            "moment",
            "values_to_be_between",
            lambda v: v > moment,
            min_value=moment.replace(tzinfo=None),
            strict_min=True,
        ),
        of("moment", "values_to_be_in_set", lambda v: v == moment, value_set=[moment]),
        of("moment", "values_to_be_between", lambda v: v.date() >= day, min_value=day),
    ]


def broken_rows(rows: list[dict], asked: list[tuple]) -> list[int]:
    """How many rows break each expectation."""
    return [sum(row[name] is not None and not holds(row[name]) for row in rows) for _, name, holds in asked]


def judged(warehouse: Warehouse, rows: list[dict], asked: list[tuple]) -> bool:
    """Judges a table of these rows by these expectations, called 0, 1, 2 and so on; whether it has passed."""
    named = tuple(entry | {"name": str(n)} for n, (entry, _, _) in enumerate(asked))
    warehouse.drop(VALUES.id)
    warehouse.create(VALUES)
    warehouse.load_rows(VALUES, with_keys(rows))
    try:
        judge(warehouse, replace(VALUES, expectations=named), VALUES.id, {}, DAY, DAY, "literals")
    except GateFailed:
        return False
    return True


def with_keys(rows: list[dict]) -> list[dict]:
    return [row | {"submission_date": DAY, "client_id": str(n)} for n, row in enumerate(rows)]
