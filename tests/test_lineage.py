"""The order of the night, read from a small manifest as dbt writes it."""

import json
from dataclasses import replace

import pytest

from telemetry_warehouse import lineage
from telemetry_warehouse.errors import NotRunning, WarehouseError
from telemetry_warehouse.schemas import TypeName
from telemetry_warehouse.settings import Settings


def node(name, parents=(), materialized="gated", schema="derived", **meta):
    return {
        "resource_type": "model", "name": name, "alias": name, "schema": schema, "columns": {}, "raw_code": "select 1",
        "config": {"materialized": materialized, "meta": meta}, "depends_on": {"macros": [], "nodes": list(parents)},
    }  # fmt: skip


def source(name, schema, **meta):
    names = {"name": name, "source_name": schema, "identifier": name, "schema": schema}
    return names | {"config": {"meta": meta}, "meta": meta}


@pytest.fixture
def settings(tmp_path) -> Settings:
    schemas = tmp_path / "schemas" / "acme-web" / "visit"
    schemas.mkdir(parents=True)
    (schemas / "visit.1.schema.json").write_text("{}")
    manifest = {
        "nodes": {
            "m.last": node("last_v1", ["m.daily"], carries_days=27, reads_yesterday=True),
            "m.view": node("last", ["m.last"], materialized="view"),
            "m.daily": node("daily_v1", ["m.staging"]),
            "m.staging": node("stg_visit", ["s.visit"], materialized="ephemeral"),
        },
        "sources": {
            "s.visit": source("visit_v1", "acme_web_stable"),
            "s.changes": source(
                "changes_v1",
                "derived",
                built_by="changes",
                reads=["scores_v1"],
                shapes=["stg_visit"],
                settings=["least_effect"],
            ),
            "s.scores": source("scores_v1", "derived", built_by="scores", reads=["daily_v1"], reads_yesterday=True),
        },
    }
    manifest["macros"] = {}
    for name, one in manifest["nodes"].items():
        one["unique_id"] = name
    settings = Settings.load({"WAREHOUSE_HOME": str(tmp_path / "home"), "WAREHOUSE_SCHEMAS": str(tmp_path / "schemas")})
    settings.dbt_target.mkdir(parents=True)
    (settings.dbt_target / "manifest.json").write_text(json.dumps(manifest))
    return settings


def test_every_table_comes_after_what_it_reads(settings):
    steps = lineage.load(settings).steps
    assert [s.table for s in steps][:2] == ["acme_web_stable.visit_v1", "derived.daily_v1"]
    tables = [s.table for s in steps]
    assert {*tables[2:]} == {"derived.last_v1", "derived.scores_v1", "derived.changes_v1"}
    assert tables.index("derived.scores_v1") < tables.index("derived.changes_v1")


def test_what_python_builds_reads_what_its_yaml_says_and_shapes_through_to_their_tables(settings):
    scores, changes = (lineage.load(settings).step(name) for name in ("scores_v1", "changes_v1"))
    assert (scores.kind, scores.inputs, scores.reads_yesterday) == ("scores", {"daily_v1": "derived.daily_v1"}, True)
    assert changes.inputs == {"scores_v1": "derived.scores_v1", "visit_v1": "acme_web_stable.visit_v1"}
    assert (changes.shapes, changes.reads_yesterday) == (("stg_visit",), False)


def test_another_setting_is_other_code_of_the_tables_that_name_it(settings):
    before, after = (lineage.load(one) for one in (settings, replace(settings, least_effect=0.5)))
    changed = {s.name for s in before.steps if s.code != after.step(s.table).code}
    assert changed == {"changes_v1"}


def test_ephemeral_models_are_seen_through_to_the_tables_behind_them(settings):
    step = lineage.load(settings).step("daily_v1")
    assert step.inputs == {"visit_v1": "acme_web_stable.visit_v1"}


