"""dbt in process: parse once, then run one model at a time on the saved manifest.

Other variables would make dbt parse the whole project anew (measured at 15 s a call), so the manifest is kept and
handed to every run; each run needs a fresh copy of it.
"""

import hashlib
import json
import os
import warnings
from datetime import date
from pathlib import Path

import yaml

from telemetry_warehouse import lineage
from telemetry_warehouse.errors import WarehouseError, one_line
from telemetry_warehouse.files import check_yaml, write_whole
from telemetry_warehouse.settings import ROOT, Settings

PROJECT = ROOT / "dbt_project"


def prepare(settings: Settings) -> bool:
    """Writes the profile and, where the project has changed, the manifest; True where it was parsed anew."""
    profile = yaml.safe_dump(settings.dbt_profile())
    profiles = settings.home / "dbt"
    profiles.mkdir(parents=True, exist_ok=True)
    # Another dbt may be reading it.
    write_whole(profiles / "profiles.yml", profile)
    # The manifest names the project in every relation.
    stamp, checksum = settings.dbt_target / "project.checksum", f"{settings.project_id} {_project_checksum()}"
    if stamp.exists() and stamp.read_text() == checksum and (settings.dbt_target / "partial_parse.msgpack").exists():
        return False
    # dbt itself keeps the last of two equal keys.
    check_yaml(PROJECT)
    # What is cut short leaves a manifest that belongs to no stamp.
    stamp.unlink(missing_ok=True)
    _invoke(settings, ["--write-json", "parse", "--no-partial-parse"])
    stamp.write_text(checksum)
    return True


def run(settings: Settings, model: str, variables: dict[str, str], inputs: dict[str, str]) -> dict[str, str]:
    """Builds one model, which reads each source or model named in `inputs` from the table id given for it.

    Returns the SQL of the shapes that it reads, name → subquery, as it was built from them. Raises WarehouseError with
    dbt's own message where it fails.
    """
    manifest = _reading(settings, {name: table for name, table in inputs.items() if name != model})
    arguments = ["--no-write-json", "run", "--select", model, "--vars", json.dumps(variables)]
    [built] = _invoke(settings, arguments, manifest)
    return shapes(built.node)


def shape(settings: Settings, name: str, variables: dict[str, str], inputs: dict[str, str]) -> str:
    """An ephemeral model as a subquery, which reads `inputs` as in `run`. Builds nothing."""
    # dbt prints the SQL of models that are selected by their names.
    selection = ["--select", "config.materialized:ephemeral", "--vars", json.dumps(variables)]
    done = _invoke(settings, ["--no-write-json", "compile", *selection], _reading(settings, inputs))
    [code] = [one.node.compiled_code for one in done.results if one.node.name == name]
    return f"(\n{code}\n)"


def compile(settings: Settings, variables: dict[str, str]) -> dict[str, str]:
    """The queries that all gated models would build their rows with, by the id of the table. Builds nothing."""
    # dbt prints the SQL of models that are selected by their names.
    arguments = ["--no-write-json", "compile", "--select", "config.materialized:gated", "--vars", json.dumps(variables)]
    done = _invoke(settings, arguments, _manifest(settings))
    return {f"{one.node.schema}.{one.node.alias}": one.node.compiled_code for one in done.results}


def shapes(node) -> dict[str, str]:
    """The ephemeral models that a compiled node reads, name → subquery."""
    parts: list[str] = []
    found = {}
    for part in node.extra_ctes:
        # Each comes after those that it reads itself.
        parts.append(part.sql.strip())
        found[part.id.split(".")[-1]] = f"(WITH {', '.join(parts)} SELECT * FROM {parts[-1].split()[0]})"
    return found


def deploy(settings: Settings) -> None:
    """Creates the functions of `udf` and the views of `telemetry`."""
    selection = ["--select", "resource_type:function", "config.materialized:view"]
    tests = ["--exclude", "resource_type:test", "resource_type:unit_test"]
    _invoke(settings, ["--no-write-json", "build", *selection, *tests], _manifest(settings))


def run_tests(settings: Settings, start: date, end: date) -> int:
    """Runs the data tests of dbt_project/tests on the published days start..end; returns how many there are.

    Raises WarehouseError naming those that found rows which should not be.
    """
    variables = json.dumps({"start_date": start.isoformat(), "end_date": end.isoformat()})
    arguments = ["--no-write-json", "test", "--select", "test_type:singular", "--vars", variables]
    return len(_invoke(settings, arguments, _manifest(settings)))


