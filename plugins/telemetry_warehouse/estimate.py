"""What a query would be billed on BigQuery: the bytes of the columns it references in the partitions that it admits.

A column counts once in each partition, however often the query names it, and the fields of a record count each for
itself. Sizes are BigQuery's published ones, summed over the rows themselves. Partitions are those that comparisons of
the partition column with constants admit, through views, subqueries and unions. Nothing is taken off for clustering or
LIMIT, nothing added for the minimum of 10 MB a table. Where BigQuery may read less it counts more: an array that is
indexed, or unnested for its length alone, counts whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import sqlglot
from google.api_core.exceptions import NotFound
from google.cloud.bigquery import ArrayQueryParameter, SchemaField, Table
from sqlglot import exp
from sqlglot.errors import SqlglotError

from telemetry_warehouse import reads
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused, one_line
from telemetry_warehouse.reads import Path, Reads
from telemetry_warehouse.tables import quoted

# https://cloud.google.com/bigquery/pricing#data: the sizes of values that are not NULL.
FIXED_SIZES = {
    **dict.fromkeys(("INTEGER", "FLOAT", "DATE", "TIME", "DATETIME", "TIMESTAMP"), 8),
    **{"BOOLEAN": 1, "NUMERIC": 16, "BIGNUMERIC": 32},
}
_SIZES = {
    **{name: str(size) for name, size in FIXED_SIZES.items()},
    **dict.fromkeys(("STRING", "BYTES"), "2 + BYTE_LENGTH({0})"),
    "JSON": "BYTE_LENGTH(TO_JSON_STRING({0}))",
}
# A column, and the condition that admits its partitions.
Wanted = tuple[str | None, Path]
_READS_NOTHING = (exp.Transaction, exp.Commit, exp.Rollback, exp.TruncateTable, exp.Drop)


@dataclass(frozen=True)
class Scan:
    """Bytes and rows that a query reads of a table."""

    bytes: int
    rows: int


@dataclass(frozen=True)
class Estimate:
    """What a query or script would be billed: table (dataset.name) → its scan."""

    tables: dict[str, Scan]

    @property
    def bytes(self) -> int:
        return sum(scan.bytes for scan in self.tables.values())

    @property
    def rows(self) -> int:
        return sum(scan.rows for scan in self.tables.values())


@dataclass(frozen=True, eq=False)
class Query:
    """A query or script, the values of its parameters, and what stands for tables that are gone, by their name."""

    sql: str
    parameters: dict = field(default_factory=dict)
    instead: dict[str, exp.Query] = field(default_factory=dict)


def estimate(warehouse: Warehouse, sql: str, parameters: dict | None = None) -> Estimate:
    """The estimate of a query, or of all statements of a script together; see `Estimator.estimates`."""
    return Estimator(warehouse).estimates([Query(sql, parameters or {})])[0]


def stage_estimates(warehouse: Warehouse, runs: list[dict]) -> list[dict[str, Estimate]]:
    """What the `build`, the `gate` and the `publish` of stages read, in the order of their rows of pipeline_runs.

    A night keeps nothing for this: each job that worked on a stage names its candidate, and BigQuery keeps the SQL of
    jobs (180 days). The candidate is gone; the published days, which have its rows, stand for it, and the whole table
    where a stage merges by key. What was built anew since counts as it is now.
    """
    if not runs:
        return []
    jobs = warehouse.client.list_jobs(
        all_users=True,
        min_creation_time=min(run["started_at"] for run in runs),
        # What is written down is when the publish began, a moment before its job.
        max_creation_time=max(run["ended_at"] for run in runs) + timedelta(minutes=1),
    )
    jobs = [job for job in jobs if job.job_type == "query"]
    estimator, queries = Estimator(warehouse), {}
    for number, run in enumerate(runs):
        name = f"{run['table_name'].split('.')[1]}__{run['start_date']:%Y%m%d}_{run['end_date']:%Y%m%d}__{run['token']}"
        instead = {name: estimator.published(run["table_name"], run["start_date"], run["end_date"])}
        for job in (job for job in jobs if name in job.query):
            part = job.labels.get("stage") or {"SELECT": "gate"}.get(job.statement_type, "build")
            parameters = {
                parameter.name: parameter.values if isinstance(parameter, ArrayQueryParameter) else parameter.value
                for parameter in job.query_parameters
            }
            queries[Query(job.query, parameters, instead)] = number, part
    parts: list[dict[str, list[Estimate]]] = [{"build": [], "gate": [], "publish": []} for _ in runs]
    for (number, part), found in zip(queries.values(), estimator.estimates(queries), strict=True):
        parts[number][part].append(found)
    return [{part: _total(found) for part, found in run.items()} for run in parts]


class Estimator:
    """Estimates that share what they learn of tables: right as long as nobody writes to them."""

    def __init__(self, warehouse: Warehouse):
        self._warehouse = warehouse
        self._project = warehouse.settings.project_id
        self._definitions: dict[str, Table] = {}
        self._sizes: dict[str, dict[Wanted, int]] = defaultdict(dict)

    def estimates(self, queries: Iterable[Query]) -> list[Estimate]:
        """The estimates of queries, in their order, from one query of ours per table and filter.

        Raises Refused, naming the place, for SQL that cannot be analysed, and where a table that requires a partition
        filter has none.
        """
        return self.sizes([self.reads(query) for query in queries])

    def reads(self, query: Query) -> list[Reads]:
        """What each statement of a query reads; raises Refused as `estimates` does."""
        return [read for tree, place in _statements(query) for read in self._statement(tree, place)]

    def sizes(self, scripts: list[list[Reads]]) -> list[Estimate]:
        """The estimates of queries by what their statements read."""
        needed: dict[str, set[Wanted]] = defaultdict(set)
        for read in (read for script in scripts for read in script):
            for table, paths in read.items():
                needed[table] |= {(_any_of(conditions), path) for path, conditions in paths.items()}
        for table, wanted in needed.items():
            if missing := wanted - self._sizes[table].keys():
                self._sizes[table] |= self._measured(table, missing)
        return [_total([self._estimate(read) for read in script]) for script in scripts]

    def published(self, table: str, start: date, end: date) -> exp.Query:
        """The rows that a candidate of these days had, as far as the published table has them."""
        definition = self._look_up(f"{self._project}.{table}")
        if definition.time_partitioning is None:
            return sqlglot.parse_one(f"SELECT *, FALSE AS _deleted FROM {quoted(table)}", dialect="bigquery")
        rows = sqlglot.parse_one(f"SELECT * FROM {quoted(table)}", dialect="bigquery")
        day = f"DATE(`{definition.time_partitioning.field}`)"
        rows.find(exp.Table).meta[reads.PARTITIONS] = f"{day} BETWEEN DATE '{start}' AND DATE '{end}'"
        return rows

    def _estimate(self, read: Reads) -> Estimate:
        scans = {}
        for table, paths in read.items():
            definition, sizes = self._definition(table), self._sizes[table]
            scanned = sum(sizes[_any_of(conditions), path] for path, conditions in paths.items() if path)
            rows = sizes[_any_of(paths[()]), ()]
            scans[f"{definition.dataset_id}.{definition.table_id}"] = Scan(scanned, rows)
        return Estimate(scans)

    def _measured(self, table: str, wanted: set[Wanted]) -> dict[Wanted, int]:
        """Bytes of columns in partitions, and rows where the column is ()."""
        schema = self._definition(table).schema
        numbered = dict(enumerate(wanted))
        sizes = [
            f"SUM(IF({condition or 'TRUE'}, {_bytes_of(schema, path) if path else 1}, 0)) AS c{n}"
            for n, (condition, path) in numbered.items()
        ]
        admitted = _any_of({condition for condition, _ in wanted}) or "TRUE"
        [row] = self._warehouse.rows(f"SELECT {', '.join(sizes)} FROM {table} WHERE {admitted}")
        return {wanted: row[f"c{n}"] or 0 for n, wanted in numbered.items()}

    def _look_up(self, table_id: str) -> Table:
        if table_id not in self._definitions:
            try:
                self._definitions[table_id] = self._warehouse.client.get_table(table_id)
            except NotFound:
                raise Refused(f"there is no table {table_id}") from None
        return self._definitions[table_id]

    def _definition(self, source: str) -> Table:
        return self._definitions[source.split("`")[1]]

    def _read(self, query: exp.Query) -> Reads:
        return reads.read(query, self._project, self._look_up)

    def _statement(self, tree: exp.Expression, place: str) -> list[Reads]:
        """What a statement reads, and apart from it what DML writes anew."""
        try:
            if isinstance(tree, exp.Merge):
                return self._merge(tree)
            if isinstance(tree, exp.Delete) and tree.args.get("where"):
                return self._delete(tree)
            query = tree if isinstance(tree, exp.Query) else tree.expression
            if isinstance(tree, exp.Query | exp.Insert | exp.Create) and isinstance(query, exp.Query):
                return [] if tree.args.get("kind") == "VIEW" else [self._read(query)]
            if isinstance(tree, _READS_NOTHING) or isinstance(tree.expression, exp.Values):
                return []
            raise Refused(f"{tree.key.upper()} of this form is none of the statements whose bytes are known")
        # sqlglot asserts some of what it expects.
        except (SqlglotError, AssertionError, Refused) as error:
            raise Refused(f"cannot estimate the statement at {place}: {one_line(error)}") from error

    def _delete(self, tree: exp.Delete) -> list[Reads]:
        """DELETE is billed for all columns of the partitions it touches, but not where it leaves nothing of them."""
        where, target = tree.args["where"].this, reads.source_of(tree.this, self._project)
        everything = self._read(exp.select("*").from_(tree.this.copy()).where(where.copy()))[target]
        partitioning = self._definition(target).time_partitioning
        if partitioning and {column.name for column in where.find_all(exp.Column)} == {partitioning.field}:
            kept = f"NOT ({where.sql('bigquery')})"
            admitted = _any_of(everything[()])
            alias = tree.this.alias_or_name
            if not self._warehouse.rows(
                f"SELECT 1 FROM {target} AS `{alias}` WHERE ({admitted}) AND IFNULL({kept}, TRUE) LIMIT 1"
            ):
                return []
        return [self._read(exp.select("1").from_(tree.this.copy()).where(where.copy())), {target: everything}]

    def _merge(self, tree: exp.Merge) -> list[Reads]:
        """MERGE reads what it names and, where it updates or deletes, all columns of the target's partitions too."""
        named, rewrites = [], False
        for when in tree.args["whens"].expressions:
            then = when.args["then"]
            rewrites = rewrites or not isinstance(then, exp.Insert)
            if isinstance(then, exp.Update):
                named += [assignment.expression for assignment in then.expressions]
            elif isinstance(then, exp.Insert):
                named += then.expression.expressions if then.expression else [_all_of(tree.args["using"])]
            named += [when.args["condition"]] if when.args.get("condition") else []
        joined = exp.select().from_(tree.args["using"].copy())
        joined = joined.join(tree.this.copy(), on=tree.args["on"].copy(), join_type="left")
        found = [self._read(joined.select(*(_named(value, f"_{n}") for n, value in enumerate(named))))]
        if rewrites:
            target = reads.source_of(tree.this, self._project)
            found.append({target: self._read(joined.select(_all_of(tree.this)))[target]})
        return found


