"""What comes from data is printed as it is, and can be nothing else: no markup, no cursor movement, no faked line."""

import base64
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import alerts, cli, digest, notify, pages, querying, report, wording
from telemetry_warehouse.alerts import Event
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.days import FIRST, LAST, parse_day
from telemetry_warehouse.errors import Refused, printable
from telemetry_warehouse.settings import ROOT
from tests.conftest import environment_of

# What a name of a probe, an application, a version or a reason may hold.
NASTY = "[/b] [release] :x: \x1b[31m\x1b]0;title\x07 \r\n2013-01-01 faked \x9b2J \u202egnp.exe \u2028 <b>&amp;"
SEEN = "[/b] [release] :x: \\x1b[31m\\x1b]0;title\\x07 \\r\\n2013-01-01 faked \\x9b2J \\u202egnp.exe \\u2028 <b>&amp;"


def is_clean(text: str) -> bool:
    lines = text.split("\n")
    return not any(
        unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")
        or unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE")
        for line in lines
        for c in line
    )


@given(st.text())
def test_a_line_of_data_stays_one_line_and_other_texts_stay_as_they_are(text):
    shown = printable(text)
    assert is_clean(shown) and "\n" not in shown
    if not any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in text):
        assert shown == text


@pytest.mark.parametrize("text", ["größer, 表, שלום, 👩‍👩‍👧, e\u0301", "[b]:x:$x$", "a\\nb"])
def test_what_people_write_is_shown_as_it_is(text):
    assert printable(text) == text


def test_every_cell_name_and_title_of_a_table_is_shown_as_it_is(capsys):
    querying.print_grid([f"a {NASTY}"], [(NASTY,), (None,), ({"k": NASTY},), ([NASTY],)], NASTY)
    out = capsys.readouterr().out
    assert is_clean(out) and "2013-01-01 faked" not in [line.strip() for line in out.splitlines()]
    for part in ("[/b]", "[release]", ":x:"):
        assert out.count(part) == 5, part


def test_json_and_csv_are_the_data_itself(prepared_home, capsys):
    sql = f"SELECT SAFE_CONVERT_BYTES_TO_STRING(FROM_HEX('{NASTY.encode().hex()}')) AS v"
    querying.print_query(Warehouse(prepared_home), sql, "json")
    assert json.loads(capsys.readouterr().out) == {"v": NASTY}
    querying.print_query(Warehouse(prepared_home), sql, "csv")
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [["v"], [NASTY]]


def an_alert(**values) -> dict:
    alert = {"app_name": NASTY, "channel": NASTY, "os": NASTY, "probe": NASTY, "key": NASTY, "axis": "submission_date"}
    alert |= {
        "change_date": date(2013, 2, 1),
        "kind": "changed",
        "effect": 0.3,
        "median_before": 1.0,
        "median_after": 2.0,
    }
    alert |= {
        "p95_before": None,
        "p95_after": None,
        "alert_id": "a1",
        "detected_date": date(2013, 2, 3),
        "n_clients": 9,
    }
    alert |= {
        "score": 6.0,
        "log10_e": None,
        "gained": [],
        "lost": [],
        "withheld": None,
        "closed_on": None,
        "closes": None,
    }
    alert |= {"movers": [{"dimension": "version", "value": NASTY, "effect": 0.1, "share": 0.2}], "status": "new"}
    return alert | {"reviewed_by": NASTY, "why": NASTY} | values


def an_event() -> Event:
    warning = {"submission_date": date(2013, 2, 1), "table_name": "t", "expectation": "e"}
    error = {"submission_date": date(2013, 2, 1), "document_type": NASTY, "error_type": "schema", "messages": 2}
    return Event(date(2013, 2, 1), date(2013, 2, 1), [an_alert()], [warning], [error])


def test_lists_of_changes_and_digests_have_no_line_that_data_made(monkeypatch):
    event, said = an_event(), []
    monkeypatch.setattr(alerts, "beside", lambda *_: [event])
    alerts.print_found(None, date(2013, 2, 1), True, said.append)
    told = digest.text(digest.Digest(date(2013, 2, 3), [event], []))
    for line in [*said, *told.split("\n"), wording.event(event)]:
        assert is_clean(line) and not line.startswith("2013-01-01 faked"), line
    assert SEEN in said[0] and all("\n" not in line for line in said)


def test_a_notice_has_one_line_as_its_subject_and_no_control_characters(monkeypatch):
    sent, kept = [], []
    monkeypatch.setattr(notify, "_send", lambda address, notice: sent.append(notice) or "")
    monkeypatch.setattr(notify, "_remember", lambda warehouse, told, notice, delivered: kept.append(notice))
    warehouse = type("Warehouse", (), {"settings": type("Settings", (), {"notify": ["json://x"]})})
    failure = notify.Failure("t", date(2013, 1, 1), date(2013, 1, 1), "x")
    notify.deliver(warehouse, failure, notify.Notice(f"late {NASTY}", f"why {NASTY}\nRun again: now"), print)
    assert sent == kept and "\n" not in sent[0].subject and is_clean(sent[0].subject) and is_clean(sent[0].body)


