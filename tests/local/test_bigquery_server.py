"""The corrections of the emulator, each with a test that fails without it; that of the sixth is in test_tables.
What is for speed alone is held to the same rows."""

import re
import subprocess
from pathlib import Path

import pytest
from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery

from telemetry_warehouse.local import standins
from telemetry_warehouse.local.bigquery_server import __main__ as bigquery_server
from telemetry_warehouse.local.servers import EMULATOR
from tests.conftest import temporary_home


@pytest.fixture(scope="module")
def client(warehouse_home):
    client = warehouse_home.bigquery_client()
    client.query_and_wait("CREATE SCHEMA IF NOT EXISTS corrections")
    client.query_and_wait(
        "CREATE TABLE corrections.days (d DATE, n INT64) PARTITION BY d OPTIONS (require_partition_filter = TRUE)"
    )
    return client


def test_a_create_table_as_job_has_its_table_as_destination(client):
    job = client.query("CREATE TABLE corrections.made AS SELECT 1 AS n")
    job.result()
    assert job.destination == bigquery.TableReference.from_string("local.corrections.made")


def test_a_merge_may_write_a_table_that_requires_a_partition_filter(client):
    client.query_and_wait("INSERT INTO corrections.days VALUES (DATE '2013-01-01', 1), (DATE '2013-01-02', 1)")
    client.query_and_wait(
        "MERGE corrections.days AS old USING (SELECT DATE '2013-01-02' AS d, 2 AS n) AS new ON FALSE"
        " WHEN NOT MATCHED BY SOURCE AND old.d = DATE '2013-01-02' THEN DELETE"
        " WHEN NOT MATCHED THEN INSERT (d, n) VALUES (d, n)"
    )
    rows = client.query_and_wait("SELECT d, n FROM corrections.days WHERE d >= DATE '2013-01-01' ORDER BY d")
    assert [(row.d.day, row.n) for row in rows] == [(1, 1), (2, 2)]


def test_a_merge_is_part_of_the_transaction_around_it(client):
    client.query_and_wait("CREATE TABLE corrections.keyed AS SELECT 1 AS k, 1 AS n")
    merge = (
        "MERGE corrections.keyed AS old USING (SELECT 1 AS k, 2 AS n UNION ALL SELECT 3, 3) AS new ON old.k = new.k"
        " WHEN MATCHED THEN UPDATE SET n = new.n WHEN NOT MATCHED THEN INSERT (k, n) VALUES (k, n);"
    )
    with pytest.raises(Exception, match="too late"):
        client.query_and_wait(f"BEGIN TRANSACTION; {merge} SELECT ERROR('too late'); COMMIT TRANSACTION")
    assert [(row.k, row.n) for row in client.query_and_wait("SELECT k, n FROM corrections.keyed")] == [(1, 1)]
    client.query_and_wait(f"BEGIN TRANSACTION; {merge} COMMIT TRANSACTION")
    rows = client.query_and_wait("SELECT k, n FROM corrections.keyed ORDER BY k")
    assert [(row.k, row.n) for row in rows] == [(1, 2), (3, 3)]


def test_a_view_may_name_a_table_that_requires_a_partition_filter(client):
    client.query_and_wait("CREATE VIEW corrections.view AS SELECT d, n FROM corrections.days")
    client.query_and_wait("SELECT n FROM corrections.view WHERE d = DATE '2013-01-01'")


def test_a_string_loaded_into_a_json_column_stays_a_string(client):
    schema = [bigquery.SchemaField("n", "INT64"), bigquery.SchemaField("value", "JSON")]
    config = bigquery.LoadJobConfig(schema=schema, source_format="NEWLINE_DELIMITED_JSON")
    values = ["abc", "12", 12, {"a": ["b"]}]
    rows = [{"n": n, "value": value} for n, value in enumerate(values)]
    client.load_table_from_json(rows, "corrections.loaded", job_config=config).result()
    assert [row.value for row in client.query_and_wait("SELECT value FROM corrections.loaded ORDER BY n")] == values


