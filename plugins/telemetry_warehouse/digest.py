"""The digest of a night: the alerts that it found, told once, with a picture each.

The log has it, every place of WAREHOUSE_NOTIFY, and as a page WAREHOUSE_HOME/reports/changes-DATE.html, with the
pictures beside it. Nothing that goes wrong here changes how the night ends.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from telemetry_warehouse import alerts, notify, pages, tables, wording
from telemetry_warehouse.alerts import Event
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import one_line
from telemetry_warehouse.files import write_whole
from telemetry_warehouse.notify import UNREACHABLE, Failure, Notice

TABLE = "derived.changes_v1"
MAX_PICTURES = 20
# How the note of a digest begins in monitoring.notifications; the ids of its alerts follow.
_TOLD = "alerts "


@dataclass(frozen=True)
class Digest:
    """The alerts of a night that nobody was told of, by event. drawn: the ids of those that get a picture."""

    day: date
    events: tuple[Event, ...]
    drawn: tuple[str, ...]

    @classmethod
    def of(cls, day: date, events: Iterable[Event]) -> "Digest":
        """The largest MAX_PICTURES of all alerts are drawn."""
        events = tuple(events)
        largest = sorted((a for event in events for a in event.alerts), key=lambda a: (-a["effect"], a["alert_id"]))
        return cls(day, events, tuple(alert["alert_id"] for alert in largest[:MAX_PICTURES]))

    @property
    def alerts(self) -> list[dict]:
        return [alert for event in self.events for alert in event.alerts]

    @property
    def subject(self) -> str:
        return f"{wording.count(len(self.alerts), 'alert')} of {self.day}, {wording.count(len(self.events), 'event')}"


def tell(warehouse: Warehouse, day: date, say: Callable[[str], None] = print) -> Path | None:
    """Tells of the alerts that the night of `day` found and that nobody was told of; the page's file, None for nothing.

    Withheld alerts are not told.
    """
    try:
        sent = _sent(warehouse, day)
        digest = _new(day, sent, _told(warehouse)) if sent else None
        if not digest:
            return None
        drawn = {a["alert_id"]: _picture(warehouse, a) for a in digest.alerts if a["alert_id"] in digest.drawn}
        path = _write(warehouse, day, sent, drawn)
    except UNREACHABLE as error:
        say(f"the alerts of {day} cannot be told: {one_line(error)}")
        return None
    body = text(digest)
    for line in (f"notice: {digest.subject}", *body.splitlines(), f"with pictures: {path}"):
        say(line)
    what = _TOLD + " ".join(alert["alert_id"] for alert in digest.alerts)
    files = {f"{alert_id}.png": png for alert_id, png in drawn.items()}
    notice = Notice(digest.subject, body, is_failure=False, pictures=files)
    notify.deliver(warehouse, Failure(TABLE, day, day, what), notice, say)
    return path


def text(digest: Digest) -> str:
    """The digest as plain text."""
    lines: list[str] = []
    for event in digest.events:
        lines += [wording.event(event), *(f"- {_line(alert, digest)}" for alert in event.alerts)]
        lines += [f"  {beside}" for beside in wording.beside(event)]
        lines.append("")
    first = digest.alerts[0]["alert_id"]
    lines += [
        f"Look:   ./warehouse changes --since {digest.day}",
        f'Review: ./warehouse changes review {first} acknowledged --who NAME --why "WHAT YOU KNOW"',
    ]
    if len(digest.drawn) < len(digest.alerts):
        lines.append(f"Pictures are of the {len(digest.drawn)} largest.")
    return "\n".join(lines)


def _line(alert: dict, digest: Digest) -> str:
    movers = wording.movers(alert)
    drawn = "" if alert["alert_id"] in digest.drawn else ", no picture"
    return f"{wording.sentence(alert)}{f'; most in {movers}' if movers else ''} ({alert['alert_id']}{drawn})"


def _sent(warehouse: Warehouse, day: date) -> list[Event]:
    """The events of the night, each with its alerts of that night that are not withheld."""
    wanted = [replace(event, alerts=_sent_of(event, day)) for event in alerts.beside(warehouse, day)]
    return [event for event in wanted if event.alerts]


def _sent_of(event: Event, day: date) -> list[dict]:
    return [alert for alert in event.alerts if alert["detected_date"] == day and alert["withheld"] is None]


def _new(day: date, events: list[Event], told: set[str]) -> Digest | None:
    """What is left of the events without the alerts that were told; None for nothing."""
    new = [replace(event, alerts=[a for a in event.alerts if a["alert_id"] not in told]) for event in events]
    new = [event for event in new if event.alerts]
    return Digest.of(day, new) if new else None


def _told(warehouse: Warehouse) -> set[str]:
    """The ids of all alerts that a place took, or the log where there is no place."""
    warehouse.ensure(tables.from_file("monitoring", "notifications"))
    rows = warehouse.rows(
        "SELECT failure FROM monitoring.notifications WHERE notified_date >= '2000-01-01' AND table_name = @table"
        " AND STARTS_WITH(failure, @told) AND (delivered > 0 OR undelivered = 0)",
        {"table": TABLE, "told": _TOLD},
    )
    return {alert_id for row in rows for alert_id in row["failure"].removeprefix(_TOLD).split()}


def _picture(warehouse: Warehouse, alert: dict) -> bytes:
    # Only nights that have something to tell need matplotlib.
    from telemetry_warehouse import pictures

    return pictures.picture(alert, *alerts.history(warehouse, alert))


def _write(warehouse: Warehouse, day: date, events: list[Event], drawn: dict[str, bytes]) -> Path:
    """Writes the page of all alerts that the night sent, and the new pictures beside it; returns the page's file."""
    path = warehouse.settings.home / "reports" / f"changes-{day}.html"
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for alert_id, png in drawn.items():
        write_whole(folder / f"{alert_id}.png", png)
    there = {picture.stem for picture in folder.glob("*.png")}
    write_whole(path, pages.render("digest.html", day=day, events=events, folder=folder.name, pictures=there))
    return path
