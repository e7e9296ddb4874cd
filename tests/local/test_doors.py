"""What strangers on the machine, and web pages, can do with a running home: nothing that is not meant for programs."""

import getpass
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg2
import pytest
from google.api_core.exceptions import GoogleAPICallError

from telemetry_warehouse import dbt, sample
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import NotRunning, WarehouseError
from telemetry_warehouse.landing import land
from telemetry_warehouse.local import airflow, postgres, standins
from telemetry_warehouse.local import home as homes
from telemetry_warehouse.settings import Settings
from tests.conftest import temporary_home

QUERIES = "/bigquery/v2/projects/local/queries"


@pytest.fixture
def secret(tmp_path) -> Path:
    file = tmp_path / "secret.csv"
    file.write_text("a\nhidden\n")
    return file


@pytest.fixture(scope="module")
def warehouse(warehouse_home) -> Warehouse:
    warehouse = Warehouse(warehouse_home)
    warehouse.ensure_dataset("doors")
    return warehouse


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{home}/../{name}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM `{file}`",
        "SELECT * FROM read_text('http://127.0.0.1:1/x')",
        "EXPORT DATA OPTIONS (uri = 'file://{folder}/out-*.csv', format = 'CSV') AS SELECT 1 AS a",
        "EXPORT DATA OPTIONS (uri = 'gs://../../../..{folder}/out-*.csv', format = 'CSV') AS SELECT 1 AS a",
        "EXPORT DATA OPTIONS (uri = '{folder}/new/out-*.avro', format = 'AVRO') AS SELECT 1 AS a",
        "LOAD DATA INTO doors.loaded FROM FILES (format = 'CSV', uris = ['file://{file}'])",
        "CREATE EXTERNAL TABLE doors.outside OPTIONS (format = 'CSV', uris = ['file://{file}'])",
        "ATTACH '{folder}/x.duckdb'",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ],
)
def test_sql_opens_no_file_that_is_not_the_servers(warehouse, secret, sql):
    about = {"file": secret, "folder": secret.parent, "name": secret.name, "home": warehouse.settings.home / "bigquery"}
    with pytest.raises(GoogleAPICallError) as raised:
        for row in warehouse.query(sql.format(**about)):
            assert "hidden" not in str(row)
        for row in warehouse.query("SELECT * FROM doors.outside"):
            assert "hidden" not in str(row)
    assert "hidden" not in str(raised.value)
    assert [path.name for path in secret.parent.iterdir()] == [secret.name]


def test_a_load_job_opens_no_file_that_is_not_the_servers(warehouse, secret):
    with pytest.raises(GoogleAPICallError):
        warehouse.client.load_table_from_uri(f"file://{secret}", "doors.from_uri").result()
    assert not warehouse.exists("doors.from_uri")


def ask(url: str, body: dict | None = None, **headers: str) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Host": "evil.example"},
        {"Host": "evil.example:9050"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:9050"},
        {"Host": ""},
    ],
)
def test_requests_of_pages_and_to_other_hosts_are_refused(warehouse, headers):
    url = warehouse.settings._endpoints["bigquery"] + QUERIES
    status, text = ask(url, {"query": "SELECT 1", "useLegacySql": False}, Content_Type="application/json", **headers)
    assert status == 403 and json.loads(text)["error"]["errors"][0]["reason"] == "accessDenied"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:9050", "localhost:1"])
def test_ordinary_clients_need_no_token(warehouse, host):
    url = warehouse.settings._endpoints["bigquery"] + QUERIES
    body = {"query": "SELECT 1 AS one", "useLegacySql": False}
    assert ask(url, body, Content_Type="application/json", Host=host)[0] == 200


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
def test_the_server_describes_itself_to_nobody(warehouse, page):
    assert ask(warehouse.settings._endpoints["bigquery"] + page)[0] == 404


PAGE = """<!doctype html><title>page</title><body><script>
async function attempt(url, options) {
  try { const answer = await fetch(url, options); return answer.type + answer.status } catch (error) { return 'failed' }
}
(async () => {
  const body = JSON.stringify({query: "CREATE TABLE doors.by_a_page AS SELECT 1 AS n", useLegacySql: false});
  const said = [];
  for (const url of URLS) {
    said.push(await attempt(url, {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body}));
    said.push(await attempt(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body}));
    said.push(await attempt(url));
  }
  document.body.textContent = 'said ' + said.join(' ');
})();
</script>"""


@contextmanager
def served(page: str):
    """A page at an origin of its own; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown(), thread.join(), server.server_close()


@pytest.fixture(scope="session")
def browse(tmp_path_factory):
    """Opens an address in a real browser, in which every name is this machine; gives the page as it is in the end."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no browser on PATH; `apt-get install chromium` brings one")
    profile = tmp_path_factory.mktemp("browser")

    def open_page(address: str) -> str:
        line = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        line += ["--host-resolver-rules=MAP * 127.0.0.1", "--virtual-time-budget=20000", "--dump-dom", address]
        return subprocess.run(line, capture_output=True, text=True, timeout=120, check=True).stdout

    return open_page


