"""The page of changes in Airflow's real API server: who sees what, and what a review leaves behind."""

import html
import urllib.error
import urllib.parse
import urllib.request
from datetime import date, timedelta

import jwt
import pytest

from telemetry_warehouse import alerts, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.local import airflow
from telemetry_warehouse.local.airflow_api import AirflowApi
from telemetry_warehouse.pictures import picture
from tests.changes.alerts import DETECTED, counted, load, rows_of

FIRST = date(2001, 3, 1)
NIGHT = FIRST + timedelta(days=DETECTED)
RANGE = {"since": NIGHT, "until": NIGHT + timedelta(days=9)}


class _Answer:
    def __init__(self, response):
        self.status, self.headers, self.content = response.status, response.headers, response.read()

    @property
    def text(self) -> str:
        return html.unescape(self.content.decode())


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    """Asks Airflow with the cookie of a session, or none; does not follow redirects."""

    def __init__(self, url: str, token: str | None):
        self.url, self._headers = url, {"Cookie": f"_token={token}"} if token else {}

    def get(self, path: str, **query) -> _Answer:
        return self._ask(f"{path}?{urllib.parse.urlencode(query)}", None, {})

    def post(self, path: str, form: dict, **headers) -> _Answer:
        """As a page of this server sends it, unless the headers say otherwise."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()} or {"Origin": self.url}
        return self._ask(path, urllib.parse.urlencode(form).encode(), headers)

    def _ask(self, path, data, headers) -> _Answer:
        request = urllib.request.Request(f"{self.url}/changes{path}", data, self._headers | headers)
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=60) as response:
                return _Answer(response)
        except urllib.error.HTTPError as error:
            return _Answer(error)


@pytest.fixture(scope="module")
def found(prepared_home) -> dict[str, dict]:
    """Alerts of a night by name, one of a week later, and one of two weeks later whose application has an odd name."""
    warehouse = Warehouse(prepared_home)
    series = {
        "shift": rows_of(*counted("shift 20%"), first=FIRST, app_name="Page <1>"),
        "mode": rows_of(*counted("new mode"), first=FIRST, app_name="Page <1>", probe="<script>alert(1)</script>"),
        "small": rows_of(*counted("shift 10%"), first=FIRST, app_name="Page <1>", probe="SMALL", withheld="small: 1%"),
        "other": rows_of(*counted("shift 20%"), first=FIRST, app_name="Page 2", probe="OTHER"),
        "later": rows_of(*counted("shift 20%"), first=FIRST + timedelta(days=7), app_name="Page 2", probe="LATER"),
        "odd": rows_of(*counted("shift 20%"), first=FIRST + timedelta(days=14), app_name="Page\x1b[1m\n3", probe="ODD"),
    }
    rows = zip(*series.values(), strict=True)
    load(warehouse, *(list(part) if isinstance(part[0], dict) else sum(part, []) for part in rows))
    failed = {"landed_date": NIGHT, "submission_date": NIGHT - timedelta(days=2), "failed": 7, "lander": "page"}
    failed |= {"document_namespace": "page", "document_type": "main", "document_version": "4", "cycle_id": "page"}
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    warehouse.load_rows(landing, [failed | {"failures": [{"error_type": "schema", "messages": 7}]}])
    yield {name: alert for name, (alert, _, _) in series.items()}
    for table, day in (("derived.changes_v1", "detected_date"), ("monitoring.landing", "landed_date")):
        warehouse.query(f"DELETE FROM {table} WHERE {day} BETWEEN '{NIGHT}' AND '{NIGHT + timedelta(days=14)}'")


@pytest.fixture
def token(airflow_home) -> str:
    login = {"username": airflow.USER, "password": airflow.password(airflow_home)}
    return AirflowApi(airflow_home).call("POST", "/auth/token", login)["access_token"]


@pytest.fixture
def admin(airflow_home, found, token) -> Browser:
    return Browser(airflow.url(airflow_home), token)


@pytest.fixture
def viewer(airflow_home, found, token) -> Browser:
    """Somebody who may look at everything in Airflow and change nothing."""
    claims = jwt.decode(token, options={"verify_signature": False}) | {"sub": "vera", "role": "viewer"}
    secret = airflow.environment(airflow_home)["AIRFLOW__API_AUTH__JWT_SECRET"]
    return Browser(airflow.url(airflow_home), jwt.encode(claims, secret, jwt.get_unverified_header(token)["alg"]))


@pytest.fixture
def stranger(airflow_home, found) -> Browser:
    return Browser(airflow.url(airflow_home), None)


def reviews(settings, alert: dict) -> list[tuple]:
    rows = Warehouse(settings).rows(
        "SELECT status, who, why FROM monitoring.change_reviews WHERE alert_id = @id ORDER BY reviewed_at",
        {"id": alert["alert_id"]},
    )
    return [tuple(row.values()) for row in rows]


def test_a_stranger_is_sent_to_the_login_and_sees_nothing(stranger, found):
    for path in ("/", f"/pictures/{NIGHT}/{found['shift']['alert_id']}.png"):
        answer = stranger.get(path)
        assert answer.status == 307 and answer.content == b""
        assert answer.headers["Location"].startswith("/auth/login?next=")
    assert stranger.post(f"/reviews/{found['shift']['alert_id']}", {"status": "new", "why": "x"}).status == 401


def test_alerts_are_listed_by_event_with_what_happened_beside(admin, found):
    answer = admin.get("/", **RANGE)
    assert answer.status == 200, answer.text
    for part in (
        "<h1>Changes</h1>",
        "4 alerts in 3 events.",
        f"<h2>Page <1>, {NIGHT - timedelta(days=2)}</h2>",
        "7 messages of page/main/4 could not land: schema",
        "build 20131204 (34% moved, 60% of clients)",
        f"GC_MS moved since {found['shift']['change_date']}: ",
    ):
        assert part in answer.text
    assert "SMALL" not in answer.text
    assert answer.text.index("LATER") < answer.text.index("OTHER"), "newest first"
    assert b"&lt;script&gt;alert(1)" in answer.content and b"<script" not in answer.content


@pytest.mark.parametrize(
    "query, shown",
    [
        ({"app": "Page 2"}, {"other", "later"}),
        ({"app": "Page 2", "until": NIGHT}, {"other"}),
        ({"withheld": "yes"}, {"shift", "mode", "small", "other", "later"}),
        ({"status": "false alarm"}, set()),
        ({"since": NIGHT + timedelta(days=1)}, {"later"}),
    ],
)
def test_what_is_shown_can_be_narrowed(admin, found, query, shown):
    text = admin.get("/", **RANGE | query).text
    assert {name for name, alert in found.items() if alert["alert_id"] in text} == shown


def test_an_application_can_be_chosen_by_the_name_that_is_shown(admin, found):
    days = {"since": NIGHT, "until": NIGHT + timedelta(days=14)}
    name = "Page\\x1b[1m\\n3"
    assert f"<option>{name}</option>" in admin.get("/", **days).text
    text = admin.get("/", **days, app=name).text
    assert {of for of, alert in found.items() if alert["alert_id"] in text} == {"odd"}
    assert f"<option selected>{name}</option>" in text


@pytest.mark.parametrize(
    "query, said",
    [
        ({"since": "yesterday"}, "'yesterday' is not a date; write it as 2013-02-28"),
        ({"since": "20261105"}, "'20261105' is not a date; write it as 2013-02-28"),
        ({"until": "0001-01-01"}, "0001-01-01 is too near to an end of the calendar"),
        ({"since": "9999-12-31", "until": "9999-12-31"}, "9999-12-31 is too near to an end of the calendar"),
        ({"since": "2001-01-01", "until": "2002-01-02"}, "give from 1 to 366 days"),
        ({"since": "2001-01-02", "until": "2001-01-01"}, "the earlier day first"),
    ],
)
def test_a_range_that_cannot_be_shown_is_refused_in_words(admin, query, said):
    answer = admin.get("/", **query)
    assert answer.status == 422 and said in answer.text


def test_the_picture_is_that_of_the_alert(admin, found, prepared_home):
    answer = admin.get(f"/pictures/{NIGHT}/{found['mode']['alert_id']}.png")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content == picture(found["mode"], *alerts.history(Warehouse(prepared_home), found["mode"]))
    unknown = admin.get(f"/pictures/{NIGHT}/000000000000.png")
    assert unknown.status == 404 and "no alert 000000000000 was found" in unknown.text


def test_a_review_is_kept_and_shown_and_the_newest_word_counts(admin, found, prepared_home):
    alert = found["other"]
    asked = urllib.parse.urlencode(RANGE | {"app": "Page 2"})
    for status, why in (("acknowledged", "on it"), ("explained", "the <release> of that day")):
        answer = admin.post(f"/reviews/{alert['alert_id']}?{asked}", {"status": status, "why": why})
        assert answer.status == 303
    location = urllib.parse.urlsplit(answer.headers["Location"])
    assert location.path == "/changes/" and location.fragment == f"alert-{alert['alert_id']}"
    shown = admin.get("/", **dict(urllib.parse.parse_qsl(location.query))).text
    assert "by admin: the <release> of that day" in shown and "on it" not in shown and "LATER" in shown
    said = [("acknowledged", "admin", "on it"), ("explained", "admin", "the <release> of that day")]
    assert reviews(prepared_home, alert) == said


@pytest.mark.parametrize(
    "form, said",
    [
        ({"status": "explained", "why": "  "}, "needs who says it and why"),
        ({"status": "solved", "why": "kept words"}, "'solved' is no status of an alert; give one of acknowledged"),
        ({}, "'' is no status of an alert"),
    ],
)
def test_a_review_that_is_refused_says_why_and_keeps_what_was_written(admin, found, prepared_home, form, said):
    alert = found["mode"]
    answer = admin.post(f"/reviews/{alert['alert_id']}?{urllib.parse.urlencode(RANGE)}", form)
    assert answer.status == 422 and said in answer.text
    assert f'value="{form.get("why", "")}"' in answer.text
    assert reviews(prepared_home, alert) == []


def test_a_review_of_no_alert_is_refused(admin):
    answer = admin.post("/reviews/nope", {"status": "explained", "why": "x"})
    assert answer.status == 422 and "there is no alert 'nope'" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://127.0.0.1:1"},
        {"Accept": "text/html"},
        # What a browser adds by itself, or what is no token, stands for nothing.
        {"Origin": "http://elsewhere.example", "Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Origin": "http://elsewhere.example", "Authorization": "Bearer "},
        {"Sec_Fetch_Site": "cross-site", "Authorization": "bearer"},
        {"Sec_Fetch_Site": "cross-site", "Authorization": "Negotiate Bearer"},
    ],
)
def test_what_another_site_sends_is_refused(admin, found, prepared_home, headers):
    answer = admin.post(f"/reviews/{found['later']['alert_id']}", {"status": "explained", "why": "x"}, **headers)
    assert answer.status == 403 and "from the page itself" in answer.text
    assert reviews(prepared_home, found["later"]) == []


def test_a_program_reviews_with_a_token(stranger, found, prepared_home, token):
    form = {"status": "false alarm", "why": "a test"}
    answer = stranger.post(f"/reviews/{found['later']['alert_id']}", form, Authorization=f"Bearer {token}")
    assert answer.status == 303
    assert reviews(prepared_home, found["later"]) == [("false alarm", "admin", "a test")]


def test_who_may_only_look_cannot_review(viewer, found, prepared_home):
    assert "vera says it is" in viewer.get("/", **RANGE).text
    answer = viewer.post(f"/reviews/{found['shift']['alert_id']}", {"status": "explained", "why": "x"})
    assert answer.status == 403
    assert reviews(prepared_home, found["shift"]) == []


@pytest.mark.parametrize(
    "path", ["docs", "redoc", "openapi.json", "execution/docs", "execution/openapi.json", "auth/docs"]
)
def test_airflow_describes_its_api_to_no_stranger(airflow_home, found, path):
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{airflow.url(airflow_home)}/{path}", timeout=60)
    assert raised.value.code == 404


def test_only_airflow_frames_the_page_and_nothing_from_elsewhere_runs_in_it(admin):
    policy = admin.get("/", **RANGE).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy and "script-src" not in policy
    assert admin.get("/style.css").headers["Content-Type"].startswith("text/css")


def test_airflow_has_the_page_in_its_navigation(airflow_home, found):
    api = AirflowApi(airflow_home)
    assert api.call("GET", "/api/v2/plugins/importErrors")["import_errors"] == []
    views = [view for plugin in api.call("GET", "/api/v2/plugins")["plugins"] for view in plugin["external_views"]]
    assert [(view["name"], view["href"]) for view in views] == [("Changes", "changes/")]
