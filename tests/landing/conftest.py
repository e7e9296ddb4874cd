"""A document type of every kind of column, and landing on real servers with a topic of the test's own."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing.pull import Leases, Subscription
from telemetry_warehouse.local import pubsub_server
from telemetry_warehouse.settings import Settings

_numbers = itertools.count()


def with_own_topic(settings: Settings, schemas: Path) -> Settings:
    """The settings with a new, empty topic and subscription, and these schemas."""
    name = f"landing-{next(_numbers)}"
    own = dataclasses.replace(settings, topic=name, subscription=f"{name}-landing", schemas=(schemas,))
    pubsub_server.create_subscription(own._endpoints["pubsub"], own.project_id, own.topic, own.subscription)
    return own


@pytest.fixture
def warehouse(warehouse_home, tmp_path) -> Warehouse:
    """On the shared servers, with an empty topic and with `tmp_path` for schemas."""
    return Warehouse(with_own_topic(warehouse_home, tmp_path))


@pytest.fixture
def either_warehouse(pubsub_home, tmp_path) -> Warehouse:
    """Like `warehouse`, once with each Pub/Sub server."""
    return Warehouse(with_own_topic(pubsub_home, tmp_path))


@pytest.fixture
def leases(warehouse) -> Iterator[Leases]:
    with Leases(Subscription(warehouse.settings)) as leases:
        yield leases
