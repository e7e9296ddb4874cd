"""What a table's YAML expects of it, as Great Expectations objects, checked for sense before anything runs."""

import os
import re
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.tables import Table

SEVERITIES = ("critical", "warning")
# {columns days_*_bits except days_seen_bits}: the names of the columns that match, with commas between them.
_COLUMNS = re.compile(r"\{columns ([\w*]+)(?: except (\w+))?\}")


@dataclass(frozen=True)
class Expectation:
    """A promise about a table: a Great Expectations type with its arguments, or a query that returns what breaks it."""

    name: str
    severity: str
    column: str | None
    arguments: dict
    query: str | None = None
    type: str | None = None

    def build(self, inputs: dict[str, str], start: date, end: date, with_rows: bool):
        """The Great Expectations object; `inputs` maps the names a query may use to table ids.

        `with_rows`: what breaks it is fetched and not only counted.
        """
        from great_expectations.expectations import UnexpectedRowsExpectation

        from telemetry_warehouse.gates.counted_rows import NoUnexpectedRows

        if self.query is None:
            return implementation(self.type)(severity=self.severity, meta={"name": self.name}, **self.arguments)
        query = self.query.replace("{candidate}", "{batch}")
        for name, value in (inputs | {"start_date": start.isoformat(), "end_date": end.isoformat()}).items():
            query = query.replace("{" + name + "}", value)
        kind = UnexpectedRowsExpectation if with_rows else NoUnexpectedRows
        return kind(unexpected_rows_query=query, severity=self.severity, meta={"name": self.name})


def implementation(type_name: str):
    """Great Expectations' class of an expectation type; raises KeyError where there is none."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    import great_expectations  # noqa: F401  (registers the expectations)
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        return get_expectation_impl(type_name)
    except ExpectationNotFoundError:
        raise KeyError(type_name) from None


def parse(table: Table, inputs: dict[str, str]) -> list[Expectation]:
    """The table's expectations. Raises WarehouseError naming an unknown severity, type, column or name."""
    parsed = [_parse_one(table, dict(entry), inputs) for entry in table.expectations]
    names = [expectation.name for expectation in parsed]
    for name in names:
        if names.count(name) > 1:
            raise WarehouseError(f"{table.id}: two expectations are called {name}; give one of them another `name`")
    return parsed


def _parse_one(table: Table, entry: dict, inputs: dict[str, str]) -> Expectation:
    severity = entry.pop("severity", "critical")
    where = f"{table.id}: expectation {entry.get('name') or entry.get('type') or entry}"
    if severity not in SEVERITIES:
        raise WarehouseError(f"{where} has severity {severity!r}; give one of {', '.join(SEVERITIES)}")
    column = entry.get("column")
    if column is not None and column not in table.column_names:
        raise WarehouseError(f"{where} names column {column!r}, which the table does not have")
    if "query" in entry:
        query = _COLUMNS.sub(lambda match: _matching(table, where, *match.groups()), entry["query"])
        known = {"candidate", "start_date", "end_date", *inputs}
        for name in _placeholders(query):
            if name not in known:
                raise WarehouseError(f"{where} uses {{{name}}}; it may use {', '.join(sorted(known))}")
        return Expectation(entry["name"], severity, column, {}, query=query)
    type_name = entry.pop("type", None)
    try:
        implementation(type_name)
    except KeyError:
        raise WarehouseError(f"{where} is of type {type_name!r}, which Great Expectations does not have") from None
    name = entry.pop("name", f"{type_name}({column})" if column else type_name)
    entry.pop("description", None)
    return Expectation(name, severity, column, entry, type=type_name)


def _matching(table: Table, where: str, pattern: str, exception: str | None) -> str:
    names = [name for name in table.column_names if fnmatchcase(name, pattern) and name != exception]
    if not names:
        raise WarehouseError(f"{where} is about columns {pattern}, and the table has none of that name")
    return ", ".join(names)


def _placeholders(query: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", query))
