"""What a table's YAML expects of it, as Great Expectations objects, checked for sense before anything runs."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase

from telemetry_warehouse.bigquery import text_literal
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.files import Placed
from telemetry_warehouse.no_clients import no_clients
from telemetry_warehouse.tables import Table, quoted

SEVERITIES = ("critical", "warning")
_NOT_ARGUMENTS = ("name", "type", "severity", "description")
# Great Expectations holds each row against the other rows of the table.
_OF_ALL_ROWS = (
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_not_be_outliers",
)
# What stands in for a stable table, a candidate or a view beside one, is named after it.
_CANDIDATE, _PUBLISHED = re.compile(r"_candidates\.(.+_v\d+)__.+$"), r".\1"
# {columns days_*_bits except days_seen_bits}: the names of the columns that match, with commas between them.
_COLUMNS = re.compile(r"\{columns ([\w*]+)(?: except (\w+))?\}")
# {each rule=sum: max({of}) as {column}}: the text for every column whose YAML says `rule: sum` in config.meta, with
# commas between them; {any ...}: with `or`. In it, {column} is the name, {of} the name without the rule at its end, and
# {when} or {when|true} what config.meta says, or else what follows the bar.
_EACH = re.compile(r"\{(each|any) (\w+)(?:=(\w+))?: ((?:[^{}]|\{[^{}]*\})*)\}")
_PLACEHOLDER = re.compile(r"\{([a-z]\w*)(?:\|([^{}]*))?\}")


@dataclass(frozen=True)
class Expectation:
    """A promise about a table: a Great Expectations type with its arguments, or a query that returns what breaks it.

    `condition`: the metric, column and arguments with which Great Expectations says which rows break it; `measures`:
    what else it needs counted, name → SQL aggregate; `values`: columns whose values it needs counted → what a row
    stands for, in SQL; `place`: the file that it is written in, with the line where that is known.
    """

    name: str
    severity: str
    column: str | None
    arguments: dict
    query: str | None = None
    type: str | None = None
    condition: dict | None = None
    measures: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    place: str = ""

    def build(self, about: dict, queries: dict[str, str]):
        """The Great Expectations object. `about` and `queries`: see judge.py."""
        from telemetry_warehouse.gates import by_day

        known = {"severity": self.severity, "meta": {"name": self.name}}
        if self.query is not None:
            return by_day.ExpectNoRows(query=self.name, queries=queries, day=about["day_column"], **known)
        if self.condition is not None:
            mostly = self.arguments.get("mostly", 1)
            return by_day.ExpectColumnValues(condition=self.name, mostly=mostly, about=about, **known)
        return by_day.OWN[self.type](about=about, **self.arguments, **known)

    def sql(self, about: dict, inputs: dict[str, str]) -> str:
        """The query as it is sent, but for how its rows are counted. `inputs`: name in a query → table id, or SQL."""
        values = inputs | {
            "candidate": quoted(about["candidate"]),
            "table": about["table"],
            "start_date": about["start"],
            "end_date": about["end"],
        }
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.query)


# The ephemeral models that have the pings of every type in one shape.
SHAPES = {"activity", "histograms"}


def pings(inputs: dict[str, str], start: date, end: date) -> str | None:
    """{pings}: the pings of every stable table among `inputs`, by the columns that all of them have, and their
    ping_type, which is the id of the stable table.

    A new ping type is among them as soon as the model reads it. An id that names no client is NULL, as in the common
    shapes, and `why_no_client` says why. None for a table that is not made of pings; where a common shape has no ping
    type at all, SQL without rows.
    """
    ids = ", ".join(map(text_literal, no_clients().values()))
    why = " ".join(f"WHEN {text_literal(id)} THEN {text_literal(reason)}" for reason, id in no_clients().items())
    selects = [
        f"SELECT {text_literal(_CANDIDATE.sub(_PUBLISHED, table_id))} AS ping_type,"
        " DATE(submission_timestamp) AS submission_date, submission_timestamp, document_id,"
        f" IF(client_id IN ({ids}), NULL, client_id) AS client_id, CASE client_id {why} END AS why_no_client,"
        " sample_id, normalized_app_name AS app_name, normalized_channel AS channel, normalized_os AS os,"
        f" normalized_country_code AS country FROM {quoted(table_id)}"
        f" WHERE DATE(submission_timestamp) BETWEEN DATE '{start}' AND DATE '{end}'"
        for table_id in dict.fromkeys(table.replace("`", "") for table in inputs.values())
        if table_id.split(".")[0].endswith(("_stable", "_stable_candidates"))
    ]
    if not selects and SHAPES & inputs.keys():
        texts = ("ping_type", "document_id", "client_id", "why_no_client", "app_name", "channel", "os", "country")
        types = dict.fromkeys(texts, "STRING") | {
            "submission_date": "DATE", "submission_timestamp": "TIMESTAMP", "sample_id": "INT64",
        }  # fmt: skip
        columns = ", ".join(f"CAST(NULL AS {type}) AS {name}" for name, type in types.items())
        selects = [f"SELECT {columns} FROM (SELECT 1 AS one) WHERE FALSE"]
    return f"({' UNION ALL '.join(selects)})" if selects else None


def parse(table: Table, inputs: Collection[str]) -> list[Expectation]:
    """The table's expectations; `inputs` are the names that a query may use.

    Raises WarehouseError, naming the file, for a severity, type, argument, column or name that does not exist.
    """
    parsed = [_parse_one(table, entry, inputs) for entry in table.expectations]
    names = set()
    for expectation in parsed:
        if expectation.name in names:
            what = "is there twice; give one of the two another `name`"
            raise _refusal(table, expectation.place, expectation.name, what)
        names.add(expectation.name)
    return parsed


def _refusal(table: Table, place: str, name: object, what: str) -> WarehouseError:
    return WarehouseError(f"{f'{place}: ' if place else ''}{table.id}: expectation {name} {what}")


def _place(table: Table, entry: dict, key: str | None = None) -> str:
    """Where an entry stands: its own file, with the line of a key where that is known, or the table's."""
    return entry.place(key) if isinstance(entry, Placed) else table.expectations_file


