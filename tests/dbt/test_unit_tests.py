"""dbt's unit tests, which stand beside the models: all hold, and every model that computes something has one."""

import re

import pytest

from telemetry_warehouse import dbt
from tests.dbt.project import manifest, models

# Models without a unit test, and where they are tested instead.
TESTED_ELSEWHERE = {
    # dbt takes rows of a wide record only whole, with all its members; and this model asks the table for its columns,
    # which a fixture hides.
    "stg_telemetry_main__activity": "test_clients_daily.py",
    "stg_telemetry_main__histograms": "test_histogram_aggregates.py",
}


@pytest.fixture
def graph_in_unit_tests(monkeypatch) -> None:
    """dbt 1.12 hands unit tests an empty `graph`, in which our models look up the columns that their YAML lists."""
    from dbt.task.test import TestRunner

    build = TestRunner.build_unit_test_manifest_from_test

    def build_with_graph(runner, unit_test, manifest):
        built = build(runner, unit_test, manifest)
        built.flat_graph = manifest.flat_graph
        return built

    monkeypatch.setattr(TestRunner, "build_unit_test_manifest_from_test", build_with_graph)


def test_every_unit_test_holds(prepared_home, graph_in_unit_tests):
    dbt._invoke(prepared_home, ["test", "--select", "test_type:unit"], dbt._manifest(prepared_home))


def test_every_model_that_computes_something_has_a_unit_test(warehouse_home):
    graph = manifest(warehouse_home)
    tested = {unit_test["model"] for unit_test in graph["unit_tests"].values()}
    passing_on = re.compile(r"select \* from {{ \w+\([^)]*\) }}\s*")
    computing = {
        node["name"]
        for node in graph["nodes"].values()
        if node["resource_type"] == "model" and not passing_on.fullmatch(node["raw_code"])
    }
    assert computing >= set(models(warehouse_home))
    assert computing - tested == set(TESTED_ELSEWHERE)