def write_docs(settings: Settings) -> Path:
    """Writes dbt's documentation of the tables as they are now; returns its one page, which loads nothing else."""
    target = settings.home / "dbt" / "docs"
    with warnings.catch_warnings():
        # About columns that BigQuery's catalogue does not have, one for each table.
        warnings.simplefilter("ignore", RuntimeWarning)
        _invoke(settings, ["docs", "generate", "--static"], _manifest(settings), target)
    return target / "static_index.html"


def is_deployed(settings: Settings) -> bool:
    """Whether what was deployed last, and told of with remember_deployed, is this very project."""
    stamp = _deployed(settings)
    return stamp.exists() and stamp.read_text() == _version(settings)


def remember_deployed(settings: Settings) -> None:
    _deployed(settings).write_text(_version(settings))


def _version(settings: Settings) -> str:
    """The project, and what of it is left out because its types are not there."""
    return "\n".join([(settings.dbt_target / "project.checksum").read_text(), *sorted(lineage.left_out(settings))])


def forget_deployed(settings: Settings) -> None:
    """Until a deployment has ended, nobody knows which project's views are there."""
    _deployed(settings).unlink(missing_ok=True)


def _deployed(settings: Settings) -> Path:
    return settings.dbt_target / "deployed.checksum"


def _project_checksum() -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in PROJECT.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _manifest(settings: Settings):
    from dbt.contracts.graph.manifest import Manifest

    path: Path = settings.dbt_target / "partial_parse.msgpack"
    manifest = Manifest.from_msgpack(path.read_bytes())
    _leave_out(manifest, lineage.left_out(settings))
    manifest.build_flat_graph()
    return manifest


def _leave_out(manifest, gone: set[str]) -> None:
    """Takes what reads the pings of types that are not there out of dbt's manifest."""
    for kind in (manifest.nodes, manifest.sources, manifest.unit_tests):
        for key in gone & kind.keys():
            del kind[key]
    for node in (*manifest.nodes.values(), *manifest.exposures.values()):
        node.depends_on.nodes = [key for key in node.depends_on.nodes if key not in gone]


def _reading(settings: Settings, inputs: dict[str, str]):
    """The manifest in which each source or model named in `inputs` is the table whose id is given for it."""
    manifest = _manifest(settings)
    for node in manifest.nodes.values():
        if node.resource_type == "model" and node.name in inputs:
            node.schema, node.alias = inputs[node.name].split(".")
    names = [source.name for source in manifest.sources.values()]
    for source in manifest.sources.values():
        name = lineage.input_name(source.name, source.source_name, names)
        if name in inputs:
            source.schema, source.identifier = inputs[name].split(".")
    return manifest


def _invoke(settings: Settings, arguments: list[str], manifest=None, target: Path | None = None):
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    from dbt.adapters.bigquery import clients
    from dbt.cli.main import dbtRunner
    from dbt_common.behavior_flags import BehaviorFlagRendered

    from telemetry_warehouse.deadlines import bigquery_client

    # For the text of a warning dbt looks, flag by flag, through the call stack and every imported module: seconds a run
    # where many are imported.
    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt.adapters.bigquery.impl")
    # dbt has no setting for how long a request may take.
    clients.BigQueryClient = bigquery_client
    paths = [
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(settings.home / "dbt"),
        "--target-path",
        str(target or settings.dbt_target),
        "--log-path",
        str(settings.home / "logs"),
    ]
    result = dbtRunner(manifest=manifest).invoke(["--quiet", "--no-use-colors", *arguments, *paths])
    if result.success:
        return result.result
    if result.exception:
        raise WarehouseError(f"dbt {' '.join(arguments[1:4])}: {one_line(result.exception)}") from result.exception
    raise WarehouseError(f"dbt: {'; '.join(_failures(result.result)) or ' '.join(arguments)}")


def _failures(outcome) -> list[str]:
    """What failed of a run's nodes, or of the catalogue that documentation is made of."""
    if hasattr(outcome, "errors"):
        return list(map(one_line, outcome.errors or ()))
    return [f"{r.node.name}: {one_line(r.message)}" for r in outcome if r.status not in ("success", "pass")]
