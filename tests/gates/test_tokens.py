"""Tokens grow from the last one, whatever a clock says, and the newest holder alone may publish."""

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from google.api_core.exceptions import BadRequest

from telemetry_warehouse.gates.publish import announce, publish
from telemetry_warehouse.tables import Table, column
from tests.support import load_rows

DAY = date(2013, 2, 1)
ROWS = Table(
    "tokens_test",
    "rows",
    (column("submission_date", "DATE"), column("holder", "STRING")),
    partition_field="submission_date",
)


@pytest.fixture
def table(warehouse) -> Table:
    """A table that nobody has held yet."""
    return replace(ROWS, name=f"rows_{uuid.uuid4().hex[:12]}")


def publish_as(warehouse, table: Table, holder: str, token: int) -> None:
    warehouse.ensure_dataset("tokens_test_candidates")
    candidate = f"tokens_test_candidates.{table.name}"
    select = f"SELECT DATE '{DAY}' AS submission_date, '{holder}' AS holder"
    warehouse.query(f"CREATE OR REPLACE TABLE {candidate} AS {select}")
    publish(warehouse, table, candidate, DAY, DAY, token)


def published_by(warehouse, table: Table) -> list[str]:
    return [row["holder"] for row in warehouse.rows(f"SELECT holder FROM {table.id} WHERE submission_date = '{DAY}'")]


def leave(warehouse, table: Table, token: int, day: date, holder: str = "left") -> None:
    """A token as a holder with some other clock, or with an older version of this code, has left it."""
    row = {"taken_date": day, "table_name": table.id, "token": token, "holder": holder}
    load_rows(warehouse, "monitoring.publish_tokens", [row])


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def test_each_holder_of_a_table_gets_a_larger_token(warehouse, table):
    other = replace(table, name=f"{table.name}_other")
    tokens = [announce(warehouse, table, holder) for holder in ("one", "two", "one")]
    announce(warehouse, other, "three")
    tokens.append(announce(warehouse, table, "two"))
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("ahead", [timedelta(days=40), timedelta(days=-40), timedelta(days=4000)])
def test_a_run_whose_clock_was_wrong_stops_nobody_after_it(warehouse, table, ahead):
    announce(warehouse, table, "before")
    moment = datetime.now(UTC) + ahead
    wrong = microseconds(moment)
    leave(warehouse, table, wrong, moment.date())
    publish_as(warehouse, table, "wrong", wrong)
    first, second = announce(warehouse, table, "first"), announce(warehouse, table, "second")
    assert wrong < first < second
    with pytest.raises(BadRequest, match="newer holder"):
        publish_as(warehouse, table, "first", first)
    assert published_by(warehouse, table) == ["wrong"]
    publish_as(warehouse, table, "second", second)
    assert published_by(warehouse, table) == ["second"]


def test_tokens_go_on_from_what_was_published_once_those_left_have_expired(warehouse, table):
    token = microseconds(datetime.now(UTC) + timedelta(days=40))
    leave(warehouse, table, token, date.today())
    publish_as(warehouse, table, "long ago", token)
    ours = f"taken_date >= '1970-01-01' AND table_name = '{table.id}'"
    warehouse.query(f"DELETE FROM monitoring.publish_tokens WHERE {ours}")
    assert announce(warehouse, table, "now") > token


def test_of_two_holders_with_one_token_neither_publishes(warehouse, table):
    """As where one lost its lock before it had left a token, and both looked at once for the last."""
    publish_as(warehouse, table, "before", announce(warehouse, table, "before"))
    token = announce(warehouse, table, "one")
    leave(warehouse, table, token, datetime.now(UTC).date(), "another")
    with pytest.raises(BadRequest, match="newer holder"):
        publish_as(warehouse, table, "one", token)
    assert published_by(warehouse, table) == ["before"]
