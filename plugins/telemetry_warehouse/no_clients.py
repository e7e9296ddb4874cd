"""Ids that stand where a client's would and name no client."""

from functools import cache

from telemetry_warehouse.files import read_yaml
from telemetry_warehouse.settings import ROOT


@cache
def no_clients() -> dict[str, str]:
    """The ids, lower-case, by why they name no client, as dbt's models know them."""
    return read_yaml(ROOT / "dbt_project" / "dbt_project.yml")["vars"]["no_clients"]
