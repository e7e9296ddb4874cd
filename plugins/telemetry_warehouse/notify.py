"""Tells people something, once: in the log, and in every place of WAREHOUSE_NOTIFY. Failures here, alerts in digest.py.

What was told is remembered in monitoring.notifications. Nothing that goes wrong here changes how the work itself ends.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

from telemetry_warehouse import runs, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import without
from telemetry_warehouse.errors import GateFailed, WarehouseError, one_line, printable
from telemetry_warehouse.settings import masked
from telemetry_warehouse.type_tables import Faults

# A place that does not answer must not hold up a stage.
_TIMEOUT_SECONDS = 20
# What comes of a warehouse that does not answer.
UNREACHABLE = (GoogleAPIError, GoogleAuthError, WarehouseError, OSError)


@dataclass(frozen=True)
class Failure:
    """What failed and for which days; `what` is the same text when the same fails again."""

    table: str
    start: date
    end: date
    what: str


@dataclass(frozen=True)
class Notice:
    """What people are sent. pictures: PNG by file name; places that take no attachments leave them out."""

    subject: str
    body: str
    is_failure: bool = True
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def notify(warehouse: Warehouse, failure: Failure, subject: str, body: str, say: Callable[[str], None]) -> bool:
    """Tells of a failure, unless it was told before and its days were not published since; True where it was told.

    A place that does not take the notice is named in a line. Where no place took it, the next time tries again.
    """
    try:
        if _told(warehouse, failure):
            return False
    except UNREACHABLE as error:
        say(f"whether this was notified before cannot be looked up: {one_line(error)}")
    say(f"notice: {subject}. {one_line(body)}")
    deliver(warehouse, failure, Notice(subject, body), say)
    return True


def deliver(warehouse: Warehouse, told: Failure, notice: Notice, say: Callable[[str], None]) -> None:
    """Sends a notice to every place and remembers, as `told`, that it was; says what goes wrong."""
    notice = replace(notice, subject=printable(notice.subject), body=printable(notice.body, keep="\n"))
    delivered = 0
    for address in warehouse.settings.notify:
        trouble = _send(address, notice)
        if trouble:
            say(f"the notice could not be delivered to {masked(address)}: {trouble}")
        delivered += not trouble
    try:
        _remember(warehouse, told, notice, delivered)
    except UNREACHABLE as error:
        say(f"that this was notified cannot be remembered: {one_line(error)}")


def notify_failed_stage(
    warehouse: Warehouse, table: str, start: date, end: date, error: Exception, again: str, say: Callable[[str], None]
) -> None:
    """Tells that a table's days were not published: what failed, and what runs it again."""
    look, what, ended = [], type(error).__name__, "was not built"
    if isinstance(error, GateFailed):
        look = [f"Look:      ./warehouse gate {error.table} {error.day}"]
        what = ", ".join(sorted(error.expectations))
        ended = f"failed its gate: {what}"
    body = "\n".join([one_line(error), *look, f"Run again: {again}"])
    notify(warehouse, Failure(table, start, end, what), f"{table} {runs.text(start, end)} {ended}", body, say)


def notify_refused_schemas(warehouse: Warehouse, faults: Faults, say: Callable[[str], None]) -> None:
    """Says which schemas cannot be applied, a line for each cause; of each cause people are told once."""
    today = datetime.now(UTC).date()
    for line in type_tables.lines(faults):
        say(line)
        failure = Failure("schemas", today, today, line)
        try:
            if _told_before(warehouse, failure):
                continue
        except UNREACHABLE as error:
            say(f"whether this was notified before cannot be looked up: {one_line(error)}")
        deliver(warehouse, failure, Notice("a schema cannot be applied", line), say)


def _told_before(warehouse: Warehouse, failure: Failure) -> bool:
    """Whether this failure was told, of whatever days."""
    warehouse.ensure(tables.from_file("monitoring", "notifications"))
    return bool(
        warehouse.rows(
            "SELECT 1 AS one FROM monitoring.notifications WHERE notified_date >= '2000-01-01'"
            " AND table_name = @table AND failure = @what AND (delivered > 0 OR undelivered = 0) LIMIT 1",
            {"table": failure.table, "what": failure.what},
        )
    )


def _told(warehouse: Warehouse, failure: Failure) -> bool:
    for name in ("notifications", "pipeline_runs"):
        warehouse.ensure(tables.from_file("monitoring", name))
    key = {"table": failure.table, "start": failure.start, "end": failure.end}
    [told] = warehouse.rows(
        "SELECT MAX(notified_at) AS told_at FROM monitoring.notifications WHERE notified_date >= '2000-01-01'"
        " AND table_name = @table AND start_date = @start AND end_date = @end AND failure = @what"
        " AND (delivered > 0 OR undelivered = 0)",
        key | {"what": failure.what},
    )
    if told["told_at"] is None:
        return False
    passed = warehouse.rows(
        "SELECT start_date, end_date FROM monitoring.pipeline_runs WHERE status = 'published'"
        " AND table_name = @table AND start_date <= @end AND end_date >= @start AND ended_at > @told",
        key | {"told": told["told_at"]},
    )
    return bool(without([(failure.start, failure.end)], ((p["start_date"], p["end_date"]) for p in passed)))


def _send(address: str, notice: Notice) -> str:
    """What kept a notice from its place, in words that hold no part of the address; empty where it arrived."""
    import logging

    import apprise
    from apprise.attachment.memory import AttachMemory

    # What Apprise logs may hold the address: it goes to nobody but us.
    logging.getLogger("apprise").propagate = False
    place = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Warehouse", app_desc="Telemetry warehouse"))
    if not place.add(address):
        return "Apprise does not know this kind of URL, or something is missing in it"
    pictures = [AttachMemory(png, name, "image/png") for name, png in notice.pictures.items()]
    sent = place.notify(
        notice.body,
        title=f"warehouse: {notice.subject}",
        notify_type=apprise.NotifyType.FAILURE if notice.is_failure else apprise.NotifyType.INFO,
        body_format=apprise.NotifyFormat.TEXT,
        attach=apprise.AppriseAttachment(pictures) if pictures else None,
        timeout=_TIMEOUT_SECONDS,
        log_level=logging.WARNING,
    )
    if sent:
        return ""
    said = [entry.message for entry in sent.logs()] or [f"no answer within {_TIMEOUT_SECONDS} s"]
    parts = sorted(re.findall(r"[^\s:/?#@=&]{4,}", address.partition("://")[2]), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, parts)) or "(?!)", "…", one_line(said[-1]))


def _remember(warehouse: Warehouse, told: Failure, notice: Notice, delivered: int) -> None:
    now = datetime.now(UTC)
    notifications = tables.from_file("monitoring", "notifications")
    warehouse.ensure(notifications)
    row = {
        "notified_date": now.date(),
        "notified_at": now,
        "table_name": told.table,
        "start_date": told.start,
        "end_date": told.end,
        "failure": told.what,
        "subject": notice.subject,
        "body": notice.body,
        "delivered": delivered,
        "undelivered": len(warehouse.settings.notify) - delivered,
    }
    warehouse.load_rows(notifications, [row])
