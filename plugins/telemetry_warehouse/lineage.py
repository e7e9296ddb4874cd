"""Every table that a night builds, what it reads, and in which order: read from dbt's manifest and the schemas.

Merging a model or a schema is what schedules it. Imports nothing heavy, because DAG files parse with it.
"""

import json
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from telemetry_warehouse.errors import NotRunning, WarehouseError
from telemetry_warehouse.schemas import TypeName, clean, list_types
from telemetry_warehouse.settings import Settings

LOOK_BACK_DAYS = 2


@dataclass(frozen=True)
class Step:
    """One table of the night.

    kind: dedup, model or changes. inputs: name → id of the tables it reads, itself excluded. carries_days: on how many
    later days a changed day of its inputs shows. reads_yesterday: whether its own day before is an input.
    """

    table: str
    kind: str
    inputs: dict[str, str]
    carries_days: int
    reads_yesterday: bool
    node: dict | None = None

    @property
    def name(self) -> str:
        return self.table.split(".")[1]


@dataclass(frozen=True)
class View:
    """A view for analysts. columns: name → description, as its YAML has them; inputs: name → id of what it reads."""

    id: str
    description: str
    columns: dict[str, str]
    inputs: dict[str, str]


class Lineage:
    """The steps in an order in which every table comes after what it reads."""

    def __init__(self, steps: list[Step]):
        known = {step.table: step for step in steps}
        order = TopologicalSorter({s.table: [i for i in s.inputs.values() if i in known] for s in steps})
        self.steps = [known[table] for table in order.static_order()]

    def step(self, name: str) -> Step:
        """The step of a table given by its name, with or without dataset; raises WarehouseError listing the names."""
        for step in self.steps:
            if name in (step.name, step.table):
                return step
        raise WarehouseError(
            f"no table {name!r} is built by the night; there are {', '.join(s.table for s in self.steps)}"
        )

    def upstream(self, step: Step) -> list[Step]:
        return [other for other in self.steps if other.table in step.inputs.values()]

    def select(self, selector: str | None) -> list[Step]:
        """All steps for None; else the table named, and with a trailing + all that follows from it."""
        if selector is None:
            return self.steps
        first = self.step(selector.removesuffix("+"))
        chosen = {first.table}
        for step in self.steps:
            if selector.endswith("+") and chosen & set(step.inputs.values()):
                chosen.add(step.table)
        return [step for step in self.steps if step.table in chosen]


def load(settings: Settings) -> Lineage:
    """The lineage of the manifest in `settings.dbt_target`. Raises NotRunning where there is none yet."""
    manifest = _manifest(settings)
    return Lineage(_dedup_steps(settings) + _model_steps(manifest) + _python_steps(manifest))


def views(settings: Settings) -> list[View]:
    """The views of the same manifest."""
    manifest = _manifest(settings)
    return [
        View(
            _id(node),
            node["description"],
            {name: column["description"] for name, column in node["columns"].items()},
            _inputs(manifest, node),
        )
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "view"
    ]


def _manifest(settings: Settings) -> dict:
    path: Path = settings.dbt_target / "manifest.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise NotRunning(f"there is no dbt manifest at {path}; make it with `./warehouse up`") from None


def _dedup_steps(settings: Settings) -> list[Step]:
    return [
        Step(stable_table(name), "dedup", {"live": f"{clean(name.namespace)}_live.{name.table}"}, LOOK_BACK_DAYS, False)
        for name in list_types(settings.schemas)
    ]


def stable_table(name: TypeName) -> str:
    """The id of a document type's stable table."""
    return f"{clean(name.namespace)}_stable.{name.table}"


def _model_steps(manifest: dict) -> list[Step]:
    steps = []
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and node["config"]["materialized"] == "gated":
            meta = node["config"]["meta"]
            steps.append(
                Step(
                    _id(node),
                    "model",
                    _inputs(manifest, node),
                    meta.get("carries_days", 0),
                    meta.get("reads_yesterday", False),
                    node,
                )
            )
    return steps


def _python_steps(manifest: dict) -> list[Step]:
    """Tables that Python builds are dbt sources whose meta says by what and from which models."""
    steps = []
    for source in manifest["sources"].values():
        meta = source["config"].get("meta") or source["meta"]
        if "built_by" in meta:
            models = {n["name"]: _id(n) for n in manifest["nodes"].values()}
            inputs = {name: models[name] for name in meta["reads"]}
            steps.append(Step(_id(source), meta["built_by"], inputs, meta.get("carries_days", 0), True, source))
    return steps


def _inputs(manifest: dict, node: dict) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in node["depends_on"]["nodes"]:
        if parent in manifest["sources"]:
            source = manifest["sources"][parent]
            found[source["name"]] = _id(source)
        elif parent in manifest["nodes"]:
            upstream = manifest["nodes"][parent]
            if upstream["config"]["materialized"] == "ephemeral":
                found |= _inputs(manifest, upstream)
            else:
                found[upstream["name"]] = _id(upstream)
    return found


def _id(node: dict) -> str:
    return f"{node['schema']}.{node.get('alias') or node['identifier']}"
