"""Pings landed per second against a bare pull-and-acknowledge loop on the same messages."""

import itertools
import statistics
import time
from collections.abc import Iterator
from datetime import date

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import pubsub_server, standins
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.simulate.flights import flights
from tests.benchmarks.__main__ import Result
from tests.conftest import temporary_home

MESSAGES = 20_000
ROUNDS = 3


def run() -> Iterator[Result]:
    messages = list(itertools.islice(flights(date(2013, 1, 1), date(2013, 2, 28)), MESSAGES))
    size = statistics.mean(len(data) for data, _ in messages)
    for kind in pubsub_server.ABOUT:
        with temporary_home({"WAREHOUSE_PUBSUB_SERVER": kind}) as settings:
            standins.up(settings, say=lambda _: None)
            warehouse = Warehouse(settings)
            publish(settings, messages[:100])
            land(warehouse, until_empty=True)
            landed, bare = [], []
            for _ in range(ROUNDS):
                publish(settings, messages)
                bare.append(MESSAGES / seconds(pull_and_acknowledge, settings))
                publish(settings, messages)
                landed.append(MESSAGES / seconds(land, warehouse, until_empty=True))
            ratios = [a / b for a, b in zip(landed, bare, strict=True)]
            yield Result(
                f"landing {MESSAGES:,} flights of {size:.0f} bytes, {kind} Pub/Sub",
                f"{statistics.median(landed):,.0f} pings/s",
                f"{statistics.median(bare):,.0f} messages/s pulled and acknowledged",
                statistics.median(ratios),
                f"median of {ROUNDS}; one lander, one process",
            )


def seconds(work, *arguments, **options) -> float:
    began = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - began


def pull_and_acknowledge(settings: Settings) -> None:
    client = settings.subscriber_client()
    subscription = client.subscription_path(settings.project_id, settings.subscription)
    left = MESSAGES
    while left:
        received = client.pull(subscription=subscription, max_messages=1000).received_messages
        if received:
            client.acknowledge(subscription=subscription, ack_ids=[m.ack_id for m in received])
        left -= len(received)
