"""Every table that a night builds, what it reads, and in which order: read from dbt's manifest and the schemas.

Merging a model or a schema is what schedules it. Models and views that read the pings of a type that is not there are
left out. Imports nothing heavy, because DAG files parse with it.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from telemetry_warehouse.errors import NotRunning, WarehouseError
from telemetry_warehouse.schemas import TypeName, clean, list_types
from telemetry_warehouse.settings import ROOT, Settings

LOOK_BACK_DAYS = 2
# Its models read the types that are there, and do without the others.
_UNION = "macro.telemetry_warehouse.union_of"
_NAMED = re.compile(r"(?:ref|source)\(([^()]*)\)")


@dataclass(frozen=True)
class Step:
    """One table of the night.

    kind: dedup, model, or one of detection.KINDS. inputs: name → id of the tables it reads, itself excluded.
    carries_days: on how many later days a changed day of its inputs shows. reads_yesterday: whether its own day before
    is an input. code: a checksum of all that decides what it builds; days that another code built may differ. shapes:
    names of the ephemeral models that it is made through.
    """

    table: str
    kind: str
    inputs: dict[str, str]
    carries_days: int
    reads_yesterday: bool
    code: str
    node: dict | None = None
    shapes: tuple[str, ...] = ()

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

    def stable_before(self, table: str) -> set[str]:
        """The stable tables that a table is built from, over all tables between; of a stable table, itself."""
        found = {table}
        for step in reversed(self.steps):
            if step.table in found:
                found |= {other.table for other in self.upstream(step)}
        return {step.table for step in self.steps if step.table in found and step.kind == "dedup"}

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
    return Lineage(_dedup_steps(settings) + _model_steps(manifest) + _python_steps(settings, manifest))


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


def functions(settings: Settings) -> set[str]:
    """The ids of the functions of the same manifest."""
    return {_id(node) for node in _manifest(settings).get("functions", {}).values()}


def read_by_views(settings: Settings) -> list[str]:
    """The ids of the tables of sql/tables that views read."""
    known = {step.table for step in load(settings).steps} | {view.id for view in views(settings)}
    return sorted({table for view in views(settings) for table in view.inputs.values()} - known)


def types_there(settings: Settings) -> list[TypeName]:
    """The document types of the schema directories, but for those that no schema has ever given a table."""
    absent = _absent_file(settings)
    without = set(json.loads(absent.read_text())) if absent.exists() else set()
    return [name for name in list_types(settings.schemas) if str(name) not in without]


def set_types_without_table(settings: Settings, names: Collection[TypeName]) -> None:
    """From now on these types count as not there."""
    settings.dbt_target.mkdir(parents=True, exist_ok=True)
    unfinished = settings.dbt_target / f"types_without_table.{os.getpid()}"
    unfinished.write_text(json.dumps(sorted(map(str, names))))
    unfinished.replace(_absent_file(settings))


def _absent_file(settings: Settings) -> Path:
    return settings.dbt_target / "types_without_table.json"


def left_out(settings: Settings) -> set[str]:
    """The ids of all that stands in dbt's manifest and reads, directly or not, pings of a type that is not there."""
    return _left_out(settings, _whole_manifest(settings))


def _left_out(settings: Settings, manifest: dict) -> set[str]:
    names = types_there(settings)
    pings = {stable_table(name) for name in names} | {live_table(name) for name in names}
    gone = {
        key
        for key, source in manifest["sources"].items()
        if source["schema"].endswith(("_stable", "_live")) and _id(source) not in pings
    }
    unit_tests = manifest.get("unit_tests", {})
    readers = manifest["nodes"] | unit_tests
    found = gone
    while found:
        found = {
            key
            for key, node in readers.items()
            if key not in gone
            and _UNION not in node["depends_on"].get("macros", ())
            and (
                gone & set(node["depends_on"]["nodes"])
                or any(_is_given(node, other) for other in gone - unit_tests.keys())
            )
        }
        gone |= found
    return gone


def _is_given(unit_test: dict, key: str) -> bool:
    """Whether a unit test gives rows of what has this id in the manifest; False for what is no unit test."""
    return any(
        key.endswith("." + ".".join(re.findall(r"\w+", arguments)))
        for given in unit_test.get("given", ())
        for arguments in _NAMED.findall(given["input"])
    )


def _manifest(settings: Settings) -> dict:
    manifest = _whole_manifest(settings)
    gone = _left_out(settings, manifest)
    for kind in ("nodes", "sources", "unit_tests"):
        manifest[kind] = {key: node for key, node in manifest.get(kind, {}).items() if key not in gone}
    for node in manifest["nodes"].values():
        node["depends_on"]["nodes"] = [key for key in node["depends_on"]["nodes"] if key not in gone]
    return manifest


