"""The sample, and that only UUIDs are ids."""

import pytest

from telemetry_warehouse.landing.message import as_uuid
from telemetry_warehouse.landing.normalise import sample_id


def test_the_sample_is_the_documented_one():
    assert sample_id("859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d") == 55


@pytest.mark.parametrize("text", ["859C8A32-0B73-B547-A5E7-8EF4ED9C4C2D", "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"])
def test_a_uuid_is_lower_case(text):
    assert as_uuid(text) == "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"


@pytest.mark.parametrize(
    "value",
    [None, 7, "", "859c8a320b73b547a5e78ef4ed9c4c2d", "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2g",
     "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2",
     "859c8a320-b73-b547-a5e7-8ef4ed9c4c2d", "٨59c8a32-0b73-b547-a5e7-8ef4ed9c4c2d",
     "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d\n"],
)  # fmt: skip
def test_nothing_else_is_a_uuid(value):
    assert as_uuid(value) is None
