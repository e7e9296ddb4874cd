"""What would not be kept as it is written: numbers, and keys that are there twice."""

import json
from decimal import Decimal

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry_warehouse.landing.exact import check


def inexact(text: str) -> str | None:
    """The number found in a JSON text within an object."""
    text = f'{{"text":{text}}}'
    fault = check(text.encode(), orjson.loads(text))[1]
    return fault and fault.removeprefix("the number ").removesuffix(" cannot be kept exactly")


@pytest.mark.parametrize(
    "number",
    ["0.1", "0.10000000000000001", "0.1000000000000000055511151231257827", "1180591620717411303424", "4.0", "-0",
     "18446744073709551615", "-9223372036854775808", "9007199254740993", "100000000000000000000.0", "1e22",
     "0.00000000000000000000", "1.7976931348623157e308", "2.2250738585072014e-308"],
)  # fmt: skip
@pytest.mark.parametrize("around", [" [ 1, %s ] ", '{"a": -1, "b":%s}', '{"1234567890123456789":%s,"c":"9"}'])
def test_a_number_is_kept_if_its_double_gives_the_same_digits_back(number, around):
    assert inexact(around % number) is None


@pytest.mark.parametrize(
    "number",
    ["9223372036854775809.5", "18446744073709551617", "-9223372036854775809", "1e-400", "1.2345678e-320", 
     "123456789012345678901234", "0.12345678901234567891234", "1234567890123456.78901", "1E-0000400"],
)  # fmt: skip
@pytest.mark.parametrize("around", [" [ 1, %s ] ", '{"a": -1, "b":%s}', '{"0123456789":"01234567890123456789","b":%s}'])
def test_a_number_that_loses_digits_is_found(number, around):
    assert inexact(around % number) == number


@pytest.mark.parametrize(
    "text",
    ['"18446744073709551617"', '"a, 18446744073709551617, b"', '"\\" 18446744073709551617"', '"1e-400"', '[" 1e-400 "]',
     '"859c8a32-0b7e-4547-a5e7-8ef4ed9c4c2d"', '"12345678.12345678.12345678"', '"loading................"',
     '"x.1234567890123456789"', f'" {"7" * 5000}"', '" 1e-99999999999999999999"'],
)  # fmt: skip
def test_digits_in_text_are_text(text):
    assert inexact(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
def test_every_double_is_kept_as_python_or_javascript_or_c_prints_it(value):
    for text in (repr(value), f"{value:.17g}", f"{value:.25e}", orjson.dumps(value).decode()):
        assert inexact(f"[{text}]") is None


@given(st.integers(-(10**25), 10**25))
def test_an_integer_is_kept_if_it_is_64_bits_or_its_double_prints_as_it(value):
    kept = -(2**63) <= value < 2**64 or value in (int(float(value)), Decimal(repr(float(value))))
    assert (inexact(f'{{"a":{value}}}') is None) == kept


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1))
def test_whether_all_integers_are_small(values):
    small, _ = check(orjson.dumps({"a": values}), {"a": values})
    assert small == all(abs(value) < 2**53 for value in values)


@pytest.mark.parametrize(
    "text, key",
    [
        ('{"a": {"b": [{"c": 1, "d": 2, "c": 3}]}}', "c"),
        ('{"a":1,"\\u0061":2}', "a"),
        ('{"a":1,"a":true}', "a"),
        ('{"a":{"b":1},"a":{"b":2}}', "a"),
        ('{"a:":1,"x":"\\u003a","a:":2}', "a:"),
        ('{"n": 9007199254740993, "b": 1, "b": 2}', "b"),
    ],
)
def test_a_key_with_two_values_is_found(text, key):
    assert check(text.encode(), orjson.loads(text))[1] == f"the key {key!r} has two values in one object"


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [{"b": 1}], "a": [{"b": 1}]}',
        '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}',
        '{"a":"\\u003a", "b": "a:a"}',
        "{ }",
    ],
)
def test_a_key_in_two_objects_or_with_one_value_loses_nothing(text):
    assert check(text.encode(), orjson.loads(text))[1] is None


@given(st.recursive(st.none(), lambda v: st.lists(st.tuples(st.text(max_size=2), v), max_size=4), max_leaves=12))
def test_values_that_a_parser_loses_are_found(pairs):
    def write(node) -> str:
        if node is None:
            return "null"
        return "{" + ", ".join(f"{json.dumps(key)}: {write(value)}" for key, value in node) + "}"

    def kept(node) -> object:
        return node and {key: kept(value) for key, value in node}

    def lost(node) -> bool:
        last = dict(node or ())
        return any(lost(value) or json.dumps(kept(value)) != json.dumps(kept(last[key])) for key, value in node or ())

    text = f'{{"v": {write(pairs)}}}'
    assert (check(text.encode(), orjson.loads(text))[1] is not None) == lost(pairs)


@example("-.0", "0" * 14)
@given(st.text("01279.eE+- ,:[]x", max_size=60), st.text("0123456789.-eE", max_size=40))
def test_no_text_whatever_is_too_much_for_it(around, number):
    """Within a string everything is text, and the look at it ends."""
    text = json.dumps({"a": around + number, "b": [number, around]}, indent=1)
    assert check(text.encode(), orjson.loads(text)) == (True, None)
