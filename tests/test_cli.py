"""What a person sees on the terminal."""

import json
import subprocess
import uuid

import pytest

from telemetry_warehouse import dbt, schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.cli import _parser, main
from telemetry_warehouse.local import standins
from telemetry_warehouse.settings import ROOT, Settings
from tests.conftest import temporary_home
from tests.test_schemas import write


@pytest.fixture
def home(warehouse_home, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_HOME", str(warehouse_home.home))
    return warehouse_home


@pytest.fixture(scope="module")
def _new_home():
    with temporary_home() as settings:
        standins.up(settings, say=lambda _: None)
        dbt.prepare(settings)
        yield settings


@pytest.fixture
def new_home(_new_home, monkeypatch):
    """A home in which nothing was ever built: in the one that tests share it may have been last night, or a year."""
    monkeypatch.setenv("WAREHOUSE_HOME", str(_new_home.home))
    return _new_home


def one_line(capsys) -> str:
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backfill", "2013-02-02", "2013-02-01", "--dry-run"], "2013-02-02..2013-02-01"),
        (["night", "2999-01-01"], "2999-01-01 has not ended yet"),
        (["query", "SELEKT 1"], "SELEKT"),
        (["query", "no/such.sql"], "no/such.sql"),
        (["query", "DROP TABLE derived.clients_daily_v1"], "DROP TABLE is refused"),
        (["publish", "no/such.ndjson"], "no/such.ndjson"),
        (["history", "me"], "'me' is not a client id"),
        (["replay", "--raw", "1977-07-07"], "there is nothing to replay"),
        (["replay", "--raw", "1977-07-07", "--error", "parse"], "leave out --type, --day and --error"),
        (["schemas", "no/such/folder"], "no/such/folder is not a directory"),
        (["backfill", "2013-02-01", "2013-02-01", "--select", "nothing_v1", "--dry-run"], "nothing_v1"),
        (["gate", "nothing_v1", "2013-02-01"], "nothing_v1"),
        (["gate", "derived.nothing_v1", "2013-02-01"], "no table 'derived.nothing_v1' has a gate"),
        (["gate", "clients_daily_v1", "1977-07-07"], "no gate has judged derived.clients_daily_v1 1977-07-07"),
        (["gate", "clients_daily_v1", "2013-02-01", "--by", "ann"], "give --let-through, --reviewed-by, --because"),
        (["changes", "review", "0123456789ab", "true", "--who", "ann", "--why", "so"], "'true' is no status"),
        (["changes", "review", "0123456789ab", "explained", "--who", " ", "--why", "so"], "one of them is empty"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_a_failing_exit(home, capsys, arguments, said):
    from telemetry_warehouse import dbt

    dbt.prepare(home)
    assert main(arguments) == 1
    line = one_line(capsys)
    assert line.startswith("warehouse: ") and said in line


def test_a_schema_directory_is_checked_against_the_tables(home, capsys, tmp_path):
    namespace = f"cli{uuid.uuid4().hex[:12]}"
    properties = {"n": {"type": "integer"}}
    write(tmp_path, f"{namespace}/ping/1", {"type": "object", "properties": properties})
    assert main(["schemas", str(tmp_path)]) == 0
    assert f"{namespace}/ping/1: new, lands in {namespace}_live.ping_v1" in capsys.readouterr().out

    [document_type] = schemas.load([tmp_path]).values()
    for table in (document_type.live, document_type.stable):
        Warehouse(home).ensure(table)
    assert main(["schemas", str(tmp_path)]) == 0
    assert "as its tables are" in capsys.readouterr().out
    more = properties | {"more": {"type": "object", "properties": {"x": {"type": "string"}}}}
    write(tmp_path, f"{namespace}/ping/1", {"type": "object", "properties": more})
    assert main(["schemas", str(tmp_path)]) == 0
    assert "2 new columns: more, more.x" in capsys.readouterr().out
    write(tmp_path, f"{namespace}/ping/1", {"type": "object", "properties": {"n": {"type": "string"}}})
    assert main(["schemas", str(tmp_path)]) == 1
    assert "column n is INTEGER NULLABLE and cannot become STRING NULLABLE" in one_line(capsys)
    assert "n" in {field.name for field in Warehouse(home).client.get_table(document_type.live.id).schema}


def test_every_schema_that_cannot_be_applied_is_named_and_none_hides_another(home, capsys, tmp_path):
    app = f"cli{uuid.uuid4().hex[:12]}"
    broken = {
        f"{app}/json/1": ("{", "is no usable JSON"),
        f"{app}/twice/1": ('{"type": "object", "type": "object"}', "has the key 'type' twice, in lines 1 and 1"),
        f"{app}/wide/1": ({"properties": {f"p{n}": {} for n in range(10_000)}}, "BigQuery takes 10,000"),
        f"{app}/long/1": ({"properties": {"x" * 301: {"type": "string"}}}, "301 characters, and BigQuery takes 300"),
        f"{app}/own/1": ({"properties": {"_PARTITIONTIME": {"type": "string"}}}, "begin with _PARTITION"),
        f"{app}/clash/1": ({"properties": {"fooBar": {}, "foo_bar": {}}}, "both become the column foo_bar"),
        f"{app}/marked/1": ({"properties": {"a": {"x-pii": "hide"}}}, "it may be drop or hash"),
    }
    for name, (schema, _) in broken.items():
        write(tmp_path, name, schema)
    write(tmp_path, f"{app}/fine/1", {"type": "object"})
    assert main(["schemas", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    lines = dict(line.split(": ", 1) for line in captured.out.splitlines())
    assert lines.keys() == {*broken, f"{app}/fine/1"} and lines[f"{app}/fine/1"].startswith("new, lands in")
    for name, (_, said) in broken.items():
        assert lines[name].startswith("refused: ") and said in lines[name] and said in captured.err
    assert captured.err.count("\n") == 1


def test_a_date_that_is_none_is_refused_before_anything_starts(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["night", "yesterday"])
    assert stopped.value.code == 2 and "'yesterday' is not a date" in capsys.readouterr().err


def test_without_servers_a_query_says_how_to_start_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE_HOME", str(tmp_path))
    assert main(["query", "SELECT 1"]) == 1
    assert "./warehouse up" in one_line(capsys)


def test_a_query_prints_rows_in_each_format(home, capsys, tmp_path):
    sql = "SELECT 1 AS n, [STRUCT('a' AS k)] AS list, DATE '2013-02-01' AS day, CAST(NULL AS STRING) AS nothing"
    assert main(["query", sql, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 1, "list": [{"k": "a"}], "day": "2013-02-01", "nothing": None}
    assert main(["query", sql, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "n,list,day,nothing"
    file = tmp_path / "question.sql"
    file.write_text(sql)
    assert main(["query", str(file)]) == 0
    assert "2013-02-01" in capsys.readouterr().out


def test_arrow_output_is_a_stream_that_arrow_reads(home, warehouse_environment):
    import sys

    import pyarrow

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "telemetry_warehouse.cli",
            "query",
            "SELECT x FROM UNNEST([1, 2, 3]) AS x",
            "--format",
            "arrow",
        ],
        env=warehouse_environment,
        capture_output=True,
        check=True,
    )
    assert pyarrow.ipc.open_stream(done.stdout).read_all().to_pydict() == {"x": [1, 2, 3]}


def test_the_report_of_a_day_is_markdown_that_names_every_table(home, capsys):
    assert main(["report", "1977-07-07"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# 1977-07-07\n0 of ") and "| derived.clients_daily_v1 | never built |" in shown


def test_watch_is_quiet_before_its_deadline_and_exits_1_after_it(new_home, capsys, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_NIGHT_DEADLINE", "23:59")
    assert (main(["watch"]), *capsys.readouterr()) == (0, "", "")
    monkeypatch.setenv("WAREHOUSE_NIGHT_DEADLINE", "00:00")
    assert main(["watch"]) == 1
    assert "is not over at 00:00 UTC: " in one_line(capsys)


def test_status_lists_every_setting_and_every_server(new_home, capsys):
    assert main(["status", "--reads"]) == 0
    shown = capsys.readouterr().out
    for variable, _, _ in Settings.load().listed():
        assert variable in shown
    for server in ("bigquery", "pubsub", "postgres", "airflow"):
        assert server in shown


def test_every_command_and_setting_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    [commands] = [action for action in _parser()._actions if action.dest == "COMMAND" or action.choices]
    for command in set(commands.choices) - {"down", "sample"}:
        assert f"./warehouse {command}" in readme, command
    for variable, _, _ in Settings.load({}).listed():
        assert variable in readme
