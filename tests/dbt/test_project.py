"""The project as a whole: what dbt refuses, what a candidate is, and that nothing goes undescribed."""

import json
import re
import shutil
import subprocess
import sys
import uuid
from datetime import date

import pytest
import yaml

from telemetry_warehouse import agreement, dbt, leftovers, lineage, night, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.describe import describe_views
from telemetry_warehouse.errors import Refused, WarehouseError
from telemetry_warehouse.estimate import estimate
from telemetry_warehouse.files import FileError, read_yaml
from telemetry_warehouse.gates.expectations import parse
from tests.dbt.project import definition, main_ping, manifest, models
from tests.support import load_rows

DAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def warehouse(prepared_home) -> Warehouse:
    return Warehouse(prepared_home)


def run(settings, model: str, candidate: str) -> None:
    dbt.run(settings, model, {"start_date": str(DAY), "end_date": str(DAY), "candidate": candidate}, {})


def test_it_parses_without_a_warning(warehouse_home, tmp_path):
    manifest(warehouse_home)
    arguments = ["--project-dir", str(dbt.PROJECT), "--profiles-dir", str(warehouse_home.home / "dbt")]
    command = [
        "-m",
        "dbt.cli.main",
        "--warn-error",
        "parse",
        *arguments,
        "--target-path",
        str(tmp_path),
        "--log-path",
        str(tmp_path),
    ]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_table_and_column_is_described(warehouse_home):
    graph = manifest(warehouse_home)
    tables = [n for n in graph["nodes"].values() if n["resource_type"] == "model"]
    nodes = [*tables, *graph["sources"].values(), *graph["functions"].values()]
    assert [n["name"] for n in nodes if not n["description"]] == []
    columns = [(n["name"], c) for n in nodes for c in n.get("columns", {}).values()]
    assert [(name, c["name"]) for name, c in columns if not c["description"]] == []


def test_every_column_of_every_view_says_what_it_means_where_analysts_look(warehouse):
    views = [warehouse.client.get_table(f"telemetry.{name}") for name in models(warehouse.settings, "view")]
    assert [view.table_id for view in views if not view.description] == []
    assert [(view.table_id, field.name) for view in views for field in view.schema if not field.description] == []
    meanings = {field.name: field.description for view in views for field in view.schema}
    assert meanings["days_since_active"].startswith("Days since the last day in days_active_bits")
    assert "visited_5_uri_in_7_days" in meanings


def test_every_table_has_a_gate_that_can_stop_it(warehouse):
    for step in lineage.load(warehouse.settings).steps:
        table = stages.definition(warehouse, step)
        known = parse(table, {*step.inputs, *step.shapes, "pings"})
        assert "critical" in {expectation.severity for expectation in known}, table.id


