"""`./warehouse query` reads, and whatever else is typed is refused and changes nothing."""

import logging

import pytest
from google.api_core.exceptions import GoogleAPIError

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.read_only import refuse_unless_reading
from telemetry_warehouse.settings import ROOT

READS = [
    "SELECT n FROM read_only.t",
    "WITH a AS (SELECT n FROM read_only.t) SELECT * FROM a -- DROP TABLE read_only.t",
    "(SELECT 1 AS n) UNION ALL SELECT n FROM read_only.t",
    "SELECT 'DELETE FROM read_only.t; --' AS text, \"\"\"; DROP TABLE read_only.t;\"\"\" AS other;",
    "SELECT 1 AS `delete` /* ; DELETE FROM read_only.t WHERE TRUE; */",
    "SELECT 1 AS n # ; DELETE FROM read_only.t WHERE TRUE",
    "CREATE TEMP FUNCTION twice(x INT64) AS (2 * x); SELECT twice(n) AS n FROM read_only.t",
    "CREATE TEMPORARY FUNCTION f() RETURNS STRING LANGUAGE js AS 'return \"; DELETE\"'; SELECT f() AS n",
    "DECLARE least INT64 DEFAULT 0; SET least = (SELECT MIN(n) FROM read_only.t); SELECT least AS n",
    "CREATE TEMP TABLE few AS SELECT n FROM read_only.t; SELECT * FROM few",
]
WRITES = {
    "DELETE": "DELETE FROM read_only.t WHERE TRUE",
    "UPDATE": "/* SELECT */ UPDATE read_only.t SET n = 2 WHERE TRUE",
    "INSERT": "INSERT INTO read_only.t (n) SELECT 2 AS n",
    "MERGE": "MERGE read_only.t USING (SELECT 2 AS n) AS s ON FALSE WHEN NOT MATCHED THEN INSERT ROW",
    "TRUNCATE": "TRUNCATE TABLE read_only.t",
    "DROP TABLE": "-- SELECT 1\nDROP TABLE read_only.t",
    "DROP SCHEMA": "DROP SCHEMA read_only CASCADE",
    "ALTER TABLE": "ALTER TABLE read_only.t ADD COLUMN more INT64",
    "CREATE TABLE": "CREATE TABLE read_only.other AS SELECT 1 AS temp",
    "CREATE OR": "CREATE OR REPLACE TABLE read_only.t AS SELECT 2 AS n",
    "CREATE TEMP": "CREATE TEMP TABLE read_only.t2 AS SELECT 2 AS n; SELECT 1",
    "CREATE VIEW": "CREATE VIEW read_only.v AS SELECT 1 AS n",
    "CREATE FUNCTION": "CREATE FUNCTION read_only.f() AS (1)",
    "CREATE SCHEMA": "CREATE SCHEMA read_only_too",
    "EXPORT DATA": "EXPORT DATA OPTIONS (uri = 'gs://x/*', format = 'CSV') AS SELECT n FROM read_only.t",
    "LOAD DATA": "LOAD DATA INTO read_only.t FROM FILES (format = 'CSV', uris = ['gs://x'])",
    "CALL": "CALL read_only.p()",
    "EXECUTE IMMEDIATE": "EXECUTE IMMEDIATE 'DELETE FROM read_only.t WHERE TRUE'",
    "GRANT": "GRANT `roles/bigquery.dataViewer` ON TABLE read_only.t TO 'user:a@example.com'",
    "BEGIN": "BEGIN SELECT 1; DELETE FROM read_only.t WHERE TRUE; END",
    "IF": "IF TRUE THEN DELETE FROM read_only.t WHERE TRUE; END IF",
    "LOOP": "LOOP DELETE FROM read_only.t WHERE TRUE; BREAK; END LOOP",
}


@pytest.fixture(scope="module")
def warehouse(warehouse_home) -> Warehouse:
    warehouse = Warehouse(warehouse_home)
    warehouse.ensure_dataset("read_only")
    warehouse.query("CREATE OR REPLACE TABLE read_only.t AS SELECT 1 AS n")
    return warehouse


@pytest.mark.parametrize("sql", READS)
def test_what_reads_is_let_through_and_runs(warehouse, sql):
    refuse_unless_reading(warehouse, sql)
    assert warehouse.rows(sql)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("before", ["", "SELECT 1 AS n;\n", "DECLARE x INT64;"])
def test_what_writes_is_refused_by_its_name(warehouse, name, before):
    with pytest.raises(Refused, match=f"^{name} is refused; a query reads"):
        refuse_unless_reading(warehouse, before + WRITES[name])


def test_a_transaction_is_refused(warehouse):
    with pytest.raises(Refused, match="^BEGIN is refused"):
        refuse_unless_reading(warehouse, "BEGIN TRANSACTION; SELECT 1; COMMIT TRANSACTION")


@pytest.mark.parametrize(
    "sql", ["SELEKT 1", "", ";", "SELECT 1; RAISE USING MESSAGE = 'x'", "FROM read_only.t |> INSERT INTO read_only.t"]
)
def test_what_cannot_be_read_is_not_run(warehouse, sql):
    with pytest.raises((Refused, GoogleAPIError)):
        refuse_unless_reading(warehouse, sql)


def test_what_bigquery_takes_for_something_else_is_refused_whatever_we_read(warehouse, monkeypatch):
    monkeypatch.setattr(Warehouse, "statement_type", lambda *_: "MERGE")
    with pytest.raises(Refused, match="BigQuery takes this for MERGE"):
        refuse_unless_reading(warehouse, "SELECT 1 AS n")


def test_the_cookbook_reads():
    files = sorted((ROOT / "sql" / "cookbook").glob("*.sql"))
    assert files

    class Said:
        def statement_type(self, sql: str) -> str:
            return "SELECT"

    for file in files:
        refuse_unless_reading(Said(), file.read_text())


@pytest.fixture(autouse=True)
def same_log_level():
    level = logging.getLogger("sqlglot").level
    yield
    logging.getLogger("sqlglot").setLevel(level)
