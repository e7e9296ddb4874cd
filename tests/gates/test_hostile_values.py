"""Values of pings that would be obeyed by a terminal, a mail reader or a browser: each place shows them as they are."""

import email
import html
import unicodedata
import uuid
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest

from telemetry_warehouse import alerts, cli, digest, lineage, pages, report, schemas, stages, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed, printable
from telemetry_warehouse.publishing import publish
from tests.changes.alerts import DETECTED, counted, load, rows_of
from tests.dbt.project import main_ping
from tests.landing.conftest import with_own_topic
from tests.landing.test_land import make_type, messages
from tests.support import load_rows

LIVE, STABLE = "telemetry_live.main_v4", "telemetry_stable.main_v4"
DAY = date(2014, 8, 1)
FIRST = DAY - timedelta(days=DETECTED)
CLIENT = str(uuid.uuid5(uuid.NAMESPACE_URL, "hostile"))
RUN = "test_hostile_values"
MARK = "Evil"
VALUE = (
    f"{MARK}[/b][release]:x:`*_<script>alert(1)</script>&amp;|$x$"
    "\x1b[2J\x1b]0;title\x07\x9b31m\rFORGED\nFORGED\x85FORGED\u2028FORGED\u2029\u202egnp\u2066\u200b\ufeff"
)
SHOWN = printable(VALUE)


def value(name: str) -> str:
    """The value as the field of this name has it."""
    return f"{name} {VALUE}"


def refuse_hidden(shown: str, *parts: str) -> None:
    """Fails where a line was forged, or something is in the text that is obeyed and not seen; `parts` must be seen."""
    assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
    assert not [line for line in shown.split("\n") if line.strip(" │|-").startswith("FORGED")]
    for part in parts:
        assert part in shown, part


@pytest.fixture(scope="module")
def planted(prepared_home) -> dict:
    """An alert; a client's days and pings, and what else the warehouse keeps of such values, are in the tables."""
    warehouse = Warehouse(prepared_home)
    series = {name: value(name) for name in ("app_name", "channel", "os", "probe", "key")}
    movers = [{"dimension": "country", "value": value("mover"), "effect": 0.3, "share": 0.6}]
    alert, distributions, scores = rows_of(*counted("shift 20%"), first=FIRST, movers=movers, **series)
    load(warehouse, [alert], distributions, scores)
    failed = {"landed_date": DAY, "submission_date": alert["change_date"], "failed": 7, "lander": RUN}
    failed |= {"document_namespace": value("namespace"), "document_type": "x", "document_version": "1"}
    failed |= {"cycle_id": RUN, "failures": [{"error_type": value("error_type"), "messages": 7}]}
    sample = {"client_id": CLIENT, "sample_id": zlib.crc32(CLIENT.encode()) % 100}
    days = sample | {"submission_date": DAY, "app_name": value("app"), "channel": value("channel")}
    days |= {name: value(name) for name in ("os", "app_version", "country", "city")}
    said = {name: value(name) for name in ("app_name", "channel", "os", "country")}
    ping = main_ping(DAY, value("document_id"), CLIENT, sample_id=sample["sample_id"], **said)
    now = datetime.now(UTC)
    run = {"run": RUN, "table_name": STABLE, "start_date": DAY, "end_date": DAY, "status": "failed"}
    run |= {"started_date": now.date(), "started_at": now, "ended_at": now, "error": value("error"), "token": 1}
    rows = {"monitoring.landing": failed, "derived.clients_daily_v1": days, STABLE: ping}
    warehouse.ensure(schemas.load(prepared_home.schemas)["telemetry", "main", "4"].live)
    for name in ("landing", "pipeline_runs"):
        warehouse.ensure(tables.from_file("monitoring", name))
    for table, row in (rows | {"monitoring.pipeline_runs": run}).items():
        load_rows(warehouse, table, [row])
    alerts.review(warehouse, alert["alert_id"], "explained", value("who"), value("why"))
    yield alert
    for table, condition in {
        "derived.changes_v1": f"detected_date = '{DAY}'",
        "monitoring.landing": f"landed_date = '{DAY}' AND lander = '{RUN}'",
        "derived.clients_daily_v1": f"submission_date = '{DAY}' AND client_id = '{CLIENT}'",
        STABLE: f"DATE(submission_timestamp) = '{DAY}'",
        LIVE: f"DATE(submission_timestamp) = '{DAY}'",
        "monitoring.pipeline_runs": f"run = '{RUN}'",
    }.items():
        warehouse.query(f"DELETE FROM {table} WHERE {condition}")


@pytest.fixture
def say(planted, told, monkeypatch, capsys):
    """What a command prints: (exit code, output and errors)."""
    monkeypatch.setenv("WAREHOUSE_HOME", str(told.settings.home))

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(list(arguments))
        return code, "".join(capsys.readouterr())

    return run


def test_commands_show_values_as_they_are(say, planted):
    day = str(DAY)
    code, shown = say("history", CLIENT, "--since", day, "--until", day)
    assert code == 0
    names = ("app", "channel", "os", "app_version", "country", "city", "document_id", "app_name")
    refuse_hidden(shown, *(f"{name} {SHOWN}" for name in names))
    code, shown = say("changes", "--since", day)
    assert code == 0
    refuse_hidden(shown, *(f"{n} {SHOWN}" for n in ("app_name", "probe", "mover", "namespace", "error_type", "why")))
    code, shown = say("query", f"SELECT * FROM telemetry.changes WHERE detected_date = '{DAY}'")
    assert code == 0
    refuse_hidden(shown, f"probe {SHOWN}", f"who {SHOWN}")
    code, shown = say("status")
    assert code == 0
    # A cell of a table may be folded.
    refuse_hidden(shown, MARK)
    code, shown = say("report", day)
    assert code == 0
    refuse_hidden(shown, f"\n    error {SHOWN}\n")
    code, shown = say("history", CLIENT, "--app", VALUE, "--since", "2014-01-01", "--until", "2014-01-02")
    assert code == 1
    refuse_hidden(shown, MARK)
    assert shown.count("\n") == 1