def test_an_expectation_without_sense_is_refused_at_deployment_with_its_file(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    path = copy / "models" / "clients" / "clients_daily_v1.yml"
    path.write_text(path.read_text().replace("{pings}", "{main_v5}", 1))
    said = (
        "dbt_project/models/clients/clients_daily_v1.yml: derived.clients_daily_v1: expectation"
        " staging_keeps_every_ping uses {main_v5}; it may use activity, candidate, "
    )
    with pytest.raises(WarehouseError, match=re.escape(said)):
        night.prepare(Warehouse(warehouse.settings))


def test_dbt_alone_does_not_run_a_gated_model(warehouse):
    with pytest.raises(WarehouseError, match=r"use `\./warehouse night DATE` or `\./warehouse backfill START END"):
        run(warehouse.settings, "active_users_v1", candidate="")


def test_a_candidate_has_the_contract_and_the_published_table_stays(warehouse):
    load_rows(warehouse, "telemetry_stable.main_v4", [main_ping(DAY, "d", "c")])
    for name, node in models(warehouse.settings).items():
        table = definition(node)
        before = warehouse.client.get_table(table.id).num_rows
        run(warehouse.settings, name, candidate=f"{name}__test")
        candidate = warehouse.client.get_table(f"{table.dataset}_candidates.{name}__test")
        extra = ["_deleted"] if table.merge_key else []
        assert sorted(f.name for f in candidate.schema) == sorted([*table.column_names, *extra])
        assert not candidate.require_partition_filter
        assert candidate.expires is not None
        assert (candidate.time_partitioning and candidate.time_partitioning.field) == table.partition_field
        assert warehouse.client.get_table(table.id).num_rows == before


def copy_of_project(tmp_path, monkeypatch, settings):
    """A copy of the project to break, with a target of its own."""
    copy = tmp_path / "project"
    shutil.copytree(dbt.PROJECT, copy)
    monkeypatch.setattr(dbt, "PROJECT", copy)
    monkeypatch.setattr(type(settings), "dbt_target", property(lambda _: tmp_path / "target"))
    return copy


def test_columns_that_differ_from_the_contract_do_not_build(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    path = copy / "models" / "usage" / "active_users_v1.yml"
    path.write_text(path.read_text().replace("{name: mau, data_type: INT64", "{name: monthly, data_type: STRING"))
    dbt.prepare(warehouse.settings)
    with pytest.raises(WarehouseError, match="active_users_v1.*monthly"):
        run(warehouse.settings, "active_users_v1", candidate="active_users_v1__broken")


def test_a_new_pattern_is_one_line_and_so_is_a_new_column(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    add_line(
        copy / "models" / "clients" / "clients_last_seen_v1.yml",
        "{name: days_opened_tabs_bits, data_type: INT64, description: T, config: {meta: {when: tabs_opened_sum > 0}}}",
    )
    add_line(
        copy / "models" / "clients" / "clients_daily_v1.yml",
        "{name: tabs_opened_max, data_type: INT64, description: Most tabs, config: {meta: {rule: max}}}",
    )
    dbt.prepare(warehouse.settings)
    run(warehouse.settings, "clients_daily_v1", candidate="clients_daily_v1__line")
    run(warehouse.settings, "clients_last_seen_v1", candidate="clients_last_seen_v1__line")
    built = {
        field.name
        for name in ("clients_daily_v1__line", "clients_last_seen_v1__line")
        for field in warehouse.client.get_table(f"derived_candidates.{name}").schema
    }
    assert built >= {"tabs_opened_max", "days_opened_tabs_bits"}
    # The published table is older than the pattern; views are deployed before any night has built it.
    night.prepare(Warehouse(warehouse.settings))
    view = {field.name: field.description for field in warehouse.client.get_table("telemetry.clients_last_seen").schema}
    assert view["days_since_opened_tabs"] and view["opened_tabs_in_7_days"]


NEW_MODEL = """
models:
  - name: {name}
    description: A model that is new.
    config:
      partition_by: {{field: submission_date, data_type: date}}
      meta:
        grain: [app_name]
        expectations:
          - {{type: expect_column_values_to_not_be_null, column: app_name}}
    columns:
      - {{name: submission_date, data_type: DATE, description: The day}}
      - {{name: app_name, data_type: STRING, description: The application}}
      - {{name: users, data_type: {data_type}, description: Its users}}
"""


def test_a_new_model_can_be_mended_and_what_is_taken_out_is_named(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    name = f"new_{uuid.uuid4().hex}_v1"
    folder = copy / "models" / "usage"
    (folder / f"{name}.sql").write_text("select date '2026-03-01' as submission_date, 'a' as app_name, 1 as users\n")
    for data_type, field_type in (("STRING", "STRING"), ("INT64", "INTEGER")):
        (folder / f"{name}.yml").write_text(NEW_MODEL.format(name=name, data_type=data_type))
        dbt.prepare(warehouse.settings)
        night.ensure_derived_tables(warehouse)
        assert warehouse.client.get_table(f"derived.{name}").schema[2].field_type == field_type
    warehouse.query(f"CREATE VIEW telemetry.{name} AS SELECT 1 AS one")
    warehouse.query(f"CREATE FUNCTION udf.{name}(x INT64) RETURNS INT64 AS (x)")
    warehouse.query(f"ALTER TABLE derived.{name} ADD COLUMN visits INT64")
    found = [line for line in leftovers.find(warehouse) if name in line]
    assert [line.split(", ")[0].split(" is no")[0] for line in found] == [
        f"the view telemetry.{name} answers", f"the function udf.{name} answers", f"the column visits of derived.{name}"
    ]  # fmt: skip

    path = warehouse.settings.dbt_target / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["nodes"][f"model.telemetry_warehouse.{name}"]
    path.write_text(json.dumps(manifest))
    [table, *_] = [line for line in leftovers.find(warehouse) if name in line]
    assert table.startswith(f"the table derived.{name} answers") and f"`bq rm -t derived.{name}`" in table
    for kind, thing in (("TABLE", "derived"), ("VIEW", "telemetry"), ("FUNCTION", "udf")):
        warehouse.query(f"DROP {kind} {thing}.{name}")
    assert not any(name in line for line in leftovers.find(warehouse))


def test_a_key_twice_in_a_models_yaml_is_refused_before_dbt_reads_it(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    path = copy / "models" / "usage" / "cohorts_v1.yml"
    path.write_text(path.read_text().replace("    columns:\n", "        expectations: []\n    columns:\n", 1))
    with pytest.raises(FileError, match="cohorts_v1.yml has the key 'expectations' twice, in lines"):
        night.prepare(warehouse)


def add_line(path, column: str) -> None:
    path.write_text(path.read_text().rstrip("\n") + f"\n      - {column}\n")


def test_a_shape_that_does_not_have_what_a_ping_type_says_is_named(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    path = copy / "models" / "staging" / "fleet_flight" / "stg_fleet_flight__activity.sql"
    path.write_text(path.read_text().replace("'city': 'origin'", "'airport': 'origin'"))
    dbt.prepare(warehouse.settings)
    with pytest.raises(WarehouseError, match="stg_fleet_flight__activity says airport, which activity does not have"):
        run(warehouse.settings, "clients_daily_v1", candidate="clients_daily_v1__broken")


def test_a_ping_type_that_is_not_listed_is_named(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    path = copy / "dbt_project.yml"
    project = read_yaml(path)
    project["vars"]["ping_types"].remove("fleet_flight")
    path.write_text(yaml.safe_dump(project))
    dbt.prepare(warehouse.settings)
    with pytest.raises(WarehouseError, match="stg_fleet_flight__activity is in no table yet.*ping_types"):
        run(warehouse.settings, "clients_daily_v1", candidate="clients_daily_v1__broken")


def test_tables_that_disagree_are_named_and_empty_days_agree(warehouse):
    day, app = date(2031, 3, 1), uuid.uuid4().hex
    assert dbt.run_tests(warehouse.settings, day, day) == len(list((dbt.PROJECT / "tests").glob("*.sql")))
    use = {"submission_date": str(day), "app_name": app, "client_id": "c"}
    load_rows(warehouse, "derived.clients_daily_v1", [use | {"pings_aggregated_by_this_row": 2}])
    load_rows(warehouse, "derived.clients_last_seen_v1", [use | {"days_seen_bits": 2}])
    users = {"submission_date": "2031-02-16", "app_name": app, "active_dau": 1}
    load_rows(warehouse, "derived.active_users_v1", [users])
    with pytest.raises(WarehouseError) as raised:
        dbt.run_tests(warehouse.settings, day, day)
    named = {name for name in (path.stem for path in (dbt.PROJECT / "tests").iterdir()) if name in str(raised.value)}
    assert named == {
        "pings_are_in_clients_daily_or_counted_as_left_out",
        "active_users_of_today_are_the_clients_of_today",
        "bits_of_clients_last_seen_are_the_days_of_clients_daily",
        "clients_are_first_seen_on_their_first_day",
        "retention_counts_the_active_users_of_its_metric_date",
    }


def test_days_that_were_never_built_are_not_said_to_agree(warehouse):
    with pytest.raises(Refused, match="2031-03-02 is after 2031-03-01"):
        agreement.check(warehouse, date(2031, 3, 2), date(2031, 3, 1))
    with pytest.raises(Refused, match="^2031-03-02 has not ended yet"):
        agreement.check(warehouse, date(2031, 3, 1), date(2031, 3, 2))


def test_the_docs_are_one_page_that_loads_nothing_from_outside(warehouse):
    # Tests before this one have deployed views of projects of their own.
    dbt.deploy(warehouse.settings)
    describe_views(warehouse)
    text = dbt.write_docs(warehouse.settings).read_text()
    assert "Days since the last day in days_active_bits" in text, "the columns of views are told"
    assert "cookbook" in text
    loaded = r"""(?:src|href)=["']?https?:[^"' >]*\.(?:js|css|png|woff2?)|@import|url\(["']?https?:"""
    assert re.findall(loaded, text) == []
    assert '"send_anonymous_usage_stats": true' not in text


def test_views_keep_to_the_days_asked_for(warehouse):
    dbt.deploy(warehouse.settings)
    app = uuid.uuid4().hex
    last_seen = {"submission_date": str(DAY), "app_name": app, "days_seen_bits": 6, "days_active_bits": 0b1111111 << 7}
    clients = [last_seen | {"client_id": client, "sample_id": 55} for client in "cd"]
    load_rows(warehouse, "derived.clients_last_seen_v1", clients)
    load_rows(
        warehouse,
        "derived.clients_first_seen_v1",
        [
            {"app_name": app, "client_id": "c", "first_seen_date": "2026-02-01"},
            {"app_name": app, "client_id": "d", "first_seen_date": "2026-03-02"},
        ],
    )
    rows = warehouse.rows(
        "SELECT client_id, days_since_seen, days_since_active, first_seen_date, seen_in_1_day, seen_in_7_days,"
        " active_in_7_days, active_in_28_days, segment, client_bucket FROM telemetry.clients_last_seen"
        f" WHERE submission_date = '{DAY}' AND app_name = '{app}' ORDER BY client_id"
    )
    use = (False, True, False, True, "casual", 15)
    assert [tuple(r.values()) for r in rows] == [("c", 1, 7, date(2026, 2, 1), *use), ("d", 1, 7, None, *use)]
    # Who does not ask for the first day does not read the table that has it for all clients ever seen.
    mau = f"SELECT COUNT(*) FROM telemetry.clients_last_seen WHERE submission_date = '{DAY}' AND active_in_28_days"
    assert estimate(warehouse, mau).tables.keys() == {"derived.clients_last_seen_v1"}
    for view in models(warehouse.settings, "view"):
        field = {
            "main": "DATE(submission_timestamp)",
            "flight": "DATE(submission_timestamp)",
            "changes": "detected_date",
        }
        day = field.get(view, "submission_date")
        condition = "" if view == "clients_first_seen" else f" WHERE {day} = '{DAY}'"
        warehouse.query(f"SELECT COUNT(*) FROM telemetry.{view}{condition}")
