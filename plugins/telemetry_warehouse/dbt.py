"""dbt in process: parse once, then run one model at a time on the saved manifest.

Other variables would make dbt parse the whole project anew (measured at 15 s a call), so the manifest is kept and
handed to every run; each run needs a fresh copy of it.
"""

import hashlib
import json
import os
from pathlib import Path

import yaml

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.settings import ROOT, Settings

PROJECT = ROOT / "dbt_project"


def prepare(settings: Settings) -> bool:
    """Writes the profile and, where the project has changed, the manifest; True where it was parsed anew."""
    profiles = settings.home / "dbt"
    profiles.mkdir(parents=True, exist_ok=True)
    unfinished = profiles / f"profiles.yml.{os.getpid()}"
    unfinished.write_text(yaml.safe_dump(settings.dbt_profile()))
    # Another dbt may be reading it.
    unfinished.replace(profiles / "profiles.yml")
    # The manifest names the project in every relation.
    stamp, checksum = settings.dbt_target / "project.checksum", f"{settings.project_id} {_project_checksum()}"
    if stamp.exists() and stamp.read_text() == checksum and (settings.dbt_target / "partial_parse.msgpack").exists():
        return False
    _invoke(settings, ["--write-json", "parse", "--no-partial-parse"])
    stamp.write_text(checksum)
    return True


def run(settings: Settings, model: str, variables: dict[str, str]) -> None:
    """Builds one model. Raises WarehouseError with dbt's own message where it fails."""
    _invoke(
        settings, ["--no-write-json", "run", "--select", model, "--vars", json.dumps(variables)], _manifest(settings)
    )


def deploy(settings: Settings) -> None:
    """Creates the functions of `udf` and the views of `telemetry`; nothing where this very project is there already."""
    checksum = (settings.dbt_target / "project.checksum").read_text()
    stamp = settings.dbt_target / "deployed.checksum"
    if stamp.exists() and stamp.read_text() == checksum:
        return
    selection = ["--select", "resource_type:function", "config.materialized:view", "--exclude", "resource_type:test"]
    _invoke(settings, ["--no-write-json", "build", *selection], _manifest(settings))
    stamp.write_text(checksum)


def _project_checksum() -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in PROJECT.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _manifest(settings: Settings):
    from dbt.contracts.graph.manifest import Manifest

    path: Path = settings.dbt_target / "partial_parse.msgpack"
    manifest = Manifest.from_msgpack(path.read_bytes())
    manifest.build_flat_graph()
    return manifest


def _invoke(settings: Settings, arguments: list[str], manifest=None) -> None:
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "False"
    from dbt.cli.main import dbtRunner

    paths = [
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(settings.home / "dbt"),
        "--target-path",
        str(settings.dbt_target),
        "--log-path",
        str(settings.home / "logs"),
    ]
    result = dbtRunner(manifest=manifest).invoke(["--quiet", "--no-use-colors", *arguments, *paths])
    if result.success:
        return
    if result.exception:
        raise WarehouseError(f"dbt {' '.join(arguments[1:4])}: {_one_line(result.exception)}") from result.exception
    failed = [f"{r.node.name}: {_one_line(r.message)}" for r in result.result if r.status not in ("success", "pass")]
    raise WarehouseError(f"dbt could not build {'; '.join(failed) or ' '.join(arguments)}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
