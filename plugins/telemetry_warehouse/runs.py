"""What monitoring.pipeline_runs says was published, and how stages that failed get there."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import day_ranges, tables
from telemetry_warehouse.bigquery import Warehouse, text_literal
from telemetry_warehouse.day_ranges import Counted, Days, without
from telemetry_warehouse.errors import one_line
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.lineage import Step, stable_table
from telemetry_warehouse.schemas import TypeName

# What is known of the newest stage of a range.
_OF_NEWEST = {"started_at": "started_at", "ended_at": "ended_at", "excluded": "IFNULL(excluded, '')"}


def text(start: date, end: date) -> str:
    """Days as a person writes them."""
    return str(start) if start == end else f"{start}..{end}"


def chunks(start: date, end: date, size: int) -> list[Days]:
    """The days start..end in pieces of at most `size`, oldest first."""
    starts = [start + timedelta(days=n) for n in range(0, (end - start).days + 1, size)]
    return [(first, min(first + timedelta(days=size - 1), end)) for first in starts]


def published(warehouse: Warehouse, wanted: Collection[str], first: date, last: date) -> list[dict]:
    """The published stages of these tables that touch first..last, and the exclusions of these days.

    Rows of table_name, start_date, end_date, times (how often), is_exclusion, and of the newest the token, started_at,
    ended_at and excluded (what it was built without, as text). The newest has the largest token, whatever the clocks
    said. An exclusion is a row of the excluded type's stable table.
    """
    for name in ("pipeline_runs", "exclusions"):
        warehouse.ensure(tables.from_file("monitoring", name))
    names = ", ".join(map(text_literal, wanted))
    newest = ", ".join(f"ARRAY_AGG({sql} ORDER BY token DESC LIMIT 1) AS {name}" for name, sql in _OF_NEWEST.items())
    rows = warehouse.rows(
        f"SELECT table_name, start_date, end_date, COUNT(*) AS times, MAX(token) AS token, {newest},"
        " FALSE AS is_exclusion FROM monitoring.pipeline_runs"
        " WHERE status = 'published' AND start_date <= @last AND end_date >= @first"
        f" AND table_name IN ({names}) GROUP BY table_name, start_date, end_date"
        " UNION ALL SELECT table_name, submission_date AS start_date, submission_date AS end_date, COUNT(*), 0,"
        " [MAX(recorded_at)], [MAX(recorded_at)], [''], TRUE FROM monitoring.exclusions"
        " WHERE recorded_date >= '2000-01-01' AND status = 'excluded'"
        f" AND submission_date BETWEEN @first AND @last AND table_name IN ({names})"
        " GROUP BY table_name, submission_date",
        {"first": first, "last": last},
    )
    return [row | {name: row[name][0] for name in _OF_NEWEST} for row in rows]


def never_built(warehouse: Warehouse, wanted: Collection[str], first: date, last: date) -> dict[str, list[Days]]:
    """For each table, the days of first..last for which it was never published, as ranges."""
    return days_missing(published(warehouse, wanted, first, last), wanted, first, last)


def days_missing(found: list[dict], wanted: Collection[str], first: date, last: date) -> dict[str, list[Days]]:
    """For each table, the ranges of first..last that are in none of the stages `found`, which are as in `published`.

    A day that is excluded is not missing: it is built without the type.
    """
    built = days_by_table(found)
    return {table: without([(first, last)], built.get(table, ())) for table in wanted}


def days_by_table(found: list[dict]) -> dict[str, list[Days]]:
    """Table → the days of each of its stages and exclusions."""
    days: dict[str, list[Days]] = {}
    for run in found:
        days.setdefault(run["table_name"], []).append((run["start_date"], run["end_date"]))
    return days


def newest_stages(found: Iterable[dict], days: Days, most: int = 1) -> list[tuple[Days, list[dict]]]:
    """The days on which stages, rows of monitoring.pipeline_runs, were published, as ranges of the same newest ones,
    newest first, and at most so many."""
    rows = sorted(found, key=lambda row: (row["token"], row["started_at"]), reverse=True)
    return day_ranges.newest((((row["start_date"], row["end_date"]), row) for row in rows), days, most)


def newest(found: list[dict], table: str, first: date, last: date) -> dict[date, dict]:
    """Of each day of first..last on which a table was published, its newest stage; `found` is as in `published`."""
    days: dict[date, dict] = {}
    for run in found:
        if run["table_name"] == table and not run["is_exclusion"]:
            for day in days_of(max(first, run["start_date"]), min(last, run["end_date"])):
                if day not in days or run["token"] > days[day]["token"]:
                    days[day] = run
    return days


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
    """How often what a stage reads has been published or excluded, on any of the days that it reads; `found` as in
    `published`."""
    return inputs_counted(times_published(found), step, start, end)


def times_published(found: list[dict]) -> dict[str, Counted]:
    """Table → how often its days were published or excluded."""
    times: dict[str, list[tuple[Days, int]]] = {}
    for run in found:
        times.setdefault(run["table_name"], []).append(((run["start_date"], run["end_date"]), run["times"]))
    return {table: Counted(of_table) for table, of_table in times.items()}


def inputs_counted(times: Mapping[str, Counted], step: Step, start: date, end: date) -> int:
    """As inputs_published, of what times_published has counted: for many stages that read the same."""
    return sum(times[table].touching(days) for table, days in days_read(step, start, end).items() if table in times)


def record_failure(warehouse: Warehouse, row: dict, error: Exception) -> None:
    """Writes down a stage that ended without a publish; `row` is what was known of it."""
    table = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(table)
    failure = {"status": "failed", "error": one_line(error)[:2000], "ended_at": datetime.now(UTC)}
    warehouse.load_rows(table, [row | failure | {"started_date": row["started_at"].date()}])