def _parse_one(table: Table, written: dict, inputs: Collection[str]) -> Expectation:
    entry = dict(written)

    def refuse(what: str, key: str | None = None) -> WarehouseError:
        return _refusal(table, _place(table, written, key), entry.get("name") or entry.get("type") or entry, what)

    severity = entry.get("severity", "critical")
    if severity not in SEVERITIES:
        raise refuse(f"has severity {severity!r}; give one of {', '.join(SEVERITIES)}", "severity")
    arguments = {key: value for key, value in entry.items() if key not in _NOT_ARGUMENTS}
    column = entry.get("column")
    paths = [*table.column_names, *_lists(table.columns)]
    if entry.get("columns") == "{lists}":
        entry["columns"] = arguments["columns"] = _lists(table.columns)
    elif isinstance(entry.get("columns"), str):
        entry["columns"] = arguments["columns"] = _written_out(table, entry["columns"], refuse).split(", ")
    for name in (column, *entry.get("columns", ())):
        if name is not None and name not in paths:
            key = "column" if name == column else "columns"
            raise refuse(f"names column {name!r}, which the table does not have", key)
    if "query" in entry:
        if unknown := sorted({*arguments, *entry} - {"query", "name", "severity", "description"}):
            what = f"says {', '.join(unknown)}, and one with a query only has name, severity and description"
            raise refuse(what, unknown[0])
        if "name" not in entry:
            raise refuse("has a query and no `name`; give it one")
        query = _expanded(table, entry["query"], inputs, lambda what: refuse(what, "query"))
        return Expectation(entry["name"], severity, None, {}, query=query, place=_place(table, written))
    type_name = entry.get("type")
    name = entry.get("name", f"{type_name}({column})" if column else type_name)
    if type_name is None:
        raise refuse("has neither a `type` nor a `query`")
    arguments, condition, measures, values = _counted(table, type_name, arguments, refuse)
    place = _place(table, written)
    return Expectation(name, severity, column, arguments, None, type_name, condition, measures, values, place)


