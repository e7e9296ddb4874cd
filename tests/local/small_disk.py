"""What test_full_disk.py runs, with the folder of a small file system in SMALL_DISK: a home on it whose disk is full
while pings land, and while a table is built and published."""

import os
import signal
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local import ports, standins
from telemetry_warehouse.settings import Settings
from tests.conftest import temporary_home
from tests.support import Point, begin, checksum, command, succeed

DAY = (datetime.now(UTC) - timedelta(days=1)).date()
PINGS = 40
DAYS_OF = {"fleet_stable.flight_v1": "DATE(submission_timestamp)", "derived.clients_daily_v1": "submission_date"}


class Disk:
    """The file system of a home, and the file that fills it."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._ballast = settings.home / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(1 << 16))
        with self._ballast.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(1))

    def free(self) -> None:
        self._ballast.unlink()

    def complaint(self, said: str) -> None:
        """What a failed command has written to standard error is one line that says that the disk is full."""
        [line] = said.splitlines()
        assert f"the disk of {self.settings.home}" in line and "0.0 MB are free" in line, line
        assert "free some space there and" in line, line


@pytest.fixture(scope="module")
def disk():
    environment = {"WAREHOUSE_HOME": os.environ["SMALL_DISK"], "WAREHOUSE_PUBSUB_SERVER": "broker"}
    with temporary_home(environment) as settings:
        ports.assigned(settings.home, dict.fromkeys(ports.PREFERRED, ports.any_free_port()))
        succeed(settings, "up")
        yield Disk(settings)


@pytest.fixture(scope="module")
def warehouse(disk) -> Warehouse:
    return Warehouse(disk.settings)


def flights() -> list[tuple[bytes, dict]]:
    """Pings of yesterday, each of an aircraft of its own."""
    found = []
    for number in range(PINGS):
        document_id, client_id = (f"{number:08x}-0000-4000-8000-00000000000{n}" for n in (1, 2))
        departure = f"{DAY}T{number % 24:02}:00:00Z"
        document = {"client_id": client_id, "app_name": "Fleet", "channel": "AA", "scheduled_departure": departure}
        uri = f"/submit/fleet/flight/1/{document_id}"
        found.append((orjson.dumps(document), {"uri": uri, "submission_timestamp": departure}))
    return found


def fails_on_a_full_disk(disk: Disk, point: Point, *arguments: object) -> None:
    """Fills the disk when the command comes to `point`; it ends and says why, and so does a query. Then makes room."""
    process = begin(disk.settings, *arguments, stop_at=point)
    process.wait_until_stopped()
    disk.fill()
    process.go_on()
    said, errors = process.communicate()
    assert process.returncode == 1, said
    disk.complaint(errors)
    asked = command(disk.settings, "query", "SELECT 1 AS n")
    assert asked.returncode == 1
    disk.complaint(asked.stderr)
    disk.free()
    assert succeed(disk.settings, "query", "SELECT 6 * 7 AS n").stdout.count("42") == 1


def count(warehouse: Warehouse, table: str) -> tuple[int, int]:
    """(rows, documents) of yesterday."""
    [row] = warehouse.rows(
        f"SELECT COUNT(*) AS n, COUNT(DISTINCT document_id) AS documents FROM {table}"
        f" WHERE submission_timestamp >= '{DAY}' AND submission_timestamp < '{DAY + timedelta(days=1)}'"
    )
    return row["n"], row["documents"]


def test_pings_wait_while_the_disk_is_full_and_land_once(disk, warehouse, tmp_path):
    messages = tmp_path / "messages.ndjson"
    messages.write_bytes(
        b"".join(orjson.dumps({"attributes": a, "data": orjson.Fragment(d)}) + b"\n" for d, a in flights())
    )
    disk.fill()
    sent = command(disk.settings, "publish", messages)
    assert sent.returncode == 1
    disk.complaint(sent.stderr)
    disk.free()
    succeed(disk.settings, "publish", messages)
    for point, landed in (("lander:load", 0), ("lander:Subscription.acknowledge", PINGS)):
        fails_on_a_full_disk(disk, Point(f"telemetry_warehouse.landing.{point}"), "land", "--until-empty")
        assert count(warehouse, "fleet_live.flight_v1") == (landed, landed)
    succeed(disk.settings, "land", "--until-empty")
    assert count(warehouse, "fleet_live.flight_v1") == (PINGS, PINGS)
    kept = warehouse.rows(f"SELECT SUM(messages) AS n FROM raw.batches WHERE landed_date >= '{DAY}'")
    counted = warehouse.rows(f"SELECT SUM(landed) AS n FROM monitoring.landing WHERE landed_date >= '{DAY}'")
    assert kept == counted == [{"n": PINGS}]


@pytest.mark.parametrize(
    ("point", "table"), [("publish", "fleet_stable.flight_v1"), ("new_candidate", "derived.clients_daily_v1")]
)
def test_a_stage_on_a_full_disk_publishes_nothing_and_then_all_of_it(disk, warehouse, point, table):
    of_day = f"{DAYS_OF[table]} = '{DAY}'"
    before = checksum(warehouse, table, of_day)
    arguments = "backfill", DAY, DAY, "--select", table
    fails_on_a_full_disk(disk, Point(f"telemetry_warehouse.stages:{point}"), *arguments)
    assert checksum(warehouse, table, of_day) == before
    succeed(disk.settings, *arguments)
    assert checksum(warehouse, table, of_day)[0] == PINGS


def test_nothing_starts_on_a_full_disk_and_all_is_there_afterwards(disk, warehouse):
    before = checksum(warehouse, "monitoring.landing", f"landed_date >= '{DAY}'")
    for row in standins.status(disk.settings):
        if row.pid:
            os.kill(row.pid, signal.SIGKILL)
    disk.fill()
    with pytest.raises(WarehouseError) as refused:
        standins.up(disk.settings)
    disk.complaint(str(refused.value))
    # Nor is a file cut short that is read for ever after.
    other = disk.settings.home / "other"
    other.mkdir()
    with pytest.raises(OSError, match="No space left"):
        ports.assigned(other)
    assert ports.remembered(other) == {}
    disk.free()
    standins.up(disk.settings)
    assert checksum(warehouse, "monitoring.landing", f"landed_date >= '{DAY}'") == before
