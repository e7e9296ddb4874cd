"""The expectations of our own, registered with Great Expectations: every day of a range is judged, in grouped queries.

All that is counted on a candidate is one query for a whole gate, grouped by day and application (`table.by_day`), and
what `monitoring` knows of the days before is another (`table.days_before`). The queries that return what must not be
are a third, grouped by day too (`table.rows_not_expected`). Great Expectations computes a metric once for all who ask
for it.

Imports Great Expectations, so import it where it is used.
"""

import os
from collections.abc import Iterable
from datetime import date, timedelta
from typing import ClassVar

os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")

import sqlalchemy
from google.api_core.exceptions import GoogleAPIError
from great_expectations.core.metric_function_types import MetricPartialFunctionTypeSuffixes
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import MetricProvider, metric_value
from great_expectations.expectations.registry import get_metric_provider
from great_expectations.validator.metric_configuration import MetricConfiguration

from telemetry_warehouse.bigquery import text_literal
from telemetry_warehouse.errors import one_line
from telemetry_warehouse.gates import days
from telemetry_warehouse.gates.literals import condition_sql
from telemetry_warehouse.tables import quoted

EXAMPLES = 3
# Characters of a value that are kept.
_LONGEST_VALUE = 64
CONDITION = MetricPartialFunctionTypeSuffixes.CONDITION.value


# What Great Expectations has computed before a condition may be made of it.
_VALUE_LENGTH = f"column_values.value_length.{MetricPartialFunctionTypeSuffixes.MAP.value}"


# What BigQuery says of a query that is wrong itself, whatever else there is to do.
_REFUSALS = ("accessDenied", "invalid", "invalidQuery", "notFound")
# Great Expectations hands on of an exception no more than its text: what we say ourselves names what is at fault.
UNEVALUATED = "could not be evaluated"


class QueryFailed(Exception):
    """BigQuery has not answered a query of a gate; the text is its reason and the job, which has the SQL.

    is_refusal: the query is wrong itself, and so one of the expectations in it.
    """

    def __init__(self, error: Exception):
        said = (getattr(error, "errors", None) or [{}])[0]
        job = getattr(error, "query_job", None)
        super().__init__(one_line(said.get("message") or error) + (f" (BigQuery job {job.job_id})" if job else ""))
        self.is_refusal = said.get("reason") in _REFUSALS


class Unevaluated(Exception):
    """Expectations of a gate that have no verdict, and why."""


def _rows(engine: SqlAlchemyExecutionEngine, sql: str) -> list:
    try:
        with engine.get_connection() as connection:
            # The driver halves them again: it takes every statement for one to be formatted.
            return connection.exec_driver_sql(sql.replace("%", "%%")).fetchall()
    except sqlalchemy.exc.DBAPIError as error:
        raise QueryFailed(error.orig.args[0] if error.orig.args else error.orig) from error
    except (GoogleAPIError, OSError) as error:
        raise QueryFailed(error) from error


def _rows_for_many(engine: SqlAlchemyExecutionEngine, sql: str, single: dict[str, str], what: str) -> list:
    """The rows of a query that is asked for many expectations at once, `what` for short.

    `single`: what it asks for each, by its name. Raises Unevaluated, naming the first of them that BigQuery refuses by
    itself.
    """
    try:
        return _rows(engine, sql)
    except QueryFailed as failed:
        if not failed.is_refusal:
            raise Unevaluated(f"{what} {UNEVALUATED}: {failed}") from failed
        for name, own in single.items():
            try:
                _rows(engine, own)
            except QueryFailed as of_one:
                raise Unevaluated(f"expectation {name} {UNEVALUATED}: {of_one}") from of_one
        raise Unevaluated(f"{what} {UNEVALUATED}, but each of them by itself: {failed}") from failed


def counting_query(about: dict, conditions: dict[str, str]) -> str:
    """Rows, measures and rows that meet each condition, by day and application.

    Its own names are none that a column of pings has: see fields.OURS.
    """
    counted = [*about["measures"].values(), *(f"COUNTIF({condition})" for condition in conditions.values())]
    selected = [f"{about['day']} AS __day", f"{about['app']} AS __app", "COUNT(*) AS __rows"]
    selected += [f"{sql} AS __m{number}" for number, sql in enumerate(counted)]
    of_values = {"__weight": "INT64", "__name": "STRING", "__value": "STRING"}
    selected += [f"CAST(NULL AS {type}) AS {name}" for name, type in of_values.items()]
    counts = f"SELECT {', '.join(selected)} FROM {quoted(about['candidate'])} GROUP BY __day, __app"
    if not about["values"]:
        return f"{counts} ORDER BY __day, __app"
    counts = f"{counts} UNION ALL {_values_query(about, len(counted))}"
    return f"SELECT * FROM ({counts}) ORDER BY __day, __app, __name, __rows DESC, __value"


