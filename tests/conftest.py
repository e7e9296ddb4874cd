"""Servers for the tests: real ones, on free ports, in temporary homes, gone at the end."""

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from telemetry_warehouse import night
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import SettingsError
from telemetry_warehouse.local import airflow, ports, pubsub_server, standins
from telemetry_warehouse.local.servers import PubSub
from telemetry_warehouse.settings import ROOT, Settings
from tests import guard
from tests.guard import Guard

# How fast an example ran says nothing on a busy machine.
hypothesis.settings.register_profile(
    "warehouse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("warehouse")


_GUARD = pytest.StashKey[Guard]()
# The homes in which Airflow runs.
_with_airflow: set[Settings] = set()


_TERMINATED = 143


def pytest_configure(config):
    # What is terminated tears down its fixtures too. The guard ends what is then left, or is left by a killed run.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=_TERMINATED))
    if not hasattr(config, "workerinput"):
        config.stash[_GUARD] = Guard()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    """xdist's workers do not see the signal, would not tear down in the time that they are given, and end here."""
    if exitstatus == _TERMINATED and session.config.pluginmanager.hasplugin("dsession"):
        session.config.stash[_GUARD].end()


def pytest_unconfigure(config):
    if _GUARD in config.stash:
        config.stash[_GUARD].end()


def pytest_collection_modifyitems(items):
    """The longest groups begin."""
    first = ["chain", "airflow", "flights"]
    items.sort(key=lambda item: first.index(group) if (group := _group(item.nodeid)) in first else len(first))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Airflow takes a tenth of a processor even where nothing runs, and ends with the group of tests that needs it."""
    try:
        return (yield)
    finally:
        # After the last test of all, the homes are gone, and Airflow with them.
        if nextitem is not None and _group(nextitem.nodeid) != _group(item.nodeid):
            while _with_airflow:
                airflow.stop(_with_airflow.pop())


def pytest_xdist_make_scheduler(config, log):
    """Tests that share servers or a warehouse's state stay in one process."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Groups(config, log)


def _group(nodeid: str) -> str:
    path = nodeid.split("::")[0]
    if path.endswith("airflow.py"):
        return "airflow"
    if path.endswith("flights_and_real_pings.py"):
        return "flights"
    return "chain" if path.startswith("tests/e2e/") else path


@contextlib.contextmanager
def temporary_home(environment: Mapping[str, str] = {}) -> Iterator[Settings]:  # noqa: B006
    """Settings of a new home with ports of its own; what was started in it is stopped in the end."""
    with tempfile.TemporaryDirectory(prefix="warehouse-", dir=os.environ.get(guard.VARIABLE)) as folder:
        # Never the preferred ports: the developer's own home may want them while it is down.
        ports.assigned(Path(folder), dict.fromkeys(ports.PREFERRED, ports.any_free_port()))
        settings = Settings.load({"WAREHOUSE_HOME": folder} | dict(environment))
        try:
            yield settings
        finally:
            standins.down(settings, say=lambda _: None)


@pytest.fixture(scope="session")
def warehouse_home() -> Iterator[Settings]:
    """Settings of a home whose stand-ins are up."""
    with temporary_home() as settings:
        standins.up(settings, say=lambda _: None)
        yield settings


@pytest.fixture(scope="session")
def prepared_home(warehouse_home) -> Settings:
    """`warehouse_home` with every published table, function and view of the project."""
    night.prepare(Warehouse(warehouse_home))
    return warehouse_home


@pytest.fixture(scope="session")
def warehouse_environment(warehouse_home) -> dict[str, str]:
    """The environment for a command or a Python of its own that works in `warehouse_home`."""
    return environment_of(warehouse_home)


def environment_of(settings: Settings) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WAREHOUSE_")}
    schemas = ":".join(map(str, settings.schemas))
    return inherited | {
        "WAREHOUSE_HOME": str(settings.home),
        "WAREHOUSE_SCHEMAS": schemas,
        "WAREHOUSE_PUBSUB_SERVER": settings.pubsub_server,
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }


@pytest.fixture(scope="session", params=list(pubsub_server.ABOUT))
def pubsub_home(request, warehouse_home) -> Iterator[Settings]:
    """Like `warehouse_home`, once with each Pub/Sub server: BigQuery and PostgreSQL are shared, Pub/Sub is its own."""
    with temporary_home({"WAREHOUSE_PUBSUB_SERVER": request.param}) as settings:
        pubsub = PubSub(settings, ports.remembered(settings.home))
        try:
            pubsub.start()
        except SettingsError as error:
            pytest.skip(str(error))
        shared = json.loads(warehouse_home.endpoints_file.read_text())
        settings.endpoints_file.write_text(json.dumps(shared | pubsub.endpoints()))
        yield settings


@pytest.fixture(scope="session")
def _airflow_dags(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "warehouse").symlink_to(ROOT / "dags")
    (folder / "probe.py").symlink_to(ROOT / "tests" / "local" / "probe_dag.py")
    return folder


@pytest.fixture
def airflow_home(warehouse_home, _airflow_dags) -> Settings:
    """`warehouse_home` with Airflow running on the project's DAGs and one for tests. It runs until the last of these
    tests, and is started again where a test has stopped it."""
    _with_airflow.add(warehouse_home)
    airflow.start(warehouse_home, say=lambda _: None, dags=_airflow_dags)
    return warehouse_home
