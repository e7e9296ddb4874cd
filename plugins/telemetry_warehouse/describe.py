"""Views tell what their columns mean: in their YAML where they compute them, else as the tables do that they read."""

import re
from graphlib import TopologicalSorter

from google.cloud.bigquery import SchemaField

from telemetry_warehouse import lineage, stages, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.lineage import View


def describe_views(warehouse: Warehouse) -> None:
    """Writes the descriptions of every view and its columns, nested ones included, to BigQuery."""
    steps = lineage.load(warehouse.settings).steps
    known_tables = [tables_of_type.stable for tables_of_type in type_tables.load(warehouse)]
    known_tables += [stages.definition(warehouse, step) for step in steps if step.kind != "dedup"]
    known_tables += [tables.from_file(*table.split(".")) for table in lineage.read_by_views(warehouse.settings)]
    columns = {table.id: {c.name: c for c in table.columns} for table in known_tables}
    views = {view.id: view for view in lineage.views(warehouse.settings)}
    order = TopologicalSorter({view.id: set(view.inputs.values()) & views.keys() for view in views.values()})
    for view in map(views.get, order.static_order()):
        known = {}
        for table in view.inputs.values():
            known |= columns[table]
        found = warehouse.client.get_table(view.id)
        found.description = view.description
        found.schema = [_described(field, _said(view, field.name), known.get(field.name)) for field in found.schema]
        warehouse.client.update_table(found, ["description", "schema"])
        columns[view.id] = {field.name: field for field in found.schema}


def _said(view: View, column: str) -> str | None:
    """What the view's YAML says; there `days_since_{pattern}` stands for a column of every pattern."""
    for name, description in view.columns.items():
        match = re.fullmatch(re.escape(name).replace(re.escape("{pattern}"), r"(?P<pattern>\w+)"), column)
        if match:
            return description.replace("{pattern}", match.groupdict().get("pattern", ""))
    return None


def _described(field: SchemaField, said: str | None, origin: SchemaField | None) -> SchemaField:
    members = {member.name: member for member in origin.fields} if origin else {}
    return SchemaField(
        field.name,
        field.field_type,
        field.mode,
        description=said or (origin and origin.description) or None,
        fields=[_described(member, None, members.get(member.name)) for member in field.fields],
    )
