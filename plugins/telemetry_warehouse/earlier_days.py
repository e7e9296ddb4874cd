"""Days before a night's own that must be built first: those that no night has built, and those that are stale.

No night has built a day where a table lacks it and has later or earlier ones of the last weeks: the machine was off, or
the table failed or waited. A day is stale where pings of it landed after a table that holds them was built, or where it
was built without a ping type that is published since. Both are found by what landing and the stages wrote down in
`monitoring`. The rules are functions of these rows.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from telemetry_warehouse import exclusions, lineage, runs
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.lineage import Lineage, Step

# A stale or missed day older than this is left to a backfill by hand: the night must end.
MOST_DAYS = 28

DaysOf = dict[str, set[date]]


@dataclass(frozen=True)
class Log:
    """What is known of the days before `before`: `published` as in runs.published, `landed` as in runs.landed."""

    before: date
    published: list[dict]
    landed: list[dict]

    @property
    def oldest(self) -> date:
        """The first day that a night mends."""
        return self.before - timedelta(days=MOST_DAYS)

    def newest(self, table: str) -> dict[date, dict]:
        """Day → the stage that published it last."""
        return self._newest.get(table, {})

    @cached_property
    def _newest(self) -> dict[str, dict[date, dict]]:
        names = {row["table_name"] for row in self.published}
        return {table: runs.newest(self.published, table, date.min, date.max) for table in names}


def read(warehouse: Warehouse, before: date) -> Log:
    """What `monitoring` says that matters for the days before `before`."""
    oldest = before - timedelta(days=MOST_DAYS)
    landed = [row for row in runs.landed(warehouse, oldest) if row["submission_date"] < before]
    first = min([oldest - timedelta(days=1), *(row["submission_date"] for row in landed)])
    steps = lineage.load(warehouse.settings).steps
    return Log(before, runs.published(warehouse, [step.table for step in steps], first, date(9999, 12, 31)), landed)


def missed(known: Lineage, log: Log) -> DaysOf:
    """Table → days that no night has built: after the first that it has of the last weeks, and before `log.before`.

    A table that was last built before those weeks, or never, begins anew.
    """
    eve = log.oldest - timedelta(days=1)
    found: DaysOf = {}
    for step in known.steps:
        built = {day for day in log.newest(step.table) if eve <= day < log.before}
        if built:
            since = (min(built) + timedelta(days=n) for n in range((log.before - min(built)).days))
            found[step.table] = {day for day in since if day not in built}
    return {table: days for table, days in found.items() if days}


def _follows(known: Lineage, log: Log) -> dict[str, list[Step]]:
    """Of each stable table for which pings landed: itself and what is made of it."""
    tables = {row["table"] for row in log.landed} & {step.table for step in known.steps}
    return {table: known.select(f"{table}+") for table in tables}


def late(known: Lineage, log: Log) -> set[date]:
    """The days of which pings landed after a table that holds them was built, or that were built before any came."""
    newest = {step.table: log.newest(step.table) for step in known.steps}
    deduplicated = {day for step in known.steps if step.kind == "dedup" for day in newest[step.table]}
    found = set()
    follows = _follows(known, log)
    for row in log.landed:
        table, day = row["table"], row["submission_date"]
        if table in newest and day < log.before:
            built = [newest[step.table][day] for step in follows[table] if day in newest[step.table]]
            came_first = day not in newest[table] and (built or day in deduplicated)
            if came_first or any(row["landed_at"] > run["started_at"] for run in built):
                found.add(day)
    return found


def lacking(known: Lineage, log: Log) -> DaysOf:
    """Table → days that were built without a ping type which has been published for the excluded day since."""
    newest = {step.table: log.newest(step.table) for step in known.steps}
    found: DaysOf = {}
    for table, days in newest.items():
        for day, run in days.items():
            for one in exclusions.from_text(run["excluded"]):
                again = newest.get(lineage.stable_table(one.name), {}).get(one.day)
                if day < log.before and one.day <= day <= one.until and again and again["ended_at"] > run["started_at"]:
                    found.setdefault(table, set()).add(day)
    return found


def stale(known: Lineage, log: Log) -> DaysOf:
    """Table → days that it has and that lack pings which landed, or a ping type which was published, since then.

    Pings can show on the days of deduplication's look-back too. A stable table also lacks a day that others were built
    for without it, because its pings came later.
    """
    newest = {step.table: log.newest(step.table) for step in known.steps}
    deduplicated = {day for step in known.steps if step.kind == "dedup" for day in newest[step.table]}
    found: DaysOf = defaultdict(set)
    follows = _follows(known, log)
    for row in log.landed:
        table, landed_on = row["table"], row["submission_date"]
        if table not in newest or landed_on >= log.before:
            continue
        holders = follows[table]
        if landed_on not in newest[table] and (
            landed_on in deduplicated or any(landed_on in newest[step.table] for step in holders)
        ):
            found[table].add(landed_on)
        for step in holders:
            for day in (landed_on + timedelta(days=n) for n in range(lineage.LOOK_BACK_DAYS + 1)):
                built = newest[step.table].get(day)
                if built and day < log.before and row["landed_at"] > built["started_at"]:
                    found[step.table].add(day)
    for table, days in lacking(known, log).items():
        found[table] |= days
    return dict(found)


def with_inputs(known: Lineage, log: Log, days: Mapping[str, set[date]]) -> DaysOf:
    """The days, and those of the tables that they are built from that were never built, such as a new type's."""
    found = {table: set(of_table) for table, of_table in days.items()}
    for step in reversed(known.steps):
        for before in known.upstream(step):
            if lacking := found.get(step.table, set()) - log.newest(before.table).keys():
                found.setdefault(before.table, set()).update(lacking)
    return found


def with_what_follows(known: Lineage, log: Log, days: Mapping[str, set[date]]) -> DaysOf:
    """The days to build of every table, where `days` are built: published days that read them are built again."""
    found: DaysOf = {}
    for step in known.steps:
        own = days.get(step.table, set())
        changed = {day for table in step.inputs.values() for day in found.get(table, ())}
        shows = {
            day + timedelta(days=n)
            for day in changed | (own if step.reads_yesterday else set())
            for n in range(step.carries_days + 1)
        }
        if wanted := own | (shows & log.newest(step.table).keys()):
            found[step.table] = wanted
    return found


def not_built(known: Lineage, log: Log) -> dict[str, dict[date, str]]:
    """The missed days that tables wait for, each with its cause: the first table before it that lacks the day.

    A day that goes without a ping type does not wait for that type.
    """
    excluded = exclusions.in_force(log.published)
    found: dict[str, dict[date, str]] = {}
    lacking = missed(known, log)
    for step in known.steps:
        for day in sorted(lacking.get(step.table, set()) - excluded.get(step.table, set())):
            causes = [found[table][day] for table in step.inputs.values() if day in found.get(table, {})]
            if step.reads_yesterday and day - timedelta(days=1) in found.get(step.table, {}):
                causes.append(found[step.table][day - timedelta(days=1)])
            found.setdefault(step.table, {})[day] = causes[0] if causes else f"{step.table} {day}"
    return found