def test_what_reads_pings_of_a_type_that_is_not_there_is_left_out_and_the_common_shapes_stay(settings):
    path = settings.dbt_target / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sources"] |= {
        "s.gone_stable.trip_v1": source("trip_v1", "gone_stable"),
        "s.gone_live.trip_v1": source("trip_v1", "gone_live"),
    }
    union = node("activity", ["m.staging", "m.stg_gone"], materialized="ephemeral")
    union["depends_on"]["macros"] = ["macro.telemetry_warehouse.union_of"]
    macro = {"package_name": "telemetry_warehouse", "macro_sql": "", "depends_on": {"macros": []}}
    manifest["macros"] = {"macro.telemetry_warehouse.union_of": macro}
    manifest["nodes"] |= {
        "m.stg_gone": node("stg_gone", ["s.gone_stable.trip_v1"], materialized="ephemeral"),
        "m.activity": union,
        "m.users": node("users_v1", ["m.activity"]),
        "m.of_gone": node("of_gone_v1", ["m.stg_gone"]),
        "m.after_gone": node("after_gone_v1", ["m.of_gone", "m.daily"]),
        "m.gone": node("gone", ["s.gone_stable.trip_v1"], materialized="view"),
        "m.recent": node("recent", ["s.gone_live.trip_v1"], materialized="view"),
    }
    manifest["unit_tests"] = {
        "u.activity": {"depends_on": {"nodes": ["m.activity"]}, "given": [{"input": "ref('stg_gone')"}]},
        "u.users": {"depends_on": {"nodes": ["m.users"]}, "given": [{"input": "ref('activity')"}]},
        "u.other": {"depends_on": {"nodes": ["m.users"]}, "given": [{"input": "source('acme', 'trip_v1')"}]},
        "u.source": {"depends_on": {"nodes": ["m.users"]}, "given": [{"input": "source('gone_stable', 'trip_v1')"}]},
    }
    for name, one in manifest["nodes"].items():
        one |= {"unique_id": name, "description": ""}
    path.write_text(json.dumps(manifest))
    gone = {
        "s.gone_stable.trip_v1",
        "s.gone_live.trip_v1",
        "m.stg_gone",
        "m.of_gone",
        "m.after_gone",
        "m.gone",
        "m.recent",
    }
    assert lineage.left_out(settings) == gone | {"u.activity", "u.source"}
    built = {step.name: step for step in lineage.load(settings).steps}
    assert {"users_v1", "daily_v1", "visit_v1"} <= built.keys() and not {"of_gone_v1", "after_gone_v1"} & built.keys()
    assert built["users_v1"].inputs == {"visit_v1": "acme_web_stable.visit_v1"}
    assert [view.id for view in lineage.views(settings)] == ["derived.last"]

    with_it = settings.schemas[0] / "gone" / "trip" / "trip.1.schema.json"
    with_it.parent.mkdir(parents=True)
    with_it.write_text("not JSON")
    assert lineage.left_out(settings) == set(), "a schema that is broken leaves its tables where they are"
    lineage.set_types_without_table(settings, [TypeName("gone", "trip", "1")])
    assert lineage.left_out(settings) >= gone, "but for a type that no schema has ever given a table"


def test_a_view_is_not_built_at_night(settings):
    with pytest.raises(WarehouseError, match="derived.daily_v1"):
        lineage.load(settings).step("last")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("daily_v1", {"daily_v1"}),
        ("daily_v1+", {"daily_v1", "last_v1", "scores_v1", "changes_v1"}),
        ("derived.last_v1+", {"last_v1"}),
    ],
)
def test_a_selector_takes_a_table_and_with_a_plus_what_follows(settings, selector, names):
    assert {s.name for s in lineage.load(settings).select(selector)} == names


def test_without_a_manifest_the_error_says_how_to_make_one(settings):
    (settings.dbt_target / "manifest.json").unlink()
    with pytest.raises(NotRunning, match="./warehouse up"):
        lineage.load(settings)


def test_types_of_one_name_in_two_namespaces_are_two_inputs(settings):
    path = settings.dbt_target / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sources"]["s.other"] = source("visit_v1", "other_web_stable")
    manifest["nodes"]["m.staging"]["depends_on"]["nodes"].append("s.other")
    path.write_text(json.dumps(manifest))
    other = settings.schemas[0] / "other-web" / "visit"
    other.mkdir(parents=True)
    (other / "visit.1.schema.json").write_text("{}")
    inputs = lineage.load(settings).step("daily_v1").inputs
    assert inputs == {
        "acme_web_stable_visit_v1": "acme_web_stable.visit_v1",
        "other_web_stable_visit_v1": "other_web_stable.visit_v1",
    }
