"""What queries that have not run yet will read: tables, days, and an estimate of the bytes that costs next to nothing.

The rows of the days are counted; how large a row is, the first rows of the table say, which BigQuery lists for nothing.
What is yet to be built is not there to be counted.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import orjson
from google.cloud.bigquery import SchemaField

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused
from telemetry_warehouse.estimate import FIXED_SIZES, Estimator, Query, Wanted
from telemetry_warehouse.reads import Path, Reads
from telemetry_warehouse.runs import Days

# Filters that reach further from the days in question than this are said to have no end.
_HORIZON = timedelta(days=1000)
_SAMPLE_ROWS = 100
_FIRST_AND_LAST = tuple[date | None, date | None]


@dataclass(frozen=True)
class Forecast:
    """Table → its first and last day that are read; None for a bound that is not there. Bytes are None where they
    cannot be told, and `unknown` says why."""

    days: dict[str, _FIRST_AND_LAST]
    bytes: int | None
    unknown: str = ""


def forecast(warehouse: Warehouse, queries: dict[str, list[str]], around: Days) -> dict[str, Forecast]:
    """The forecast of each name's queries together. `around`: days near which their filters lie."""
    estimator = _Sampling(warehouse)
    scripts: dict[str, list[Reads]] = {}
    found: dict[str, Forecast] = {}
    for name, texts in queries.items():
        try:
            scripts[name] = [read for text in texts for read in estimator.reads(Query(text))]
        except Refused as error:
            found[name] = Forecast({}, None, str(error))
    estimates = dict(zip(scripts, estimator.sizes(list(scripts.values())), strict=True))
    admitted = {name: _conditions(script) for name, script in scripts.items()}
    days = estimator.bounds({one for conditions in admitted.values() for one in conditions.items()}, around)
    for name, conditions in admitted.items():
        read = {estimator.name(table): days[table, condition] for table, condition in conditions.items()}
        found[name] = Forecast(read, estimates[name].bytes)
    return found


def _conditions(script: list[Reads]) -> dict[str, str | None]:
    """Table as FROM names it → the condition that admits all partitions that are read of it; None: all there are."""
    conditions: dict[str, set[str | None]] = defaultdict(set)
    for read in script:
        for table, paths in read.items():
            conditions[table] |= paths[()]
    return {
        table: None if None in some else " OR ".join(f"({one})" for one in sorted(some))
        for table, some in conditions.items()
    }


class _Sampling(Estimator):
    """Estimates that count rows and look at few."""

    def name(self, table: str) -> str:
        """dataset.name of a table as FROM names it."""
        definition = self._definition(table)
        return f"{definition.dataset_id}.{definition.table_id}"

    def _measured(self, table: str, wanted: set[Wanted]) -> dict[Wanted, int]:
        definition = self._definition(table)
        conditions = sorted({condition or "TRUE" for condition, _ in wanted})
        counts = ", ".join(f"COUNTIF({condition}) AS c{n}" for n, condition in enumerate(conditions))
        anywhere = " OR ".join(f"({condition})" for condition in conditions)
        source = f"`{definition.project}`.`{definition.dataset_id}`.`{definition.table_id}`"
        [row] = self._warehouse.rows(f"SELECT {counts} FROM {source} WHERE {anywhere}")
        rows = {condition: row[f"c{n}"] for n, condition in enumerate(conditions)}
        leaves = {path: _leaf(definition.schema, path) for _, path in wanted if path}
        columns = {path[0] for path in leaves}
        fields = [field for field in definition.schema if field.name.lower() in columns]
        sample = []
        if fields and any(rows.values()):
            listed = self._warehouse.client.list_rows(definition, selected_fields=fields, max_results=_SAMPLE_ROWS)
            sample = [dict(one) for one in listed]
        of_row = {
            path: sum(_bytes(*leaf, one) for one in sample) / max(len(sample), 1) for path, leaf in leaves.items()
        }
        return {(condition, path): round(rows[condition or "TRUE"] * of_row.get(path, 1)) for condition, path in wanted}

    def bounds(
        self, wanted: set[tuple[str, str | None]], around: Days
    ) -> dict[tuple[str, str | None], _FIRST_AND_LAST]:
        """(table, condition on its partitions) → the first and the last day that it admits."""
        found: dict[tuple[str, str | None], _FIRST_AND_LAST] = dict.fromkeys(wanted, (None, None))
        asked = sorted(((table, condition) for table, condition in wanted if condition), key=str)
        if not asked:
            return found
        lowest, highest = around[0] - _HORIZON, around[1] + _HORIZON
        selects = []
        for number, (table, condition) in enumerate(asked):
            definition = self._definition(table)
            field = definition.time_partitioning.field
            types = {column.name: column.field_type for column in definition.schema}
            value = "day" if types[field] == "DATE" else "TIMESTAMP(day)"
            selects.append(
                f"SELECT {number} AS n, MIN(day) AS first, MAX(day) AS last FROM (SELECT day, {value} AS `{field}`"
                f" FROM UNNEST(GENERATE_DATE_ARRAY(DATE '{lowest}', DATE '{highest}')) AS day) WHERE {condition}"
            )
        for row in self._warehouse.rows(" UNION ALL ".join(selects)):
            first, last = row["first"], row["last"]
            found[asked[row["n"]]] = (None if first == lowest else first, None if last == highest else last)
        return found


def _leaf(schema: Iterable[SchemaField], path: Path) -> tuple[list[tuple[str, bool]], str]:
    """The fields from a column down to a leaf as (name, whether it is repeated), and the leaf's type."""
    way = []
    for name in path:
        [field] = [one for one in schema if one.name.lower() == name]
        way.append((field.name, field.mode == "REPEATED"))
        schema = field.fields
    return way, field.field_type


def _bytes(way: list[tuple[str, bool]], kind: str, record: dict) -> int:
    """The size of a leaf column in a row or record; nothing where there is none."""
    (name, repeated), *rest = way
    value = record.get(name)
    values = [one for one in (value if repeated else [value]) or () if one is not None]
    return sum(_bytes(rest, kind, one) if rest else _size(kind, one) for one in values)


def _size(kind: str, value: object) -> int:
    if kind == "JSON":
        return len(orjson.dumps(value))
    if isinstance(value, str | bytes):
        return 2 + len(value.encode() if isinstance(value, str) else value)
    return FIXED_SIZES.get(kind, 8)
