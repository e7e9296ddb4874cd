"""The functions of `udf`: every example that stands beside one, on the warehouse."""

import zlib
from fractions import Fraction

import pytest
from google.api_core.exceptions import GoogleAPICallError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry_warehouse.bigquery import Warehouse
from tests.dbt.project import manifest


@pytest.fixture(scope="module")
def warehouse(prepared_home) -> Warehouse:
    return Warehouse(prepared_home)


@pytest.fixture(scope="module")
def functions(warehouse_home) -> dict[str, list[dict]]:
    nodes = manifest(warehouse_home)["functions"].values()
    return {node["name"]: node["config"]["meta"].get("examples", []) for node in nodes}


def test_every_function_of_the_design_is_there_with_examples(functions):
    names = {
        *("bits28_active_in_range", "bits28_days_since_seen", "bits28_from_string", "bits28_to_string", "bits28_range"),
        *("bits28_to_dates", "bits28_retention", "shift_28_bits_one_day", "combine_adjacent_days_28_bits", "mode_last"),
        *("sample_id", "hist_extract", "hist_count", "hist_mean", "hist_merge", "hist_normalize", "hist_percentile"),
        "jackknife",
    }
    assert functions.keys() == names
    assert [name for name, examples in functions.items() if not examples] == []


def test_examples_return_what_they_say(warehouse, functions):
    wrong = []
    for name, examples in functions.items():
        examples = [e for e in examples if "returns" in e]
        pairs = (f"TO_JSON_STRING({e['call']}), TO_JSON_STRING({e['returns']})" for e in examples)
        (row,) = warehouse.query(f"SELECT {', '.join(pairs)}")
        for n, example in enumerate(examples):
            if row[2 * n] != row[2 * n + 1]:
                wrong.append((name, example["call"], row[2 * n]))
    assert wrong == []


def test_bad_arguments_are_named(warehouse, functions):
    for example in (e for examples in functions.values() for e in examples if "error" in e):
        with pytest.raises(GoogleAPICallError) as raised:
            warehouse.query(f"SELECT {example['call']}")
        assert example["error"] in str(raised.value), example["call"]


def test_sample_id_is_a_checksum_of_any_36_characters(warehouse):
    ids = [f"{n:036x}" for n in range(0, 2**64, 2**64 // 7)] + ["~" * 36, " " * 36]
    rows = warehouse.rows(f"SELECT id, udf.sample_id(id) AS sample FROM UNNEST({ids}) AS id")
    assert {r["id"]: r["sample"] for r in rows} == {i: zlib.crc32(i.encode()) % 100 for i in ids}


@st.composite
def histograms_with_a_bound(draw) -> tuple[list[int], str]:
    """Counts of buckets 0, 1, 2 and a share of few decimals at which, or beside which by one, the second begins."""
    decimals = draw(st.integers(1, 9))
    share, of = draw(st.integers(1, 10**decimals - 1)), 10**decimals
    each, beside = draw(st.integers(1, 10**17 // of)), draw(st.sampled_from([-1, 0, 0, 0, 1]))
    first, rest = max(share * each + beside, 0), of * each - max(share * each + beside, 0)
    second = draw(st.integers(0, rest))
    return [first, second, rest - second], f"{share / of:.{decimals}f}"


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(histograms_with_a_bound(), min_size=60, max_size=60))
def test_a_percentile_is_that_of_exact_fractions(warehouse, cases):
    calls, expected = [], []
    for counts, p in cases:
        buckets = ", ".join(f"STRUCT({bucket} AS bucket, {count} AS count)" for bucket, count in enumerate(counts))
        calls.append(f"udf.hist_percentile(STRUCT('l' AS layout, 0 AS sum, [{buckets}] AS buckets), {p})")
        met = (b for b, n in enumerate(counts) if n and Fraction(sum(counts[: b + 1]), sum(counts)) >= Fraction(p))
        expected.append(next(met))
    [row] = warehouse.query(f"SELECT [{', '.join(calls)}]")
    wrong = [(case, n, right) for case, n, right in zip(cases, row[0], expected, strict=True) if n != right]
    assert wrong == []


JSON = """'{"values": {"0": 3, "1": 2}, "sum": 2}'"""
HISTOGRAM = f"udf.hist_extract({JSON})"
DATES = "udf.bits28_to_dates(5, DATE '2024-01-05')"


@pytest.mark.parametrize(
    "expression, value",
    [
        (f"udf.hist_count({HISTOGRAM})", 5),
        (f"udf.hist_mean({HISTOGRAM})", 0.4),
        (f"udf.hist_percentile({HISTOGRAM}, 0.5)", 0),
        (f"udf.hist_count(udf.hist_merge([{HISTOGRAM}, {HISTOGRAM}]))", 10),
        (f"udf.hist_count(udf.hist_merge([udf.hist_merge([{HISTOGRAM}]), {HISTOGRAM}]))", 10),
        (f"udf.hist_percentile(udf.hist_merge([{HISTOGRAM}]), udf.hist_mean({HISTOGRAM}))", 0),
        (f"ARRAY_LENGTH((udf.hist_normalize({HISTOGRAM})).buckets)", 2),
        (f"udf.hist_count((SELECT {HISTOGRAM}))", 5),
        (f"CAST(udf.mode_last({DATES}) AS STRING)", "2024-01-05"),
        (f"udf.mode_last([udf.hist_count({HISTOGRAM}), udf.hist_count({HISTOGRAM}), 1])", 5),
        (f"CAST(udf.mode_last(ARRAY(SELECT day FROM UNNEST({DATES}) AS day)) AS STRING)", "2024-01-05"),
        ("udf.bits28_days_since_seen(udf.shift_28_bits_one_day(udf.bits28_from_string(udf.bits28_to_string(1))))", 1),
    ],
)
def test_functions_nest(warehouse, expression, value):
    """Where a query has a place: in a column, a CTE, a condition, and for each row of a table."""
    assert warehouse.rows(f"SELECT {expression} AS it") == [{"it": value}]
    with_cte = f"WITH a AS (SELECT {expression} AS it) SELECT it FROM a WHERE {expression} = it"
    assert warehouse.rows(with_cte) == [{"it": value}]
    of_rows = expression.replace(JSON, "json")
    rows = warehouse.rows(f"SELECT {of_rows} AS it FROM UNNEST([{JSON}, {JSON}]) AS json")
    assert rows == [{"it": value}] * 2
