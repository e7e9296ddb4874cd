"""What a gate costs beside the build that it judges: a fixed part, and a part that grows with the rows."""

from collections.abc import Iterator

from telemetry_warehouse import lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from tests.benchmarks.__main__ import Result
from tests.benchmarks.million import DAY, land_a_day, multiply
from tests.benchmarks.night import quiet
from tests.conftest import temporary_home

CLIENTS = 1_000
HISTOGRAMS = ("derived.histogram_aggregates_v1", "derived.histogram_aggregates_by_build_v1")
OTHERS = ("derived.clients_daily_v1", "derived.clients_last_seen_v1")
# The histograms of more pings do not fit into the stand-in's memory; the others are too quick to be timed on so few.
COPIES = {HISTOGRAMS: 40, OTHERS: 240}
STABLE = "telemetry_stable.main_v4"
AIM = 0.25


def run() -> Iterator[Result]:
    with temporary_home() as settings:
        warehouse, landed = land_a_day(settings, CLIENTS)
        known = lineage.load(settings)
        # Models read both stable tables.
        stages.run(warehouse, known.step("fleet_stable.flight_v1"), DAY, DAY, "others", quiet)
        every = (STABLE, *HISTOGRAMS, *OTHERS)
        # Once for what only the first run of a process pays.
        _timed(warehouse, known, every)
        small, there = _timed(warehouse, known, every), 1
        for tables, copies in COPIES.items():
            multiply(warehouse, copies, there)
            there, judged = copies, tables if tables == HISTOGRAMS else (STABLE, *tables)
            large = _timed(warehouse, known, (STABLE, *tables))
            for table in judged:
                yield _result(table, small[table].seconds, large[table].seconds, landed, copies)


def _result(table: str, fixed: dict[str, float], large: dict[str, float], landed: int, copies: int) -> Result:
    millions = landed * (copies - 1) / 1e6
    build, gate = ((large[part] - fixed[part]) / millions for part in ("build", "gate"))
    return Result(
        f"the gate of {table}, per million pings",
        f"{gate:.1f} s",
        f"{build:.1f} s to build them",
        gate / build,
        f"aim at most {AIM}; measured on {landed * copies:,} pings;"
        f" on {landed:,} {fixed['gate']:.1f} s beside {fixed['build']:.1f} s",
    )


def _timed(warehouse: Warehouse, known: lineage.Lineage, tables: tuple[str, ...]) -> dict[str, stages.Outcome]:
    return {table: stages.run(warehouse, known.step(table), DAY, DAY, "gate", quiet) for table in tables}