def _counted(table: Table, type_name: str, arguments: dict, refuse) -> tuple[dict, dict | None, dict, dict]:
    """An expectation's arguments, and what it needs counted: its condition, its measures and its values.

    Building it once shows whether its arguments make sense. Those of our types are SQL, and their lists of columns are
    written out; those of Great Expectations are values, and stay as they are.
    """
    from great_expectations.exceptions import ExpectationNotFoundError, MetricProviderError
    from great_expectations.expectations.expectation import ColumnMapExpectation
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        get_metric_kwargs,
        get_sqlalchemy_metric_provider,
    )

    from telemetry_warehouse.gates import by_day

    try:
        if type_name in by_day.OWN:
            kind = by_day.OWN[type_name]
            arguments = {key: _written_out(table, value, refuse) for key, value in arguments.items()}
            kind(about={}, **arguments)
            return arguments, None, kind.measures(arguments), kind.values(arguments)
        kind = get_expectation_impl(type_name)
        if not issubclass(kind, ColumnMapExpectation) or type_name in _OF_ALL_ROWS:
            raise refuse(f"is of type {type_name!r}, which looks at a range as a whole; write a query, by day", "type")
        metric = f"{kind.map_metric}.{by_day.CONDITION}"
        wanted = get_metric_kwargs(metric, configuration=kind(**arguments).configuration)
        get_sqlalchemy_metric_provider(metric)
    except MetricProviderError:
        raise refuse(
            f"is of type {type_name!r}, which Great Expectations cannot ask in SQL; write a query", "type"
        ) from None
    except ExpectationNotFoundError:
        known = ", ".join(sorted(by_day.OWN))
        raise refuse(
            f"is of type {type_name!r}, which neither Great Expectations has nor we; ours are {known}",
            "type",
        ) from None
    except ValueError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        wrong = {str(e["loc"][0]) for e in error.errors()} & arguments.keys()
        raise refuse(f"has arguments that {type_name} does not take: {reasons}", min(wrong, default=None)) from None
    # Great Expectations makes a float of a whole number, which is another number beyond 2**53.
    values = wanted["metric_value_kwargs"]
    values |= {key: arguments[key] for key in values if isinstance(arguments.get(key), int)}
    return arguments, {"metric": metric, "column": arguments["column"], "values": values}, {}, {}


def _expanded(table: Table, query: str, inputs: Collection[str], refuse) -> str:
    """The query with its lists of columns written out; what is left are names of `inputs`, the candidate and days."""
    query = _written_out(table, query, refuse)
    known = {"candidate", "table", "start_date", "end_date", *inputs}
    for name, _ in _PLACEHOLDER.findall(query):
        if name not in known:
            raise refuse(f"uses {{{name}}}; it may use {', '.join(sorted(known))}")
    return query


def _lists(columns, prefix: str = "") -> list[str]:
    """The paths of the columns that are lists, but for those with lists in them, which are the largest."""
    found = []
    for column in columns:
        if column.mode != "REPEATED":
            found += _lists(column.fields, f"{prefix}{column.name}.")
        elif not any(member.mode == "REPEATED" for member in _members(column)):
            found.append(prefix + column.name)
    return found


def _members(column):
    for member in column.fields:
        yield member
        yield from _members(member)


def _written_out(table: Table, value: object, refuse) -> object:
    """Text with its lists of columns written out; anything else as it is."""
    if not isinstance(value, str):
        return value
    value = _COLUMNS.sub(lambda match: _matching(table, refuse, *match.groups()), value)
    return _EACH.sub(lambda match: _of_each(table, refuse, *match.groups()), value)


def _matching(table: Table, refuse, pattern: str, exception: str | None) -> str:
    names = [name for name in table.column_names if fnmatchcase(name, pattern) and name != exception]
    if not names:
        raise refuse(f"is about columns {pattern}, and the table has none of that name")
    return ", ".join(names)


def _of_each(table: Table, refuse, joined: str, key: str, value: str | None, text: str) -> str:
    said = {name: meta for name, meta in table.column_meta.items() if key in meta and value in (None, meta[key])}
    if not said:
        raise refuse(f"is about columns with {key}{value and '=' + value or ''} in config.meta, and the table has none")

    def one(name: str, meta: dict) -> str:
        values = meta | {"column": name, "of": name.removesuffix(f"_{meta.get('rule')}")}

        def filled(match) -> str:
            if match[1] not in values and match[2] is None:
                raise refuse(f"uses {{{match[1]}}}, which config.meta of {name} does not say")
            return str(values.get(match[1], match[2]))

        return _PLACEHOLDER.sub(filled, text)

    return {"each": ", ", "any": " or "}[joined].join(one(name, meta) for name, meta in said.items())
