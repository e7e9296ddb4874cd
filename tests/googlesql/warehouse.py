"""All the SQL of the project, and the catalogue that it is analysed on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from graphlib import TopologicalSorter

from telemetry_warehouse import dbt, lineage, schemas, stages, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates import by_day, expectations, judge
from telemetry_warehouse.settings import ROOT, Settings
from telemetry_warehouse.tables import Table
from tests.dbt import project
from tests.googlesql import partition_filter
from tests.googlesql.catalogue import Catalogue
from tests.googlesql.engine import Engine, Refused

DAY = date(2020, 1, 5)
FROZEN = "FOR SYSTEM_TIME AS OF TIMESTAMP '2020-01-06 00:00:00.000000+00'"


@dataclass(frozen=True)
class Compiled:
    """What dbt makes of the project's models, views and data tests for project.START..END, and of its functions."""

    models: dict[str, str]
    views: dict[str, str]
    tests: dict[str, str]
    functions: dict[str, tuple[dict, str]]


def compiled(settings: Settings) -> Compiled:
    models = project.compiled(settings)
    days = json.dumps({"start_date": project.START, "end_date": project.END})
    others = ["--select", "resource_type:function", "config.materialized:view", "test_type:singular"]
    dbt._invoke(settings, ["compile", *others, "--vars", days], dbt._manifest(settings))
    folder = settings.dbt_target / "compiled" / "telemetry_warehouse"
    manifest = project.manifest(settings)
    functions = manifest["functions"].values()
    tests = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    return Compiled(
        models=models,
        views={
            name: (folder / node["original_file_path"]).read_text()
            for name, node in project.models(settings, "view").items()
        },
        tests={node["name"]: (folder / node["original_file_path"]).read_text() for node in tests},
        functions={node["name"]: (node, (folder / node["original_file_path"]).read_text()) for node in functions},
    )


def night_tables(settings: Settings) -> dict[str, Table]:
    """Every table that a night publishes, by its name in a gate."""
    warehouse = Warehouse(settings)
    return {step.table: stages.definition(warehouse, step) for step in lineage.load(settings).steps}


def live_tables(settings: Settings) -> list[Table]:
    return [document_type.live for document_type in schemas.load(settings.schemas).values()]


def other_tables(settings: Settings) -> list[Table]:
    """The tables of sql/tables; errors are one for each namespace, and one for those that are nobody's."""
    found = []
    for path in sorted((ROOT / "sql" / "tables").glob("*.yml")):
        dataset, name, _ = path.name.split(".")
        if dataset == "errors":
            namespaces = {name.namespace for name in schemas.list_types(settings.schemas)} | {"unknown"}
            found += [
                replace(tables.from_file(dataset, name), dataset=f"{schemas.clean(namespace)}_errors")
                for namespace in sorted(namespaces)
            ]
        else:
            found.append(tables.from_file(dataset, name))
    return found


def candidate(table: Table) -> Table:
    """The table that a gate judges in the place of `table`."""
    columns = table.columns + (tables.column("_deleted", "BOOL"),) * bool(table.merge_key)
    return replace(
        table,
        dataset=f"{table.dataset}_candidates",
        columns=columns,
        partition_field=None,
        require_partition_filter=False,
    )


def gate_queries(settings: Settings) -> dict[str, str]:
    """Every query that a gate runs, as it runs it, by table and expectation."""
    warehouse = Warehouse(settings)
    nodes = project.compiled_nodes(settings)
    judged = [
        (stages.live_definition(document_type), stages.live_inputs(document_type))
        for document_type in schemas.load(settings.schemas).values()
    ]
    for step in lineage.load(settings).steps:
        # Dedup is judged against live as it was at a moment.
        at = f" {FROZEN}" if step.kind == "dedup" else ""
        inputs = {name: table + at for name, table in step.inputs.items()}
        if step.kind == "model":
            inputs |= dbt.shapes(nodes[step.name])
        judged.append((stages.definition(warehouse, step), inputs))
    queries = {}
    for table, inputs in judged:
        inputs = inputs | {"pings": expectations.pings(inputs, DAY, DAY) or ""}
        parsed = expectations.parse(table, inputs)
        about = judge._about(table, candidate(table).id, parsed, DAY, DAY)
        of_table = {e.name: e.sql(about, inputs) for e in parsed if e.query}
        for name, sql in of_table.items():
            queries[f"{table.id}: {name}"] = by_day.rows_query([sql], about["day_column"])
        queries[f"{table.id}: all queries"] = by_day.rows_query(of_table.values(), about["day_column"])
        conditions = {name: f"{condition['column']} IS NULL" for name, condition in about["conditions"].items()}
        queries[f"{table.id}: what is counted by day"] = by_day.counting_query(about, conditions)
    queries["the days before"] = by_day.days_before_query(about)
    return queries


class Known:
    """The project's tables, views and functions, left with the engine; what each table wants to be filtered on."""

    def __init__(
        self, engine: Engine, settings: Settings, sql: Compiled, changed: Callable[[Table], Table] = lambda table: table
    ):
        """`changed`: what a table that the project has is to be taken for."""
        self.engine = engine
        published = list(map(changed, [*night_tables(settings).values(), *live_tables(settings)]))
        all_tables = [*published, *map(candidate, published), *other_tables(settings)]
        self._catalogue = Catalogue(engine)
        self._catalogue.add_tables(all_tables)
        for node, body in sql.functions.values():
            self._catalogue.add_function(node, body)
        self.partition_columns = {
            t.id: t.partition_field for t in all_tables if t.partition_field and t.require_partition_filter
        }
        self._number = engine.register(self._catalogue.root)
        self.views_refused: dict[str, str] = {}
        self._add_views(settings, sql)

    def _add_views(self, settings: Settings, sql: Compiled) -> None:
        nodes = {node["unique_id"]: node for node in project.models(settings, "view").values()}
        order = TopologicalSorter({name: set(node["depends_on"]["nodes"]) for name, node in nodes.items()})
        for node in (nodes[name] for name in order.static_order() if name in nodes):
            try:
                [resolved] = self.analyse(sql.views[node["name"]])
                column = partition_filter.view_column(resolved, self.partition_columns)
            except (Refused, ValueError) as error:
                self.views_refused[node["name"]] = str(error)
                continue
            view = self._catalogue.add_view(node["schema"], node["name"], resolved)
            if column:
                self.partition_columns[view] = column
            self._number = self.engine.register(self._catalogue.root)

    def analyse(self, sql: str) -> list:
        return self.engine.analyse(sql, self._number)

    def complaints(self, statements: dict[str, str]) -> list[str]:
        """What is wrong with statements or scripts, with their names: refused, or reading partitions unnamed."""
        found = []
        for name, sql in statements.items():
            try:
                resolved = self.analyse(sql)
            except Refused as error:
                found.append(f"{error}: {name}")
                continue
            tables = [t for one in resolved for t in partition_filter.unfiltered(one, self.partition_columns)]
            if tables:
                found.append(f"no constant filter on the partitions of {', '.join(tables)}: {name}")
        return found
