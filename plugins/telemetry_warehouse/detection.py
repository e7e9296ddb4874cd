"""The two tables that the change detector makes: what they read of the warehouse, and the rows of their days.

`scores` makes derived.change_scores_v1, the verdict on every series and night; `changes` makes derived.changes_v1, the
alerts among them with their effect and what explains it.
"""

from collections.abc import Callable
from datetime import date, timedelta

from telemetry_warehouse import dbt
from telemetry_warehouse.bigquery import Warehouse, render
from telemetry_warehouse.lineage import Step

KINDS = ("scores", "changes")
# An alert is explained by the days before its change, and by none more than _MOST_DAYS before it was found, which
# is four weeks after its change at the latest; of builds six more. So carries_days of changes_v1 is 48.
_DAYS_BEFORE, _MOST_DAYS = 14, 42


def selects(step: Step, start: date, end: date) -> list[str]:
    """The queries that every build of these days reads with; what explains alerts is read only where there are any."""
    from telemetry_warehouse.changes.table import WINDOW_DAYS

    if step.kind == "changes":
        return [
            f"SELECT * FROM {step.inputs['change_scores_v1']}"
            f" WHERE submission_date BETWEEN DATE '{start}' AND DATE '{end}' AND alert IS NOT NULL"
        ]
    first = start - timedelta(days=WINDOW_DAYS)
    return [
        f"SELECT * FROM {step.inputs['distributions_v1']}"
        f" WHERE submission_date BETWEEN DATE '{first}' AND DATE '{end}'",
        f"SELECT * FROM {step.table} WHERE submission_date >= DATE '{first}' AND submission_date < DATE '{start}'"
        " AND alert IS NOT NULL",
    ]


def rows(warehouse: Warehouse, step: Step, candidate: str, start: date, end: date) -> list[dict]:
    """The rows of the table for start..end, read on behalf of `candidate`."""
    # What a stage read is found by the candidate's name in the SQL of its jobs (estimate.py).
    whose, labels = f"-- For {candidate}.\n", {"table": step.name, "stage": "build"}

    def read(sql: str) -> list[dict]:
        return [dict(row) for row in warehouse.query(whose + sql, labels=labels)]

    if step.kind == "changes":
        return _changes(warehouse, step, start, end, read)
    from telemetry_warehouse.changes.table import score_rows

    distributions, alerts = selects(step, start, end)
    arrow = warehouse.arrow(whose + distributions, labels)
    return score_rows(arrow, read(alerts), start, end, warehouse.settings.false_alerts)


def _changes(
    warehouse: Warehouse, step: Step, start: date, end: date, read: Callable[[str], list[dict]]
) -> list[dict]:
    from telemetry_warehouse.changes.alert_rows import alert_rows

    [alerts] = selects(step, start, end)
    found = read(alerts)
    parts = read(movers_select(warehouse, step, start, end, found)) if found else []
    return alert_rows(found, parts, warehouse.settings.least_effect)


def movers_select(warehouse: Warehouse, step: Step, start: date, end: date, alerts: list[dict]) -> str:
    """The query for what changes.movers wants to know of these alerts of start..end, at least one.

    It reads the pings of the days around the alerts, in the common shape of histograms.
    """
    from telemetry_warehouse.changes.alert_rows import NIGHTS_OF_A_BUILD, nights_of
    from telemetry_warehouse.changes.movers import LEAST_PERCENT

    first = min(
        max(alert["change_date"] - timedelta(days=_DAYS_BEFORE), alert["submission_date"] - timedelta(days=_MOST_DAYS))
        - timedelta(days=nights_of(alert["axis"]))
        for alert in alerts
    )
    last = max(alert["submission_date"] for alert in alerts)
    days = {"start_date": first.isoformat(), "end_date": last.isoformat()}
    return render(
        "movers",
        histograms=dbt.shape(warehouse.settings, "histograms", days, step.inputs),
        change_scores_v1=step.inputs["change_scores_v1"],
        start_date=start,
        end_date=end,
        nights_of_a_build=NIGHTS_OF_A_BUILD,
        days_before=_DAYS_BEFORE,
        most_days=_MOST_DAYS,
        least_percent=LEAST_PERCENT,
    )
