"""Answers on the terminal: any query, and one client's history."""

import csv
import re
import sys
import zlib
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table as Grid

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError

_CLIENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def print_query(warehouse: Warehouse, sql: str, form: str) -> None:
    """Runs SQL, or the .sql file it names; prints table, json (a line a row), csv or arrow (an IPC stream)."""
    if sql.endswith(".sql"):
        try:
            sql = Path(sql).read_text()
        except OSError as error:
            raise WarehouseError(f"cannot read {sql}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise WarehouseError(f"{sql} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    with Console(stderr=True).status("running the query"):
        if form == "arrow":
            result = warehouse.arrow(sql)
        else:
            rows = warehouse.query(sql)
            names, result = [field.name for field in rows.schema], [tuple(row.values()) for row in rows]
    if form == "arrow":
        import pyarrow

        with pyarrow.ipc.new_stream(sys.stdout.buffer, result.schema) as stream:
            stream.write_table(result)
    elif form == "json":
        for row in result:
            sys.stdout.write(_json(dict(zip(names, row, strict=True))) + "\n")
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([_plain(value) for value in row] for row in result)
    else:
        print_grid(names, result)


def print_grid(names: list[str], rows: list[tuple], title: str | None = None) -> None:
    """Rows as a table that is as wide as it needs to be where nobody looks through a terminal."""
    grid = Grid(title=title, title_justify="left", header_style="bold")
    for position, name in enumerate(names):
        numeric = all(isinstance(row[position], int | float) for row in rows if row[position] is not None)
        grid.add_column(name, justify="right" if rows and numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*("" if value is None else str(_plain(value)) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(grid)


def print_history(warehouse: Warehouse, clients: list[str], app: str | None) -> None:
    """Prints the days of clients from clients_daily, newest first; reads only the clients' clusters."""
    for client in clients:
        if not _CLIENT_ID.fullmatch(client.lower()):
            raise WarehouseError(f"{client!r} is not a client id; write it as 859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d")
    wanted = sorted({client.lower() for client in clients})
    samples = sorted({zlib.crc32(client.encode()) % 100 for client in wanted})
    condition = " AND app_name = @app" if app else ""
    rows = warehouse.query(
        "SELECT client_id, submission_date, app_name, channel, os, app_version, country, city,"
        " pings_aggregated_by_this_row AS pings, active_hours_sum, uri_count_sum"
        " FROM derived.clients_daily_v1 WHERE submission_date >= DATE '2000-01-01'"
        f" AND sample_id IN ({', '.join(map(str, samples))})"
        f" AND client_id IN ({', '.join(map(repr, wanted))}){condition}"
        " ORDER BY client_id, submission_date DESC, app_name",
        {"app": app} if app else None,
    )
    result = [tuple(row.values()) for row in rows]
    if not result:
        raise WarehouseError(f"no days are known of {', '.join(wanted)}{f' in {app}' if app else ''}")
    print_grid([field.name for field in rows.schema], result)


def _json(value) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value):
    """Nested values as JSON text, all others as they are."""
    return _json(value) if isinstance(value, dict | list) else value
