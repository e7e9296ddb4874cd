"""Alerts as people look at them: which were found, what happened beside them, and what people said of them.

The command line and the page ask the same functions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import tables, wording
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.changes.alert_rows import nights_of
from telemetry_warehouse.changes.series import SeriesKey
from telemetry_warehouse.errors import NotRunning, Refused, printable
from telemetry_warehouse.querying import print_grid

STATUSES = ("acknowledged", "explained", "false alarm", "new")
SCORES = "derived.change_scores_v1"
_REVIEWS = ("monitoring", "change_reviews")
_DAYS_BEFORE, _DAYS_AFTER = 56, 28


@dataclass(frozen=True)
class Event:
    """Alerts of one application that are next to each other in time.

    first, last: their change dates. alerts: rows of telemetry.changes. warnings: what gates warned of on these days
    (submission_date, table_name, expectation, observed). errors: messages of these days that could not land
    (submission_date, document_type, error_type, messages).
    """

    first: date
    last: date
    alerts: list[dict]
    warnings: list[dict]
    errors: list[dict]


def found(warehouse: Warehouse, since: date, withheld: bool = False) -> list[dict]:
    """The rows of telemetry.changes of the nights from `since` on, newest first; `withheld`: also those not sent.

    Raises NotRunning where the view has not been deployed.
    """
    if not warehouse.exists("telemetry.changes"):
        raise NotRunning("telemetry.changes is not there; put it in place with `./warehouse up`")
    sent = "" if withheld else " AND withheld IS NULL"
    return warehouse.rows(
        f"SELECT * FROM telemetry.changes WHERE detected_date >= @since{sent}"
        " ORDER BY detected_date DESC, event DESC, effect DESC, alert_id",
        {"since": since},
    )


def review(warehouse: Warehouse, alert_id: str, status: str, who: str, why: str) -> None:
    """Adds what somebody says of an alert; its status is what was said last.

    Raises Refused for an alert or a status that there is not, and where who or why is missing.
    """
    if status not in STATUSES:
        raise Refused(f"{status!r} is no status of an alert; give one of {', '.join(STATUSES)}")
    if not who.strip() or not why.strip():
        raise Refused(f"a review of {alert_id} needs who says it and why; one of them is empty")
    known = warehouse.rows(
        "SELECT 1 AS one FROM derived.changes_v1 WHERE detected_date >= '2000-01-01' AND alert_id = @id LIMIT 1",
        {"id": alert_id},
    )
    if not known:
        raise Refused(f"there is no alert {alert_id!r}; `./warehouse changes --since DATE --withheld` lists them")
    reviews = tables.from_file(*_REVIEWS)
    warehouse.ensure(reviews)
    row = {"alert_id": alert_id, "status": status, "who": who.strip(), "why": why.strip()}
    warehouse.load_rows(reviews, [row | {"reviewed_at": datetime.now(UTC)}])


def beside(warehouse: Warehouse, since: date) -> list[Event]:
    """The events of the nights from `since` on, newest first, with what happened on their days. Alerts that are
    withheld are there too, in events of their own."""
    by_event = defaultdict(list)
    for alert in found(warehouse, since, withheld=True):
        by_event[alert["app_name"], alert["event"], alert["withheld"] is None].append(alert)
    if not by_event:
        return []
    spans = [(min(days), max(days)) for days in ([a["change_date"] for a in of] for of in by_event.values())]
    days = {"first": min(first for first, _ in spans), "last": max(last for _, last in spans)}
    warnings, errors = _warnings(warehouse, days), _errors(warehouse, days)
    return [
        Event(first, last, alerts, _within(warnings, first, last), _within(errors, first, last))
        for (first, last), alerts in zip(spans, by_event.values(), strict=True)
    ]


def _within(rows: list[dict], first: date, last: date) -> list[dict]:
    return [row for row in rows if first <= row["submission_date"] <= last]


def _warnings(warehouse: Warehouse, days: dict[str, date]) -> list[dict]:
    return warehouse.rows(
        "SELECT submission_date, table_name, warning.expectation AS expectation, warning.observed AS observed"
        " FROM telemetry.published_days, UNNEST(warnings) AS warning WHERE submission_date BETWEEN @first AND @last"
        " ORDER BY submission_date, table_name, expectation",
        days,
    )


def _errors(warehouse: Warehouse, days: dict[str, date]) -> list[dict]:
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    return warehouse.rows(
        "SELECT submission_date, IFNULL(CONCAT(document_namespace, '/', document_type, '/', document_version),"
        " 'no known type') AS document_type, failure.error_type AS error_type, SUM(failure.messages) AS messages"
        f" FROM {landing.id}, UNNEST(failures) AS failure"
        " WHERE landed_date >= '2000-01-01' AND submission_date BETWEEN @first AND @last"
        " GROUP BY submission_date, document_namespace, document_type, document_version, failure.error_type"
        " ORDER BY submission_date, document_type, error_type",
        days,
    )


def history(warehouse: Warehouse, alert: dict) -> tuple[list[dict], list[dict]]:
    """The rows of distributions_v1 and of change_scores_v1 of an alert's series, by night: from 56 days before the
    change to 28 days after the alert, as far as they are there."""
    nights = timedelta(days=nights_of(alert["axis"]))
    days = {
        "first": alert["change_date"] + nights - timedelta(days=_DAYS_BEFORE),
        "last": alert["detected_date"] + timedelta(days=_DAYS_AFTER),
    }
    named = {name: alert[name] for name in SeriesKey._fields if alert[name] is not None}
    same = " AND ".join(f"{name} = @{name}" if name in named else f"{name} IS NULL" for name in SeriesKey._fields)
    distributions, scores = (
        warehouse.rows(
            f"SELECT * FROM {table} WHERE submission_date BETWEEN @first AND @last AND {same} ORDER BY submission_date",
            days | named,
        )
        for table in ("derived.distributions_v1", SCORES)
    )
    return distributions, scores


def noisy(warehouse: Warehouse) -> list[dict]:
    """The series whose alerts are not sent, as of the newest night that was judged, and why."""
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    [newest] = warehouse.rows(
        "SELECT MAX(end_date) AS night FROM monitoring.pipeline_runs"
        f" WHERE table_name = '{SCORES}' AND status = 'published'"
    )
    if newest["night"] is None:
        return []
    return warehouse.rows(
        f"SELECT submission_date, {', '.join(SeriesKey._fields)}, noise, noisy FROM {SCORES}"
        f" WHERE submission_date = DATE '{newest['night']}' AND noisy IS NOT NULL"
        " ORDER BY app_name, probe, key, axis, channel, os, layout"
    )


def print_found(warehouse: Warehouse, since: date, withheld: bool, say: Callable[[str], None] = print) -> None:
    """Prints the alerts by event: what changed, since when and by how much, who moved most, what happened beside it,
    and what people said."""
    events = [event for event in beside(warehouse, since) if withheld or event.alerts[0]["withheld"] is None]
    for event in events:
        say(f"{wording.event(event)}: {wording.count(len(event.alerts), 'alert')}")
        for line in wording.beside(event):
            say(f"  {line}")
        for alert in event.alerts:
            say(f"  {alert['alert_id']}  {wording.sentence(alert)}")
            for line in _about(alert):
                say(f"      {line}")
    if not events:
        say(f"no alert was {'found' if withheld else 'sent'} since {since}")


def _about(alert: dict) -> Iterator[str]:
    yield f"found {alert['detected_date']}, {wording.evidence(alert)}"
    if quantiles := wording.quantiles(alert):
        yield ", ".join(quantiles)
    if parts := [f"{name}: {wording.buckets(alert[name])}" for name in ("gained", "lost") if alert[name]]:
        yield "; ".join(parts)
    if alert["movers"]:
        yield f"moved most: {wording.movers(alert)}"
    if alert["withheld"] is not None:
        yield f"not sent, {alert['withheld']}"
    if alert["closed_on"] is not None:
        yield f"closed: it went back on {alert['closed_on']}"
    said = "" if alert["reviewed_by"] is None else f" ({printable(alert['reviewed_by'])}: {printable(alert['why'])})"
    yield f"status: {alert['status']}{said}"


def print_noisy(warehouse: Warehouse, say: Callable[[str], None] = print) -> None:
    """Prints the series whose alerts are not sent, with the reason."""
    rows = noisy(warehouse)
    if not rows:
        say("alerts of every series are sent")
        return
    names = ["application", "channel", "os", "probe", "key", "axis", "layout", "noise", "why its alerts are not sent"]
    shown = ("app_name", "channel", "os", "probe", "key", "axis", "layout", "noise", "noisy")
    grid = [tuple("all" if row[name] is None else row[name] for name in shown) for row in rows]
    print_grid(names, grid, f"Series too noisy to tell of, as of {rows[0]['submission_date']}")
