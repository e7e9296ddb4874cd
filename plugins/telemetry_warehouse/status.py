"""What is running, what is fresh and what failed, for `./warehouse status`."""

from datetime import UTC, datetime, timedelta

from telemetry_warehouse import exclusions, leftovers, lineage, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import NotRunning
from telemetry_warehouse.landing import backlog
from telemetry_warehouse.provenance import built_by_older_code
from telemetry_warehouse.querying import print_grid
from telemetry_warehouse.runs import text
from telemetry_warehouse.settings import Settings

_RECENT = timedelta(days=7)


def print_status(settings: Settings, reads: bool) -> None:
    """Prints settings, servers, freshness by table, and the failures of the last seven days.

    `reads`: also the bytes that each table's last stage read, by an estimate that takes a while.
    """
    from telemetry_warehouse.local import standins

    print_grid(["setting", "value", "meaning"], settings.listed(), "Settings")
    servers = standins.status(settings)
    if servers:
        rows = [(s.name, s.about, f"running ({s.pid})" if s.pid else "not running", s.address) for s in servers]
        print_grid(["server", "what", "state", "address"], rows, "Servers")
    warehouse = Warehouse(settings)
    try:
        steps = lineage.load(settings).steps
        for name in ("pipeline_runs", "gate_results", "landing"):
            warehouse.ensure(tables.from_file("monitoring", name))
    except NotRunning as error:
        print(error)
        return
    print_grid(
        ["table", "published through", "last built", "by", "rows", "failed (7 days)", "built by older code"],
        _freshness(warehouse, steps),
        "Tables",
    )
    if reads:
        print_grid(["table", "days", "build", "gate", "publish"], _reads(warehouse), "Bytes read by the last stage")
    names = ["received", "landed", "to errors", "last batch", "last drained to empty", "messages wait (s)", "backlog"]
    print_grid(names, _landing(warehouse), "Landing (7 days)")
    if through := _let_through(warehouse):
        names = ["table", "day", "published", "in spite of", "asked by", "reviewed by", "why", "override ends"]
        print_grid(names, through, "Published days that a review let through")
    if left := leftovers.find(warehouse):
        print_grid(["what is published and no longer built"], [(line,) for line in left], "Left behind")
    if refused := type_tables.lines(type_tables.faults(warehouse)):
        print_grid(["what keeps pings from landing"], [(line,) for line in refused], "Schemas that cannot be applied")
    if lacking := exclusions.not_ended(warehouse):
        rows = [(r["submission_date"], r["ping_type"], r["reason"], r["run"]) for r in lacking]
        print_grid(["day", "built without", "why", "by"], rows, "Days that were let go without a ping type")
    failures = _failures(warehouse)
    if failures:
        print_grid(["table", "days", "when", "error"], failures, "Failures (7 days)")


def _freshness(warehouse, steps) -> list[tuple]:
    runs = {
        r["table_name"]: r
        for r in warehouse.rows(
            "SELECT table_name, MAX(IF(status = 'published', end_date, NULL)) AS through,"
            " MAX(IF(status = 'published', ended_at, NULL)) AS built_at,"
            " COUNTIF(status = 'failed' AND started_at >= @recent) AS failed,"
            " ARRAY_AGG(STRUCT(run AS run, row_count AS row_count)"
            " ORDER BY IF(status = 'published', ended_at, NULL) DESC LIMIT 1) AS last"
            " FROM monitoring.pipeline_runs GROUP BY table_name",
            {"recent": datetime.now(UTC) - _RECENT},
        )
    }
    older = built_by_older_code(warehouse, steps)
    rows = []
    for step in steps:
        run = runs.get(step.table)
        if run is None or run["through"] is None:
            rows.append((step.table, "never built", None, None, None, run["failed"] if run else 0, None))
        else:
            last = run["last"][0]
            rows.append(
                (
                    step.table,
                    run["through"],
                    f"{run['built_at']:%Y-%m-%d %H:%M}",
                    last["run"],
                    last["row_count"],
                    run["failed"],
                    ", ".join(text(first, last) for first, last in older[step.table]),
                )
            )
    return rows


def _reads(warehouse) -> list[tuple]:
    from telemetry_warehouse.estimate import stage_estimates

    runs = warehouse.rows(
        "SELECT table_name, start_date, end_date, token, started_at, ended_at FROM monitoring.pipeline_runs"
        " WHERE status = 'published' QUALIFY ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY token DESC) = 1"
    )
    return [
        (run["table_name"], f"{run['start_date']}..{run['end_date']}", *(f"{part.bytes:,}" for part in parts.values()))
        for run, parts in zip(runs, stage_estimates(warehouse, runs), strict=True)
    ]


def _landing(warehouse) -> list[tuple]:
    now = datetime.now(UTC)
    [totals] = warehouse.rows(
        "SELECT SUM(received) AS received, SUM(landed) AS landed, SUM(failed) AS failed"
        " FROM monitoring.landing WHERE landed_date >= @recent",
        {"recent": (now - _RECENT).date()},
    )
    found = backlog(warehouse, now)
    moments = [f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "" for moment in (found.landed_at, found.drained_at)]
    state = "grows" if found.grows else "none" if found.landed_at == found.drained_at else "being landed"
    return [(*(n or 0 for n in totals.values()), *moments, found.wait_seconds, state)]


def _let_through(warehouse) -> list[tuple]:
    if not warehouse.exists("telemetry.published_days"):
        print("telemetry.published_days is not there; put it in place with `./warehouse up`")
        return []
    rows = warehouse.rows(
        "SELECT table_name, submission_date, published_at, override.expectation, override.requested_by,"
        " override.reviewed_by, override.reason, override.until_date"
        " FROM telemetry.published_days, UNNEST(overrides) AS override"
        " ORDER BY published_at DESC, table_name, submission_date LIMIT 20"
    )
    return [
        tuple(row.values())[:2] + (f"{row['published_at']:%Y-%m-%d %H:%M}",) + tuple(row.values())[3:] for row in rows
    ]


def _failures(warehouse) -> list[tuple]:
    rows = warehouse.rows(
        "SELECT table_name, start_date, end_date, ended_at, error FROM monitoring.pipeline_runs"
        " WHERE status = 'failed' AND started_at >= @recent ORDER BY ended_at DESC LIMIT 10",
        {"recent": datetime.now(UTC) - _RECENT},
    )
    return [
        (r["table_name"], f"{r['start_date']}..{r['end_date']}", f"{r['ended_at']:%Y-%m-%d %H:%M}", r["error"])
        for r in rows
    ]
