"""Days that a person lets go without a ping type: what is recorded of them, and what is built without the type.

An exclusion is in force until the type's stable table is published for its day. Until then every stage reads that table
through a view that leaves the day out. `published`, here, is what runs.published says: exclusions are among its rows.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import lineage, runs, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.schemas import TypeName, list_types


@dataclass(frozen=True, order=True)
class Excluded:
    """A ping type that days were built without: the excluded day, and the last day of a table on which it can show."""

    day: date
    ping_type: str
    until: date

    def __str__(self) -> str:
        return f"{self.day} {self.ping_type} {self.until}"

    @property
    def name(self) -> TypeName:
        return TypeName(*self.ping_type.split("/"))


def to_text(excluded: Iterable[Excluded]) -> str:
    """As monitoring.pipeline_runs has them."""
    return ", ".join(map(str, sorted(excluded)))


def from_text(text: str | None) -> list[Excluded]:
    """The inverse of `to_text`."""
    parts = [one.split(" ") for one in (text or "").split(", ") if one]
    return [Excluded(date.fromisoformat(day), name, date.fromisoformat(until)) for day, name, until in parts]


def stable_tables(warehouse: Warehouse, without: Iterable[TypeName]) -> dict[str, TypeName]:
    """Stable table → type; raises Refused, naming those that there are, for a type that has no schema."""
    known = list_types(warehouse.settings.schemas)
    for name in without:
        if name not in known:
            raise Refused(f"there is no ping type {name}; there are {', '.join(map(str, known))}")
    return {lineage.stable_table(name): name for name in without}


def record(warehouse: Warehouse, day: date, excluded: dict[str, TypeName], run_id: str, reason: str) -> None:
    """Writes down that `day` goes without these types (stable table → type), from now on.

    Raises Refused without a reason.
    """
    if not reason.strip():
        raise Refused(f"say why {day} may go without {', '.join(map(str, excluded.values()))}: --why TEXT")
    _write(warehouse, "excluded", run_id, [(day, str(name), table, reason) for table, name in excluded.items()])


def _write(warehouse: Warehouse, status: str, run_id: str, noted: list[tuple[date, str, str, str]]) -> None:
    now, definition = datetime.now(UTC), tables.from_file("monitoring", "exclusions")
    warehouse.ensure(definition)
    names = ("submission_date", "ping_type", "table_name", "reason")
    about = {"recorded_date": now.date(), "recorded_at": now, "status": status, "run": run_id}
    warehouse.load_rows(definition, [about | dict(zip(names, one, strict=True)) for one in noted])


def record_ended(warehouse: Warehouse, since: date, run_id: str) -> None:
    """Writes down which exclusions of days from `since` on have ended: no published day lacks their pings any more."""
    for name in ("pipeline_runs", "exclusions"):
        warehouse.ensure(tables.from_file("monitoring", name))
    ended = warehouse.rows(
        "WITH noted AS (SELECT * FROM monitoring.exclusions WHERE recorded_date >= '2000-01-01'"
        " AND submission_date >= @since QUALIFY ROW_NUMBER() OVER"
        " (PARTITION BY submission_date, ping_type ORDER BY recorded_at DESC) = 1)"
        " SELECT submission_date, ping_type, noted.table_name, reason FROM noted JOIN monitoring.pipeline_runs AS runs"
        " ON runs.table_name = noted.table_name AND runs.status = 'published' AND runs.ended_at > noted.recorded_at"
        " AND noted.submission_date BETWEEN runs.start_date AND runs.end_date WHERE noted.status = 'excluded'"
        " GROUP BY submission_date, ping_type, noted.table_name, reason",
        {"since": since},
    )
    _write(warehouse, "ended", run_id, [tuple(row.values()) for row in ended])


def not_ended(warehouse: Warehouse) -> list[dict]:
    """The newest exclusion of each day and type that no night has noted as ended: submission_date, ping_type, run,
    recorded_at and reason, newest day first."""
    warehouse.ensure(tables.from_file("monitoring", "exclusions"))
    return warehouse.rows(
        "SELECT submission_date, ping_type, run, recorded_at, reason FROM (SELECT * FROM monitoring.exclusions"
        " WHERE recorded_date >= '2000-01-01' QUALIFY ROW_NUMBER() OVER"
        " (PARTITION BY submission_date, ping_type ORDER BY recorded_at DESC) = 1)"
        " WHERE status = 'excluded' ORDER BY submission_date DESC, ping_type"
    )


def in_force(published: list[dict]) -> dict[str, set[date]]:
    """Stable table → the days that are built without it: its newest publish is older than the exclusion."""
    found: dict[str, set[date]] = {}
    for row in published:
        table, day = row["table_name"], row["start_date"]
        if row["is_exclusion"] and not any(
            run["ended_at"] > row["ended_at"]
            for run in published
            if run["table_name"] == table and not run["is_exclusion"] and run["start_date"] <= day <= run["end_date"]
        ):
            found.setdefault(table, set()).add(day)
    return found


def of_stage(published: list[dict], step: Step, start: date, end: date, names: dict[str, str]) -> list[Excluded]:
    """What a stage is built without: types that its own inputs leave out, and what these and its own days before lack.

    names: stable table → type.
    """
    excluded = in_force(published)
    latest: dict[tuple[date, str], date] = {}

    def add(day: date, name: str, until: date) -> None:
        if until >= start:
            latest[day, name] = max(until, latest.get((day, name), until))

    for table, (first, last) in runs.days_read(step, start, end).items():
        carries = timedelta(days=0 if table == step.table else step.carries_days)
        for day in excluded.get(table, ()):
            if first <= day <= last:
                add(day, names[table], day + carries)
        for day, run in runs.newest(published, table, first, last).items():
            for one in from_text(run["excluded"]):
                if one.day <= day <= one.until:
                    add(one.day, one.ping_type, one.until + carries)
    return sorted(Excluded(day, name, until) for (day, name), until in latest.items())


def names_of(warehouse: Warehouse) -> dict[str, str]:
    """Stable table → the ping type in it."""
    return {lineage.stable_table(name): str(name) for name in list_types(warehouse.settings.schemas)}


def inputs_without(warehouse: Warehouse, step: Step, published: list[dict], start: date, end: date) -> dict[str, str]:
    """Of the tables that a stage reads, a view in place of each that leaves out excluded days: id → the view's id."""
    excluded, views = in_force(published), {}
    for table, (first, last) in runs.days_read(step, start, end).items():
        days = sorted(day for day in excluded.get(table, ()) if first <= day <= last)
        if days and table != step.table:
            dataset, name = table.split(".")
            warehouse.ensure_dataset(f"{dataset}_candidates")
            views[table] = f"{dataset}_candidates.{name}__without__{os.getpid()}_{time.time_ns()}"
            listed = ", ".join(f"DATE '{day}'" for day in days)
            kept = f"SELECT * FROM {tables.quoted(table)} WHERE DATE(submission_timestamp) NOT IN ({listed})"
            expires = "expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)"
            warehouse.query(f"CREATE VIEW {tables.quoted(views[table])} OPTIONS ({expires}) AS {kept}")
    return views


def days_without(excluded: Iterable[Excluded], start: date, end: date) -> frozenset[date]:
    """The days of start..end that are excluded themselves."""
    return frozenset({one.day for one in excluded} & set(days_of(start, end)))
