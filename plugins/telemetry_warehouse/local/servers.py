"""The three stand-ins behind one shape: what each is, how to start it, how to see that it is ready, how to stop it."""

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Protocol

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local import ports, postgres, pubsub_server
from telemetry_warehouse.local.processes import Daemon
from telemetry_warehouse.settings import LOCAL_PROJECT, ROOT, Settings

EMULATOR = ROOT / ".venv" / "emulator"


class Server(Protocol):
    name: str
    about: str
    port_names: tuple[str, ...]  # of ports.json; must be free before it starts

    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self) -> bool: ...
    def endpoints(self) -> dict[str, str]: ...  # for endpoints.json, while it runs


class BigQuery:
    name = "bigquery"
    about = "BigQuery emulator"
    port_names = ("bigquery", "bigquery_storage")

    def __init__(self, settings: Settings, chosen: dict[str, int]):
        self._home, self._ports = settings.home, chosen
        self._daemon = Daemon(settings.home, self.name)

    def pid(self) -> int | None:
        return _pid(self._daemon)

    def start(self) -> None:
        python = EMULATOR / "bin" / "python"
        if not python.exists():
            raise WarehouseError(f"the BigQuery emulator is not installed in {EMULATOR}; run `make setup`")
        command = [
            python,
            "-P",
            Path(__file__).with_name("bigquery_server"),
            "--host",
            "127.0.0.1",
            "--port",
            str(self._ports["bigquery"]),
            "--grpc-port",
            str(self._ports["bigquery_storage"]),
            "--project",
            LOCAL_PROJECT,
            "--data-dir",
            self._home / "bigquery",
        ]
        (self._home / "bigquery").mkdir(exist_ok=True)
        # DuckDB's extensions are in the emulator's own HOME, where set-up put them.
        self._daemon.start(command, self._is_ready, env=os.environ | {"HOME": str(EMULATOR / "home")})

    def stop(self) -> bool:
        return self._daemon.stop()

    def endpoints(self) -> dict[str, str]:
        return {
            "bigquery": f"http://127.0.0.1:{self._ports['bigquery']}",
            "bigquery_storage": f"127.0.0.1:{self._ports['bigquery_storage']}",
        }

    def _is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._ports['bigquery']}/bigquery/v2/projects/{LOCAL_PROJECT}/datasets"
            with urllib.request.urlopen(url, timeout=5):
                return ports.accepts(self._ports["bigquery_storage"])
        except urllib.error.HTTPError:
            raise
        except OSError:
            return False


class PubSub:
    name = "pubsub"
    port_names = ("pubsub",)

    def __init__(self, settings: Settings, chosen: dict[str, int]):
        self._settings, self._port = settings, chosen["pubsub"]
        self._daemons = {kind: Daemon(settings.home, f"pubsub-{kind}") for kind in pubsub_server.ABOUT}

    @property
    def kind(self) -> str:
        """Of the server that runs; where none does, of the one that the settings name."""
        running = [kind for kind, daemon in self._daemons.items() if daemon.find()]
        return running[0] if running else self._settings.pubsub_server

    @property
    def about(self) -> str:
        return pubsub_server.ABOUT[self.kind]

    def pid(self) -> int | None:
        return _pid(self._daemons[self.kind])

    def start(self) -> None:
        command = pubsub_server.command(self.kind, self._settings.home, self._port)
        environment = os.environ | {"PYTHONPATH": str(ROOT / "plugins")}
        self._daemons[self.kind].start(command, lambda: ports.accepts(self._port), env=environment)
        self.make_subscription()

    def make_subscription(self) -> None:
        """Landing's, on the topic that pings are published to; both may be there already."""
        pubsub_server.create_subscription(
            f"127.0.0.1:{self._port}", LOCAL_PROJECT, self._settings.topic, self._settings.subscription
        )

    def stop(self) -> bool:
        return any([daemon.stop() for daemon in self._daemons.values()])

    def endpoints(self) -> dict[str, str]:
        subscription = f"{self._settings.topic}/{self._settings.subscription}"
        return {"pubsub": f"127.0.0.1:{self._port}", "pubsub_subscription": subscription}


class Postgres:
    name = "postgres"
    about = "PostgreSQL, for Airflow and the locks"
    port_names = ()

    def __init__(self, settings: Settings, _chosen: dict[str, int]):
        self._home = settings.home

    def pid(self) -> int | None:
        running = postgres.find(self._home)
        return running and running.pid

    def start(self) -> None:
        postgres.start(self._home)

    def stop(self) -> bool:
        return postgres.stop(self._home)

    def endpoints(self) -> dict[str, str]:
        running = postgres.find(self._home)
        return {"postgres": running.url("warehouse")} if running else {}


def _pid(daemon: Daemon) -> int | None:
    running = daemon.find()
    return running and running.pid
