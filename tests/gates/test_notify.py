"""Notices on real servers: who is told what, and that it is once."""

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import lineage, tables, watch
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed, NightUnfinished
from telemetry_warehouse.local.ports import any_free_port
from telemetry_warehouse.notify import notify_failed_stage
from telemetry_warehouse.settings import Settings
from tests.support import load_rows

DAY = date(2014, 3, 1)
AGAIN = "./warehouse backfill 2014-03-01 2014-03-03 --select x_v1+"


RUN = "test_notify"


@pytest.fixture(scope="module", autouse=True)
def no_stages_left(warehouse):
    """Other tests look at what was published: ours never was."""
    yield
    warehouse.query(f"DELETE FROM monitoring.pipeline_runs WHERE run = '{RUN}'")


@pytest.fixture
def table() -> str:
    """A table that no other test tells of."""
    return f"derived.t{uuid.uuid4().hex[:12]}_v1"


def gate_failed(table, *expectations) -> GateFailed:
    return GateFailed(f'{table} failed: {expectations[0]}, for example [{{"n":3}}]', table, DAY, list(expectations))


def tell(warehouse, table, error, end=DAY) -> list[str]:
    """Tells of a failed stage; returns the lines that were said."""
    said = []
    notify_failed_stage(warehouse, table, DAY, end, error, AGAIN, said.append)
    return said


def published(warehouse, table, start, end) -> None:
    now = datetime.now(UTC)
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    row = {"run": RUN, "table_name": table, "start_date": start, "end_date": end, "status": "published"}
    times = {"started_date": now.date(), "started_at": now, "ended_at": datetime.now(UTC)}
    load_rows(warehouse, "monitoring.pipeline_runs", [row | times])


def test_a_failed_gate_is_told_with_examples_and_what_to_run(told, webhook, table):
    [line] = tell(told, table, gate_failed(table, "totals"))
    [notice] = webhook.received
    assert notice["title"] == f"warehouse: {table} {DAY} failed its gate: totals"
    for part in ('[{"n":3}]', f"./warehouse gate {table} {DAY}", f"Run again: {AGAIN}"):
        assert part in notice["message"] and part in line


def test_an_error_has_no_gate_to_look_at(told, webhook, table):
    tell(told, table, ValueError("no such thing"), end=DAY + timedelta(days=2))
    [notice] = webhook.received
    assert "no such thing" in notice["message"] and "warehouse gate" not in notice["message"]
    assert f"Run again: {AGAIN}" in notice["message"]


def test_the_same_failure_is_told_again_only_after_its_days_have_passed(told, webhook, table):
    last = DAY + timedelta(days=1)
    published(told, table, DAY, last)
    for _ in range(2):
        tell(told, table, gate_failed(table, "b", "a"), end=last)
    assert tell(told, table, gate_failed(table, "a", "b"), end=last) == []
    assert len(webhook.received) == 1
    published(told, table, last, last)
    tell(told, table, gate_failed(table, "a", "b"), end=last)
    assert len(webhook.received) == 1, "one of its two days has not passed"
    published(told, table, DAY, DAY)
    tell(told, table, gate_failed(table, "a", "b"), end=last)
    assert len(webhook.received) == 2


@pytest.mark.parametrize("other", ["expectation", "days", "table"])
def test_another_failure_is_told_at_once(told, webhook, table, other):
    tell(told, table, gate_failed(table, "a"))
    table = table.replace("_v1", "_v2") if other == "table" else table
    expectations = ["a", "b"] if other == "expectation" else ["a"]
    tell(told, table, gate_failed(table, *expectations), end=DAY + timedelta(days=other == "days"))
    assert len(webhook.received) == 2