def test_what_is_said_of_one_table_without_listing_all_is_right(client):
    client.query_and_wait("CREATE TABLE corrections.its (n INT64 NOT NULL, r STRUCT<n INT64>)")
    client.query_and_wait("INSERT INTO corrections.its (n) VALUES (1), (2)")
    client.query_and_wait("CREATE VIEW corrections.looks AS SELECT n FROM corrections.its")
    table, view = client.get_table("corrections.its"), client.get_table("corrections.looks")
    assert (table.table_type, table.num_rows, view.table_type) == ("TABLE", 2, "VIEW")
    assert [(field.name, field.mode) for field in table.schema] == [("n", "REQUIRED"), ("r", "NULLABLE")]
    client.delete_table("corrections.its")
    with pytest.raises(NotFound):
        client.get_table("corrections.its")
    job = client.query("SELECT 1 AS n UNION ALL SELECT 2")
    rows = job.result()
    assert client.get_table(job.destination).num_rows == 2 == rows.total_rows


def test_what_was_looked_at_before_is_looked_at_again_after_a_change(client):
    def seen():
        table = client.get_table("corrections.changing")
        return [(field.name, field.mode) for field in table.schema], table.num_rows, table.description

    def columns_of_view():
        return [field.name for field in client.query_and_wait("SELECT * FROM corrections.over_changing").schema]

    client.query_and_wait("CREATE TABLE corrections.changing (n INT64 NOT NULL)")
    client.query_and_wait("CREATE VIEW corrections.over_changing AS SELECT * FROM corrections.changing")
    assert seen() == ([("n", "REQUIRED")], 0, None)
    client.query_and_wait("INSERT INTO corrections.changing VALUES (1), (2)")
    assert seen()[1] == 2
    client.query_and_wait("ALTER TABLE corrections.changing ADD COLUMN c STRING")
    assert seen()[0] == [("n", "REQUIRED"), ("c", "NULLABLE")]
    table = client.get_table("corrections.changing")
    table.description = "of numbers"
    client.update_table(table, ["description"])
    assert seen()[2] == "of numbers"
    client.query_and_wait("BEGIN TRANSACTION; INSERT INTO corrections.changing (n) VALUES (3); COMMIT TRANSACTION")
    assert seen()[1] == 3
    client.query_and_wait("CREATE OR REPLACE TABLE corrections.changing AS SELECT 'a' AS word")
    assert seen()[:2] == ([("word", "NULLABLE")], 1)
    client.query_and_wait(
        "CREATE OR REPLACE VIEW corrections.over_changing AS SELECT word AS w FROM corrections.changing"
    )
    assert columns_of_view() == ["w"]
    client.delete_table("corrections.changing")
    client.query_and_wait("CREATE TABLE corrections.changing (d DATE)")
    assert seen() == ([("d", "NULLABLE")], 0, None)


def test_a_job_is_known_while_it_runs_afterwards_and_when_the_server_has_started_again():
    with temporary_home() as settings:
        standins.up(settings, say=lambda _: None)
        client = settings.bigquery_client()
        client.query_and_wait("CREATE SCHEMA jobs")
        wrote = client.query("CREATE TABLE jobs.made AS SELECT 1 AS n")
        script = client.query("SELECT n FROM jobs.made; DELETE FROM jobs.made WHERE n = 1")
        read = client.query("SELECT 2 AS n")
        with pytest.raises(Exception, match="no_such"):
            client.query_and_wait("SELECT n FROM jobs.no_such")
        for job in (wrote, script, read):
            job.result()
            assert client.get_job(job.job_id).state == "DONE"
        assert [row.n for row in client.get_job(read.job_id).result()] == [2]
        assert {child.statement_type for child in client.list_jobs(parent_job=script.job_id)} == {"DELETE", "SELECT"}
        listed = [job.job_id for job in client.list_jobs(min_creation_time=wrote.created)]
        assert {wrote.job_id, script.job_id, read.job_id} < set(listed) and len(listed) == 4
        assert list(client.list_jobs(state_filter="running")) == list(client.list_jobs(state_filter="pending")) == []
        assert len(list(client.list_jobs(state_filter="done", min_creation_time=wrote.created))) == 4
        with pytest.raises(Conflict):
            client.query("SELECT 3 AS n", job_id=read.job_id, job_retry=None)

        standins.down(settings, say=lambda _: None)
        standins.up(settings, say=lambda _: None)
        client = settings.bigquery_client()
        assert {client.get_job(job.job_id).state for job in (wrote, script, read)} == {"DONE"}
        assert [row.n for row in client.get_job(read.job_id).result()] == [2]
        with pytest.raises(Conflict):
            client.query("SELECT 3 AS n", job_id=wrote.job_id, job_retry=None)
        client.query_and_wait("SELECT 4 AS n")
        assert client.get_job(wrote.job_id).state == "DONE"
        assert {wrote.job_id, script.job_id, read.job_id} < {job.job_id for job in client.list_jobs()}
        with pytest.raises(NotFound):
            client.get_job("no_such")


