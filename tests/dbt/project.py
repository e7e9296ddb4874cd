"""The dbt project's models on datasets of a test's own.

dbt compiles all models once, for two days that nothing else is called; a test puts its own days and datasets in their
place and runs the SQL itself. That is the SQL that dbt runs, without the seconds that each dbt run takes.
"""

import json
import time
from dataclasses import replace
from datetime import date
from functools import cache

from telemetry_warehouse import dbt, schemas, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.publish import publish
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.tables import Table

START, END = "1111-11-11", "2222-02-22"
SOURCES = {"main": ("telemetry", "main", "4"), "flight": ("fleet", "flight", "1")}


@cache
def manifest(settings: Settings) -> dict:
    """dbt's manifest of the project, parsed anew where it has changed."""
    dbt.prepare(settings)
    return json.loads((settings.dbt_target / "manifest.json").read_text())


def models(settings: Settings, materialized: str = "gated") -> dict[str, dict]:
    nodes = manifest(settings)["nodes"].values()
    return {
        n["name"]: n for n in nodes if n["resource_type"] == "model" and n["config"]["materialized"] == materialized
    }


def definition(node: dict) -> Table:
    """The table that a model's YAML describes."""
    config = node["config"]
    return Table(
        dataset=node["schema"],
        name=node["name"],
        columns=tuple(tables.column(c["name"], c["data_type"], c["description"]) for c in node["columns"].values()),
        partition_field=(config.get("partition_by") or {}).get("field"),
        clustering=tuple(config.get("cluster_by") or ()),
        merge_key=tuple(config["meta"].get("merge_key", ())),
    )


@cache
def compiled_nodes(settings: Settings) -> dict[str, object]:
    """Every gated model as dbt compiles it for START..END, with its published table and the stable tables there."""
    warehouse = Warehouse(settings)
    types = schemas.load(settings.schemas)
    for table in (
        *(types[schemas.TypeName(*type_name)].stable for type_name in SOURCES.values()),
        *map(definition, models(settings).values()),
    ):
        warehouse.ensure(table)
    variables = json.dumps({"start_date": START, "end_date": END})
    arguments = ["compile", "--select", "config.materialized:gated", "--vars", variables]
    return {result.node.name: result.node for result in dbt._invoke(settings, arguments, dbt._manifest(settings))}


def compiled(settings: Settings) -> dict[str, str]:
    """The SQL of these models."""
    nodes = compiled_nodes(settings)
    return {name: nodes[name].compiled_code for name in models(settings)}