def _alone(about: dict, conditions: dict[str, str], name: str) -> tuple[dict, dict[str, str]]:
    """What is counted for one expectation alone."""
    own = about["counted"][name]
    counted = {kind: {key: about[kind][key] for key in own[kind]} for kind in ("measures", "values")}
    return about | counted, {name: conditions[name]} if name in conditions else {}


def _values_query(about: dict, measures: int) -> str:
    """Of each column in about["values"] the most frequent values, by day and application: its rows as __rows, and what
    they stand for as __weight; no measures."""
    pairs = ", ".join(
        f"STRUCT('{column}' AS name, SUBSTR(CAST({column} AS STRING), 1, {_LONGEST_VALUE}) AS value,"
        f" {weight} AS weight)"
        for column, weight in about["values"].items()
    )
    return (
        f"SELECT __day, __app, __rows{', NULL' * measures}, __weight, __name, __value FROM ("
        f"SELECT {about['day']} AS __day, {about['app']} AS __app, __one.name AS __name, __one.value AS __value,"
        f" COUNT(*) AS __rows, SUM(__one.weight) AS __weight FROM {quoted(about['candidate'])}"
        f" CROSS JOIN UNNEST([{pairs}]) AS __one WHERE __one.value IS NOT NULL GROUP BY 1, 2, 3, 4)"
        " WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY __day, __app, __name ORDER BY __rows DESC, __value)"
        f" <= {days.VALUES_KEPT}"
    )


def days_before_query(about: dict) -> str:
    return (
        "SELECT profiled_at, submission_date, IFNULL(is_incomplete, FALSE), app_name, row_count, measures"
        " FROM monitoring.daily_profiles"
        f" WHERE table_name = {text_literal(about['table'])} AND submission_date < DATE '{about['start']}'"
        f" AND submission_date >= DATE_SUB(DATE '{about['start']}', INTERVAL {days.HISTORY_DAYS} DAY)"
        " ORDER BY profiled_at"
    )


def rows_query(queries: Iterable[str], day: str) -> str:
    """How many rows each query returns and a few of them, by its number and its column `day`.

    As JSON, a row needs no list of its columns, and has no day where the query gives none.
    """
    row = "TO_JSON_STRING(__row)"
    counted = " UNION ALL ".join(
        f"SELECT {number} AS __number, JSON_VALUE({row}, '$.{day}') AS __day, COUNT(*) AS __rows,"
        f" ARRAY_AGG({row} LIMIT {EXAMPLES}) AS __examples FROM ({query}) AS __row GROUP BY __day"
        for number, query in enumerate(queries)
    )
    return f"{counted} ORDER BY __number, __day"


