"""Answers of queries on the terminal."""

import base64
import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.table import RowIterator
from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError, printable
from telemetry_warehouse.read_only import refuse_unless_reading

_WIDTH_OF_A_PIPE = 200
# A longer value may be folded.
_WIDTH_OF_A_VALUE = 24


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
            found = warehouse.query(sql)
            names, result = [field.name for field in found.schema], list(_rows(found))
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


def _rows(found: RowIterator) -> Iterator[tuple]:
    """The rows of a result, with each INTERVAL as the text that BigQuery sends: the client's type for it says a day and
    12 hours of 36 hours."""
    for page in found.pages:
        for row, sent in zip(page, page.raw_page.get("rows", ()), strict=True):
            cells = zip(row.values(), sent["f"], found.schema, strict=True)
            yield tuple(_with_intervals(value, cell["v"], field) for value, cell, field in cells)


def _with_intervals(value: object, sent: object, field: SchemaField, is_element: bool = False) -> object:
    if value is None:
        return None
    if field.mode == "REPEATED" and not is_element:
        return [_with_intervals(one, item["v"], field, True) for one, item in zip(value, sent, strict=True)]
    if field.field_type == "INTERVAL":
        return sent
    if field.fields:
        cells = zip(field.fields, sent["f"], strict=True)
        return {part.name: _with_intervals(value[part.name], cell["v"], part) for part, cell in cells}
    return value


def print_grid(names: list[str], rows: list[tuple], title: str | None = None) -> None:
    """Rows as a table; where its columns would be squeezed, as records, a line a field.

    Where nobody looks through a terminal, a table is as wide as it needs to be, up to 200 characters.
    """
    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE, highlight=False, markup=False, emoji=False
    )
    cells = [[cell_text(value) for value in row] for row in rows]
    if not _fits(names, cells, console.width):
        _print_records(console, names, cells, title)
        return
    grid = Grid(title=title and Text(printable(title)), title_justify="left", header_style="bold")
    for position, name in enumerate(names):
        numeric = all(isinstance(row[position], int | float) for row in rows if row[position] is not None)
        grid.add_column(Text(printable(name)), justify="right" if rows and numeric else "left", overflow="fold")
    for row in cells:
        # Not as a string: rich would take [b] for bold, and :x: for a picture.
        grid.add_row(*map(Text, row))
    console.print(grid)


def _fits(names: list[str], cells: list[list[str]], width: int) -> bool:
    """Whether each column has the width of its name's longest word and a good part of its values."""
    needed = 1
    for position, name in enumerate(names):
        longest = max((cell_len(row[position]) for row in cells), default=0)
        words = max(map(cell_len, printable(name).split()), default=0)
        needed += max(words, min(longest, _WIDTH_OF_A_VALUE)) + 3
    return needed <= width


def _print_records(console: Console, names: list[str], cells: list[list[str]], title: str | None) -> None:
    shown = [printable(name) for name in names]
    width = max(map(cell_len, shown))
    if title:
        console.print(Text(printable(title), style="italic"))
    if not cells:
        console.print(Text(f"no rows; the columns are {', '.join(shown)}"))
    for number, row in enumerate(cells, 1):
        console.print(Rule(Text(f"row {number}"), align="left", characters="─"))
        record = Grid.grid(padding=(0, 2))
        record.add_column(min_width=width, no_wrap=True)
        record.add_column(overflow="fold")
        for name, value in zip(shown, row, strict=True):
            record.add_row(Text(name, style="bold"), Text(value))
        console.print(record)


def cell_text(value: object) -> str:
    """A value for the eye; NULL is empty."""
    return "" if value is None else printable(_plain(value))


def _json(value: object) -> str:
    return orjson.dumps(_for_json(value), option=orjson.OPT_NON_STR_KEYS).decode()


def _for_json(value: object) -> object:
    """What JSON has, of a value as the client gives it; numbers that JSON has not are text."""
    if isinstance(value, dict):
        return {key: _for_json(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _plain(value)
    return value if isinstance(value, str | int | float | bool | None) else _plain(value)


def _plain(value: object) -> object:
    """A value as text or number: nested ones as JSON, BYTES as base64."""
    if isinstance(value, dict | list):
        return _json(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
