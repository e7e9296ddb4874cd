"""Why a table cannot be built for some days: each reason is a line that names what is missing and what to run."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter

from telemetry_warehouse import lineage, runs, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import Days, merged, within, without
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.lineage import LOOK_BACK_DAYS, Lineage, Step
from telemetry_warehouse.runs import days_by_table, days_missing, text
from telemetry_warehouse.schemas import DocumentType, TypeName
from telemetry_warehouse.tables import Table
from telemetry_warehouse.type_tables import TypeTables


def refuse_unfinished(day: date) -> None:
    """Raises Refused for a day that is not over in UTC: its tables could still change."""
    for reason in unfinished(day):
        raise Refused(reason)


def refuse_before_every_ping(warehouse: Warehouse, start: date, end: date) -> None:
    """Raises Refused for days before every ping that was landed: their tables could only be empty."""
    for reason in before_every_ping(first_pings(warehouse).values(), start, end):
        raise Refused(reason)


def refuse_bad_range(warehouse: Warehouse, step: Step, start: date, end: date, published: list[dict]) -> None:
    """Raises Refused with every reason for which start..end could not be complete; `published` as in `reasons`."""
    refuse_unfinished(end)
    if found := reasons(warehouse, step, start, end, published):
        raise Refused("; ".join(found))


def unfinished(day: date) -> list[str]:
    last = last_ended()
    return [] if day <= last else [f"{day} has not ended yet (UTC); the last day that can be built is {last}"]


def last_ended() -> date:
    """Yesterday (UTC)."""
    return datetime.now(UTC).date() - timedelta(days=1)


def first_pings(warehouse: Warehouse) -> dict[TypeName, date]:
    """Document type → the day of its first landed ping; a type without any is left out."""
    landing = tables.from_file("monitoring", "landing")
    warehouse.ensure(landing)
    landed = warehouse.rows(
        "SELECT document_namespace, document_type, document_version, MIN(submission_date) AS first"
        f" FROM {landing.id} WHERE landed_date >= '2000-01-01' AND landed > 0 AND document_type IS NOT NULL"
        " GROUP BY document_namespace, document_type, document_version"
    )
    return {
        TypeName(row["document_namespace"], row["document_type"], row["document_version"]): row["first"]
        for row in landed
    }


def before_every_ping(firsts: Iterable[date], start: date, end: date) -> list[str]:
    """Why start..end is not built where it ends before the first ping of every type; `firsts` as first_pings has them.

    Nothing stands against it where no ping was landed at all.
    """
    first = min(firsts, default=None)
    if first is None or first <= end:
        return []
    return [
        f"{text(start, end)} lies before every ping that was landed, the first of which is of {first}: there is nothing"
        f" to build; give days from {first} on"
    ]


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
    types = {found.stable.id: found for found in type_tables.load(warehouse)}
    for table, tables_of_type in types.items():
        if step.kind == "dedup" and table == step.table:
            found += expired_in_live(warehouse, tables_of_type, start, end)
        elif table in step.inputs.values():
            found += _expired(warehouse, step.table, tables_of_type, tables_of_type.stable, start, end)
    # What dedup reads is landed and not built.
    if step.kind != "dedup":
        found += _missing_inputs(warehouse, step, start, end, published, built_before, types)
    if step.reads_yesterday:
        found += _gap(warehouse, step, start, published)
    return found


def expired_in_live(
    warehouse: Warehouse, document_type: DocumentType | TypeTables, start: date, end: date
) -> list[str]:
    """Why start..end of a stable table cannot be deduplicated: its live table has lost pings of these days, or of the
    look-back before them, by its retention."""
    first = start - timedelta(days=LOOK_BACK_DAYS)
    return _expired(warehouse, document_type.stable.id, document_type, document_type.live, first, end)


def _expired(
    warehouse: Warehouse, table: str, document_type: DocumentType | TypeTables, source: Table, first: date, last: date
) -> list[str]:
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
        f"{table} {text(first, last)} needs {source.id}, which keeps {source.retention_days} days and has"
        f" lost those of {text(lost['first'], lost['last'])}; the first day it still has is {oldest_kept}"
    ]


def _missing_inputs(
    warehouse: Warehouse,
    step: Step,
    start: date,
    end: date,
    published: list[dict],
    built_before: Mapping[str, Days],
    types: Mapping[str, DocumentType | TypeTables],
) -> list[str]:
    """Every day of the tables that a step reads must have been built, or its own days would lack theirs.

    Days before the first ping of every type that a table is made of count as built: they are empty.
    """
    known = lineage.load(warehouse.settings)
    wanted = [other.table for other in known.upstream(step)]
    missing = {}
    for table, days in days_missing(published, wanted, start, end).items():
        if left := without(days, [built_before[table]] if table in built_before else []):
            missing[table] = left
    firsts = first_pings(warehouse) if missing else {}
    found = []
    for table, days in missing.items():
        first_ping = first_ping_of(known, table, firsts)
        if first_ping and (left := within(days, (first_ping, date.max))):
            lacking = (left[0][0], left[-1][1])
            never = f"{step.table} {text(start, end)} reads {table}, which was never built for"
            found.append(f"{never} {text(*lacking)}; {_how_to_build(warehouse, types.get(table), lacking)}")
    return found


def first_ping_of(known: Lineage, table: str, firsts: Mapping[TypeName, date]) -> date | None:
    """The day of the first ping of the types that a table is made of; None where they have none. `firsts`: as in
    first_pings."""
    stable = known.stable_before(table)
    return min((first for name, first in firsts.items() if lineage.stable_table(name) in stable), default=None)


def _how_to_build(warehouse: Warehouse, document_type: DocumentType | TypeTables | None, days: Days) -> str:
    if document_type and (lost := expired_in_live(warehouse, document_type, *days)):
        again = f"`./warehouse night {days[0]} --without {document_type.name} --why TEXT`"
        return f"{lost[0]}; let it go without that type, day by day: {again}"
    return f"run `./warehouse backfill {days[0]} {days[1]}` first"


def _gap(warehouse: Warehouse, step: Step, start: date, published: list[dict]) -> list[str]:
    """A table that continues from its own yesterday needs it, unless nothing near it was ever built."""
    yesterday = start - timedelta(days=1)
    first = first_of_gap(step, start, published)
    if first is None:
        return []
    first_ping = first_ping_of(lineage.load(warehouse.settings), step.table, first_pings(warehouse))
    if first_ping is None or yesterday < first_ping:
        return []
    # The days to build first may continue from others that are not there either.
    everything = runs.published(warehouse, {step.table, *step.inputs.values()}, date.min, yesterday)
    gaps = _Gaps(step, everything)
    while earlier := gaps.first_before(first):
        first = earlier
    first = max(first, first_ping)
    missing = days_missing(everything, step.inputs.values(), first, yesterday)
    select = "" if any(missing.values()) else f" --select {step.name}+"
    return [
        f"{step.table} {start} continues from {yesterday}, and its days {text(first, yesterday)} were not built;"
        f" run `./warehouse backfill {first} {yesterday}{select}` first"
    ]


def first_of_gap(step: Step, start: date, published: list[dict]) -> date | None:
    """The first of the days that a table lacks before `start` and continues from; None where it lacks none."""
    return _Gaps(step, published).first_before(start)


class _Gaps:
    """What is built of a table, `own`, and of it or anything that it reads, `near`."""

    def __init__(self, step: Step, published: list[dict]):
        days = days_by_table(published)
        self._own = merged(days.get(step.table, ()))
        self._near = merged(one for table in {step.table, *step.inputs.values()} for one in days.get(table, ()))
        self._reach = timedelta(days=step.carries_days)

    def first_before(self, start: date) -> date | None:
        """As first_of_gap."""
        yesterday = start - timedelta(days=1)
        oldest = yesterday - self._reach
        built = bisect_right(self._own, yesterday, key=itemgetter(0))
        last = self._own[built - 1][1] if built else date.min
        if last >= yesterday:
            return None
        if built and last >= oldest:
            return last + timedelta(days=1)
        reaching = self._near[bisect_left(self._near, oldest, key=itemgetter(1)) :][:1]
        return max(oldest, reaching[0][0]) if reaching and reaching[0][0] <= yesterday else None
