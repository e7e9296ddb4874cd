"""Airflow for a home: its environment, start and stop. The processes themselves are the supervisor's."""

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from telemetry_warehouse.errors import NotRunning, SettingsError, WarehouseError
from telemetry_warehouse.local import ports, postgres
from telemetry_warehouse.local.processes import Daemon, only_one
from telemetry_warehouse.settings import ROOT, Settings

USER = "admin"
_EXECUTABLE = Path(sys.executable).with_name("airflow")
_OURS = ("AIRFLOW__", "WAREHOUSE_")


def start(settings: Settings, say: Callable[[str], None] = print, dags: Path = ROOT / "dags") -> None:
    """Starts Airflow on the DAGs of a folder and waits until it is healthy; the stand-ins must be up. Where it runs
    already it is left as it is."""
    with only_one(settings.home):
        if daemon(settings).find():
            return
        _require_postgres(settings)
        ports.require_free(settings.home, "airflow", ports.assigned(settings.home)["airflow"])
        variables = environment(settings, dags)
        _migrate(settings, variables, say)
        say(f"starting Airflow on {url(settings)}")
        command = [sys.executable, "-P", "-m", "telemetry_warehouse.local.airflow_supervisor", settings.home / "logs"]
        began = datetime.now(UTC)
        daemon(settings).start(command, lambda: is_healthy(settings, began), env=variables, deadline_seconds=180)


def run_command(settings: Settings, arguments: Sequence[str]) -> NoReturn:
    """Becomes Airflow's own command with these arguments, in the environment of the home's Airflow.

    Raises SettingsError where the home has none because the warehouse runs on Google Cloud, NotRunning where its
    database is not there.
    """
    if settings.project:
        raise SettingsError(
            f"WAREHOUSE_PROJECT is {settings.project}: Airflow is your own there; run `airflow` where it is"
            " installed, with its own variables"
        )
    _require_postgres(settings)
    with _database(settings) as cursor:
        prepared = _prepared_by(cursor)
    if prepared != _installed():
        what = f"was {prepared}" if prepared else "was never prepared"
        raise NotRunning(
            f"Airflow's database of {settings.home} {what}, and here is Airflow {version('apache-airflow')}; `make run`"
            " starts Airflow, which prepares it"
        )
    variables = environment(settings)
    if running := daemon(settings).find():
        # It may have been started with other settings than those of this shell.
        started_with = _environment_of(running.pid)
        variables = {key: value for key, value in variables.items() if not key.startswith(_OURS)} | {
            key: value for key, value in started_with.items() if key.startswith(_OURS)
        }
    sys.stdout.flush()
    os.execve(_EXECUTABLE, [str(_EXECUTABLE), *arguments], variables)


def _require_postgres(settings: Settings) -> None:
    if postgres.find(settings.home) is None:
        raise NotRunning(f"PostgreSQL of {settings.home} is not running; start it with `./warehouse up`")


def _environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(entry).split("=", 1) for entry in entries if b"=" in entry)


def stop(settings: Settings) -> bool:
    """Whether it ran."""
    with only_one(settings.home):
        return daemon(settings).stop()


def daemon(settings: Settings) -> Daemon:
    return Daemon(settings.home, "airflow")


def url(settings: Settings) -> str:
    return f"http://127.0.0.1:{ports.remembered(settings.home)['airflow']}"


def is_healthy(settings: Settings, since: datetime) -> bool:
    """Whether the API server answers, and scheduler and DAG processor gave a sign of life since then."""
    try:
        with urllib.request.urlopen(f"{url(settings)}/api/v2/monitor/health", timeout=5) as response:
            health = json.load(response)
    except OSError:
        return False
    # The triggerer, which no DAG of ours needs, does not run and does not count.
    signs = [health[name][f"latest_{name}_heartbeat"] for name in ("scheduler", "dag_processor")]
    return all(sign and datetime.fromisoformat(sign) > since for sign in signs)


