"""The stand-ins of a home, together: up, down and status."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from telemetry_warehouse.errors import SettingsError, WarehouseError
from telemetry_warehouse.files import write_whole
from telemetry_warehouse.local import airflow, ports
from telemetry_warehouse.local.bigquery_server.full_disk import LEAST_FREE_BYTES
from telemetry_warehouse.local.processes import only_one
from telemetry_warehouse.local.servers import BigQuery, Postgres, PubSub, Server
from telemetry_warehouse.settings import Settings


class Row(NamedTuple):
    """A row of `./warehouse status`."""

    name: str
    about: str
    pid: int | None  # None: it is not running
    address: str


def up(settings: Settings, say: Callable[[str], None] = print) -> None:
    """Starts what is not running, waits until all is ready, then writes HOME/endpoints.json.

    Where one cannot start, those that this call started are stopped again and the reason is raised as a WarehouseError.
    With a Google Cloud project there is nothing to start.
    """
    if settings.project:
        say(f"WAREHOUSE_PROJECT is {settings.project}: the servers are Google Cloud's, nothing is started here")
        return
    with only_one(settings.home):
        chosen = ports.assigned(settings.home)
        pubsub = PubSub(settings, chosen)
        servers: list[Server] = [BigQuery(settings, chosen), pubsub, Postgres(settings, chosen)]
        if pubsub.pid() and settings.pubsub_server != pubsub.kind:
            raise WarehouseError(
                f"WAREHOUSE_PUBSUB_SERVER is {settings.pubsub_server} and {settings.home} runs the other server "
                f"({pubsub.kind}); run `./warehouse down` first"
            )
        missing = [server for server in servers if server.pid() is None]
        if missing:
            _require_room(settings)
        for server in missing:
            server.stop()  # what a killed one left behind
            for name in server.port_names:
                ports.require_free(settings.home, name, chosen[name])
        if missing:
            settings.endpoints_file.unlink(missing_ok=True)
            for server in missing:
                say(f"starting {server.about}")
            _start_all_or_none(missing)
        endpoints = {key: value for server in servers for key, value in server.endpoints().items()}
        if _written(settings) != endpoints:
            pubsub.make_subscription()
            write_whole(settings.endpoints_file, json.dumps(endpoints, indent=2) + "\n")


def down(settings: Settings, say: Callable[[str], None] = print) -> None:
    """Stops Airflow, then the stand-ins, and waits until they are gone. The data stays."""
    _require_standins(settings)
    if not settings.home.exists():
        return
    with only_one(settings.home):
        settings.endpoints_file.unlink(missing_ok=True)
        if airflow.daemon(settings).stop():
            say("stopped Airflow")
        for server in _servers(settings):
            about = server.about
            if server.stop():
                say(f"stopped {about}")


def status(settings: Settings) -> list[Row]:
    """What runs in this home, Airflow included; empty on Google Cloud."""
    if settings.project:
        return []
    rows = []
    for server in _servers(settings):
        pid = server.pid()
        rows.append(Row(server.name, server.about, pid, next(iter(server.endpoints().values())) if pid else ""))
    running = airflow.daemon(settings).find()
    address = airflow.url(settings) if running else ""
    return [*rows, Row("airflow", "Airflow: scheduler, DAG processor, API server", running and running.pid, address)]


def _servers(settings: Settings) -> list[Server]:
    chosen = ports.remembered(settings.home) or ports.PREFERRED
    return [PubSub(settings, chosen), BigQuery(settings, chosen), Postgres(settings, chosen)]


def _require_standins(settings: Settings) -> None:
    if settings.project:
        raise SettingsError(
            f"WAREHOUSE_PROJECT is {settings.project}: the warehouse runs on Google Cloud and has no stand-ins; "
            "unset it to use them"
        )


def _require_room(settings: Settings) -> None:
    """Of a full disk the servers would say something else each, in their logs or not at all."""
    free = shutil.disk_usage(settings.home).free
    if free < LEAST_FREE_BYTES:
        raise WarehouseError(
            f"the disk of {settings.home} is full: {free / 1e6:,.1f} MB are free, and the stand-ins start with"
            f" {LEAST_FREE_BYTES / 1e6:,.0f} MB; free some space there and start again"
        )


def _start_all_or_none(servers: list[Server]) -> None:
    with ThreadPoolExecutor(len(servers)) as pool:
        starts = [pool.submit(server.start) for server in servers]
    errors = [error for start in starts if (error := start.exception())]
    if errors:
        for server in servers:
            server.stop()
        raise errors[0]


def _written(settings: Settings) -> dict[str, str] | None:
    try:
        return json.loads(settings.endpoints_file.read_text())
    except FileNotFoundError:
        return None
