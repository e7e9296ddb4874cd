"""Runs a table's expectations on what was built, as SQL pushed down to the warehouse, and keeps the verdict."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import orjson

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed, WarehouseError, one_line
from telemetry_warehouse.gates import history, overrides
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.gates.expectations import Expectation, parse, pings
from telemetry_warehouse.gates.history import Profile
from telemetry_warehouse.gates.overrides import Override
from telemetry_warehouse.tables import Table

_MOST_DAYS_NAMED = 5


@dataclass(frozen=True)
class Result:
    """What one expectation said, and on which days it failed; `observed` and `examples` are JSON values.

    failed_days: empty where the rows that break it do not say. overrides: what lets its failure through.
    """

    expectation: Expectation
    passed: bool
    observed: object
    examples: list
    failed_days: list[date] = field(default_factory=list)
    overrides: tuple[Override, ...] = ()

    @property
    def verdict(self) -> str:
        """passed, warned, failed or let through."""
        if self.passed:
            return "passed"
        if self.expectation.severity == "warning":
            return "warned"
        return "let through" if self.overrides else "failed"

    @property
    def line(self) -> str:
        text = f"{self.expectation.name} ({self.expectation.severity}): observed {orjson.dumps(self.observed).decode()}"
        if self.failed_days:
            named = ", ".join(map(str, self.failed_days[:_MOST_DAYS_NAMED]))
            more = len(self.failed_days) - _MOST_DAYS_NAMED
            text += f" on {named}{f' and {more} other days' if more > 0 else ''}"
        text += f", for example {orjson.dumps(self.examples, default=str).decode()}" if self.examples else ""
        return "; ".join([text, *(override.line for override in self.overrides)])


@dataclass(frozen=True)
class Judgement:
    """What all expectations said of a candidate that has passed, and its profile, which `history.remember` takes."""

    results: list[Result]
    profile: Profile | None


def judge(
    warehouse: Warehouse,
    table: Table,
    asset: str,
    inputs: dict[str, str],
    start: date,
    end: date,
    run: str,
    incomplete: Collection[date] = (),
) -> Judgement:
    """Judges `asset` (a candidate of `table`) for start..end and records every result in monitoring.gate_results.

    `inputs` maps what a query may name to a table id or to SQL. `incomplete`: days of which a ping type is missing on
    purpose; they are not held against the days before. Raises GateFailed, naming what failed with its days
    and example rows, where a critical expectation does not hold on a day that no override lets through, WarehouseError
    where one cannot be evaluated; warnings, and what was let through, are in the results. Once what was judged is what
    readers see, its profile is for `history.remember`: later days are held against it.
    """
    if every_ping := pings(inputs, start, end):
        inputs = inputs | {"pings": every_ping}
    expectations = parse(table, inputs)
    about = _about(table, asset, expectations, start, end) | {"incomplete": sorted(map(str, incomplete))}
    queries = {e.name: e.sql(about, inputs) for e in expectations if e.query}
    history.ensure(warehouse)
    results, profile = _run(warehouse, about, expectations, queries)
    days = {r.expectation.name: _days_to_let_through(r, start, end) for r in results if r.verdict == "failed"}
    if days:
        known = overrides.in_force(warehouse, table.id, start, end)
        through = {name: overrides.admitted(failed, known.get(name, {})) for name, failed in days.items()}
        results = [replace(r, overrides=through.get(r.expectation.name, ())) for r in results]
    _record(warehouse, table, asset, results, start, end, run)
    critical = [r for r in results if r.verdict == "failed"]
    if critical:
        lines = "; ".join(r.line for r in critical)
        names = [r.expectation.name for r in critical]
        raise GateFailed(
            f"{table.id} {start}..{end} failed its gate and was not published: {lines}. The candidate is kept: {asset}",
            table=table.id,
            day=min(day for name in names for day in days[name]),
            expectations=names,
        )
    return Judgement(results, profile)


def _days_to_let_through(result: Result, start: date, end: date) -> list[date]:
    """The days that need an override: all of them where the rows are of no day, or of another."""
    every = days_of(start, end)
    return result.failed_days if result.failed_days and set(result.failed_days) <= set(every) else every


def _about(table: Table, asset: str, expectations: list[Expectation], start: date, end: date) -> dict:
    """What is counted on a candidate, and how: the same for all expectations, so that it is one query.

    day, app: SQL of a row's day and application. conditions, measures, values: of each expectation. counted: which of
    these each asks for. keys: columns that name a row. day_column: as queries call a day.
    """
    columns = {column.name: column for column in table.columns}
    app = next((name for name in ("normalized_app_name", "app_name") if name in columns), "CAST(NULL AS STRING)")
    is_date = table.partition_field and columns[table.partition_field].field_type == "DATE"
    measures: dict[str, str] = {}
    values: dict[str, str] = {}
    for expectation in expectations:
        measures |= expectation.measures
        # A weight that one of them names is a weight for all.
        values |= {name: sql for name, sql in expectation.values.items() if values.get(name, "1") == "1"}
    return {
        "table": table.id,
        "candidate": asset,
        "start": start.isoformat(),
        "end": end.isoformat(),
        # A table without days is judged as a whole.
        "day": table.day if table.partition_field else f"DATE '{end}'",
        "day_column": table.partition_field if is_date else "submission_date",
        "app": app,
        "keys": _keys(table),
        "conditions": {e.name: e.condition for e in expectations if e.condition},
        "measures": measures,
        "values": values,
        "counted": {
            e.name: {"measures": list(e.measures), "values": list(e.values)}
            for e in expectations
            if e.condition or e.measures or e.values
        },
    }


def _keys(table: Table) -> list[str]:
    known = (
        "document_id",
        "submission_timestamp",
        "submission_date",
        "app_name",
        "client_id",
        "channel",
        "os",
        "probe",
        "key",
    )
    found = [name for name in known if name in table.column_names]
    return found or table.column_names[:1]


def _run(warehouse, about, expectations, queries) -> tuple[list[Result], Profile | None]:
    """Whether each expectation holds, and why not; and the profile of the candidate where history is kept of it.

    queries: name of an expectation → what returns the rows that break it; they run as one.
    """
    if not expectations:
        return [], None
    import great_expectations as gx
    import sqlalchemy
    import sqlalchemy_bigquery._types
    from google.cloud.bigquery import QueryJobConfig
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    # The dialect can write this type and does not know it when it reads: a record with JSON in it could not be judged.
    sqlalchemy_bigquery._types._type_map["JSON"] = sqlalchemy.types.JSON
    dataset, name = about["candidate"].split(".")
    project = warehouse.settings.project_id
    client = warehouse.settings.bigquery_client()
    # Naming the priority makes the client insert a job and wait for it. Its short way, one request that must be
    # answered within seconds, would send a long query again and again.
    client.default_query_job_config = QueryJobConfig(
        default_dataset=f"{project}.{dataset}",
        maximum_bytes_billed=warehouse.settings.max_bytes,
        priority="INTERACTIVE",
    )
    context = gx.get_context(
        project_config=DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False)
    )
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_bigquery(
        "warehouse",
        connection_string=f"bigquery://{project}/{dataset}?user_supplied_client=True",
        kwargs={"connect_args": {"client": client, "prefer_bqstorage_client": False}},
    )
    batch = source.add_table_asset(name, table_name=name).add_batch_definition_whole_table("all")
    built = [e.build(about, queries) for e in expectations]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=built))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    outcome = definition.run(result_format={"result_format": "COMPLETE"})
    by_name = {e.name: e for e in expectations}
    _refuse_unevaluated(about, expectations, outcome.results)
    results = []
    for one in outcome.results:
        expectation = by_name[one.expectation_config.meta["name"]]
        found = one.result
        examples = [orjson.loads(e) if isinstance(e, str) else e for e in found["examples"]]
        failed_days = [] if "None" in found["failed_days"] else list(map(date.fromisoformat, found["failed_days"]))
        results.append(Result(expectation, bool(one.success), found["observed_value"], examples, failed_days))
    profiles = [one.result["profile"] for one in outcome.results if "profile" in one.result]
    return results, profiles[0] if profiles else None


def _refuse_unevaluated(about: dict, expectations: list[Expectation], outcomes: list) -> None:
    """Raises WarehouseError, naming each cause once, where Great Expectations has no verdict."""
    from telemetry_warehouse.gates.by_day import UNEVALUATED

    names: dict[str, list[str]] = {}
    for one in outcomes:
        if message := _exception(one.exception_info):
            names.setdefault(message, []).append(one.expectation_config.meta["name"])
    if names:
        causes = [m if UNEVALUATED in m else f"{', '.join(of)} {UNEVALUATED}: {m}" for m, of in names.items()]
        places = {e.place: None for e in expectations for m in causes if f"expectation {e.name} {UNEVALUATED}" in m}
        causes += [f"see {place}" for place in places if place]
        raise WarehouseError(
            f"{about['table']} {about['start']}..{about['end']}: {'; '.join(causes)}. The candidate is kept:"
            f" {about['candidate']}"
        )


def _exception(info: dict | None) -> str | None:
    """Great Expectations gives one exception, or one for each metric under its name."""
    for one in (info or {}, *(v for v in (info or {}).values() if isinstance(v, dict))):
        if one.get("raised_exception"):
            return one_line(one["exception_message"])
    return None


def _record(warehouse, table, asset, results, start, end, run) -> None:
    now = datetime.now(UTC)
    results_table = tables.from_file("monitoring", "gate_results")
    warehouse.ensure(results_table)
    warehouse.load_rows(
        results_table,
        (
            {
                "checked_date": now.date(),
                "checked_at": now,
                "run": run,
                "table_name": table.id,
                "candidate": asset,
                "start_date": start,
                "end_date": end,
                "expectation": r.expectation.name,
                "severity": r.expectation.severity,
                "column_name": r.expectation.column,
                "passed": r.passed,
                "failed_days": r.failed_days,
                "observed": orjson.dumps(r.observed).decode(),
                "bound": r.expectation.query or orjson.dumps(r.expectation.arguments, default=str).decode(),
                "examples": orjson.dumps(r.examples, default=str).decode(),
                "verdict": r.verdict,
                "overrides": [override.__dict__ for override in r.overrides],
            }
            for r in results
        ),
    )