def test_a_result_of_parameters_has_its_rows_once_and_its_own_names_and_types(client):
    parameters = [bigquery.ScalarQueryParameter("n", "INT64", 7), bigquery.ScalarQueryParameter("none", "STRING", None)]
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    sql = "SELECT @n AS n, @none AS none, [@n] AS a, STRUCT(@n AS x) AS s FROM UNNEST([1, 2]) -- twice"
    rows = client.query_and_wait(sql, job_config=config)
    kinds = [(field.name, field.field_type, field.mode) for field in rows.schema]
    assert kinds == [
        ("n", "INTEGER", "NULLABLE"),
        ("none", "STRING", "NULLABLE"),
        ("a", "INTEGER", "REPEATED"),
        ("s", "RECORD", "NULLABLE"),
    ]
    assert [tuple(row.values()) for row in rows] == [(7, None, [7], {"x": 7})] * 2


def test_a_result_is_written_over_after_and_beside_what_is_there(client):
    def write(sql, disposition, *options):
        client.query_and_wait("CREATE TABLE IF NOT EXISTS corrections.written (n INT64)")
        job = client.query(
            sql,
            job_config=bigquery.QueryJobConfig(
                destination=f"{client.project}.corrections.written",
                write_disposition=disposition,
                schema_update_options=options,
            ),
        )
        job.result()
        return [tuple(row.values()) for row in client.query_and_wait("SELECT * FROM corrections.written ORDER BY 1")]

    assert write("SELECT 1 AS n", "WRITE_TRUNCATE") == [(1,)]
    assert write("SELECT n + 1 AS n FROM corrections.written", "WRITE_APPEND") == [(1,), (2,)]
    with_a_field_more = "SELECT n + 2 AS n, 'c' AS c FROM corrections.written WHERE n = 1"
    added = write(with_a_field_more, "WRITE_APPEND", "ALLOW_FIELD_ADDITION")
    assert added == [(1, None), (2, None), (3, "c")]
    with pytest.raises(Exception, match="Already Exists"):
        write("SELECT 1 FROM corrections.written LIMIT 1", "WRITE_EMPTY")


