"""What is said of a change, for any two distributions."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry_warehouse.changes.effect import MOST_BUCKETS, effect, quantile, total_variation
from telemetry_warehouse.changes.movers import LEAST_PERCENT, MOST_VALUES, movers
from telemetry_warehouse.layouts import Layout, ends
from tests.e2e.plain import two_digits

LAYOUTS = ["0/50/1-10000", "1/80/-90-300", "scalar/2-digits", "9/1-9", "?/?/", "0/50/0-0"]
INT64 = st.integers(-(9 * 10**18), 9 * 10**18)


@st.composite
def counted(draw) -> tuple[str, dict[int, int]]:
    """A layout, and counts by buckets of it."""
    layout = draw(st.sampled_from(LAYOUTS))
    parsed = Layout.parse(layout)
    bounds = st.sampled_from(parsed.bounds()) if parsed else INT64.map(two_digits)
    return layout, draw(st.dictionaries(bounds, st.integers(1, 10**12), min_size=1, max_size=20))


def shares(counts: dict[int, int]) -> list[dict]:
    total = sum(counts.values())
    return [{"bucket": bucket, "share": round(count / total, 6)} for bucket, count in sorted(counts.items())]


@given(counted(), st.floats(0, 1), st.floats(0, 1))
def test_a_quantile_lies_where_so_much_lies_below(of, one, other):
    layout, counts = of
    low, high = (quantile(counts, layout, p) for p in sorted((one, other)))
    buckets = sorted(counts)
    assert buckets[0] <= low <= high <= ends(layout, buckets)[-1]
    total = sum(counts.values())
    begun = sum(count for bucket, count in counts.items() if bucket <= high + 1e-6)
    assert begun >= max(one, other) * total * (1 - 1e-9)


@given(counted(), st.integers(2, 1000))
def test_quantiles_are_of_shares_and_not_of_counts(of, factor):
    layout, counts = of
    more = {bucket: count * factor for bucket, count in counts.items()}
    assert quantile(more, layout, 0.5) == pytest.approx(quantile(counts, layout, 0.5), rel=1e-6, abs=1e-5)


def test_a_quantile_is_within_its_bucket_as_if_that_were_filled_evenly():
    assert quantile({0: 1, 5: 2, 10: 1}, "1/80/-90-300", 0.5) == 7.5
    assert quantile({1200: 1}, "scalar/2-digits", 0.95) == 1295
    # What is met exactly is met, whatever nineteen twentieths add up to: the next bucket is not begun.
    shares = dict.fromkeys(range(19), 1 / 20) | {200: 1 - 19 / 20}
    assert quantile(shares, "1/80/-90-300", 0.95) == 20
    assert quantile({0: 1, 100: 1}, "no layout", 0.25) == 50
    assert quantile({300: 1}, "1/80/-90-300", 0.5) == 300, "the last bucket has no end"


@pytest.mark.parametrize("kind", [2, 3, 5])
def test_categories_have_no_quantiles(kind):
    found = effect(shares({0: 1, 1: 3}), shares({0: 3, 1: 1}), f"{kind}/3/1-2")
    assert found.median_before is found.p95_after is None and found.gained == [{"bucket": 0, "share": 0.5}]


@given(INT64)
@example(-1000)
@example(-991)
@example(100)
def test_a_scalar_lies_in_the_bucket_that_it_is_counted_in(value):
    bucket = two_digits(value)
    [end] = ends("scalar/2-digits", [bucket])
    assert bucket <= value < end and two_digits(end - 1) == bucket and two_digits(end) == end


@given(counted())
def test_buckets_end_where_the_next_begins_at_the_latest(of):
    layout, counts = of
    buckets = sorted(counts)
    for bucket, end, following in zip(buckets, ends(layout, buckets), [*buckets[1:], math.inf], strict=True):
        assert bucket <= end <= following


@pytest.mark.parametrize(
    "text", ["0/50/0-100", "0/2/1-9", "1/99999/1-9", "1/10/9-1", "7/10/1-9", "1/10/1-9999999999999999999", ""]
)
def test_a_layout_that_no_histogram_can_have_is_none(text):
    assert Layout.parse(text) is None


@given(counted(), st.randoms())
def test_what_one_way_gained_the_other_lost(of, chance):
    layout, before = of
    after = {bucket: chance.randint(1, 10**6) for bucket in before if chance.random() < 0.7} or before
    there, back = (effect(shares(a), shares(b), layout) for a, b in ((before, after), (after, before)))
    assert there.gained == back.lost and there.lost == back.gained
    assert (there.median_before, there.p95_after) == (back.median_after, back.p95_before)
    distance = total_variation(before, after)
    assert 0 <= distance <= 1 and distance == total_variation(after, before)
    for moved in (there.gained, there.lost):
        assert len(moved) <= MOST_BUCKETS and all(one["share"] > 0 for one in moved)
        assert sum(one["share"] for one in moved) <= distance + 2e-5
    assert effect(shares(before), shares(before), layout).gained == [] and total_variation(before, before) == 0


def test_what_holds_nothing_has_no_quantile():
    with pytest.raises(ValueError, match="no quantile"):
        effect([], shares({1: 1}), "9/1-9")


def part(since: bool, clients: dict[int, int], dimension=None, value=None) -> dict:
    buckets = [{"bucket": bucket, "clients": n * 10**9} for bucket, n in clients.items()]
    n_clients = sum(clients.values())
    return {"since": since, "dimension": dimension, "value": value, "n_clients": n_clients, "buckets": buckets}


WHOLE = [part(False, {0: 100}), part(True, {0: 60, 1: 40})]


def test_a_value_is_held_against_its_own_past_and_a_new_one_against_everybodys():
    parts = [
        part(False, {0: 50, 1: 50}, "country", "DE"), part(True, {0: 25, 1: 25}, "country", "DE"),
        part(False, {1: 1}, "build", "new"), part(True, {1: 40}, "build", "new"),
    ]  # fmt: skip
    assert movers(WHOLE + parts) == [
        {"dimension": "build", "value": "new", "effect": 1.0, "share": 0.4},
        {"dimension": "country", "value": "DE", "effect": 0.0, "share": 0.5},
    ]


def test_values_of_few_clients_or_of_all_and_more_than_three_are_not_named():
    few, all_of_them = part(True, {1: LEAST_PERCENT - 1}, "build", "few"), part(True, {0: 60, 1: 40}, "os", "Linux")
    many = [part(True, {0: 20 - n, 1: n}, "country", f"C{n}") for n in range(6)]
    assert [one["value"] for one in movers([*WHOLE, few, all_of_them, *many])] == ["C5", "C4", "C3"][:MOST_VALUES]


def test_without_clients_on_both_sides_nothing_moved():
    assert movers([]) == movers(WHOLE[1:]) == []
