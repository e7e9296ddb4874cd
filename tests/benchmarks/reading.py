"""What a night and an analyst read: on day 300 beside day 30, beside recomputing 28 days, and beside plain DuckDB."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta

import sqlglot
from google.cloud.bigquery import SchemaField
from pyarrow import parquet

from telemetry_warehouse import reads
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.estimate import Estimate, Estimator, Query
from telemetry_warehouse.local import standins
from telemetry_warehouse.settings import ROOT
from tests.benchmarks.__main__ import Result
from tests.conftest import temporary_home
from tests.dbt.project import Project

CLIENTS = 2000
# A client that comes stays for so many days where 1% of the clients come and go every day.
STAY = 100
FIRST = date(2026, 1, 1)
EARLY, LATE = 30, 300
# A range of days that one query builds.
PORTION = 45
ROUNDS = 3
SCRATCH = "scratch"
OWN_TABLE = "clients_first_seen_v1"


def run() -> Iterator[Result]:
    with temporary_home() as settings:
        standins.up(settings, say=lambda _: None)
        Warehouse(settings).ensure_dataset(SCRATCH)
        yield from growth(Population(Project(settings, "turnover"), arriving=CLIENTS // STAY), "1% new clients a day")
        steady = Population(Project(settings, "steady"), arriving=0)
        yield from growth(steady, "always the same clients")
        yield from beside_recomputing(steady)
        yield from beside_duckdb(steady)


class Population:
    """So many clients on every day, of whom about half come; `arriving` of them are new, and as many have left."""

    def __init__(self, project: Project, arriving: int):
        self.project, self.arriving = project, arriving
        self.warehouse: Warehouse = project.warehouse
        self.reached = -1

    def day(self, number: int) -> date:
        return FIRST + timedelta(days=number)

    def days_until(self, number: int) -> None:
        """Gives clients_daily and the stable table of main pings all days up to this one."""
        first, self.reached = self.reached + 1, number
        daily, main = self.project.table("clients_daily_v1"), self.project.table("main")
        born = f"DIV(k, {self.arriving}) - {STAY}" if self.arriving else "0"
        stays = STAY if self.arriving else 10**6
        clients = CLIENTS + self.arriving * (number + 1)
        said = {"submission_date": "day", "app_name": "'Firefox'", "client_id": "client", "sample_id": "MOD(k, 100)"}
        said |= {"reports_uris": "TRUE", "profile_age_in_days": "n - born", "pings_aggregated_by_this_row": "1"}
        columns = [f"{said.get(c.name) or value(c)} AS {c.name}" for c in daily.columns]
        self.warehouse.query(f"""
            INSERT INTO {daily.id} ({", ".join(daily.column_names)})
            SELECT {", ".join(columns)}
            FROM (
              SELECT *, DATE_ADD(DATE '{FIRST}', INTERVAL n DAY) AS day, {born} AS born,
                CONCAT(SUBSTR(digest, 1, 8), '-0000-4000-8000-', SUBSTR(digest, 9, 12)) AS client
              FROM (
                SELECT k, TO_HEX(MD5(CAST(k AS STRING))) AS digest FROM UNNEST(GENERATE_ARRAY(0, {clients - 1})) AS k
              )
              CROSS JOIN UNNEST(GENERATE_ARRAY({first}, {number})) AS n
            )
            WHERE n >= born AND n < born + {stays} AND MOD(k * 7919 + n * 104729 + k * n * 31, 97) < 10 + MOD(k, 80)
        """)
        self.warehouse.query(f"""
            INSERT INTO {main.id}
              (document_id, submission_timestamp, client_id, sample_id, normalized_app_name, normalized_channel)
            SELECT
              CONCAT(client_id, submission_date), TIMESTAMP(submission_date), client_id, sample_id, app_name, channel
            FROM {daily.id} WHERE submission_date BETWEEN '{self.day(first)}' AND '{self.day(number)}'
        """)

    def build(self, model: str, first: int, last: int) -> None:
        for start in range(first, last + 1, PORTION):
            self.project.build(model, self.day(start), self.day(min(start + PORTION - 1, last)))

    def night(self, number: int) -> dict[str, Estimate]:
        """What each model reads in the night of a day, with all that was before it there and nothing after."""
        first = self.reached + 1
        self.days_until(number)
        for model in ("clients_last_seen_v1", OWN_TABLE):
            self.build(model, first, number - 1)
        names = list(self.project.tables)
        queries = [Query(self.project.sql(name, self.day(number), self.day(number))) for name in names]
        found = dict(zip(names, Estimator(self.warehouse).estimates(queries), strict=True))
        for model in ("clients_last_seen_v1", OWN_TABLE):
            self.build(model, number, number)
        return found


def value(field: SchemaField) -> str:
    """SQL for some value of a type, from the client's number k and the day's n."""
    some = {
        "STRING": "CONCAT('value', MOD(k, 9))",
        "INTEGER": "MOD(k + n, 12)",
        "FLOAT": "MOD(k + n, 12) / 8",
        "BOOLEAN": "MOD(k, 3) = 0",
        "DATE": f"DATE_ADD(DATE '{FIRST}', INTERVAL born DAY)",
    }
    one = some.get(field.field_type)
    if field.fields:
        one = "STRUCT(" + ", ".join(f"{value(inner)} AS {inner.name}" for inner in field.fields) + ")"
    return f"[{one}]" if field.mode == "REPEATED" else one


def growth(population: Population, name: str) -> Iterator[Result]:
    early, late = population.night(EARLY), population.night(LATE)
    whole = [model for model, estimate in early.items() if any(OWN_TABLE in table for table in estimate.tables)]
    groups = {
        "the models that read days alone": [model for model in early if model not in whole],
        f"the models that read {OWN_TABLE}, which has no days": whole,
    }
    for group, models in groups.items():
        before, after = (sum(night[model].bytes for model in models) for night in (early, late))
        rows_before, rows_after = (sum(night[model].rows for model in models) for night in (early, late))
        each = ", ".join(f"{m} {ratio(late[m].bytes, early[m].bytes):.2f}" for m in models)
        aim = "aim 0.9 to 1.1" if models is not whole else "grows with the clients ever seen"
        yield Result(
            f"estimated bytes of night {LATE}, {name}: {group}",
            f"{after:,} bytes, {rows_after:,} rows",
            f"{before:,} bytes, {rows_before:,} rows in night {EARLY}",
            ratio(after, before),
            f"{aim}; each: {each}",
        )


def ratio(one: float, other: float) -> float:
    return one / other if other else float(one == other)


def beside_recomputing(population: Population) -> Iterator[Result]:
    """The night's patterns, and a MAU, beside what they cost without patterns."""
    project, day = population.project, population.day(LATE)
    daily, seen, users = (project.table(n).id for n in ("clients_daily_v1", "clients_last_seen_v1", "active_users_v1"))
    project.build("active_users_v1", day)
    month = f"FROM {daily} WHERE submission_date BETWEEN '{day - timedelta(days=27)}' AND '{day}'"
    distinct = f"SELECT COUNT(DISTINCT client_id) AS mau {month}"
    compared = {
        "the night's clients_last_seen beside recomputing 28 days from clients_daily": (
            project.sql("clients_last_seen_v1", day, day),
            recomputed(project, day, month),
            6,
        ),
        "MAU by clients_last_seen beside COUNT(DISTINCT) of 28 days": (
            f"SELECT COUNT(*) AS mau FROM {seen} WHERE submission_date = '{day}'",
            distinct,
            50,
        ),
        "MAU by active_users beside COUNT(DISTINCT) of 28 days": (
            f"SELECT SUM(mau) AS mau FROM {users} WHERE submission_date = '{day}'",
            distinct,
            50,
        ),
    }
    for name, (ours, theirs, aim) in compared.items():
        ours_read, theirs_read = Estimator(population.warehouse).estimates([Query(ours), Query(theirs)])
        ours_took, theirs_took = (seconds(population.warehouse, sql) for sql in (ours, theirs))
        yield Result(
            f"estimated bytes of {name}",
            f"{ours_read.bytes:,} bytes, {ours_took:.2f} s",
            f"{theirs_read.bytes:,} bytes, {theirs_took:.2f} s",
            ours_read.bytes / theirs_read.bytes,
            f"{theirs_read.bytes / ours_read.bytes:.1f} times fewer bytes (aim {aim})",
        )
    counting = {sql for name, pair in compared.items() if name.startswith("MAU") for sql in pair[:2]}
    maus = [population.warehouse.rows(sql)[0]["mau"] for sql in counting]
    assert len(set(maus)) == 1, f"the ways to count a MAU differ: {maus}"