UNNESTED = {
    "SELECT n, e.x FROM corrections.arrays CROSS JOIN UNNEST(a) AS e WHERE e.x > 0": [(1, 1), (4, 5)],
    "SELECT t.n, e.x FROM corrections.arrays AS t, UNNEST(t.a) AS e WHERE t.n > 1": [(4, None), (4, 5)],
    "SELECT arrays.n, COUNT(*) FROM corrections.arrays, UNNEST(arrays.a) AS e GROUP BY n": [(1, 2), (4, 2)],
    "SELECT n, e.x FROM (SELECT n, a FROM corrections.arrays), UNNEST(a) AS e WHERE e.x < 0": [(1, -1)],
    "SELECT t.n, e.x FROM corrections.arrays AS t, t.a AS e WHERE e.x > 0": [(1, 1), (4, 5)],
    "SELECT n, e.x FROM (SELECT t.n, t.a FROM (SELECT * FROM corrections.arrays) AS t) AS s, s.a AS e WHERE e.x < 0":
        [(1, -1)],
    "SELECT n, y FROM corrections.arrays, UNNEST(a) AS e, UNNEST(e.l) AS y WHERE y > 1 AND e.x > 0": [(1, 2), (4, 7)],
    "SELECT n, y FROM (SELECT n, e.l AS l FROM corrections.arrays, UNNEST(a) AS e WHERE e.x > 0), UNNEST(l) AS y"
    " WHERE y > 1": [(1, 2), (4, 7)],
    "SELECT n, i FROM corrections.arrays, UNNEST(a) AS e WITH OFFSET AS i WHERE e.x < 0": [(1, 1)],
    "SELECT n, e.x FROM corrections.arrays LEFT JOIN UNNEST(a) AS e WHERE n < 3 AND ifnull(e.x, 1) > 0":
        [(1, 1), (2, None)],
    "SELECT n, JSON_VALUE(TO_JSON_STRING(t), '$.c') FROM corrections.arrays AS t, UNNEST(a) AS e WHERE e.x = 5":
        [(4, "9")],
    "SELECT n, (SELECT SUM(e.x) FROM UNNEST(a) AS e WHERE e.x > 0) FROM corrections.arrays WHERE n != 3":
        [(1, 1), (2, None), (4, 5)],
    "SELECT n, (SELECT SUM(y) FROM (SELECT e.l AS l FROM UNNEST(a) AS e), UNNEST(l) AS y WHERE y > 1)"
    " FROM corrections.arrays WHERE n != 3": [(1, 2), (2, None), (4, 15)],
    "SELECT n, ARRAY_LENGTH(ARRAY(SELECT AS STRUCT e.x AS x, c AS c FROM UNNEST(a) AS e)) FROM corrections.arrays":
        [(1, 2), (2, 0), (3, 0), (4, 2)],
    "SELECT n, TO_JSON_STRING(ARRAY(SELECT AS STRUCT e.x AS key, n + e.x AS sum FROM UNNEST(a) AS e))"
    " FROM corrections.arrays WHERE n IN (1, 3)": [(1, '[{"key":1,"sum":2},{"key":-1,"sum":0}]'), (3, "[]")],
    "SELECT n, y FROM corrections.arrays, UNNEST(ARRAY(SELECT e.x * 2 FROM UNNEST(a) AS e)) AS y WHERE y > 0":
        [(1, 2), (4, 10)],
    "SELECT n, ARRAY(SELECT MAX(e.x) FROM UNNEST(a) AS e)[OFFSET(0)] FROM corrections.arrays WHERE n IN (1, 4)":
        [(1, 1), (4, 5)],
    "SELECT n, ARRAY(SELECT DISTINCT SIGN(e.x) FROM UNNEST(a) AS e ORDER BY 1)[OFFSET(0)] FROM corrections.arrays"
    " WHERE n = 1": [(1, -1)],
    # The table, or a column of it, has the element's name.
    "SELECT n, c.x FROM corrections.arrays, UNNEST(a) AS c WHERE c.x > 0": [(1, 1), (4, 5)],
    "SELECT arrays.c, COUNT(*) FROM corrections.arrays, UNNEST(a) AS c GROUP BY arrays.c": [(9, 4)],
    "SELECT COUNT(DISTINCT T.c), MIN(x.x) FROM corrections.arrays AS T, UNNEST(t.a) AS x": [(1, -1)],
    "SELECT c_1, n FROM (SELECT n, n + 1 AS c_1, a FROM corrections.arrays), UNNEST(a) AS c WHERE c.x = 5": [(5, 4)],
    "SELECT n, JSON_VALUE(TO_JSON_STRING(t), '$.e') FROM corrections.arrays AS T, UNNEST(a) AS e WHERE e.x = 5":
        [(4, None)],
    "SELECT n, ARRAY(SELECT t.x FROM UNNEST(t.a) AS t)[OFFSET(0)]"
    " FROM (SELECT n, 7 AS x, a FROM corrections.arrays) AS t WHERE n IN (1, 4)": [(1, 1), (4, 5)],
    "SELECT n, ARRAY(SELECT v.x FROM UNNEST(a) AS v)[OFFSET(0)]"
    " FROM (SELECT n, a, STRUCT(99 AS x) AS v FROM corrections.arrays) WHERE n IN (1, 4)": [(1, 1), (4, 5)],
    "SELECT n, ARRAY(SELECT t.c + c.x FROM UNNEST(t.a) AS c)[OFFSET(0)] FROM corrections.arrays AS t WHERE n IN (1, 4)":
        [(1, 10), (4, 14)],
    "SELECT n, ARRAY(SELECT n FROM UNNEST([STRUCT(1 AS n, 2 AS m), (3, 4)]) AS s)[OFFSET(1)] FROM corrections.arrays"
    " WHERE n = 4": [(4, 3)],
    "SELECT n, k FROM corrections.arrays, UNNEST([STRUCT(1 AS k, 2 AS m), (3, 4)]) AS s WHERE n = 1": [(1, 1), (1, 3)],
    # What comes before the array is no table.
    "SELECT x, y FROM UNNEST([1, 2]) AS x, UNNEST([x * 10]) AS y WHERE y > 0": [(1, 10), (2, 20)],
    "SELECT u.n, e.x FROM (corrections.arrays AS u JOIN (SELECT 1 AS n) AS v USING (n)), UNNEST(u.a) AS e"
    " WHERE e.x > 0": [(1, 1)],
    "SELECT ARRAY(SELECT 1)[OFFSET(0)] AS one, 2 AS two": [(1, 2)],
    # Not to be said of one element after the other.
    "SELECT n, ARRAY(SELECT AS STRUCT ARRAY(SELECT y FROM UNNEST(e.l) AS y ORDER BY y DESC) AS l FROM UNNEST(a) AS e)"
    "[OFFSET(0)].l[OFFSET(0)] FROM corrections.arrays WHERE n IN (1, 4)": [(1, 2), (4, 7)],
    "SELECT n, ARRAY_LENGTH(ARRAY(SELECT AS STRUCT APPROX_QUANTILES(e.x, 2) AS q FROM UNNEST(a) AS e))"
    " FROM corrections.arrays WHERE n = 1": [(1, 1)],
}  # fmt: skip