class ByDay(MetricProvider):
    """What `about` asks of a candidate: {"conditions": name → SQL, "profile": [(day, app, name → count), ...]}."""

    metric_name = "table.by_day"
    domain_keys = ("batch_id",)
    value_keys = ("about",)

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_domain_kwargs, metric_value_kwargs, metrics, **_):  # noqa: N805
        about = metric_value_kwargs["about"]
        types = {column["name"]: str(column["type"]) for column in metrics["table.column_types"]}
        conditions = {}
        for name, asked in about["conditions"].items():
            provider, condition = get_metric_provider(asked["metric"], execution_engine)
            length = sqlalchemy.func.length(sqlalchemy.column(asked["column"]))
            try:
                broken, *_ = condition(
                    cls=provider,
                    execution_engine=execution_engine,
                    metric_domain_kwargs=metric_domain_kwargs | {"column": asked["column"]},
                    metric_value_kwargs=asked["values"],
                    metrics=metrics | {_VALUE_LENGTH: (length, None, None)},
                    runtime_configuration={},
                )
            except GreatExpectationsError as error:
                raise Unevaluated(f"expectation {name} {UNEVALUATED}: {one_line(error)}") from error
            conditions[name] = condition_sql(broken, types[asked["column"]])
        names = [*about["measures"], *conditions]
        single = {name: counting_query(*_alone(about, conditions, name)) for name in about["counted"]}
        what = f"what {len(single)} expectations count"
        found = _rows_for_many(execution_engine, counting_query(about, conditions), single, what)
        profile = {
            (day, app): {days.ROWS: rows} | {name: n or 0 for name, n in zip(names, counts, strict=True)}
            for day, app, rows, *counts, _, column, _ in found
            if column is None
        }
        for day, app, rows, *_, weight, column, value in found:
            if column is not None:
                profile[day, app].update(zip(days.value_measures(column, value), (rows, weight), strict=True))
        return {"conditions": conditions, "profile": [(*of, counts) for of, counts in profile.items()]}

    @classmethod
    def _get_evaluation_dependencies(
        cls, metric, configuration=None, execution_engine=None, runtime_configuration=None
    ) -> dict:
        """What Great Expectations' conditions ask for, but for a count of all rows, which none of them needs."""
        return {
            "table.columns": MetricConfiguration("table.columns", metric.metric_domain_kwargs),
            "table.column_types": MetricConfiguration(
                "table.column_types", metric.metric_domain_kwargs, {"include_nested": True}
            ),
        }


class DaysBefore(MetricProvider):
    """What monitoring.daily_profiles says of the days before a range, oldest first: for each time that a day passed,
    whether a ping type was missing on purpose, and a profile as in ByDay."""

    metric_name = "table.days_before"
    domain_keys = ("batch_id",)
    value_keys = ("about",)

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_value_kwargs, metrics, **_):  # noqa: N805
        passed: dict = {}
        query = days_before_query(metric_value_kwargs["about"])
        found = _rows_for_many(execution_engine, query, {}, "what holds its days against those before")
        for when, day, incomplete, app, rows, measures in found:
            counts = {days.ROWS: rows} | {measure["name"]: measure["value"] for measure in measures}
            passed.setdefault((when, day, incomplete), []).append((day, app, counts))
        return [(incomplete, profile) for (_, _, incomplete), profile in passed.items()]


class RowsNotExpected(MetricProvider):
    """What queries return, each by its column `day`: name → [(day or None, number of rows, a few as JSON), ...]."""

    metric_name = "table.rows_not_expected"
    domain_keys = ("batch_id",)
    value_keys = ("queries", "day")

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, execution_engine, metric_value_kwargs, metrics, **_):  # noqa: N805
        queries, day = metric_value_kwargs["queries"], metric_value_kwargs["day"]
        names, found = list(queries), {name: [] for name in queries}
        single = {name: rows_query([query], day) for name, query in queries.items()}
        what = f"the queries of {', '.join(queries)}"
        for number, *of_day in _rows_for_many(execution_engine, rows_query(queries.values(), day), single, what):
            found[names[number]].append(tuple(of_day))
        return found


class ExpectNoRows(BatchExpectation):
    """Holds where the query of that name returns nothing. `queries` is the same for all such expectations of a gate."""

    query: str
    queries: dict
    day: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.rows_not_expected",)
    success_keys: ClassVar[tuple[str, ...]] = ("queries", "day")

    def _validate(self, metrics, runtime_configuration=None, execution_engine=None):
        found = metrics["table.rows_not_expected"][self.query]
        return _said(
            f"{sum(rows for _, rows, _ in found)} rows that should not be" if found else "none",
            [day for day, _, _ in found if day],
            [example for _, _, examples in found for example in examples],
        )


class _DayByDay(BatchExpectation):
    """A rule for each day. `about` is the same for all such expectations of a gate: see `about` in judge.py."""

    about: dict

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.by_day",)
    success_keys: ClassVar[tuple[str, ...]] = ("about",)

    def _built(self, metrics) -> dict:
        """The profile of the candidate; a day of the range without rows is there, and empty."""
        start, end = (date.fromisoformat(self.about[bound]) for bound in ("start", "end"))
        return {day: {} for day in days.days_of(start, end)} | _by_day(metrics["table.by_day"]["profile"])


