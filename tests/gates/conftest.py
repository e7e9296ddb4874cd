"""The shared servers as a warehouse."""

import pytest

from telemetry_warehouse.bigquery import Warehouse


@pytest.fixture(scope="session")
def warehouse(warehouse_home) -> Warehouse:
    return Warehouse(warehouse_home)