@pytest.mark.parametrize("sql", UNNESTED)
def test_an_array_that_is_taken_apart_has_the_rows_it_has_in_bigquery(client, sql):
    client.query_and_wait(
        "CREATE TABLE IF NOT EXISTS corrections.arrays AS"
        " SELECT 1 AS n, 9 AS c, [STRUCT(1 AS x, [1, 2] AS l), (-1, [])] AS a"
        " UNION ALL SELECT 2, 9, [] UNION ALL SELECT 3, 9, NULL UNION ALL SELECT 4, 9, [(5, [7]), (NULL, [8])]"
    )
    rows = [tuple(row.values()) for row in client.query_and_wait(sql)]
    assert sorted(rows, key=lambda row: (row[0], row[1] is not None, row[1])) == UNNESTED[sql]


def test_any_other_query_without_the_filter_is_still_refused(client):
    for sql in ("SELECT n FROM corrections.days", "CREATE TABLE corrections.copy AS SELECT n FROM corrections.days"):
        with pytest.raises(Exception, match="without a filter"):
            client.query_and_wait(sql)


def test_another_version_of_the_emulator_is_refused_by_name(tmp_path):
    script = tmp_path / "server.py"
    checked = bigquery_server.CHECKED_VERSION
    source = Path(bigquery_server.__file__).read_text()
    script.write_text(source.replace(f'CHECKED_VERSION = "{checked}"', 'CHECKED_VERSION = "0.0.1"'))
    ran = subprocess.run([EMULATOR / "bin" / "python", script], capture_output=True, text=True)
    assert ran.returncode == 1 and len(ran.stderr.splitlines()) == 1
    assert f"local-bigquery is {checked}" in ran.stderr and "0.0.1" in ran.stderr


WRONG = """SELECT app_name, COUNT(DISTINCT client_id) AS clients,

  SUM(IF(n > 1, n, 0)) / (SELECT COUNT(*)
    FROM places.t
  ) AS share
FROM places.t
WHERE app_name IN ('a', 'b'

) AND n BETWEEN 1 AND 2
GROUP BY app_name
"""


@pytest.mark.parametrize("before", ["", "\n-- é\n  ", "SELECT 1;\n/* two\nlines */  "])
def test_the_place_that_an_error_names_is_one_of_the_sql_as_it_was_sent(client, before):
    said = 0
    broken = [WRONG[: word.start()] + WRONG[word.end() :] for word in re.finditer(r"[(),]|\b(AS|IN|AND|FROM)\b", WRONG)]
    for sql in (before + text for text in (*broken, "SELECT n\nFROM places.t\nWHERE n = = 1")):
        with pytest.raises(GoogleAPICallError) as refused:
            client.query_and_wait(sql, job_retry=None, retry=None)
        if place := re.search(r"\[(-?\d+):(-?\d+)\]", refused.value.message):
            said += 1
            lines, line, column = sql.split("\n"), int(place[1]), int(place[2])
            assert before.count("\n") < line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1, sql
    assert said > 10
    # The last one: an operator where a value should be.
    assert (line, column) == (before.count("\n") + 3, 11)
