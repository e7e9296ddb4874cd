"""What the warehouse knows of single clients: their days and their pings, newest first.

A client's rows lie together: tables have a partition a day, and within it rows are clustered by sample_id and
client_id (those of stable tables by channel before). The queries name all three as constants, so BigQuery opens a few
blocks of each day and no other day.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from telemetry_warehouse import lineage, schemas, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.querying import print_grid

_CLIENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY_COLUMNS = (
    "client_id, submission_date, app_name, channel, os, app_version, country, city,"
    " pings_aggregated_by_this_row AS pings, active_hours_sum, uri_count_sum"
)
_PING_COLUMNS = (
    "client_id, submission_timestamp, '{type}' AS document_type, document_id, normalized_app_name AS app_name,"
    " normalized_channel AS channel, normalized_os AS os, normalized_country_code AS country"
)


@dataclass(frozen=True)
class History:
    """The rows of clients, by client_id and within a client newest first: of clients_daily_v1 and of stable tables."""

    days: list[dict]
    pings: list[dict]


def history(
    warehouse: Warehouse,
    clients: Iterable[str],
    app: str | None = None,
    since: date | None = None,
    until: date | None = None,
) -> History:
    """The days and pings of clients, given by their ids in any case, from `since` to `until`, both included.

    `until` is yesterday (UTC) where it is left out, and `since` 27 days before `until`. Raises WarehouseError for an id
    that is none, for days in the wrong order and where nothing is found.
    """
    wanted = sorted({_client_id(client) for client in clients})
    until = until or datetime.now(UTC).date() - timedelta(days=1)
    since = since or date.fromordinal(max(1, until.toordinal() - 27))
    if since > until:
        raise WarehouseError(f"{since} is after {until}; give --since a day that is not after --until")
    theirs, parameters = _rows_of(wanted), {"app": app} if app else None
    in_app = f"{theirs} AND app_name = @app" if app else theirs
    pings_in_app = f"{theirs} AND normalized_app_name = @app" if app else theirs
    between = f"BETWEEN DATE '{since}' AND DATE '{until}'"
    days = warehouse.rows(
        f"SELECT {_DAY_COLUMNS} FROM derived.clients_daily_v1 WHERE submission_date {between} AND {in_app}"
        " ORDER BY client_id, submission_date DESC, app_name",
        parameters,
    )
    selects = [
        f"SELECT {_PING_COLUMNS.format(type=name)} FROM {tables.quoted(lineage.stable_table(name))}"
        f" WHERE DATE(submission_timestamp) {between} AND {pings_in_app}"
        for name in schemas.list_types(warehouse.settings.schemas)
        if warehouse.exists(lineage.stable_table(name))
    ]
    pings = []
    if selects:
        order = "client_id, submission_timestamp DESC, document_type, document_id"
        pings = warehouse.rows(f"{' UNION ALL '.join(selects)} ORDER BY {order}", parameters)
    if not days and not pings:
        # Where else to look: this table has a row a client, and is clustered as well.
        [known] = warehouse.rows(
            f"SELECT MIN(first_seen_date) AS first_day FROM derived.clients_first_seen_v1 WHERE {in_app}", parameters
        )
        first_day = known["first_day"]
        elsewhere = f"; first seen on {first_day}, so widen the days with --since and --until" if first_day else ""
        where = f" in {app}" if app else ""
        raise WarehouseError(f"nothing is known of {', '.join(wanted)}{where} from {since} to {until}{elsewhere}")
    return History(days, pings)


def print_history(
    warehouse: Warehouse, clients: list[str], app: str | None, since: date | None, until: date | None
) -> None:
    """Prints what `history` gives, as a table of days and one of pings."""
    found = history(warehouse, clients, app, since, until)
    for title, rows in (("Days", found.days), ("Pings", found.pings)):
        if rows:
            print_grid(list(rows[0]), [tuple(row.values()) for row in rows], title)


def _client_id(text: str) -> str:
    if not _CLIENT_ID.fullmatch(text.lower()):
        raise WarehouseError(f"{text!r} is not a client id; write it as 859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d")
    return text.lower()


def _rows_of(wanted: list[str]) -> str:
    samples = sorted({zlib.crc32(client.encode()) % 100 for client in wanted})
    return f"sample_id IN ({', '.join(map(str, samples))}) AND client_id IN ({', '.join(map(repr, wanted))})"
