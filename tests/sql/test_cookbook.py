"""Every question of the cookbook on a small population whose answers plain Python knows.

The questions name the tables that analysts use, so they are asked of these tables: the rows of three months are loaded
into clients_daily_v1, the models build what follows, and histograms are loaded as their table holds them.
"""

import re
from datetime import date
from functools import cache

import pytest
import sqlglot
from sqlglot import exp

from telemetry_warehouse import reads
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.settings import ROOT
from tests.dbt.project import Project
from tests.sql.answers import ANSWERS
from tests.sql.population import FIRST, LAST, World

COOKBOOK = ROOT / "sql" / "cookbook"
PAGES = sorted(path.stem for path in COOKBOOK.glob("*.sql"))
BUILT = ("clients_first_seen_v1", "clients_last_seen_v1", "active_users_v1", "retention_v1", "cohorts_v1")
HISTOGRAMS = ("histogram_aggregates_v1", "histogram_aggregates_by_build_v1")


def text(page: str) -> str:
    return (COOKBOOK / f"{page}.sql").read_text()


def as_json(row: dict) -> dict:
    return {name: str(value) if isinstance(value, date) else value for name, value in row.items()}


class Published(Project):
    """The tables that analysts query, and not tables of a test's own."""

    def _own(self, table):
        return table

    def clear(self) -> None:
        days = f"BETWEEN DATE '{FIRST}' AND DATE '{LAST}'"
        tables = dict.fromkeys(("clients_daily_v1", *BUILT, *HISTOGRAMS), "submission_date")
        tables["clients_first_seen_v1"] = "first_seen_date"
        statements = [f"DELETE FROM {self.table(name).id} WHERE {day} {days}" for name, day in tables.items()]
        self.warehouse.query("; ".join(statements))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def warehouse(prepared_home, world):
    project = Published(prepared_home, "derived")
    project.clear()
    project.load("clients_daily_v1", map(as_json, world.daily))
    project.load("histogram_aggregates_by_build_v1", map(as_json, world.histograms))
    without_build = [{n: v for n, v in row.items() if n != "app_build_id"} for row in world.histograms]
    project.load("histogram_aggregates_v1", map(as_json, without_build))
    for model in BUILT:
        project.build(model, FIRST, LAST)
    yield project.warehouse
    project.clear()


def test_every_page_has_a_known_answer():
    assert len(PAGES) >= 15
    assert sorted(ANSWERS) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_the_answer_is_that_of_plain_python(warehouse, world, page):
    expected = ANSWERS[page](world)
    assert expected
    found = [row.values() for row in warehouse.query(text(page))]
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert [approximate(value) for value in wanted] == list(row)


def approximate(value):
    return pytest.approx(value, rel=1e-6) if isinstance(value, float) else value


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_a_question_how_it_is_answered_and_what_to_watch_for(page):
    head = re.match(r"(?:-- .*\n)*", text(page))[0].splitlines()
    assert 3 <= len(head) <= 8
    assert "?" in head[0] and any(line.startswith("-- Watch for: ") for line in head)
    assert re.search(r"Change .*(date|Date)", " ".join(head))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_reads_only_the_days_it_names_of_views_of_telemetry(warehouse, page):
    query = sqlglot.parse_one(text(page), dialect="bigquery")
    ctes = {cte.alias for cte in query.find_all(exp.CTE)}
    assert {table.db for table in query.find_all(exp.Table) if table.name not in ctes} == {"telemetry"}
    look_up = cache(warehouse.client.get_table)
    reads.read(query, warehouse.settings.project_id, look_up)

    def without_days(node):
        names_days = isinstance(node, exp.Between | exp.In | exp.EQ) and node.this.name == "submission_date"
        return exp.true() if names_days else node

    with pytest.raises(Refused, match="requires a filter on submission_date"):
        reads.read(query.transform(without_days), warehouse.settings.project_id, look_up)


def test_the_page_of_documentation_lists_exactly_the_questions():
    listed = re.findall(r"^\| .+ \| `(\w+)\.sql` \|$", (ROOT / "docs" / "cookbook.md").read_text(), re.MULTILINE)
    assert sorted(listed) == PAGES