def password(settings: Settings) -> str:
    """Of the user admin; generated at the first start."""
    return json.loads(_passwords_file(settings).read_text())[USER]


def environment(settings: Settings, dags: Path = ROOT / "dags") -> dict[str, str]:
    """What Airflow's processes, and through them the tasks, see. Makes the secrets at the first call."""
    folder = settings.home / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    _secret(_passwords_file(settings), lambda: json.dumps({USER: secrets.token_urlsafe(12)}))
    address = url(settings)
    configuration = {
        "core.auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "core.dags_folder": dags,
        "core.plugins_folder": ROOT / "plugins",
        "core.executor": "LocalExecutor",
        "core.parallelism": 3,
        "core.load_examples": False,
        "core.hostname_callable": "socket.gethostname",  # the default asks the name server, who may not answer
        "core.execution_api_server_url": f"{address}/execution/",
        "core.simple_auth_manager_users": f"{USER}:admin",
        "core.simple_auth_manager_passwords_file": _passwords_file(settings),
        "core.fernet_key": _secret(folder / "fernet_key", _fernet_key),
        "database.sql_alchemy_conn": postgres.find(settings.home).url("airflow", driver="+psycopg2"),
        "api.host": "127.0.0.1",
        "api.port": address.rpartition(":")[2],
        "api.base_url": address,
        "api.secret_key": _secret(folder / "secret_key", secrets.token_urlsafe),
        "api_auth.jwt_secret": _secret(folder / "jwt_secret", lambda: secrets.token_urlsafe(64)),
        "logging.base_log_folder": settings.home / "logs" / "tasks",
        # A task whose process is gone fails after a minute and not after five.
        "scheduler.task_instance_heartbeat_timeout": 60,
        # A new or changed DAG file is seen within about ten seconds. What makes the same file give other tasks, such as
        # a new model, is seen within half a minute, as by default: more often, it took a twentieth of a processor.
        "dag_processor.refresh_interval": 5,
        "usage_data_collection.enabled": False,
    }
    variables = {f"AIRFLOW__{key.replace('.', '__').upper()}": str(value) for key, value in configuration.items()}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return (
        inherited
        | variables
        | settings.variables()
        | {
            "AIRFLOW_HOME": str(folder),
            "PYTHONPATH": str(ROOT / "plugins"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GX_ANALYTICS_ENABLED": "False",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
        }
    )


def _migrate(settings: Settings, variables: dict[str, str], say: Callable[[str], None]) -> None:
    with _database(settings) as cursor:
        if _prepared_by(cursor) == _installed():
            return
        say("preparing Airflow's database")
        log = settings.home / "logs" / "airflow-migrate.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as file:
            command = [_EXECUTABLE, "db", "migrate"]
            code = subprocess.run(command, env=variables, stdout=file, stderr=file, cwd=settings.home).returncode
        if code:
            raise WarehouseError(f"Airflow's database could not be prepared; log: {log}")
        cursor.execute("COMMENT ON DATABASE airflow IS %s", (_installed(),))


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator:
    """A cursor on Airflow's database, which commits by itself."""
    import psycopg2

    connection = psycopg2.connect(postgres.find(settings.home).url("airflow"))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _prepared_by(cursor) -> str | None:
    """The note of who has prepared the database; the database has it itself, so that both are lost together."""
    cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'airflow'")
    return cursor.fetchone()[0]


def _installed() -> str:
    return f"prepared by Airflow {version('apache-airflow')}"


def _passwords_file(settings: Settings) -> Path:
    return settings.home / "airflow" / "passwords.json"


def _secret(file: Path, make: Callable[[], str]) -> str:
    """The text of a file that only its owner can read, made at the first call."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(make())
    except FileExistsError:
        pass
    return file.read_text()


def _fernet_key() -> str:
    # https://github.com/fernet/spec/blob/master/Spec.md
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
