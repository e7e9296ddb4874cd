"""One home for all whole-chain tests; its tables keep their days for ever, so that tests may live in fixed years."""

import shutil
from datetime import date

import pytest
import yaml

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.publishing import publish_file
from telemetry_warehouse.settings import ROOT, Settings
from telemetry_warehouse.simulate.population import simulate
from tests.conftest import temporary_home
from tests.support import succeed


@pytest.fixture(scope="session")
def chain_home(tmp_path_factory) -> Settings:
    schemas = tmp_path_factory.mktemp("schemas")
    shutil.copytree(ROOT / "schemas", schemas, dirs_exist_ok=True)
    for path in schemas.rglob("*.table.yml"):
        options = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(options | {"live_days": None, "stable_days": None}))
    with temporary_home({"WAREHOUSE_SCHEMAS": str(schemas)}) as settings:
        succeed(settings, "up")
        yield settings


@pytest.fixture(scope="session")
def chain(chain_home) -> Warehouse:
    return Warehouse(chain_home)


class Simulated:
    """A simulated population that has gone through the chain: a history in one pass, then a night."""

    first, last_of_history, last = date(2024, 3, 1), date(2024, 4, 4), date(2024, 4, 5)

    def __init__(self, chain: Warehouse, folder):
        days = (self.last - self.first).days + 1
        self.truth = simulate(folder, clients=60, first_day=self.first, days=days, seed=7)
        publish_file(chain.settings, folder / "messages.ndjson")
        self.totals = land(chain, until_empty=True)
        succeed(chain.settings, "backfill", self.first, self.last_of_history)
        succeed(chain.settings, "night", self.last)


@pytest.fixture(scope="session")
def simulated(chain, tmp_path_factory) -> Simulated:
    return Simulated(chain, tmp_path_factory.mktemp("simulation"))
