"""The statements that the pipeline's Python sends, written down on their way."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from telemetry_warehouse import (
    alerts,
    cli,
    detection,
    exclusions,
    lineage,
    night,
    plan,
    refusals,
    resume,
    runs,
    stages,
    summary,
    tables,
    verdicts,
)
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.gates import overrides
from telemetry_warehouse.gates.publish import publish
from telemetry_warehouse.landing import errors
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.verdicts import Judgement
from tests.googlesql.warehouse import DAY, candidate, night_tables, other_tables

_TOKEN = 1_600_000_000_000_000
_CLIENT = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
_COMMANDS = [
    ("status",),
    ("history", _CLIENT, "--app", "Firefox"),
    ("replay", "--type", "telemetry/main/4", "--day", str(DAY), "--error", "schema"),
    ("replay", "--raw", str(DAY)),
    ("backfill", str(DAY), str(DAY), "--dry-run"),
    ("report", str(DAY)),
    ("changes", "--since", str(DAY), "--withheld"),
    ("changes", "noisy"),
    ("gate", "telemetry_live.main_v4", str(DAY)),
    # The second looks up what the first has told.
    ("watch",),
    ("watch",),
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
            warehouse.create(candidate(table))
            publish(warehouse, table, candidate(table).id, DAY, DAY, _TOKEN)
            warehouse.drop(candidate(table).id)
    return texts


def _resume(warehouse: Warehouse) -> None:
    """What a backfill asks that goes on where it was cut short; nothing is built."""
    planned = plan.make(warehouse, DAY, DAY)
    for _ in range(2):
        resume.begin(warehouse, planned, "googlesql")
    resume.end(warehouse, planned, "googlesql")


def _about_an_alert(warehouse: Warehouse) -> None:
    """What is asked to explain an alert, to look at it and to review it."""
    step = lineage.load(warehouse.settings).step("changes_v1")
    alert = {"submission_date": DAY, "change_date": DAY, "axis": "build_date"}
    warehouse.query(detection.movers_select(warehouse, step, DAY, DAY, [alert]))
    series = {"app_name": "App", "channel": None, "os": "Linux", "probe": "P", "key": "", "layout": "l"}
    alerts.history(warehouse, alert | series | {"detected_date": DAY})
    alerts._warnings(warehouse, {"first": DAY, "last": DAY})
    alerts._errors(warehouse, {"first": DAY, "last": DAY})
    with pytest.raises(Refused, match="no alert"):
        alerts.review(warehouse, "0123456789ab", "new", "me", "why")


def by_commands(settings: Settings) -> dict[str, str]:
    """What commands and a night ask of a warehouse that holds nothing yet; of steps of a kind, one speaks for all."""
    warehouse = Warehouse(replace(settings, dedup_slices=2))
    for table in other_tables(settings):
        warehouse.ensure(table)
    # Of days before the first ping, and where none was landed, there is no plan.
    landing, kept = tables.from_file("monitoring", "landing"), {"cycle_id": "googlesql", "landed_date": DAY}
    of_a_type = {"document_namespace": "telemetry", "document_type": "main", "document_version": "4"}
    warehouse.load_rows(landing, [kept | of_a_type | {"submission_date": DAY, "received": 1, "landed": 1, "failed": 0}])
    steps = lineage.load(settings).steps
    of_each_kind = {(step.kind, step.reads_yesterday): step for step in steps}.values()
    with _written_down(and_sent=True) as texts, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_HOME", str(settings.home))
        patch.setenv("WAREHOUSE_NIGHT_DEADLINE", "00:00")
        for step in of_each_kind:
            refusals.reasons(warehouse, step, DAY, DAY, runs.published_around(warehouse, [(step, DAY, DAY)]))
            table = stages.definition(warehouse, step)
            if step.kind != "model":
                warehouse.ensure(table)
                warehouse.ensure_dataset(candidate(table).dataset)
                stages._BUILDERS[step.kind](warehouse, step, table, candidate(table).id, DAY, DAY, "googlesql")
                warehouse.drop(candidate(table).id)
        _about_an_alert(warehouse)
        for command in _COMMANDS:
            cli.main(list(command))
        moment = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
        judged = Judgement("telemetry_live.main_v4", DAY, DAY, "googlesql", "", moment, ())
        verdicts._stages_since(warehouse, judged, DAY)
        overrides.in_force(warehouse, judged.table, DAY, DAY)
        summary.print_summary(warehouse, "", DAY)
        night.stale_days(warehouse, DAY)
        _resume(warehouse)
        exclusions.record_ended(warehouse, DAY, "googlesql")
        errors.expire(warehouse)
    warehouse.query(f"DELETE FROM {landing.id} WHERE landed_date = '{DAY}' AND cycle_id = 'googlesql'")
    return texts