def recomputed(project: Project, day: date, month: str) -> str:
    """28 days anew from what the model reads of clients_daily: the latest of each attribute, bits of all else."""
    warehouse, daily, seen = project.warehouse, project.table("clients_daily_v1"), project.table("clients_last_seen_v1")
    model = sqlglot.parse_one(project.sql("clients_last_seen_v1", day, day), dialect="bigquery")
    [paths] = [
        paths
        for table, paths in reads.read(model, warehouse.settings.project_id, warehouse.client.get_table).items()
        if daily.name in table
    ]
    named = {path[0] for path in paths if path} - {"submission_date", "app_name", "client_id"}
    read = [column for column in daily.columns if column.name in named]
    bit = f"1 << DATE_DIFF(DATE '{day}', submission_date, DAY)"
    columns, maps = [], []
    for column in read:
        if column.mode == "REPEATED":
            maps.append(column.name)
        elif column.name in seen.column_names:
            columns.append(f"ANY_VALUE({column.name} HAVING MAX submission_date) AS {column.name}")
        else:
            positive = column.name if column.field_type == "BOOLEAN" else f"{column.name} > 0"
            columns.append(f"BIT_OR(IF({positive}, {bit}, 0)) AS {column.name}")
    selects = [f"SELECT app_name, client_id, {', '.join(columns)} {month} GROUP BY app_name, client_id"]
    for name in maps:
        unnested = month.replace(" WHERE", f" CROSS JOIN UNNEST({name}) AS e WHERE")
        keyed = f"SELECT app_name, client_id, e.key AS key, e.value AS value, BIT_OR({bit}) AS bits {unnested}"
        selects.append(
            "SELECT app_name, client_id, ARRAY_AGG(STRUCT(key AS key, value AS value, bits AS bits)"
            f" ORDER BY key, value) AS {name} FROM ({keyed} GROUP BY app_name, client_id, key, value)"
            " GROUP BY app_name, client_id"
        )
    joined = " LEFT JOIN ".join(
        f"({select}) AS s{n}" + (" USING (app_name, client_id)" if n else "") for n, select in enumerate(selects)
    )
    return f"SELECT * FROM {joined}"


