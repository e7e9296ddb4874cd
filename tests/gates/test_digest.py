"""The digest of a night's alerts on real servers: what is in it, and that it is told once."""

import base64
import email
import itertools
from dataclasses import replace
from datetime import date, timedelta

import pytest

from telemetry_warehouse import digest
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.settings import Settings
from tests.changes.alerts import DETECTED, counted, load, rows_of

PNG = b"\x89PNG\r\n\x1a\n"
# Nights of their own for each test: tables and notices are shared.
FIRST_DAYS = (date(2003, 1, 1) + timedelta(days=200 * number) for number in itertools.count())


@pytest.fixture
def first() -> date:
    """The first day of the series of a test."""
    return next(FIRST_DAYS)


@pytest.fixture
def place(prepared_home, told) -> Warehouse:
    """The warehouse with its tables, whose notices go to the webhook."""
    return told


def put(warehouse, first: date, shape: str = "shift 20%", **of) -> dict:
    """An alert with its series in the tables."""
    alert, distributions, scores = rows_of(*counted(shape), first=first, **of)
    load(warehouse, [alert], distributions, scores)
    return alert


def night_of(first: date) -> date:
    return first + timedelta(days=DETECTED)


def tell(warehouse, first: date) -> list[str]:
    said = []
    digest.tell(warehouse, night_of(first), said.append)
    return said


def pictures_of(notice: dict) -> dict[str, bytes]:
    return {one["filename"]: base64.b64decode(one["base64"]) for one in notice["attachments"]}


def test_alerts_are_told_with_pictures_once(place, webhook, first):
    one = put(place, first, probe="GC_MS")
    other = put(place, first, "new mode", probe="<b>CYCLE_COLLECTOR</b>", channel=None)
    said = tell(place, first)
    [notice] = webhook.received
    assert notice["title"] == f"warehouse: 2 alerts of {night_of(first)}, 1 event"
    assert notice["type"] == "info"
    for part in (
        f"Firefox release: GC_MS moved since {one['change_date']}: ",
        "% of clients' weight moved, median ",
        "most in build 20131204 (34% moved, 60% of clients)",
        f"./warehouse changes --since {night_of(first)}",
        one["alert_id"],
        other["alert_id"],
    ):
        assert part in notice["message"] and part in "\n".join(said)
    pictures = pictures_of(notice)
    assert pictures.keys() == {f"{alert['alert_id']}.png" for alert in (one, other)}
    assert all(png.startswith(PNG) for png in pictures.values()) and len(set(pictures.values())) == 2

    page = place.settings.home / "reports" / f"changes-{night_of(first)}.html"
    html = page.read_text()
    assert html.count("<img ") == 2 and str(page) in said[-1]
    assert "&lt;b&gt;CYCLE_COLLECTOR" in html and "<b>CYCLE" not in html
    for name, png in pictures.items():
        assert (page.with_suffix("") / name).read_bytes() == png

    assert tell(place, first) == [] and len(webhook.received) == 1


def test_a_rerun_that_finds_more_tells_only_that(place, webhook, first):
    known = put(place, first)
    tell(place, first)
    new = put(place, first, os="Linux")
    tell(place, first)
    assert len(webhook.received) == 2
    assert new["alert_id"] in webhook.received[1]["message"]
    assert known["alert_id"] not in webhook.received[1]["message"]
    html = (place.settings.home / "reports" / f"changes-{night_of(first)}.html").read_text()
    assert html.count("<img ") == 2, "the page has all alerts of the night"


def test_what_is_withheld_and_what_other_nights_found_is_not_told(place, webhook, first):
    put(place, first, withheld="small: 1.2% of clients' weight moved")
    put(place, first + timedelta(days=1), probe="LATER")
    assert tell(place, first) == [] and webhook.received == []
    assert len(tell(place, first + timedelta(days=1))) > 0


def test_a_reversal_is_told(place, webhook, first):
    closes = first + timedelta(days=20)
    put(place, first, kind="reverted", closes=closes, score=None, log10_e=None)
    tell(place, first)
    assert f"to what it was before {closes}" in webhook.received[0]["message"]


def test_mail_has_the_pictures(place, mail_server, first):
    alert = put(place, first)
    address = f"mailto://127.0.0.1:{mail_server.port}?from=w@example.com&to=team@example.com&mode=insecure"
    tell(Warehouse(replace(place.settings, notify=(address,))), first)
    [envelope] = mail_server.handler.mails
    mail = email.message_from_bytes(envelope.content)
    attached = {part.get_filename(): part for part in mail.walk() if part.get_filename()}
    assert attached.keys() == {f"{alert['alert_id']}.png"}
    [picture] = attached.values()
    assert picture.get_content_type() == "image/png" and picture.get_payload(decode=True).startswith(PNG)
    text = "".join(str(p.get_payload(decode=True)) for p in mail.walk() if p.get_content_maintype() == "text")
    assert "GC_MS moved since" in text


def test_of_many_alerts_the_largest_have_pictures_and_all_their_names(place, webhook, first, monkeypatch):
    monkeypatch.setattr(digest, "MAX_PICTURES", 2)
    few = counted("bins swapped", 4)
    alerts, distributions, scores = zip(
        *(rows_of(*few, first=first, probe=f"PROBE_{number}", effect=0.02 + number / 1000) for number in range(4)),
        strict=True,
    )
    load(place, list(alerts), sum(distributions, []), sum(scores, []))
    said = "\n".join(tell(place, first))
    [notice] = webhook.received
    assert pictures_of(notice).keys() == {f"{alert['alert_id']}.png" for alert in alerts[2:]}
    assert "Pictures are of the 2 largest." in notice["message"]
    for alert in alerts:
        assert alert["alert_id"] in notice["message"] and alert["alert_id"] in said
    assert notice["message"].count("no picture") == 2


def test_a_place_that_fails_is_tried_again_with_the_next_run(place, webhook, first):
    put(place, first)
    webhook.broken = True
    assert "could not be delivered to json://…" in tell(place, first)[-1]
    webhook.broken = False
    tell(place, first)
    assert len(webhook.received) == 1
    assert tell(place, first) == []


def test_with_nobody_to_tell_the_log_has_it_once(prepared_home, warehouse, first):
    alert = put(warehouse, first)
    assert alert["alert_id"] in "\n".join(tell(warehouse, first))
    assert tell(warehouse, first) == []


def test_a_series_whose_history_is_gone_is_told_all_the_same(place, webhook, first):
    alert, _, _ = rows_of(*counted("shift 20%"), first=first)
    load(place, [alert], [], [])
    tell(place, first)
    assert len(pictures_of(webhook.received[0])) == 1


def test_a_warehouse_that_does_not_answer_is_one_line(tmp_path, webhook):
    gone = Warehouse(replace(Settings.load({"WAREHOUSE_HOME": str(tmp_path)}), notify=(webhook.url,)))
    said = []
    assert digest.tell(gone, date(2013, 1, 1), said.append) is None
    assert len(said) == 1 and "cannot be told" in said[0] and "./warehouse up" in said[0]
    assert webhook.received == []
