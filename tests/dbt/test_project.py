"""The project as a whole: what dbt refuses, what a candidate is, and that nothing goes undescribed."""

import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import date

import pytest
import yaml

from telemetry_warehouse import dbt, schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.gates.expectations import parse
from tests.dbt.project import SOURCES, definition, main_ping, manifest, models

DAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def warehouse(warehouse_home) -> Warehouse:
    warehouse = Warehouse(warehouse_home)
    types = schemas.load(warehouse_home.schemas)
    for name in SOURCES.values():
        warehouse.ensure(types[schemas.TypeName(*name)].stable)
    for node in (*models(warehouse_home).values(), changes(warehouse_home)):
        warehouse.ensure(definition(node))
    return warehouse


def changes(settings) -> dict:
    return manifest(settings)["sources"]["source.telemetry_warehouse.derived.changes_v1"]


def run(settings, model: str, candidate: str) -> None:
    dbt.run(settings, model, {"start_date": str(DAY), "end_date": str(DAY), "candidate": candidate})


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
    nodes = [n for n in (*graph["nodes"].values(), *graph["sources"].values(), *graph["functions"].values())]
    assert [n["name"] for n in nodes if not n["description"]] == []
    columns = [(n["name"], c) for n in nodes for c in n.get("columns", {}).values()]
    assert [(name, c["name"]) for name, c in columns if not c["description"]] == []


def test_every_gated_model_has_a_gate_that_can_be_read(warehouse_home):
    names = ("clients_daily_v1", "clients_last_seen_v1", "main_v4", "flight_v1")
    for node in (*models(warehouse_home).values(), changes(warehouse_home)):
        table = replace(definition(node), expectations=tuple(node["config"]["meta"]["expectations"]))
        assert "critical" in {e.severity for e in parse(table, dict.fromkeys(names, ""))}, node["name"]


def test_dbt_alone_does_not_run_a_gated_model(warehouse):
    with pytest.raises(WarehouseError, match=r"use `\./warehouse night DATE` or `\./warehouse backfill START END"):
        run(warehouse.settings, "active_users_v1", candidate="")


def test_a_candidate_has_the_contract_and_the_published_table_stays(warehouse):
    warehouse.load_rows("telemetry_stable.main_v4", [main_ping(DAY, "d", "c")])
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


def test_a_ping_type_that_is_not_listed_is_named(warehouse, tmp_path, monkeypatch):
    copy = copy_of_project(tmp_path, monkeypatch, warehouse.settings)
    path = copy / "dbt_project.yml"
    project = yaml.safe_load(path.read_text())
    project["vars"]["ping_types"].remove("fleet_flight")
    path.write_text(yaml.safe_dump(project))
    dbt.prepare(warehouse.settings)
    with pytest.raises(WarehouseError, match="stg_fleet_flight__activity is in no table yet.*ping_types"):
        run(warehouse.settings, "clients_daily_v1", candidate="clients_daily_v1__broken")


def test_views_keep_to_the_days_asked_for(warehouse):
    dbt.deploy(warehouse.settings)
    app = uuid.uuid4().hex
    last_seen = {"submission_date": str(DAY), "app_name": app, "days_seen_bits": 6, "days_active_bits": 0}
    warehouse.load_rows("derived.clients_last_seen_v1", [last_seen | {"client_id": client} for client in "cd"])
    warehouse.load_rows(
        "derived.clients_first_seen_v1",
        [
            {"app_name": app, "client_id": "c", "first_seen_date": "2026-02-01"},
            {"app_name": app, "client_id": "d", "first_seen_date": "2026-03-02"},
        ],
    )
    rows = warehouse.rows(
        "SELECT client_id, days_since_seen, days_since_active, first_seen_date FROM telemetry.clients_last_seen"
        f" WHERE submission_date = '{DAY}' AND app_name = '{app}' ORDER BY client_id"
    )
    assert [tuple(r.values()) for r in rows] == [("c", 1, None, date(2026, 2, 1)), ("d", 1, None, None)]
    for view in models(warehouse.settings, "view"):
        field = {
            "main": "DATE(submission_timestamp)",
            "flight": "DATE(submission_timestamp)",
            "changes": "detected_date",
        }
        day = field.get(view, "submission_date")
        condition = "" if view == "clients_first_seen" else f" WHERE {day} = '{DAY}'"
        warehouse.query(f"SELECT COUNT(*) FROM telemetry.{view}{condition}")
