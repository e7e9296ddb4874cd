"""What monitoring.pipeline_runs says was published, and how stages that failed get there."""

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import one_line
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import Step, stable_table
from telemetry_warehouse.schemas import TypeName

Days = tuple[date, date]


def text(start: date, end: date) -> str:
    """Days as a person writes them."""
    return str(start) if start == end else f"{start}..{end}"


def overlap(one: Days, other: Days) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def published(warehouse: Warehouse, wanted: Collection[str], first: date, last: date) -> list[dict]:
    """table_name, start_date, end_date and times (how often) of the published stages of these tables that touch
    first..last."""
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    names = ", ".join(f"'{table}'" for table in wanted)
    return warehouse.rows(
        "SELECT table_name, start_date, end_date, COUNT(*) AS times FROM monitoring.pipeline_runs"
        " WHERE status = 'published' AND start_date <= @last AND end_date >= @first"
        f" AND table_name IN ({names}) GROUP BY table_name, start_date, end_date",
        {"first": first, "last": last},
    )


def never_built(warehouse: Warehouse, wanted: Collection[str], first: date, last: date) -> dict[str, list[date]]:
    """For each table, the days of first..last for which it was never published."""
    return days_missing(published(warehouse, wanted, first, last), wanted, first, last)


def days_missing(found: list[dict], wanted: Collection[str], first: date, last: date) -> dict[str, list[date]]:
    """For each table, the days of first..last that are in none of the stages `found`, which are as in `published`."""
    built = {table: set() for table in wanted}
    for run in found:
        if run["table_name"] in built:
            built[run["table_name"]].update(days_of(run["start_date"], run["end_date"]))
    return {table: [day for day in days_of(first, last) if day not in days] for table, days in built.items()}


def landed(warehouse: Warehouse, since: date) -> list[dict]:
    """Stable table, submission_date and the newest time (landed_at) of the pings that were landed from that day on."""
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    rows = warehouse.rows(
        "SELECT document_namespace, document_type, document_version, submission_date, MAX(ended_at) AS landed_at"
        f" FROM {landing.id} WHERE landed_date >= @since AND landed > 0 AND document_type IS NOT NULL"
        " GROUP BY document_namespace, document_type, document_version, submission_date",
        {"since": since},
    )
    for row in rows:
        name = TypeName(row["document_namespace"], row["document_type"], row["document_version"])
        row["table"] = stable_table(name)
    return rows


def days_read(step: Step, start: date, end: date) -> dict[str, Days]:
    """The days of each table on which a stage's rows can depend; its own are those before the range."""
    first = start - timedelta(days=step.carries_days)
    found = dict.fromkeys(step.inputs.values(), (first, end))
    if step.reads_yesterday:
        yesterday = start - timedelta(days=1)
        found[step.table] = (min(first, yesterday), yesterday)
    return found


def published_around(warehouse: Warehouse, wanted: Iterable[tuple[Step, date, date]]) -> list[dict]:
    """As `published`, of the tables that stages read: on the days that they read, and on the day before, where what a
    table continues from may lie.

    One question for all that refusals.reasons and inputs_published need to know.
    """
    reads = [days_read(step, start, end) for step, start, end in wanted]
    names = sorted({table for read in reads for table in read})
    if not names:
        return []
    first = min(days[0] for read in reads for days in read.values()) - timedelta(days=1)
    return published(warehouse, names, first, max(days[1] for read in reads for days in read.values()))


def inputs_published(found: list[dict], step: Step, start: date, end: date) -> int:
    """How often what a stage reads has been published, on any of the days that it reads; `found` as in `published`."""
    read = days_read(step, start, end)
    return sum(
        run["times"]
        for run in found
        if run["table_name"] in read and overlap(read[run["table_name"]], (run["start_date"], run["end_date"]))
    )


def record_failure(warehouse: Warehouse, row: dict, error: Exception) -> None:
    """Writes down a stage that ended without a publish; `row` is what was known of it."""
    table = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(table)
    failure = {"status": "failed", "error": one_line(error)[:2000], "ended_at": datetime.now(UTC)}
    warehouse.load_rows(table, [row | failure | {"started_date": row["started_at"].date()}])
