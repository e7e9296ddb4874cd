"""The project's tables, views and functions as the analyser knows them: from their definitions alone."""

from collections.abc import Iterable

from telemetry_warehouse.tables import Table, type_text
from tests.googlesql.engine import Engine, message, number

# A function is known by its dataset alone and, as dbt writes it, by its project too; so is a table.
_PROJECT = "local"


class Catalogue:
    """Tables and functions under their datasets, and under the project's datasets."""

    def __init__(self, engine: Engine):
        self._engine, self._types = engine, {}
        self.root = engine.new_catalogue("root")
        self._project = self.root.catalog.add(name=_PROJECT)
        self._datasets: dict[str, tuple] = {}

    def learn_types(self, texts: Iterable[str]) -> None:
        """Has the analyser read the text of types, all in one question."""
        new = sorted(set(texts) - self._types.keys())
        if new:
            columns = ", ".join(f"CAST(NULL AS {text}) AS x{n}" for n, text in enumerate(new))
            catalogue = self._engine.register(self._engine.new_catalogue("types"))
            [statement] = self._engine.analyse(f"SELECT {columns}", catalogue)
            outputs = statement.resolved_query_stmt_node.output_column_list
            self._types.update(zip(new, (output.column.type for output in outputs), strict=True))

    def type(self, text: str):
        self.learn_types([text])
        return self._types[text]

    def _places(self, dataset: str) -> tuple:
        if dataset not in self._datasets:
            self._datasets[dataset] = tuple(parent.catalog.add(name=dataset) for parent in (self.root, self._project))
        return self._datasets[dataset]

    def add_tables(self, tables: Iterable[Table]) -> None:
        tables = list(tables)
        self.learn_types(type_text(column) for table in tables for column in table.columns)
        for table in tables:
            for place in self._places(table.dataset):
                place.table.append(self.simple_table(table))

    def simple_table(self, table: Table):
        known = message("SimpleTableProto", name=table.id, full_name=table.id, name_in_catalog=table.name)
        for column in table.columns:
            known.column.add(name=column.name).type.CopyFrom(self.type(type_text(column)))
        return known

    def add_view(self, dataset: str, name: str, resolved) -> str:
        """A view with the columns of its resolved query; returns its id."""
        view = message(
            "SimpleTableProto", name=f"{dataset}.{name}", full_name=f"{dataset}.{name}", name_in_catalog=name
        )
        for output in resolved.resolved_query_stmt_node.output_column_list:
            view.column.add(name=output.name).type.CopyFrom(output.column.type)
        for place in self._places(dataset):
            place.table.append(view)
        return view.full_name

    def add_function(self, node: dict, body: str) -> None:
        """A function of dbt's manifest with the SQL that it stands for, so that the engine can evaluate it."""
        arguments = node["arguments"]
        typed = [a for a in arguments if a["data_type"] != "ANY TYPE"]
        if typed:
            # Otherwise an argument that is a bare NULL would be INT64 within the body, whatever it is declared as.
            casts = ", ".join(f"CAST({a['name']} AS {a['data_type']}) AS {a['name']}" for a in typed)
            body = f"(SELECT {body} FROM (SELECT {casts}))"
        function = message(
            "FunctionProto",
            name_path=[node["name"]],
            group="Templated_SQL_Function",
            mode=number("FunctionEnums.Mode", "SCALAR"),
            templated_sql_function_argument_name=[argument["name"] for argument in arguments],
        )
        function.parse_resume_location.input = body
        signature = function.signature.add()
        for argument in arguments:
            self._typed(signature.argument.add(), argument["data_type"])
        self._typed(signature.return_type, node["returns"]["data_type"])
        for place in self._places(node["schema"]):
            place.custom_function.append(function)

    def _typed(self, place, text: str) -> None:
        place.num_occurrences = 1
        if text == "ANY TYPE":
            place.kind = number("SignatureArgumentKind", "ARG_TYPE_ARBITRARY")
        else:
            place.kind = number("SignatureArgumentKind", "ARG_TYPE_FIXED")
            place.type.CopyFrom(self.type(text))