class ExpectColumnValues(_DayByDay):
    """Of each day at most 1 - `mostly` of the rows break the condition `condition` of `about`, but for chance."""

    condition: str
    mostly: float = 1

    def _validate(self, metrics, runtime_configuration=None, execution_engine=None):
        broken = {}
        for day, of_app in self._built(metrics).items():
            counts = [sum(counts[name] for counts in of_app.values()) for name in (self.condition, days.ROWS)]
            if days.beyond_chance(*counts, self.mostly):
                broken[day] = counts
        examples = []
        if broken:
            which = ", ".join("NULL" if day is None else f"DATE '{day}'" for day in broken)
            column = self.about["conditions"][self.condition]["column"]
            names = ", ".join(f"`{name}` AS `{name}`" for name in dict.fromkeys([*self.about["keys"], column]))
            examples = _rows(
                execution_engine,
                f"SELECT TO_JSON_STRING(STRUCT({names})) AS example FROM {quoted(self.about['candidate'])}"
                f" WHERE {metrics['table.by_day']['conditions'][self.condition]}"
                f" AND ({self.about['day']} IN ({which}) OR {self.about['day']} IS NULL) LIMIT {EXAMPLES}",
            )
        rows, all_rows = (sum(counts[n] for counts in broken.values()) for n in (0, 1))
        observed = f"{rows} of {all_rows} rows" if broken else "as expected"
        return _said(observed, broken, [example for (example,) in examples])


class _LikeTheDaysBefore(_DayByDay):
    """A rule of days.py, on the candidate's days and those before."""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.by_day", "table.days_before")
    # Whether days of which a ping type is missing on purpose say nothing, and are not judged.
    skips_incomplete: ClassVar[bool] = True

    def _deviations(self, known: days.Profile, built: list[date], eves: list[days.Profile]) -> list[days.Deviation]:
        """`known`: the candidate's days and, as they last passed, those before. `eves`: the day before the range, as it
        was each time that it passed."""
        raise NotImplementedError

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        """What else than rows must be counted, name → SQL aggregate."""
        return {}

    @classmethod
    def values(cls, arguments: dict) -> dict[str, str]:
        """Of which columns the values must be counted, column → SQL of what a row stands for."""
        return {}

    def _validate(self, metrics, runtime_configuration=None, execution_engine=None):
        built = self._built(metrics)
        passed = [(incomplete, _by_day(profile)) for incomplete, profile in metrics["table.days_before"]]
        eve = date.fromisoformat(self.about["start"]) - timedelta(days=1)
        known = {day: of_day for _, profile in passed for day, of_day in profile.items()} | built
        left_out = set(map(date.fromisoformat, self.about["incomplete"])) if self.skips_incomplete else set()
        if self.skips_incomplete:
            newest = {day: incomplete for incomplete, profile in passed for day in profile}
            left_out |= {day for day, incomplete in newest.items() if incomplete}
        known = {day: of_day for day, of_day in known.items() if day not in left_out}
        eves = [profile for _, profile in passed if eve in profile]
        found = self._deviations(known, sorted(day for day in built if day and day not in left_out), eves)
        examples = [
            {"day": d.day, "app_name": d.app_name, "counted": d.about, "observed": d.observed, "expected": d.bound}
            for d in found
        ]
        observed = f"{len(found)} counts unlike the days before" if found else "none"
        said = _said(observed, [d.day for d in found], examples)
        said["result"]["profile"] = metrics["table.by_day"]["profile"]
        return said


class ExpectRowCountsLikeTheWeekdaysBefore(_LikeTheDaysBefore):
    """See days.row_counts."""

    factor: float
    empty_days: bool = True

    def _deviations(self, known, built, eves):
        return days.row_counts(known, built, self.factor, self.empty_days)


class ExpectNullsLikeTheDaysBefore(_LikeTheDaysBefore):
    """See days.nulls."""

    columns: list[str]
    points: float

    def _deviations(self, known, built, eves):
        return days.nulls(known, built, {name: f"NULL {name}" for name in self.columns}, self.points)

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        return {f"NULL {name}": f"COUNTIF({name} IS NULL)" for name in arguments.get("columns", ())}


class ExpectEveryHourLikeTheDaysBefore(_LikeTheDaysBefore):
    """See days.hours; `column` is a timestamp."""

    column: str

    def _deviations(self, known, built, eves):
        return days.hours(known, built, {hour: f"hour {hour}" for hour in range(24)})

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        hour = f"EXTRACT(HOUR FROM {arguments.get('column')})"
        return {f"hour {number}": f"COUNTIF({hour} = {number})" for number in range(24)}