def test_a_place_that_fails_is_named_without_its_secrets_and_tried_again(told, webhook, table):
    webhook.broken = True
    nobody = (
        f"mailto://mailuser:mailsecret@127.0.0.1:{any_free_port()}?from=a@example.com&to=b@example.com&mode=insecure"
    )
    both = Warehouse(replace(told.settings, notify=(webhook.url, nobody, "nonsense://nonsensesecret")))
    _, *undelivered = said = tell(both, table, gate_failed(table, "a"))
    for scheme, line in zip(("json", "mailto", "nonsense"), undelivered, strict=True):
        assert line.startswith(f"the notice could not be delivered to {scheme}://…: ")
    assert "500" in undelivered[0]
    assert not any(secret in line for line in said for secret in ("secret", "hookuser", "mailuser", "hooktoken"))
    webhook.broken = False
    assert len(tell(both, table, gate_failed(table, "a"))) == 3
    assert len(webhook.received) == 1
    assert tell(both, table, gate_failed(table, "a")) == [], "one place has it"


def test_mail_is_sent(warehouse, mail_server, table):
    address = f"mailto://127.0.0.1:{mail_server.port}?from=w@example.com&to=team@example.com&mode=insecure"
    [line] = tell(Warehouse(replace(warehouse.settings, notify=(address,))), table, gate_failed(table, "totals"))
    [mail] = mail_server.handler.mails
    assert mail.rcpt_tos == ["team@example.com"]
    text = mail.content.decode()
    assert "failed its gate: totals" in text and f"Run again: {AGAIN}" in text


def test_with_nobody_to_tell_the_log_has_it_once(warehouse, table):
    assert len(tell(warehouse, table, gate_failed(table, "a"))) == 1
    assert tell(warehouse, table, gate_failed(table, "a")) == []


def test_a_warehouse_that_does_not_answer_does_not_keep_a_notice_back(tmp_path, webhook, table):
    gone = Warehouse(replace(Settings.load({"WAREHOUSE_HOME": str(tmp_path)}), notify=(webhook.url,)))
    first, _, last = tell(gone, table, gate_failed(table, "a"))
    assert "cannot be looked up" in first and "cannot be remembered" in last and "./warehouse up" in last
    assert len(webhook.received) == 1


def at(hour, minute, day=DAY + timedelta(days=1)) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def test_a_night_that_is_not_over_by_its_deadline_is_told_once(prepared_home, told, webhook):
    said = []
    watch.watch(told, at(5, 59), said.append)
    assert said == [] and webhook.received == []
    steps = [step.table for step in lineage.load(prepared_home).steps]
    for table in steps[:-1]:
        published(told, table, DAY, DAY)
    for _ in range(2):
        with pytest.raises(NightUnfinished) as late:
            watch.watch(told, at(6, 0), said.append)
        assert steps[-1] in str(late.value) and steps[0] not in str(late.value) and str(DAY) in str(late.value)
    [notice] = webhook.received
    assert steps[-1] in notice["message"] and f"./warehouse night {DAY}" in notice["message"]
    published(told, steps[-1], DAY - timedelta(days=3), DAY)
    said.clear()
    watch.watch(told, at(6, 10), said.append)
    assert said == []


def test_a_deadline_is_the_one_that_is_set(prepared_home, told, webhook):
    later = Warehouse(replace(told.settings, night_deadline="09:30"))
    watch.watch(later, at(9, 29, date(2014, 6, 2)))
    with pytest.raises(NightUnfinished, match="2014-06-01 is not over at 09:30 UTC"):
        watch.watch(later, at(9, 30, date(2014, 6, 2)))


def test_a_warehouse_that_nobody_can_ask_is_told(tmp_path, webhook):
    gone = Warehouse(replace(Settings.load({"WAREHOUSE_HOME": str(tmp_path)}), notify=(webhook.url,)))
    with pytest.raises(NightUnfinished, match="cannot be seen"):
        watch.watch(gone, at(6, 0), lambda _: None)
    assert len(webhook.received) == 1


def test_notices_are_kept_to_be_read(told, webhook, table):
    tell(told, table, gate_failed(table, "b", "a"))
    [row] = told.rows(
        f"SELECT * FROM {tables.from_file('monitoring', 'notifications').id}"
        f" WHERE notified_date >= '2000-01-01' AND table_name = '{table}'"
    )
    assert (row["failure"], row["delivered"], row["undelivered"]) == ("a, b", 1, 0)
    assert row["subject"] in webhook.received[0]["title"] and row["body"] == webhook.received[0]["message"]
