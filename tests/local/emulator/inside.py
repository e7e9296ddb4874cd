"""The emulator inside a test's process, without its server: for what a client cannot set, such as the time.

The folder of the emulator's modules is in PYTHONPATH.
"""

import runpy
import uuid
from pathlib import Path

import forgetting

runpy.run_path(str(Path(forgetting.__file__).with_name("__main__.py")))["change"]()

from local_bigquery.api import jobs  # noqa: E402
from local_bigquery.engine import database  # noqa: E402
from local_bigquery.jobs import runner  # noqa: E402
from local_bigquery.models import Job, JobConfiguration  # noqa: E402
from local_bigquery.settings import settings  # noqa: E402

PROJECT = "local"


def begin(folder: str) -> Path:
    """Opens the database in this folder."""
    settings.data_dir, settings.default_project_id = Path(folder), PROJECT
    database.connection()
    return settings.data_dir


def run(sql: str | None = None, **configuration) -> Job:
    """The job of a query, or of another configuration, once it has ended."""
    job_id = str(uuid.uuid4())
    configuration = configuration or {"query": {"query": sql}}
    runner.submit(PROJECT, job_id, JobConfiguration.model_validate(configuration))
    job = runner.wait(PROJECT, job_id, 60_000)
    assert job.status.state == "DONE", (sql, job.status)
    return job


def page(job: Job, start: int = 0, most: int | None = None) -> list[str]:
    """Rows of a query as JSON, as they are sent to a client."""
    return jobs.results(job, most, start, True)[1]


def rows(sql: str) -> list[str]:
    return page(run(sql))
