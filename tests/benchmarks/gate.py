"""What a gate costs beside the build that it judges: a fixed part, and a part that grows with the rows."""

from collections.abc import Iterator

from telemetry_warehouse import lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from tests.benchmarks.__main__ import Result
from tests.benchmarks.million import DAY, land_a_day, multiply
from tests.benchmarks.night import quiet
from tests.conftest import temporary_home

CLIENTS = 1_000
COPIES = 60
TABLES = ("telemetry_stable.main_v4", "derived.clients_daily_v1", "derived.clients_last_seen_v1")
# clients_daily reads both stable tables.
OTHERS = ("fleet_stable.flight_v1",)
AIM = 0.25


def run() -> Iterator[Result]:
    with temporary_home() as settings:
        warehouse, landed = land_a_day(settings, CLIENTS)
        known = lineage.load(settings)
        for table in OTHERS:
            stages.run(warehouse, known.step(table), DAY, DAY, "others", quiet)
        # Once for what only the first run of a process pays.
        _timed(warehouse, known)
        small = _timed(warehouse, known)
        multiply(warehouse, COPIES)
        large = _timed(warehouse, known)
        millions = landed * (COPIES - 1) / 1e6
        for table in TABLES:
            build, gate = (
                (large[table].seconds[part] - small[table].seconds[part]) / millions for part in ("build", "gate")
            )
            fixed = small[table].seconds
            yield Result(
                f"the gate of {table}, per million pings",
                f"{gate:.1f} s",
                f"{build:.1f} s to build them",
                gate / build,
                f"aim at most {AIM}; on {landed:,} pings {fixed['gate']:.1f} s beside {fixed['build']:.1f} s",
            )


def _timed(warehouse: Warehouse, known: lineage.Lineage) -> dict[str, stages.Outcome]:
    return {table: stages.run(warehouse, known.step(table), DAY, DAY, "gate", quiet) for table in TABLES}