def _statements(query: Query) -> Iterator[tuple[exp.Expression, str]]:
    """The statements of a script with their places, without parameters and tables that are gone."""
    tokens, start = sqlglot.tokenize(query.sql, dialect="bigquery"), 0
    while start < len(tokens):
        end = next((n for n in range(start, len(tokens)) if tokens[n].text == ";"), len(tokens))
        if end > start:
            place, text = f"line {tokens[start].line}", query.sql[tokens[start].start : tokens[end - 1].end + 1]
            # sqlglot knows no ASSERT, which reads what its condition reads.
            if tokens[start].text.upper() == "ASSERT":
                text = "SELECT" + text[len("ASSERT") :]
            try:
                tree = sqlglot.parse_one(text, dialect="bigquery")
            except SqlglotError as error:
                raise Refused(f"cannot read the statement at {place}: {one_line(error)}") from error
            yield tree.transform(_filled_in, query), place
        start = end + 1


def _filled_in(node: exp.Expression, query: Query) -> exp.Expression:
    if isinstance(node, exp.Table) and node.name in query.instead:
        return query.instead[node.name].subquery(node.alias_or_name)
    if isinstance(node, exp.Parameter):
        if node.name not in query.parameters:
            raise Refused(f"the query has a parameter @{node.name} and no value for it was given")
        return exp.convert(query.parameters[node.name])
    return node