def _whole_manifest(settings: Settings) -> dict:
    path: Path = settings.dbt_target / "manifest.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise NotRunning(f"there is no dbt manifest at {path}; make it with `./warehouse up`") from None


def _dedup_steps(settings: Settings) -> list[Step]:
    code = _digest((ROOT / "sql" / "dedup.sql").read_text())
    return [
        Step(
            stable_table(name),
            "dedup",
            {"live": live_table(name)},
            LOOK_BACK_DAYS,
            False,
            code,
        )
        for name in types_there(settings)
    ]


def stable_table(name: TypeName) -> str:
    """The id of a document type's stable table."""
    return f"{clean(name.namespace)}_stable.{name.table}"


def live_table(name: TypeName) -> str:
    """The id of a document type's live table."""
    return f"{clean(name.namespace)}_live.{name.table}"


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
                    _digest(*sorted(_texts(manifest, node["unique_id"], set()))),
                    node,
                    tuple(sorted(_shapes(manifest, node))),
                )
            )
    return steps


def _python_steps(settings: Settings, manifest: dict) -> list[Step]:
    """Tables that Python builds are dbt sources whose meta says by what, from which tables and ephemeral models, and by
    which settings."""
    steps = []
    nodes = {node["name"]: node for node in (*manifest["sources"].values(), *manifest["nodes"].values())}
    here = Path(__file__).parent
    files = [*sorted((here / "changes").glob("*.py")), here / "detection.py", here / "layouts.py"]
    code = [path.read_text() for path in (*files, ROOT / "sql" / "movers.sql")]
    for source in manifest["sources"].values():
        meta = source["config"].get("meta") or source["meta"]
        if "built_by" in meta:
            inputs = {name: _id(nodes[name]) for name in meta["reads"]}
            shapes = [nodes[name] for name in meta.get("shapes", ())]
            texts = [f"{name} {getattr(settings, name)}" for name in meta.get("settings", ())]
            for node in shapes:
                inputs |= _inputs(manifest, node)
                texts += sorted(_texts(manifest, node["unique_id"], set()))
            steps.append(
                Step(
                    _id(source),
                    meta["built_by"],
                    inputs,
                    meta.get("carries_days", 0),
                    meta.get("reads_yesterday", False),
                    _digest(*code, *texts),
                    source,
                    tuple(sorted({name for node in shapes for name in (node["name"], *_shapes(manifest, node))})),
                )
            )
    return steps


def _texts(manifest: dict, unique_id: str, seen: set[str]) -> list[str]:
    """The SQL and the columns of a model, of what is compiled into it, and of the macros of ours that they call."""
    if unique_id in seen:
        return []
    seen.add(unique_id)
    if node := manifest["macros"].get(unique_id):
        if node["package_name"] != "telemetry_warehouse":
            return []
        texts, further = [node["macro_sql"]], node["depends_on"]["macros"]
    else:
        node = manifest["nodes"][unique_id]
        columns = {
            name: (column["data_type"], column["config"]["meta"]) for name, column in sorted(node["columns"].items())
        }
        texts = [node["raw_code"], json.dumps(columns, sort_keys=True)]
        further = node["depends_on"]["macros"] + [
            parent
            for parent in node["depends_on"]["nodes"]
            if parent in manifest["nodes"] and manifest["nodes"][parent]["config"]["materialized"] == "ephemeral"
        ]
    return texts + [text for name in further for text in _texts(manifest, name, seen)]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def input_name(name: str, dataset: str, names: list[str]) -> str:
    """What a source is called among a model's inputs: by its name, or after its dataset too where another of `names`,
    those of all sources, is the same: two applications may have a type of one name."""
    return name if names.count(name) == 1 else f"{dataset}_{name}"


def _inputs(manifest: dict, node: dict) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in node["depends_on"]["nodes"]:
        if parent in manifest["sources"]:
            source = manifest["sources"][parent]
            names = [other["name"] for other in manifest["sources"].values()]
            found[input_name(source["name"], source["source_name"], names)] = _id(source)
        elif parent in manifest["nodes"]:
            upstream = manifest["nodes"][parent]
            if upstream["config"]["materialized"] == "ephemeral":
                found |= _inputs(manifest, upstream)
            else:
                found[upstream["name"]] = _id(upstream)
    return found


def _shapes(manifest: dict, node: dict) -> set[str]:
    found: set[str] = set()
    for parent in node["depends_on"]["nodes"]:
        upstream = manifest["nodes"].get(parent)
        if upstream and upstream["config"]["materialized"] == "ephemeral":
            found |= {upstream["name"]} | _shapes(manifest, upstream)
    return found


def _id(node: dict) -> str:
    return f"{node['schema']}.{node.get('alias') or node['identifier']}"
