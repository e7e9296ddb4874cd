"""kill -9 at random instants, of lander, broker and warehouse: nothing is lost, nothing doubles in stable."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date

import pytest

from telemetry_warehouse import lineage, schemas, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import standins
from telemetry_warehouse.publishing import publish
from tests.conftest import environment_of, temporary_home
from tests.landing.test_land import DAY, SCHEMA, errors, live, messages
from tests.test_schemas import write

KILLS = ["lander", "broker", "lander", "bigquery", "lander", "broker"]


@pytest.fixture
def home(tmp_path):
    """Servers of its own, with the broker that keeps its messages."""
    write(tmp_path, "kills/ping/1", SCHEMA, "live_days: null")
    with temporary_home({"WAREHOUSE_PUBSUB_SERVER": "broker", "WAREHOUSE_SCHEMAS": str(tmp_path)}) as settings:
        standins.up(settings, say=lambda _: None)
        yield settings


def pid_of(settings, name: str) -> int:
    [row] = [row for row in standins.status(settings) if name in row.name.lower()]
    return row.pid


def test_nothing_is_lost_and_nothing_doubles_whatever_is_killed_whenever(home):
    chance = random.Random(20)
    [document_type] = schemas.load(home.schemas).values()
    # The tables are there before anything is killed: the stand-in does not make a table in one step.
    publish(home, messages(document_type, [{"n": 0}, b"{"]))
    land(Warehouse(home), until_empty=True)
    sent = 1
    for victim in KILLS:
        documents = [{"n": n} for n in range(sent, sent + 1500)] + [b"{"]
        sent += 1500
        publish(home, messages(document_type, documents))
        line = [sys.executable, "-m", "telemetry_warehouse.cli", "land", "--until-empty"]
        lander = subprocess.Popen(line, env=environment_of(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # The imports take the first seconds; the rest is spread over pulling, shaping, loading and acknowledging.
        time.sleep(1.5 + 3 * chance.random())
        server = {"lander": None, "broker": "pub", "bigquery": "bigquery"}[victim]
        os.kill(lander.pid if server is None else pid_of(home, server), signal.SIGKILL)
        if server is not None:
            time.sleep(1)
            lander.kill()
            standins.up(home, say=lambda _: None)
        lander.communicate()

    warehouse = Warehouse(home)
    give_up = time.monotonic() + 150
    while time.monotonic() < give_up:
        land(warehouse, until_empty=True)
        found = Counter(row["n"] for row in live(warehouse, document_type, "n"))
        broken = len({row["document_id"] for row in errors(warehouse, document_type)})
        if len(found) == sent and broken == len(KILLS) + 1:
            break
        time.sleep(5)
    assert found.keys() == set(range(sent))
    assert broken == len(KILLS) + 1

    step = lineage.Step(document_type.stable.id, "dedup", {"live": document_type.live.id}, 2, False, "code")
    day = date.fromisoformat(DAY)
    stages.run(warehouse, step, day, day, "after the kills", print)
    rows = warehouse.rows(f"SELECT n FROM {document_type.stable.id} WHERE DATE(submission_timestamp) = '{DAY}'")
    assert sorted(row["n"] for row in rows) == list(range(sent))