def seconds(warehouse: Warehouse, sql: str) -> float:
    """The shortest time of a query whose rows stay in the warehouse, as those of a model do."""
    taken = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        warehouse.query(f"CREATE OR REPLACE TABLE {SCRATCH}.result AS {sql}")
        taken.append(time.monotonic() - began)
    return min(taken)


def beside_duckdb(population: Population) -> Iterator[Result]:
    """The same SQL on the same rows in DuckDB alone, as a library: what of the time is the emulator's."""
    project, warehouse, day = population.project, population.warehouse, population.day(LATE)
    month = f"submission_date BETWEEN '{day - timedelta(days=27)}' AND '{day}'"
    tables = {name: project.table(name) for name in ("clients_daily_v1", "clients_last_seen_v1")}
    queries = {name: project.sql(name, day, day) for name in ("clients_last_seen_v1", "active_users_v1")}
    counted = f"SELECT COUNT(DISTINCT client_id) AS mau FROM {tables['clients_daily_v1'].id} WHERE {month}"
    queries["MAU of 28 days"] = counted
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, table in tables.items():
            files[table.id] = f"{folder}/{name}.parquet"
            parquet.write_table(warehouse.arrow(f"SELECT * FROM {table.id} WHERE {month}"), files[table.id])
        project_id = warehouse.settings.project_id
        asked = json.dumps({"project": project_id, "tables": files, "queries": queries, "rounds": ROUNDS})
        plain = subprocess.run(
            [ROOT / ".venv" / "emulator" / "bin" / "python", "-P", "-c", PLAIN_DUCKDB],
            input=asked,
            capture_output=True,
            text=True,
            check=True,
        )
    statement = min(seconds(warehouse, "SELECT 1 AS one") for _ in range(ROUNDS))
    for name, alone in json.loads(plain.stdout).items():
        emulated = seconds(warehouse, queries[name])
        yield Result(
            f"one statement on the emulator beside plain DuckDB: {name}",
            f"{emulated:.2f} s",
            f"{alone:.2f} s",
            emulated / alone,
            f"of which {statement:.2f} s are the emulator's for any one-row table; our share is one statement",
        )


PLAIN_DUCKDB = """
import json, sys, time
import duckdb, sqlglot

asked = json.load(sys.stdin)
connection = duckdb.connect()
# dbt's SQL names the project.
connection.execute(f"ATTACH ':memory:' AS {asked['project']}; USE {asked['project']}")
for table, file in asked["tables"].items():
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
    connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{file}')")
taken = {}
for name, sql in asked["queries"].items():
    [translated] = sqlglot.transpile(sql, read="bigquery", write="duckdb")
    rounds = []
    for _ in range(asked["rounds"]):
        began = time.monotonic()
        connection.execute(f"CREATE OR REPLACE TABLE result AS {translated}")
        rounds.append(time.monotonic() - began)
    taken[name] = min(rounds)
print(json.dumps(taken))
"""
