"""kill -9 at named points of landing, of lander, broker and warehouse: nothing is lost, nothing doubles in stable."""

import os
import signal
import time
from collections import Counter
from datetime import date

import pytest

from telemetry_warehouse import lineage, schemas, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import standins
from telemetry_warehouse.publishing import publish
from tests.conftest import temporary_home
from tests.landing.test_land import DAY, SCHEMA, errors, live, messages
from tests.support import Point, begin
from tests.test_schemas import write

_LOADED = "google.cloud.bigquery:Client.load_table_from_file"
# Who is killed, and what the lander is about to do, or has done, at that moment.
KILLS = [
    ("lander", Point("telemetry_warehouse.landing.pull:Subscription.pull", after=True, nth=2)),
    ("broker", Point("telemetry_warehouse.landing.lander:Lander.parts")),
    ("lander", Point(_LOADED, after=True)),
    ("bigquery", Point(_LOADED, after=True)),
    ("lander", Point("telemetry_warehouse.landing.pull:Subscription.acknowledge")),
    ("broker", Point("telemetry_warehouse.landing.pull:Subscription.acknowledge")),
]


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


def kill_server(settings, name: str) -> None:
    """Returns when it is gone."""
    killed = pid_of(settings, name)
    os.kill(killed, signal.SIGKILL)
    while pid_of(settings, name) == killed:
        time.sleep(0.05)


def test_nothing_is_lost_and_nothing_doubles_whatever_is_killed_whenever(home):
    [document_type] = schemas.load(home.schemas).values()
    # The tables are there before anything is killed: the stand-in does not make a table in one step.
    publish(home, messages(document_type, [{"n": 0}, b"{"]))
    land(Warehouse(home), until_empty=True)
    sent = 1
    for victim, point in KILLS:
        documents = [{"n": n} for n in range(sent, sent + 1500)] + [b"{"]
        sent += 1500
        publish(home, messages(document_type, documents))
        lander = begin(home, "land", "--until-empty", stop_at=point)
        lander.wait_until_stopped()
        if victim != "lander":
            kill_server(home, {"broker": "pub"}.get(victim, victim))
            # It sees that the server is gone, and ends or is killed where it still tries.
            lander.go_on()
            standins.up(home, say=lambda _: None)
        lander.kill()
        lander.communicate()

    warehouse = Warehouse(home)
    found, broken = Counter(), 0
    # What was leased by those that died comes when its lease of a minute has ended.
    give_up = time.monotonic() + 300
    while (len(found) < sent or broken < len(KILLS) + 1) and time.monotonic() < give_up:
        land(warehouse, until_empty=True)
        found = Counter(row["n"] for row in live(warehouse, document_type, "n"))
        broken = len({row["document_id"] for row in errors(warehouse, document_type)})
    assert found.keys() == set(range(sent))
    assert broken == len(KILLS) + 1

    step = lineage.Step(document_type.stable.id, "dedup", {"live": document_type.live.id}, 2, False, "code")
    day = date.fromisoformat(DAY)
    stages.run(warehouse, step, day, day, "after the kills", print)
    rows = warehouse.rows(f"SELECT n FROM {document_type.stable.id} WHERE DATE(submission_timestamp) = '{DAY}'")
    assert sorted(row["n"] for row in rows) == list(range(sent))
