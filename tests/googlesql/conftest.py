"""The reference engine, set up on demand; where a machine cannot have it, what needs it is skipped."""

import subprocess
from collections.abc import Iterator

import pytest

from telemetry_warehouse.settings import ROOT
from tests.googlesql import engine, warehouse

_UNAVAILABLE = 3


@pytest.fixture(scope="session")
def googlesql(tmp_path_factory) -> Iterator[engine.Engine]:
    made = subprocess.run([ROOT / "setup.sh", "googlesql"], capture_output=True, text=True)
    if made.returncode == _UNAVAILABLE:
        pytest.skip(made.stderr.strip().splitlines()[-1])
    assert made.returncode == 0, made.stderr
    with engine.running(tmp_path_factory.mktemp("googlesql") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def compiled(warehouse_home) -> warehouse.Compiled:
    return warehouse.compiled(warehouse_home)


@pytest.fixture(scope="session")
def known(googlesql, warehouse_home, compiled) -> warehouse.Known:
    return warehouse.Known(googlesql, warehouse_home, compiled)