class Project:
    """The tables of the project in datasets whose names begin with `prefix`; stable tables are empty at first."""

    def __init__(self, settings: Settings, prefix: str):
        self.settings, self.prefix = settings, prefix
        self.warehouse = Warehouse(settings)
        types = schemas.load(settings.schemas)
        self.stable = {
            name: self._own(types[schemas.TypeName(*type_name)].stable) for name, type_name in SOURCES.items()
        }
        self.tables = {name: self._own(definition(node)) for name, node in models(settings).items()}
        self.warehouse.ensure_dataset(f"{prefix}_candidates")
        self.warehouse.ensure(tables.from_file("monitoring", "publish_tokens"))

    def _own(self, table: Table) -> Table:
        return replace(table, dataset=f"{self.prefix}_{table.dataset}", retention_days=None)

    def table(self, name: str) -> Table:
        """A stable table (`main` or `flight`) or a published one; it is there from now on."""
        table = (self.stable | self.tables)[name]
        self.warehouse.ensure(table)
        return table

    def load(self, name: str, rows: list[dict]) -> None:
        self.warehouse.load_rows(self.table(name), rows)

    def empty(self, name: str) -> None:
        self.warehouse.query(f"TRUNCATE TABLE {self.table(name).id}")

    def sql(self, model: str, start: date, end: date) -> str:
        text = compiled(self.settings)[model].replace(START, str(start)).replace(END, str(end))
        for name, table in (self.stable | self.tables).items():
            shared = f"`{table.dataset.removeprefix(self.prefix + '_')}`.`{table.name}`"
            if shared in text:
                text = text.replace(shared, f"`{self.table(name).dataset}`.`{table.name}`")
        return text

    def build(self, model: str, start: date, end: date | None = None) -> None:
        """Builds a model's days and publishes them as the pipeline does, without a gate."""
        table, end = self.table(model), end or start
        candidate = f"{self.prefix}_candidates.{model}_{time.time_ns()}"
        names = ", ".join(table.column_names + ["_deleted"] * bool(table.merge_key))
        self.warehouse.query(f"CREATE TABLE {candidate} AS SELECT {names} FROM ({self.sql(model, start, end)})")
        publish(self.warehouse, table, candidate, start, end, time.time_ns() // 1000)

    def rows(self, name: str) -> list[dict]:
        """All rows of a table, in the order of their text."""
        table = self.table(name)
        days = f" WHERE {table.day} >= '1900-01-01'" if table.partition_field else ""
        return sorted(self.warehouse.rows(f"SELECT * FROM {table.id}{days}"), key=repr)


def main_ping(day: date, document_id: str, client_id: str | None, second: int = 0, **said) -> dict:
    """A row of the stable table of main pings, from the names of the activity shape."""
    experiments = said.get("experiments", {})
    return {
        "document_id": document_id,
        "submission_timestamp": f"{day}T00:00:{second:02}Z",
        "client_id": client_id,
        "sample_id": said.get("sample_id"),
        "normalized_app_name": said.get("app_name", "Firefox"),
        "normalized_channel": said.get("channel"),
        "normalized_os": said.get("os"),
        "normalized_country_code": said.get("country"),
        "metadata": {"geo": {"subdivision1": said.get("subdivision1"), "city": said.get("city")}},
        "application": {"version": said.get("app_version"), "build_id": said.get("app_build_id")},
        "environment": {
            "system": {
                "os": {"version": said.get("os_version"), "windows_build_number": said.get("windows_build_number")},
                "memory_mb": said.get("memory_mb"),
                "gfx": {"adapters": [{"vendor_id": vendor} for vendor in said.get("gfx_vendor_ids", [])]},
            },
            "settings": {"locale": said.get("locale"), "is_default_browser": said.get("is_default_browser")},
            "profile": {"creation_date": said.get("profile_creation_date")},
            "partner": {"distribution_id": said.get("distribution_id")},
            "experiments": [{"key": key, "value": {"branch": branch}} for key, branch in experiments.items()],
            "addons": {"active_addons": flat_map(said.get("addons", {}))},
        },
        "payload": {
            "info": {
                "subsession_length": said.get("duration"),
                "subsession_counter": said.get("subsession_counter"),
            },
            "simple_measurements": {
                "active_ticks": said.get("older_active_ticks"),
                "first_paint": said.get("first_paint_ms"),
            },
            "processes": {
                "parent": {
                    "scalars": {
                        "browser_engagement_active_ticks": said.get("active_ticks"),
                        "browser_engagement_total_uri_count": said.get("uri_count"),
                        "browser_engagement_max_concurrent_tab_count": said.get("concurrent_tabs"),
                        "devtools_toolbox_opened_count": said.get("devtools_opened"),
                    },
                    "keyed_scalars": keyed_map(said.get("keyed_scalars", {})),
                },
                **{
                    process: {
                        "histograms": flat_map(said.get(f"{process}_histograms", {})),
                        "keyed_histograms": keyed_map(said.get(f"{process}_keyed_histograms", {})),
                        "scalars": flat_map(said.get(f"{process}_scalars", {})),
                        "keyed_scalars": keyed_map(said.get(f"{process}_keyed_scalars", {})),
                    }
                    for process in ("content", "socket")
                },
            },
            "histograms": flat_map(said.get("histograms", {})),
            "keyed_histograms": keyed_map(said.get("keyed_histograms", {})),
        },
        "additional_properties": said.get("additional_properties"),
    }


def flat_map(entries: dict) -> list[dict]:
    return [{"key": key, "value": value} for key, value in entries.items()]


def keyed_map(entries: dict[str, dict]) -> list[dict]:
    return flat_map({key: flat_map(of_key) for key, of_key in entries.items()})


def histogram(values: dict[int, int], kind: int = 0, bounds: tuple[int, int] = (1, 100)) -> dict:
    """A histogram record as stable tables hold it."""
    return {
        "bucket_count": 10,
        "histogram_type": kind,
        "range": list(bounds),
        "sum": 0,
        "values": [{"key": str(bucket), "value": count} for bucket, count in values.items()],
    }
