"""What tests of several rooms need: days, checksums and the rows of a warehouse."""

import subprocess
import sys
from datetime import date, timedelta

from telemetry_warehouse import lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.settings import Settings
from tests.conftest import environment_of


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def command(settings: Settings, *arguments: object) -> subprocess.CompletedProcess:
    """`./warehouse ARGUMENTS` in a process of its own, whatever becomes of it."""
    process = begin(settings, *arguments)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def begin(settings: Settings, *arguments: object, **environment: object) -> subprocess.Popen:
    """`./warehouse ARGUMENTS` in a process that goes on by itself."""
    line = [sys.executable, "-m", "telemetry_warehouse.cli", *map(str, arguments)]
    variables = environment_of(settings) | {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def succeed(settings: Settings, *arguments: object) -> subprocess.CompletedProcess:
    """`./warehouse ARGUMENTS`, which must not fail."""
    done = command(settings, *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def checksum(warehouse: Warehouse, table: str, condition: str = "TRUE") -> tuple[int, str]:
    """(rows, digest) of a table's rows whatever their order."""
    [found] = warehouse.rows(
        "SELECT COUNT(*) AS n, TO_HEX(MD5(IFNULL(STRING_AGG(digest, '' ORDER BY digest), ''))) AS digest"
        f" FROM (SELECT TO_HEX(MD5(TO_JSON_STRING(t))) AS digest FROM {table} AS t WHERE {condition})"
    )
    return found["n"], found["digest"]


def checksums(warehouse: Warehouse, first: date, last: date) -> dict[str, tuple[int, str]]:
    """The checksum of every table that the night builds, over the days first..last (all rows where it has no days)."""
    found = {}
    for step in lineage.load(warehouse.settings).steps:
        table = stages.definition(warehouse, step)
        condition = f"{table.day} BETWEEN '{first}' AND '{last}'" if table.partition_field else "TRUE"
        found[table.id] = checksum(warehouse, table.id, condition)
    return found
