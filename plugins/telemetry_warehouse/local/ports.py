"""Ports are chosen at the first start of a home and remembered, so that bookmarks and clients keep working."""

import json
import socket
import time
from pathlib import Path

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.files import write_whole

PREFERRED = {"bigquery": 9050, "bigquery_storage": 9060, "pubsub": 8085, "airflow": 8080}
SETTLE_SECONDS = 3


class PortBusy(WarehouseError):
    """A remembered port that another program holds."""


def assigned(home: Path, preferred: dict[str, int] = PREFERRED) -> dict[str, int]:
    """The ports of this home by name. The first call chooses them, the preferred ones where they are free, and
    writes HOME/ports.json; callers hold the home's lock."""
    if known := remembered(home):
        return known
    chosen: dict[str, int] = {}
    for name, port in preferred.items():
        while port in chosen.values() or not is_free(port):
            port = any_free_port()
        chosen[name] = port
    write_whole(_file(home), json.dumps(chosen, indent=2) + "\n")
    return chosen


def remembered(home: Path) -> dict[str, int]:
    """The ports of this home by name; empty before its first start."""
    try:
        return json.loads(_file(home).read_text())
    except FileNotFoundError:
        return {}


def require_free(home: Path, name: str, port: int) -> None:
    """Raises PortBusy, naming the port, who wants it and the two ways out. A killed server may hold its port for a
    moment after it is gone, so a busy port is looked at again for a while."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not is_free(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not is_free(port):
        raise PortBusy(
            f"port {port} of 127.0.0.1, which {name} of {home} uses, is held by another program; "
            f"stop that program, or run `./warehouse down` and delete {_file(home)} so that other ports are chosen"
        )


def is_free(port: int) -> bool:
    """Whether a server can bind it now; connections of a former server that linger do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port: int) -> bool:
    """Whether a server listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _file(home: Path) -> Path:
    return home / "ports.json"