def test_programs_get_the_value_itself(say, planted, told):
    _, shown = say("query", f"SELECT probe FROM telemetry.changes WHERE detected_date = '{DAY}'", "--format", "json")
    assert orjson.loads(shown) == {"probe": planted["probe"]}


def test_alerts_are_told_without_them(planted, told, webhook, mail_server):
    address = f"mailto://127.0.0.1:{mail_server.port}?from=w@example.com&to=team@example.com&mode=insecure"
    both = Warehouse(replace(told.settings, notify=(*told.settings.notify, address)))
    lines: list[str] = []
    page = digest.tell(both, DAY, lines.append)
    for line in lines:
        refuse_hidden(line)
        assert "\n" not in line
    [notice], [envelope] = webhook.received, mail_server.handler.mails
    refuse_hidden(notice["message"], f"probe {SHOWN}", f"mover {SHOWN}")
    mail = email.message_from_bytes(envelope.content)
    assert mail.keys().count("Subject") == 1 and "FORGED" not in mail
    for part in (part for part in mail.walk() if part.get_content_maintype() == "text"):
        text = part.get_payload(decode=True).decode().replace("\r\n", "\n")
        # Plain text shows a tag as it is written; where a reader renders HTML, it must not be one.
        assert part.get_content_subtype() == "plain" or "<script" not in text
        refuse_hidden(html.unescape(text), MARK)
    shown = page.read_text()
    assert "<script" not in shown
    refuse_hidden(html.unescape(shown), f"probe {SHOWN}", f"mover {SHOWN}", f"why {SHOWN}")


def test_the_page_shows_them_as_they_are(planted, told):
    events = alerts.beside(told, DAY)
    asked = {"since": DAY, "until": DAY, "app": "", "status": "", "withheld": False, "query": "x=1"}
    values = {"asked": asked, "events": events, "apps": [planted["app_name"]], "statuses": alerts.STATUSES}
    values |= {"who": VALUE, "refused": VALUE, "refused_id": planted["alert_id"]}
    values |= {"given": {"status": "x", "why": VALUE}}
    shown = pages.render("changes.html", root="", **values)
    assert "<script" not in shown
    refuse_hidden(html.unescape(shown), f"app_name {SHOWN}", f"why {SHOWN}", f'value="{SHOWN}"')
    refuse_hidden(html.unescape(pages.render("refused.html", root="", refused=VALUE)), SHOWN)


def test_a_gate_that_fails_for_them_says_so_in_its_own_lines(say, planted, told, webhook):
    row = {"document_id": value("UPPER"), "submission_timestamp": f"{DAY}T10:00:00Z", "sample_id": 1}
    load_rows(told, LIVE, [row])
    with pytest.raises(GateFailed, match=MARK):
        stages.run(told, lineage.load(told.settings).step(STABLE), DAY, DAY, RUN, cli._say)
    [notice] = webhook.received
    refuse_hidden(notice["title"] + notice["message"], f"UPPER {MARK}")
    code, shown = say("gate", LIVE, str(DAY))
    assert code == 1
    refuse_hidden(shown, f"UPPER {MARK}", "\\u202egnp")
    text = report.text(told, DAY)
    refuse_hidden(text, f"UPPER {MARK}")


def test_landing_and_replaying_them_keeps_to_its_lines(planted, warehouse_home, tmp_path, monkeypatch, capsys):
    warehouse = Warehouse(with_own_topic(warehouse_home, tmp_path))
    document_type = make_type(warehouse)
    good = [{"n": 1, value("key"): value("text"), "map": {value("key"): {value("key"): [VALUE]}}}]
    attributes = {"user_agent": VALUE, "geo_city": VALUE, "x_source_tags": VALUE, "x_debug_id": VALUE}
    bad = [(b"{}", {"uri": f"/submit/{VALUE}/{VALUE}/1/{uuid.uuid4()}", "submission_timestamp": f"{DAY}T00:00:00Z"})]
    late = list(messages(document_type, [{"n": 2}], **{"submission_timestamp": VALUE}))
    faulty = list(messages(document_type, [{"n": VALUE}], day=DAY, **attributes))
    publish(warehouse.settings, [*messages(document_type, good, day=DAY, **attributes), *bad, *late, *faulty])
    settings = {"HOME": warehouse.settings.home, "TOPIC": warehouse.settings.topic, "SCHEMAS": tmp_path}
    settings |= {"SUBSCRIPTION": warehouse.settings.subscription}
    for name, setting in settings.items():
        monkeypatch.setenv(f"WAREHOUSE_{name}", str(setting))

    assert cli.main(["land", "--until-empty"]) == 0
    assert cli.main(["replay", "--type", str(document_type.name)]) == 0
    refuse_hidden("".join(capsys.readouterr()), "landed 1, to errors 3", "still cannot land (schema)")
    for table in (f"{document_type.namespace}_errors.pings", document_type.live.id):
        assert cli.main(["query", f"SELECT * FROM {table} WHERE submission_timestamp >= '1970-01-01'"]) == 0
        refuse_hidden("".join(capsys.readouterr()), f"{MARK}[/b]")
