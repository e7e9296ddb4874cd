"""A small client of Airflow's REST API, for the sample run and the tests."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.local import airflow
from telemetry_warehouse.settings import Settings

FINISHED = {"success", "failed"}


class AirflowApi:
    """Speaks as the home's admin. Times are aware datetimes; answers are Airflow's own, as dicts."""

    def __init__(self, settings: Settings):
        self._url = airflow.url(settings)
        login = {"username": airflow.USER, "password": airflow.password(settings)}
        self._headers = {"Content-Type": "application/json"}
        token = self.call("POST", "/auth/token", login)["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        """Raises WarehouseError with Airflow's reason."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or "{}")
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")[:500]
            raise WarehouseError(f"Airflow refused {method} {path} with {error.code}: {reason}") from error
        except OSError as error:
            raise WarehouseError(f"Airflow at {self._url} does not answer: {error}") from error

    def wait_for_dag(self, dag_id: str, deadline_seconds: float = 90) -> None:
        """Until the DAG processor has read it. Raises WarehouseError, with the import errors where there are some."""
        deadline = time.monotonic() + deadline_seconds
        while dag_id not in {dag["dag_id"] for dag in self.call("GET", "/api/v2/dags?limit=100")["dags"]}:
            if time.monotonic() > deadline:
                errors = self.call("GET", "/api/v2/importErrors")["import_errors"]
                reasons = "; ".join(error["stack_trace"].strip().splitlines()[-1] for error in errors)
                raise WarehouseError(f"Airflow has no DAG {dag_id} after {deadline_seconds:.0f} s. {reasons}".strip())
            time.sleep(0.5)

    def pause(self, dag_id: str, paused: bool) -> None:
        self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def trigger(self, dag_id: str, logical_date: datetime | None = None, conf: dict | None = None) -> str:
        """Starts a run and returns its id. With a logical date it has the data interval that the timetable gives it."""
        date = logical_date.astimezone(UTC).isoformat() if logical_date else None
        body = {"logical_date": date, "conf": conf or {}}
        return self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"]

    def backfill(
        self, dag_id: str, first: datetime, last: datetime, *, reprocess: str = "none", max_active_runs: int = 1
    ) -> int:
        """Creates runs for the schedule's dates from first to last; the id of the backfill. `reprocess` is none, failed
        or completed: which runs that exist already are run again."""
        body = {
            "dag_id": dag_id,
            "from_date": first.astimezone(UTC).isoformat(),
            "to_date": last.astimezone(UTC).isoformat(),
            "reprocess_behavior": reprocess,
            "max_active_runs": max_active_runs,
        }
        return self.call("POST", "/api/v2/backfills", body)["id"]

    def run(self, dag_id: str, run_id: str) -> dict:
        return self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}")

    def runs(self, dag_id: str) -> list[dict]:
        """The latest hundred, oldest first."""
        found = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100&order_by=-run_after")
        return found["dag_runs"][::-1]

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The state of each task of a run; None before it is scheduled."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances?limit=100"
        return {task["task_id"]: task["state"] for task in self.call("GET", path)["task_instances"]}

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """What a task wrote."""
        run = urllib.parse.quote(run_id)
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/logs/{attempt}?full_content=true"
        return "\n".join(str(line.get("event", line)) for line in self.call("GET", path)["content"])

    def wait_for_run(
        self, dag_id: str, run_id: str, deadline_seconds: float, say: Callable[[str], None] = lambda _: None
    ) -> str:
        """Until it is over: success or failed. Says each task that ends meanwhile."""
        deadline, said = time.monotonic() + deadline_seconds, set()
        while True:
            state = self.run(dag_id, run_id)["state"]
            for task, outcome in self.tasks(dag_id, run_id).items():
                if outcome in FINISHED | {"upstream_failed", "skipped"} and task not in said:
                    said.add(task)
                    say(f"{task}: {outcome}")
            if state in FINISHED:
                return state
            if time.monotonic() > deadline:
                raise WarehouseError(f"the run {run_id} of {dag_id} is {state} after {deadline_seconds:.0f} s")
            time.sleep(0.5)