class ExpectHoursNotToMove(ExpectEveryHourLikeTheDaysBefore):
    """See days.moved_hours; `column` is a timestamp."""

    def _deviations(self, known, built, eves):
        return days.moved_hours(known, built, {hour: f"hour {hour}" for hour in range(24)})


class _OfValues(_LikeTheDaysBefore):
    """A rule on the values of `columns`; `weight` is SQL of what a row stands for."""

    columns: list[str]
    weight: str = "1"

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        return {days.values_measure(name): f"COUNT({name})" for name in arguments.get("columns", ())}

    @classmethod
    def values(cls, arguments: dict) -> dict[str, str]:
        return dict.fromkeys(arguments.get("columns", ()), arguments.get("weight", "1"))


class ExpectValuesOfTheDaysBefore(_OfValues):
    """See days.missing_values."""

    share: float

    def _deviations(self, known, built, eves):
        return days.missing_values(known, built, self.columns, self.share)


class ExpectSomeKnownValues(_OfValues):
    """See days.unknown_values."""

    def _deviations(self, known, built, eves):
        return days.unknown_values(known, built, self.columns)


class ExpectWeightsLikeTheDaysBefore(_OfValues):
    """See days.ratios."""

    factor: float

    def _deviations(self, known, built, eves):
        return days.ratios(known, built, self.columns, self.factor)


class ExpectNoRowToStandOut(_LikeTheDaysBefore):
    """See days.largest; `of` is an SQL expression."""

    of: str
    share: float

    def _deviations(self, known, built, eves):
        return days.largest(known, built, f"most {self.of}", f"all {self.of}", self.share)

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        of = arguments.get("of")
        return {f"most {of}": f"MAX({of})", f"all {of}": f"SUM({of})"}


class ExpectListsToBeFilledAsBefore(_LikeTheDaysBefore):
    """See days.emptied; `columns` are lists, those within records by their path."""

    columns: list[str]

    def _deviations(self, known, built, eves):
        return days.emptied(known, built, {name: f"filled {name}" for name in self.columns})

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        return {f"filled {name}": f"COUNTIF(ARRAY_LENGTH({name}) > 0)" for name in arguments.get("columns", ())}


class ExpectDaysToContinueTheDayBefore(_LikeTheDaysBefore):
    """Of each column what `brought` gives of a day is what `left` gave of the day before; both are SQL aggregates of
    `{column}`."""

    columns: list[str]
    brought: str
    left: str

    # What a day carries on, it carries on whatever is missing of it.
    skips_incomplete: ClassVar[bool] = False

    def _deviations(self, known, built, eves):
        return days.continuations(known, built, eves, self._measures(self.columns, self.brought, self.left))

    @staticmethod
    def _measures(columns, brought, left) -> dict[str, tuple[str, str]]:
        sides = (("brought", brought), ("left", left))
        return {
            name: tuple(f"{side} {name}: {sql.replace('{column}', name)}" for side, sql in sides) for name in columns
        }

    @classmethod
    def measures(cls, arguments: dict) -> dict[str, str]:
        of_columns = cls._measures(**arguments)
        return {measure: measure.split(": ", 1)[1] for pair in of_columns.values() for measure in pair}


OWN = {
    kind.expectation_type: kind
    for kind in (
        ExpectRowCountsLikeTheWeekdaysBefore,
        ExpectNullsLikeTheDaysBefore,
        ExpectEveryHourLikeTheDaysBefore,
        ExpectHoursNotToMove,
        ExpectValuesOfTheDaysBefore,
        ExpectSomeKnownValues,
        ExpectWeightsLikeTheDaysBefore,
        ExpectNoRowToStandOut,
        ExpectListsToBeFilledAsBefore,
        ExpectDaysToContinueTheDayBefore,
    )
}


def _by_day(profile: list) -> dict:
    found: dict = {}
    for day, app, counts in profile:
        found.setdefault(day, {})[app] = counts
    return found


def _said(observed: str, failed_days, examples: list) -> dict:
    named = sorted({str(day) for day in failed_days})
    return {
        "success": observed in ("none", "as expected"),
        "result": {"observed_value": observed, "failed_days": named, "examples": examples[:EXAMPLES]},
    }
