"""Undo: a table's days as they were before they were last published, read from BigQuery's time travel (seven days)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter

from telemetry_warehouse import lineage, projection, runs, stages, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.day_ranges import Days, without
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.gates.publish import publish, whole_days
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.tables import Table, quoted


@dataclass(frozen=True)
class Restored:
    """Days that one publish replaced: `undone` is its run, `by` and `checksum` the run and the code that come back, and
    `excluded` the ping types that these were built without.

    The publish's stage held the table's lock from before `moment` on, so the table then is what it replaced.
    """

    start: date
    end: date
    undone: str
    by: str
    checksum: str
    excluded: str
    moment: datetime


def revert(
    warehouse: Warehouse, step: Step, start: date, end: date, run_id: str, say: Callable[[str], None] = print
) -> list[Restored]:
    """Publishes for start..end what was published before; what it restores has passed its gate then.

    Reverting twice gives the first state again. Raises Refused where a day was published less than twice or the table
    is merged by client, google.api_core.exceptions.GoogleAPIError where time travel does not reach back far enough;
    then the table is as it was.
    """
    table = stages.definition(warehouse, step)
    if end < start:
        raise Refused(f"the range {start}..{end} is empty: its end is before its start")
    if table.merge_key:
        raise Refused(
            f"{table.id} has a row per {' and '.join(table.merge_key)} over all days and no days to restore;"
            f" revert what it reads ({', '.join(step.inputs.values())}), then"
            f" `./warehouse backfill {start} {end} --select {step.name}`"
        )
    # What the days had may have no place in the definition any more.
    table = replace(table, columns=tuple(warehouse.client.get_table(table.id).schema))
    with stages.sole_writer(warehouse, table, run_id) as token:
        parts = _previous(warehouse, table, start, end)
        candidate = stages.new_candidate(warehouse, table, start, end, token)
        stages.create_candidate(warehouse, table, candidate)
        rows = [_copy(warehouse, table, candidate, part) for part in parts]
        for part, count in zip(parts, rows, strict=True):
            known = {"run": run_id, "checksum": part.checksum, "excluded": part.excluded, "row_count": count}
            publish(warehouse, table, candidate, part.start, part.end, token, known)
            days = f"{table.id} {runs.text(part.start, part.end)}"
            say(f"{days}: {count:,} rows of {part.by} are back, those of {part.undone} gone")
        warehouse.drop(candidate)
    for reader in lineage.load(warehouse.settings).steps:
        if table.id in reader.inputs.values():
            again = f"./warehouse backfill {start} {end} --select {reader.name}+"
            say(f"  {reader.table} was built from what is gone: {again}")
    return parts


def _previous(warehouse: Warehouse, table: Table, start: date, end: date) -> list[Restored]:
    warehouse.ensure(tables.from_file("monitoring", "pipeline_runs"))
    published = warehouse.rows(
        "SELECT run, token, start_date, end_date, started_at, checksum, IFNULL(excluded, '') AS excluded"
        " FROM monitoring.pipeline_runs"
        " WHERE status = 'published' AND table_name = @table AND start_date <= @last AND end_date >= @first",
        {"table": table.id, "first": start, "last": end},
    )
    newest = runs.newest_stages(published, (start, end), most=2)
    never = [(days, []) for days in without([(start, end)], (days for days, _ in newest))]
    for (day, _), of_days in sorted([*newest, *never], key=itemgetter(0)):
        if len(of_days) < 2:
            times = f"published once only, by {of_days[0]['run']}" if of_days else "never published"
            raise Refused(f"{table.id} {day} was {times}; there is nothing before that to go back to")
    restored = []
    for (moment, undone, by, checksum, excluded), group in groupby(newest, key=_change):
        of_group = [days for days, _ in group]
        restored.append(Restored(of_group[0][0], of_group[-1][1], undone, by, checksum, excluded, moment))
    return restored


def _change(days: tuple[Days, list[dict]]) -> tuple:
    """What was published last, when, and what it replaced."""
    _, (last, before) = days
    return last["started_at"], last["run"], before["run"], before["checksum"], before["excluded"]


def _copy(warehouse: Warehouse, table: Table, candidate: str, part: Restored) -> int:
    """Adds the days as they were to the candidate; returns how many rows."""
    then = f"{quoted(table.id)} FOR SYSTEM_TIME AS OF TIMESTAMP '{part.moment:%Y-%m-%d %H:%M:%S.%f}+00'"
    days = whole_days(table, part.start, part.end)
    of_days = f"SELECT * FROM {then} WHERE {days}"
    there = warehouse.query(f"{of_days} LIMIT 0").schema
    columns = ", ".join(f"`{name}`" for name in table.column_names)
    done = warehouse.query(
        f"INSERT INTO {quoted(candidate)} ({columns}) {projection.select(f'({of_days})', there, table)}",
        labels={"table": table.name, "stage": "build"},
    )
    return done.num_dml_affected_rows
