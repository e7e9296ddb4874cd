"""What came out of the sample run, for someone who sees the warehouse for the first time."""

from datetime import date

from google.api_core.exceptions import NotFound

from telemetry_warehouse import lineage
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.querying import print_grid
from telemetry_warehouse.schemas import TypeName
from telemetry_warehouse.tables import quoted

_ALWAYS = "2000-01-01"


def print_summary(warehouse: Warehouse, airflow: str, last_night: date) -> None:
    """Prints pings, users, gates and changes, and what to type next. `airflow` says where its pages are."""
    print_grid(
        ["pings", "received", "replayed", "rejected", "landed", "duplicate or automated", "kept"],
        pings(warehouse),
        "Pings",
    )
    print_grid(
        ["application", "day", "DAU", "WAU", "MAU", "new"], _users(warehouse), "Users, on each application's last day"
    )
    passed, failed, warned = _gates(warehouse)
    print(f"Gates: {passed:,} expectations held, {failed} critical failed, {warned} warned\n")
    changes = _changes(warehouse)
    if changes:
        print_grid(
            ["found on", "application", "channel", "os", "probe", "changed on", "score", "share moved"],
            changes,
            "Changes found",
        )
    else:
        print("Changes found: none\n")
    print(
        f"Look: {airflow}\n"
        "Try:\n"
        '  ./warehouse query "SELECT submission_date, app_name, SUM(dau) AS dau FROM telemetry.active_users'
        f" WHERE submission_date = '{last_night}' GROUP BY submission_date, app_name\"\n"
        "  ./warehouse query \"SELECT * FROM telemetry.changes WHERE detected_date >= '2013-01-01' ORDER BY score\"\n"
        "  ./warehouse changes --since 2013-01-01\n"
        "  ./warehouse status\n"
        "  make stop"
    )


def pings(warehouse: Warehouse) -> list[tuple]:
    """A row for each type: its name, and messages received, replayed, rejected, landed, not kept and kept.

    received + replayed = rejected + landed, where what a replay has landed stays among the rejected, as it was first,
    and landed = not kept + kept.
    """
    landing = {
        (r["document_namespace"], r["document_type"], r["document_version"]): r
        for r in warehouse.rows(
            "SELECT document_namespace, document_type, document_version, SUM(received) AS received,"
            # A replay has received nothing, and what it cannot land either was rejected before.
            " SUM(IF(received = 0, landed, 0)) AS replayed, SUM(IF(received > 0, failed, 0)) AS rejected,"
            " SUM(landed) AS landed"
            f" FROM monitoring.landing WHERE landed_date >= '{_ALWAYS}' AND received + landed > 0"
            " GROUP BY document_namespace, document_type, document_version"
        )
    }
    rows = []
    for kind, row in sorted(landing.items(), key=lambda item: -item[1]["received"]):
        name = "/".join(part or "?" for part in kind)
        kept = _count(warehouse, lineage.stable_table(TypeName(*kind))) if row["landed"] else 0
        counts = (row[column] for column in ("received", "replayed", "rejected", "landed"))
        rows.append((name, *counts, row["landed"] - kept, kept))
    return rows


def _count(warehouse, table: str) -> int:
    try:
        of_table = f"SELECT COUNT(*) AS n FROM {quoted(table)} WHERE submission_timestamp >= '{_ALWAYS}'"
        return warehouse.rows(of_table)[0]["n"]
    except NotFound:
        return 0


def _users(warehouse) -> list[tuple]:
    rows = warehouse.rows(
        "SELECT app_name, submission_date, SUM(dau) AS dau, SUM(wau) AS wau, SUM(mau) AS mau,"
        " SUM(new_profiles) AS new_profiles"
        f" FROM derived.active_users_v1 AS users WHERE submission_date >= '{_ALWAYS}'"
        " GROUP BY app_name, submission_date HAVING SUM(users.dau) > 0 QUALIFY ROW_NUMBER() OVER (PARTITION BY app_name"
        " ORDER BY submission_date DESC) = 1 ORDER BY app_name"
    )
    return [tuple(row.values()) for row in rows]


def _gates(warehouse) -> tuple[int, int, int]:
    row = warehouse.rows(
        "SELECT COUNTIF(passed) AS passed, COUNTIF(NOT passed AND severity = 'critical') AS failed,"
        " COUNTIF(NOT passed AND severity = 'warning') AS warned"
        f" FROM monitoring.gate_results WHERE checked_date >= '{_ALWAYS}'"
    )[0]
    return row["passed"], row["failed"], row["warned"]


def _changes(warehouse) -> list[tuple]:
    rows = warehouse.rows(
        "SELECT detected_date, app_name, channel, os, probe, change_date, score, effect FROM derived.changes_v1"
        f" WHERE detected_date >= '{_ALWAYS}' AND kind = 'changed' AND withheld IS NULL ORDER BY score DESC LIMIT 12"
    )
    return [
        (
            r["detected_date"],
            r["app_name"],
            r["channel"] or "all",
            r["os"] or "all",
            r["probe"],
            r["change_date"],
            f"{r['score']:.1f}",
            f"{r['effect']:.0%}",
        )
        for r in rows
    ]
