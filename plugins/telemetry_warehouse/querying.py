"""Answers of queries on the terminal."""

import csv
import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table as Grid

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.read_only import refuse_unless_reading


def print_query(warehouse: Warehouse, sql: str, form: str) -> None:
    """Runs SQL, or the .sql file it names; prints table, json (a line a row), csv or arrow (an IPC stream).

    Raises Refused for SQL that does anything but read.
    """
    if sql.endswith(".sql"):
        try:
            sql = Path(sql).read_text()
        except OSError as error:
            raise WarehouseError(f"cannot read {sql}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise WarehouseError(f"{sql} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    with Console(stderr=True).status("running the query"):
        refuse_unless_reading(warehouse, sql)
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


def _json(value) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value):
    """Nested values as JSON text, all others as they are."""
    return _json(value) if isinstance(value, dict | list) else value