def test_a_page_of_another_origin_changes_and_reads_nothing(warehouse, browse):
    endpoints = warehouse.settings._endpoints
    bigquery, pubsub = endpoints["bigquery"], f"http://{endpoints['pubsub']}"
    topic = f"/v1/projects/local/topics/{warehouse.settings.topic}:publish"
    urls = [bigquery + QUERIES, bigquery + "/bigquery/v2/projects/local/datasets", pubsub + topic]
    jobs = {job.job_id for job in warehouse.client.list_jobs()}
    with served(PAGE.replace("URLS", json.dumps(urls))) as port:
        page = browse(f"http://a-page.example:{port}/")
    assert "said " in page and "basic200" not in page and "cors200" not in page.replace("no-cors", ""), page
    assert not warehouse.exists("doors.by_a_page")
    assert {job.job_id for job in warehouse.client.list_jobs()} == jobs
    assert land(warehouse, until_empty=True).received == 0


def test_a_page_under_a_name_that_points_to_this_machine_reads_nothing(warehouse, browse):
    port = warehouse.settings._endpoints["bigquery"].rpartition(":")[2]
    page = browse(f"http://rebound.example:{port}/bigquery/v2/projects/local/datasets")
    assert "accessDenied" in page and "datasetReference" not in page


def test_a_home_is_its_owners_alone_and_folders_above_it_stay_as_they_are(tmp_path):
    above = tmp_path / "above"
    above.mkdir(mode=0o711)
    modes = {folder: folder.stat().st_mode for folder in [above, *above.parents]}
    with temporary_home() as settings:
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    homes.make_home(above / "home")
    assert stat.S_IMODE((above / "home").stat().st_mode) == 0o700
    (above / "home" / "ports.json").write_text("{}")
    (above / "home").chmod(0o755)
    homes.make_home(above / "home")
    assert stat.S_IMODE((above / "home").stat().st_mode) == 0o700
    assert {folder: folder.stat().st_mode for folder in modes} == modes


def test_the_homes_servers_leave_its_mode_and_those_above_it(warehouse_home):
    assert stat.S_IMODE(warehouse_home.home.stat().st_mode) == 0o700
    for above in warehouse_home.home.parents:
        assert stat.S_IMODE(above.stat().st_mode) in (0o700, 0o711, 0o755, 0o1777, 0o750), above


@pytest.mark.parametrize("name", ["sample.json", "dbt/profiles.yml", ".lock", "ports.json"])
def test_a_home_is_known_by_what_commands_write_into_it(tmp_path, name):
    (tmp_path / "home" / name).parent.mkdir(parents=True)
    (tmp_path / "home" / name).touch()
    homes.make_home(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["letter.txt", "logs", "reports", "dbt", "sample"])
def test_a_folder_that_holds_something_else_is_no_home_and_stays_as_it_is(tmp_path, name):
    """Whatever the command is: one that leaves its lock there would make it a home for the next."""
    folder = tmp_path / "somebody's"
    (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    settings = Settings.load({"WAREHOUSE_HOME": str(folder)})
    for command in (standins.up, standins.down, airflow.start):
        with pytest.raises(WarehouseError, match="holds something else"):
            command(settings, lambda line: None)
    assert [path.name for path in folder.iterdir()] == [name]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_file_is_no_home(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(WarehouseError, match="no folder"):
        homes.make_home(tmp_path / "letter.txt")


def test_nothing_is_written_into_a_home_before_its_first_start(tmp_path, monkeypatch):
    settings = Settings.load({"WAREHOUSE_HOME": str(tmp_path / "home")})
    with pytest.raises(NotRunning):
        dbt.prepare(settings)
    assert not settings.home.exists()
    seen = []
    monkeypatch.setattr(standins, "up", lambda settings, say: seen.append(settings.home.exists()) or exit())
    with pytest.raises(SystemExit):
        sample.run(settings, lambda line: None, date(2026, 11, 30))
    assert seen == [False]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
def test_a_home_below_a_closed_folder_works_and_the_folder_stays_closed(tmp_path, monkeypatch):
    place = Path(tempfile.mkdtemp(prefix="warehouse-postgres-"))
    place.chmod(0o711)
    monkeypatch.setattr(postgres, "_PLACE_OF_ROOT", place)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    homes.make_home(home)
    try:
        for _ in range(2):
            psycopg2.connect(postgres.start(home).url("warehouse")).close()
            assert postgres.find(home) and postgres.stop(home) and not postgres.find(home)
        assert (home / "postgres").is_symlink()
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in (closed, home)] == [0o700, 0o700]
    finally:
        postgres.stop(home)
        shutil.rmtree(place)


def test_a_user_who_may_not_enter_a_folder_is_known(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert homes.is_open_to(closed / "x", getpass.getuser())
    assert not homes.is_open_to(closed / "x", "nobody")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user")
def test_another_user_is_not_let_into_postgresql(warehouse_home):
    """Not even where the socket lies in a folder that everybody may enter."""
    url = warehouse_home.postgres_url
    psycopg2.connect(url).close()
    code = f"import os, psycopg2; os.setuid(65534); psycopg2.connect({url!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0 and "OperationalError" in done.stderr
