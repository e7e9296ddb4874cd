"""The application that Airflow's API server mounts at /changes. Plain HTML: it needs no script and no other server.

Who may read the `night` DAG may look, who may change it may review. The user is the one of Airflow's own login.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from telemetry_warehouse import alerts, pages, pictures
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.days import parse_day
from telemetry_warehouse.errors import Refused, printable
from telemetry_warehouse.notify import UNREACHABLE
from telemetry_warehouse.settings import Settings

DAYS = 28
MAX_DAYS = 366

may_look = requires_access_dag("GET", param_dag_id="night")
may_review = requires_access_dag("PUT", param_dag_id="night")
app = FastAPI(title="Changes", docs_url=None, redoc_url=None, openapi_url=None)


def warehouse() -> Warehouse:
    return Warehouse(Settings.load())


WarehouseDep = Annotated[Warehouse, Depends(warehouse)]


@dataclass(frozen=True)
class Asked:
    """Which alerts a person wants to see: detected since..until, of an application (its name as the page shows
    it) and with a status, '' for all."""

    since: date
    until: date
    app: str
    status: str
    withheld: bool

    @property
    def query(self) -> str:
        """The same as a URL has it."""
        return urlencode(self.__dict__ | {"withheld": "yes" if self.withheld else ""})


def asked(since: str = "", until: str = "", app: str = "", status: str = "", withheld: str = "") -> Asked:
    """From a URL; the last DAYS days where it names none. Raises Refused for what are no dates, and for too many."""
    last = parse_day(until) if until else datetime.now(UTC).date()
    first = parse_day(since) if since else last - timedelta(days=DAYS - 1)
    if not 0 <= (last - first).days < MAX_DAYS:
        raise Refused(f"{first} to {last} cannot be shown; give from 1 to {MAX_DAYS} days, the earlier day first")
    return Asked(first, last, app, status, withheld == "yes")


AskedDep = Annotated[Asked, Depends(asked)]


@app.get("/", dependencies=[Depends(may_look)])
def changes(request: Request, user: GetUserDep, warehouse: WarehouseDep, asked: AskedDep) -> HTMLResponse:
    return _page(request, user, warehouse, asked)


@app.get("/pictures/{detected_date}/{alert_id}.png", dependencies=[Depends(may_look)])
def picture(detected_date: str, alert_id: str, warehouse: WarehouseDep) -> Response:
    of_day = alerts.found(warehouse, parse_day(detected_date), withheld=True)
    alert = next((alert for alert in of_day if alert["alert_id"] == alert_id), None)
    if alert is None:
        raise HTTPException(404, f"no alert {alert_id} was found on {detected_date}")
    png = pictures.picture(alert, *alerts.history(warehouse, alert))
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})


@app.get("/style.css", dependencies=[Depends(may_look)])
def style() -> Response:
    return Response(pages.style(), media_type="text/css")


def same_site(request: Request) -> None:
    """Raises HTTPException unless the request comes from a page of this server.

    A browser adds Airflow's cookie by itself to what another site makes it send, and a password that it remembers, but
    never a bearer token. Airflow takes such a token before it looks at the cookie.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return
    site = request.headers.get("sec-fetch-site")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if site != "same-origin" if site else origin != request.headers.get("host"):
        raise HTTPException(403, "a review must be sent from the page itself; open it in Airflow and try again")


@app.post("/reviews/{alert_id}", dependencies=[Depends(same_site), Depends(may_review)])
def review(
    request: Request,
    user: GetUserDep,
    warehouse: WarehouseDep,
    asked: AskedDep,
    alert_id: str,
    status: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
) -> Response:
    try:
        alerts.review(warehouse, alert_id, status, user.get_name(), why)
    except Refused as error:
        given = {"status": status, "why": why}
        return _page(request, user, warehouse, asked, str(error), alert_id, given)
    return RedirectResponse(f"{_root(request)}/?{asked.query}#alert-{alert_id}", 303)


def _page(
    request: Request,
    user,
    warehouse: Warehouse,
    asked: Asked,
    refused: str = "",
    refused_id: str = "",
    given: dict | None = None,
) -> HTMLResponse:
    events = alerts.beside(warehouse, asked.since)
    of_days = [alert for event in events for alert in event.alerts if alert["detected_date"] <= asked.until]
    apps = sorted({printable(alert["app_name"]) for alert in of_days})
    shown = [replace(event, alerts=[alert for alert in event.alerts if _is_asked(alert, asked)]) for event in events]
    shown = [event for event in shown if event.alerts]
    html = pages.render(
        "changes.html",
        root=_root(request),
        asked=asked,
        events=shown,
        apps=apps,
        statuses=alerts.STATUSES,
        who=user.get_name(),
        refused=refused,
        refused_id=refused_id if any(a["alert_id"] == refused_id for event in shown for a in event.alerts) else "",
        given=given,
    )
    return HTMLResponse(html, 422 if refused else 200)


def _is_asked(alert: dict, asked: Asked) -> bool:
    return (
        alert["detected_date"] <= asked.until
        and asked.app in ("", printable(alert["app_name"]))
        and asked.status in ("", alert["status"])
        and (asked.withheld or alert["withheld"] is None)
    )


def _root(request: Request) -> str:
    return request.scope["root_path"]


@app.middleware("http")
async def safely(request: Request, call_next) -> Response:
    """Nothing from elsewhere runs in the page, and only Airflow shows it in a frame."""
    response = await call_next(request)
    own = "; ".join(f"{what} 'self'" for what in ("img-src", "style-src", "form-action", "frame-ancestors"))
    response.headers["Content-Security-Policy"] = f"default-src 'none'; base-uri 'none'; {own}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@app.exception_handler(HTTPException)
def not_allowed(request: Request, error: HTTPException) -> Response:
    """Who is not logged in is sent to Airflow's login, and from there back."""
    if error.status_code == 401 and request.method == "GET":
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)))
    return _refusal(request, error.detail, error.status_code)


@app.exception_handler(Refused)
def refused(request: Request, error: Refused) -> Response:
    return _refusal(request, str(error), 422)


def unreachable(request: Request, error: Exception) -> Response:
    return _refusal(request, f"the warehouse does not answer: {error}", 503)


for kind in UNREACHABLE:
    app.add_exception_handler(kind, unreachable)


def _refusal(request: Request, text: str, status: int) -> HTMLResponse:
    return HTMLResponse(pages.render("refused.html", root=_root(request), refused=text), status)
