"""The statements that the pipeline's Python sends, written down on their way."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from telemetry_warehouse import cli, lineage, night, stages, summary
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.publish import publish
from telemetry_warehouse.landing import errors
from telemetry_warehouse.settings import Settings
from tests.googlesql.warehouse import DAY, candidate, night_tables, other_tables

_TOKEN = 1_600_000_000_000_000
_CLIENT = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
_COMMANDS = [
    ("status",),
    ("history", _CLIENT, "--app", "Firefox"),
    ("replay", "--type", "telemetry/main/4", "--day", str(DAY), "--error", "schema"),
    ("replay", "--raw", str(DAY)),
    ("backfill", str(DAY), str(DAY), "--dry-run"),
]


@contextlib.contextmanager
def _written_down(and_sent: bool) -> Iterator[dict[str, str]]:
    """Every statement or script that any Warehouse is given meanwhile, by its own text."""
    texts: dict[str, str] = {}
    send = Warehouse.query

    def query(self, sql, *arguments, **options):
        texts[" ".join(sql.split())] = sql
        return send(self, sql, *arguments, **options) if and_sent else iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Warehouse, "query", query)
        yield texts


def by_publishing(settings: Settings) -> dict[str, str]:
    """How each table that a night builds is published; nothing is."""
    warehouse = Warehouse(settings)
    with _written_down(and_sent=False) as texts:
        for table in night_tables(settings).values():
            publish(warehouse, table, candidate(table).id, DAY, DAY, _TOKEN)
    return texts


def by_commands(settings: Settings) -> dict[str, str]:
    """What commands and a night ask of a warehouse that holds nothing yet; of steps of a kind, one speaks for all."""
    warehouse = Warehouse(replace(settings, dedup_slices=2))
    for table in other_tables(settings):
        warehouse.ensure(table)
    steps = lineage.load(settings).steps
    of_each_kind = {(step.kind, step.reads_yesterday): step for step in steps}.values()
    with _written_down(and_sent=True) as texts, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_HOME", str(settings.home))
        for step in of_each_kind:
            stages.refuse_bad_range(warehouse, step, DAY, DAY, built_before=[other.table for other in steps])
            table = stages.definition(warehouse, step)
            if step.kind != "model":
                warehouse.ensure(table)
                warehouse.ensure_dataset(candidate(table).dataset)
                stages._BUILDERS[step.kind](warehouse, step, table, candidate(table).id, DAY, DAY, "googlesql")
                warehouse.drop(candidate(table).id)
        for command in _COMMANDS:
            cli.main(list(command))
        summary.print_summary(warehouse, "", DAY)
        night.stale_days(warehouse, DAY)
        errors.expire(warehouse)
    return texts