def test_a_page_and_a_report_show_the_escapes():
    page = pages.render("refused.html", root="", refused=NASTY)
    assert is_clean(page) and "\\x1b[31m" in page and "<b>" not in page
    assert report._row([NASTY, "a|b"]).count("\n") == 0 and is_clean(report._row([NASTY]))


def test_lines_and_errors_of_the_command_line_are_clean(capsys):
    cli._say(NASTY)
    assert cli._fail(NASTY) == 1
    captured = capsys.readouterr()
    assert is_clean(captured.out) and is_clean(captured.err) and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "value, text",
    [
        (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (date(2013, 2, 1), "2013-02-01"),
    ],
)
def test_values_are_written_the_same_in_every_form(value, text):
    assert querying.cell_text(value) == querying._plain(value) == text
    assert json.loads(querying._json({"v": value, "list": [value]})) == {"v": text, "list": [text]}


INTERVALS = ["1-2 3 4:5:6.7", "0-0 0 0:0:0", "-1-2 5 -0:1:1", "0-0 0 36:0:0", "0-0 400 0:0:0", "0-14 0 0:0:0"]


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_intervals_are_written_as_sql_writes_them_wherever_they_stand(prepared_home, form, capsys):
    """One of 36 hours is none of a day and 12 hours."""
    one = [f"INTERVAL '{text}' YEAR TO SECOND" for text in INTERVALS]
    sql = f"SELECT {', '.join(f'{sql} AS i{n}' for n, sql in enumerate(one))}, [{', '.join(one)}] AS list,"
    sql += f" STRUCT({one[3]} AS x, [STRUCT({one[2]} AS y)] AS z) AS record, CAST(NULL AS INTERVAL) AS nothing"
    texts = ["1-2 0 0:0:0" if text == "0-14 0 0:0:0" else text for text in INTERVALS]
    querying.print_query(Warehouse(prepared_home), sql, form)
    out = capsys.readouterr().out
    record = {"x": texts[3], "z": [{"y": texts[2]}]}
    if form == "json":
        found = json.loads(out)
        assert [found[f"i{n}"] for n in range(len(texts))] == found["list"] == texts
        assert found["record"] == record and found["nothing"] is None
    elif form == "csv":
        *plain, listed, recorded, nothing = list(csv.reader(out.splitlines()))[1]
        assert plain == json.loads(listed) == texts and json.loads(recorded) == record and nothing == ""
    else:
        assert all(text in out for text in texts)


@pytest.mark.parametrize("width", [80, 100])
def test_where_columns_do_not_fit_rows_are_records(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    names = [f"column_number_{n}" for n in range(12)]
    querying.print_grid(names, [tuple(range(12)), ("x" * 300, *range(11))])
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("row 1 ─") and lines[1].split() == ["column_number_0", "0"]
    querying.print_grid(names, [])
    assert capsys.readouterr().out.replace("\n", " ").startswith("no rows; the columns are column_number_0, ")
    querying.print_grid(["day", "dau"], [("2013-02-01", 3)])
    assert "│ 2013-02-01 │   3 │" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 100])
def test_what_make_run_suggests_is_readable_on_a_terminal(prepared_home, columns):
    """In a real terminal of that width; of each column the whole name is there."""
    ours, theirs = os.openpty()
    sql = "SELECT c.* FROM (SELECT 1 AS one) LEFT JOIN telemetry.changes AS c ON c.detected_date = '2013-01-01'"
    environment = environment_of(prepared_home) | {"COLUMNS": str(columns), "TERM": "xterm"}
    line = [sys.executable, "-m", "telemetry_warehouse.cli", "query", sql]
    text = ""
    done = subprocess.run(line, env=environment, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, timeout=120)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        # The other end is closed: after what was written there is nothing more to read.
        while part := terminal.read(4096):
            text += part.decode(errors="replace")
    assert "detected_date" in text and "change_date" in text and "median_before" in text, text


COMMANDS = [
    ["night", "DAY"],
    ["backfill", "DAY", "2013-01-01"],
    ["backfill", "2013-01-01", "DAY", "--dry-run"],
    ["revert", "t", "DAY", "DAY"],
    ["gate", "t", "DAY"],
    ["gate", "t", "2013-01-01", "--until", "DAY"],
    ["report", "DAY"],
    ["check", "DAY", "DAY"],
    ["history", "x", "--since", "DAY"],
    ["history", "x", "--until", "DAY"],
    ["changes", "--since", "DAY"],
    ["replay", "--day", "DAY"],
    ["replay", "--raw", "DAY"],
]


@pytest.mark.parametrize(
    "day", ["0001-01-01", "9999-12-31", "20261105", "2026-W45-1", "2026-1-5", "2026-02-30", "٢٠٢٦-٠١-٠١", ""]
)
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_takes_days_of_one_form_within_the_calendar(arguments, day, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([day if argument == "DAY" else argument for argument in arguments])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err and ("is not a date; write it as 2013-02-28" in err or "end of the calendar" in err)


@given(st.dates())
def test_a_day_is_what_it_says_or_is_refused(day):
    if FIRST <= day <= LAST:
        assert parse_day(day.isoformat()) == day
    else:
        with pytest.raises(Refused, match=f"give a day from {FIRST} to {LAST}"):
            parse_day(day.isoformat())