def _total(estimates: list[Estimate]) -> Estimate:
    tables: dict[str, Scan] = {}
    for table, scan in (item for estimate in estimates for item in estimate.tables.items()):
        before = tables.get(table, Scan(0, 0))
        tables[table] = Scan(before.bytes + scan.bytes, before.rows + scan.rows)
    return Estimate(tables)


def _all_of(source: exp.Expression) -> exp.Column:
    return exp.Column(this=exp.Star(), table=exp.to_identifier(source.alias_or_name))


def _named(value: exp.Expression, name: str) -> exp.Expression:
    return value if isinstance(value.this, exp.Star) else exp.alias_(value.copy(), name)


def _any_of(conditions: set[str | None]) -> str | None:
    return None if None in conditions else " OR ".join(f"({c})" for c in sorted(conditions))


def _bytes_of(schema: Iterable[SchemaField], path: Path, record: str = "") -> str:
    """SQL for the bytes of one leaf column in a row, or in `record`; NULL, where there is nothing, has none."""
    [column] = [c for c in schema if c.name.lower() == path[0]]
    value = f"{record}`{column.name}`"
    item = f"element_{len(path)}" if column.mode == "REPEATED" else value
    if column.fields:
        size = _bytes_of(column.fields, path[1:], f"{item}.")
    elif column.field_type in _SIZES:
        size = f"IF({item} IS NULL, 0, {_SIZES[column.field_type].format(item)})"
    else:
        raise Refused(f"the size of a {column.field_type} is not known, which {column.name} is")
    return f"(SELECT SUM({size}) FROM UNNEST({value}) AS {item})" if column.mode == "REPEATED" else size
