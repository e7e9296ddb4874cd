"""Why a table cannot be built for some days: each reason is a line that names what is missing and what to run."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import lineage, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import LOOK_BACK_DAYS, Step
from telemetry_warehouse.runs import Days, days_missing, overlap, text
from telemetry_warehouse.tables import Table


def refuse_unfinished(day: date) -> None:
    """Raises Refused for a day that is not over in UTC: its tables could still change."""
    for reason in unfinished(day):
        raise Refused(reason)


def refuse_bad_range(warehouse: Warehouse, step: Step, start: date, end: date, published: list[dict]) -> None:
    """Raises Refused with every reason for which start..end could not be complete; `published` as in `reasons`."""
    refuse_unfinished(end)
    if found := reasons(warehouse, step, start, end, published):
        raise Refused("; ".join(found))


def unfinished(day: date) -> list[str]:
    today = datetime.now(UTC).date()
    if day < today:
        return []
    return [f"{day} has not ended yet (UTC); the last day that can be built is {today - timedelta(days=1)}"]


def reasons(
    warehouse: Warehouse,
    step: Step,
    start: date,
    end: date,
    published: list[dict],
    built_before: Mapping[str, Days] = {},  # noqa: B006
) -> list[str]:
    """What start..end of a table lacks: sources that have expired, inputs never built, its own yesterday.

    `published` is what runs.published_around says of it. `built_before` are the tables, and their days, that the same
    run builds first.
    """
    found = []
    for document_type in type_tables.load(warehouse):
        if step.kind == "dedup" and document_type.stable.id == step.table:
            first = start - timedelta(days=LOOK_BACK_DAYS)
            found += _expired(warehouse, step, document_type, document_type.live, first, end)
        elif document_type.stable.id in step.inputs.values():
            found += _expired(warehouse, step, document_type, document_type.stable, start, end)
    # What dedup reads is landed and not built.
    if step.kind != "dedup":
        found += _missing_inputs(warehouse, step, start, end, published, built_before)
    if step.reads_yesterday:
        found += _gap(step, start, published)
    return found


def _expired(warehouse: Warehouse, step: Step, document_type, source: Table, first: date, last: date) -> list[str]:
    """A source that held pings of first..last and has lost them by its retention gives no complete table."""
    if source.retention_days is None:
        return []
    oldest_kept = datetime.now(UTC).date() - timedelta(days=source.retention_days - 1)
    if first >= oldest_kept:
        return []
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    name = document_type.name
    [lost] = warehouse.rows(
        f"SELECT MIN(submission_date) AS first, MAX(submission_date) AS last FROM {landing.id}"
        " WHERE landed_date >= '2000-01-01' AND landed > 0 AND submission_date BETWEEN @first AND @last"
        " AND document_namespace = @namespace AND document_type = @type AND document_version = @version",
        {
            "first": first,
            "last": min(last, oldest_kept - timedelta(days=1)),
            "namespace": name.namespace,
            "type": name.type,
            "version": name.version,
        },
    )
    if lost["first"] is None:
        return []
    return [
        f"{step.table} {text(first, last)} needs {source.id}, which keeps {source.retention_days} days and has"
        f" lost those of {text(lost['first'], lost['last'])}; the first day it still has is {oldest_kept}"
    ]


def _missing_inputs(warehouse, step: Step, start: date, end: date, published, built_before) -> list[str]:
    """Every day of the tables that a step reads must have been built, or its own days would lack theirs."""
    known = {other.table for other in lineage.load(warehouse.settings).steps}
    wanted = [table for table in step.inputs.values() if table in known]
    found = []
    for table, days in days_missing(published, wanted, start, end).items():
        soon = days_of(*built_before[table]) if table in built_before else []
        if missing := [day for day in days if day not in soon]:
            found.append(
                f"{step.table} {text(start, end)} reads {table}, which was never built for"
                f" {text(missing[0], missing[-1])}; run `./warehouse backfill {missing[0]} {missing[-1]}` first"
            )
    return found


def _gap(step: Step, start: date, published: list[dict]) -> list[str]:
    """A table that continues from its own yesterday needs it, unless nothing near it was ever built."""
    yesterday, oldest = start - timedelta(days=1), start - timedelta(days=step.carries_days + 1)
    near = [
        run
        for run in published
        if run["table_name"] in (step.table, *step.inputs.values())
        and overlap((oldest, yesterday), (run["start_date"], run["end_date"]))
    ]
    own = [run["end_date"] for run in near if run["table_name"] == step.table]
    if not near or (own and max(own) >= yesterday):
        return []
    first = max(own) + timedelta(days=1) if own else max(oldest, min(run["start_date"] for run in near))
    return [
        f"{step.table} {start} continues from {yesterday}, and its days {text(first, yesterday)} were not built;"
        f" run `./warehouse backfill {first} {yesterday}` first"
    ]
