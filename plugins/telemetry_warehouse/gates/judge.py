"""Runs a table's expectations on what was built, as SQL pushed down to the warehouse, and keeps the verdict."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import orjson

from telemetry_warehouse import tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed, WarehouseError
from telemetry_warehouse.gates.expectations import Expectation, parse
from telemetry_warehouse.tables import Table

_EXAMPLES = 3


@dataclass(frozen=True)
class Result:
    """What one expectation said; `observed` and `examples` are JSON values."""

    expectation: Expectation
    passed: bool
    observed: object
    examples: list

    @property
    def line(self) -> str:
        text = f"{self.expectation.name} ({self.expectation.severity}): observed {orjson.dumps(self.observed).decode()}"
        return text + (f", for example {orjson.dumps(self.examples, default=str).decode()}" if self.examples else "")


def judge(
    warehouse: Warehouse, table: Table, asset: str, inputs: dict[str, str], start: date, end: date, run: str
) -> list[Result]:
    """Judges `asset` (a candidate of `table`) for start..end and records every result in monitoring.gate_results.

    `inputs` maps a direct input's name to its table id. Raises GateFailed, naming what failed with example rows,
    where a critical expectation does not hold, WarehouseError where one cannot be evaluated;
    warnings are in the results.
    """
    expectations = parse(table, inputs)
    results = _run(warehouse, asset, expectations, inputs, start, end)
    failed = [r.expectation for r in results if not r.passed]
    if failed:
        again = _run(warehouse, asset, failed, inputs, start, end, keys=_keys(table))
        # The first verdict stands, even where the rows have changed since.
        seen = {r.expectation.name: replace(r, passed=False) for r in again}
        results = [seen.get(r.expectation.name, r) for r in results]
    _record(warehouse, table, asset, results, start, end, run)
    critical = [r for r in results if not r.passed and r.expectation.severity == "critical"]
    if critical:
        lines = "; ".join(r.line for r in critical)
        raise GateFailed(
            f"{table.id} {start}..{end} failed its gate and was not published: {lines}. The candidate is kept: {asset}"
        )
    return results


def _keys(table: Table) -> list[str]:
    known = ("document_id", "submission_date", "app_name", "client_id", "channel", "os", "probe", "key")
    return [name for name in known if name in table.column_names]


def _run(warehouse, asset, expectations, inputs, start, end, keys=None) -> list[Result]:
    """Whether each expectation holds; with `keys`, the columns that name a row, also what was seen and example rows."""
    if not expectations:
        return []
    import great_expectations as gx
    import sqlalchemy
    import sqlalchemy_bigquery._types
    from google.cloud.bigquery import QueryJobConfig
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    # The dialect can write this type and does not know it when it reads: a record with JSON in it could not be judged.
    sqlalchemy_bigquery._types._type_map["JSON"] = sqlalchemy.types.JSON
    dataset, name = asset.split(".")
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
    built = [e.build(inputs, start, end, with_rows=keys is not None) for e in expectations]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=built))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    form = {"result_format": "BOOLEAN_ONLY"}
    if keys is not None:
        form = {
            "result_format": "COMPLETE",
            "partial_unexpected_count": _EXAMPLES,
            "unexpected_index_column_names": keys,
        }
    outcome = definition.run(result_format=form)
    by_name = {e.name: e for e in expectations}
    results = []
    for one in outcome.results:
        expectation = by_name[one.expectation_config.meta["name"]]
        if message := _exception(one.exception_info):
            raise WarehouseError(f"{expectation.name} on {asset} could not be evaluated: {message}")
        results.append(_result(expectation, one))
    return results


def _exception(info: dict | None) -> str | None:
    """Great Expectations gives one exception, or one for each metric under its name."""
    for one in (info or {}, *(v for v in (info or {}).values() if isinstance(v, dict))):
        if one.get("raised_exception"):
            return " ".join(str(one["exception_message"]).split())
    return None


def _result(expectation: Expectation, outcome) -> Result:
    found = outcome.result
    if not found:
        observed = "as expected"
    elif expectation.query is not None:
        observed = f"{found['observed_value']} rows that should not be"
    elif "unexpected_count" in found:
        observed = f"{found['unexpected_count']} of {found['element_count']} rows"
    else:
        observed = found["observed_value"]
    examples = found.get("details", {}).get("unexpected_rows") or found.get("partial_unexpected_index_list") or []
    return Result(expectation, bool(outcome.success), observed, examples[:_EXAMPLES])


def _record(warehouse, table, asset, results, start, end, run) -> None:
    now = datetime.now(UTC)
    warehouse.ensure(tables.from_file("monitoring", "gate_results"))
    warehouse.load_rows(
        "monitoring.gate_results",
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
                "observed": orjson.dumps(r.observed).decode(),
                "bound": r.expectation.query or orjson.dumps(r.expectation.arguments, default=str).decode(),
                "examples": orjson.dumps(r.examples, default=str).decode(),
            }
            for r in results
        ),
    )
