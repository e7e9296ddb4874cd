"""Which columns of which partitions a query reads: the SQL alone says, no row is looked at.

A query asks of each table, view or subquery in its FROM only the columns that its own result needs, down to the fields
of records, and hands its filters on; so views and subqueries narrow what their tables are asked for, as in BigQuery.
"""

from collections import ChainMap, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from google.cloud.bigquery import SchemaField, Table
from sqlglot import exp, parse_one
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from telemetry_warehouse.errors import Refused
from telemetry_warehouse.tables import type_text

# A column, then fields of records; () is the row as such.
Path = tuple[str, ...]
# Table as FROM names it → path of a leaf column → the conditions, any of which admits a partition; None admits all.
Reads = dict[str, dict[Path, set[str | None]]]

# The key of a table's meta under which a caller says which partitions are read, whatever the filters.
PARTITIONS = "partitions"

_SIGNS = {exp.EQ: "=", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
_MIRRORED = {exp.EQ: exp.EQ, exp.GT: exp.LT, exp.GTE: exp.LTE, exp.LT: exp.GT, exp.LTE: exp.GTE}
# What a comparison of moments says of their days.
_WITH_ITS_DAY = {exp.EQ: exp.EQ, exp.GT: exp.GTE, exp.GTE: exp.GTE, exp.LT: exp.LTE, exp.LTE: exp.LTE}


def read(query: exp.Query, project: str, look_up: Callable[[str], Table]) -> Reads:
    """What a query reads. `look_up` gives the definition of a table or view named project.dataset.table.

    Raises Refused where a table that requires a partition filter has none, and for SQL that this cannot follow;
    sqlglot's errors for SQL that is none.
    """
    reader = _Reader(project, look_up)
    tree = reader.qualified(query)
    reader.query(tree, dict.fromkeys(tree.named_selects, {()}), [], {}, {})
    return reader.reads


@dataclass
class _Source:
    """A part of a FROM and what is asked of it; an UNNEST's paths begin with the name of its element."""

    node: exp.Expression
    paths: set[Path] = field(default_factory=set)


class _Reader:
    def __init__(self, project: str, look_up: Callable[[str], Table]):
        self._project, self._look_up = project, look_up
        self.reads: Reads = defaultdict(lambda: defaultdict(set))

    def qualified(self, query: exp.Query) -> exp.Query:
        """Every column with the name of its source, every star and alias spelt out."""
        schema = MappingSchema(dialect="bigquery")

        def add(table: exp.Table) -> None:
            if table.db:
                columns = {f.name: type_text(f) for f in self._look_up(id_of(table, self._project)).schema}
                schema.add_table(table, columns, dialect="bigquery")

        return qualify(
            query.copy(),
            dialect="bigquery",
            schema=schema,
            catalog=self._project,
            quote_identifiers=False,
            on_qualify=add,
        )

    def query(self, node, wanted: dict[str, set[Path]], filters: list, ctes: dict, outer: dict) -> None:
        """Follows a query: `wanted` are its columns with paths in them, `filters` conditions on its columns.

        `ctes`: name → its query and the names known to it. `outer`: the sources of the queries around it.
        """
        ctes = dict(ctes)
        if (given := node.args.get("with_")) and given.recursive:
            raise Refused(f"WITH RECURSIVE cannot be followed, in {_short(node)}")
        for cte in node.ctes:
            ctes[cte.alias] = (cte.this, dict(ctes))
        if isinstance(node, exp.Subquery):
            self.query(node.this, wanted, filters, ctes, outer)
        elif isinstance(node, exp.SetOperation):
            names = node.named_selects
            if not isinstance(node, exp.Union) or node.args.get("distinct"):
                wanted = dict.fromkeys(names, {()})
            for side in (node.left, node.right):
                own = dict(zip(names, side.named_selects, strict=True))
                renamed = [_replaced(f, lambda c, own=own: exp.column(own[c.name])) for f in filters]
                self.query(side, {own[name]: paths for name, paths in wanted.items()}, renamed, ctes, outer)
        else:
            self._select(node, wanted, filters, ctes, outer)

    def _select(self, select: exp.Select, wanted, filters, ctes, outer) -> None:
        joins = select.args.get("joins") or []
        parts = [part.this for part in [select.args.get("from_"), *joins] if part]
        for part in parts:
            if part.args.get("pivots") or part.args.get("sample"):
                raise Refused(f"PIVOT, UNPIVOT and TABLESAMPLE cannot be followed, in {_short(part)}")
        own = {part.alias_or_name: _Source(part) for part in parts}
        sources = ChainMap(own, outer)
        outputs = {projection.alias_or_name: projection.unalias() for projection in select.expressions}
        if select.args.get("distinct"):
            wanted = dict.fromkeys(outputs, {()})
        for name, paths in wanted.items():
            for path in paths:
                self._ask(outputs[name], path, sources, outputs, ctes)
        clauses = [select.args.get(key) for key in ("where", "group", "having", "qualify", "order", "windows")]
        for clause in [*clauses, *(join.args.get("on") for join in joins)]:
            for node in clause if isinstance(clause, list) else [clause]:
                if node:
                    self._ask(node, (), sources, outputs, ctes)
        # A later UNNEST may be of an earlier one's elements.
        for source in reversed(own.values()):
            if isinstance(source.node, exp.Unnest):
                element = tuple(source.node.alias_column_names[:1])
                offset = (source.node.args["offset"].name,) if source.node.args.get("offset") else None
                asked = {p[len(element) :] for p in source.paths if p[: len(element)] == element and p != offset}
                for path in asked or {()}:
                    for array in source.node.expressions:
                        self._ask(array, path, sources, outputs, ctes)
        known = _conjuncts(select.args.get("where")) + _handed_on(select, outputs, filters)
        for number, (name, source) in enumerate(own.items()):
            if not isinstance(source.node, exp.Unnest):
                its = [f for f in known + _from_joins(joins, number) if _only_of(f, name)]
                self._source(source, [_replaced(f, lambda c: exp.column(c.name)) for f in its], ctes, outer)

    def _source(self, source: _Source, filters: list, ctes: dict, outer: dict) -> None:
        node = source.node
        if isinstance(node, exp.Subquery):
            inner, known = node.this, ctes
        elif not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise Refused(f"a {node.key} in FROM cannot be followed: {_short(node)}")
        elif not node.db:
            inner, known = ctes[node.name]
        else:
            definition = self._look_up(id_of(node, self._project))
            if definition.table_type != "VIEW":
                self._table(node, definition, source.paths, filters)
                return
            inner, known, outer = self.qualified(parse_one(definition.view_query, dialect="bigquery")), {}, {}
        self.query(inner, _by_column(source.paths, inner.named_selects), filters, known, outer)

    def _table(self, node: exp.Table, definition: Table, paths: set[Path], filters: list) -> None:
        condition = node.meta.get(PARTITIONS) or _partitions(definition, filters)
        if condition is None and definition.require_partition_filter:
            partitioned = definition.time_partitioning.field
            raise Refused(
                f"{definition.dataset_id}.{definition.table_id} requires a filter on {partitioned};"
                f" compare {partitioned} with constants, in {_short(node.parent_select or node)}"
            )
        read = self.reads[source_of(node, self._project)]
        for path in {leaf for asked in paths for leaf in leaves(definition.schema, asked)} | {()}:
            read[path].add(condition)

    def _ask(self, node: exp.Expression, path: Path, sources, outputs, ctes) -> None:
        """Asks the sources for what an expression names; of a record's value only the field `path`."""
        fields: list[str] = []
        inner = node
        while isinstance(inner, exp.Dot) and isinstance(inner.expression, exp.Identifier):
            fields.insert(0, inner.expression.name)
            inner = inner.this
        if isinstance(node, exp.Paren | exp.Alias):
            self._ask(node.this, path, sources, outputs, ctes)
        elif isinstance(inner, exp.TableColumn):
            sources[inner.name].paths.add((*fields, *path))
        elif isinstance(inner, exp.Column) and inner.table:
            sources[inner.table].paths.add((inner.name, *fields, *path))
        elif isinstance(inner, exp.Column):
            self._ask(outputs[inner.name], (*fields, *path), sources, outputs, ctes)
        elif isinstance(inner, exp.Struct) and (value := _member(inner, [*fields, *path])):
            self._ask(value, (*fields, *path)[1:], sources, outputs, ctes)
        elif isinstance(node, exp.Exists):
            self.query(node.this, {}, [], ctes, sources)
        elif isinstance(node, exp.Query):
            self.query(node, dict.fromkeys(node.named_selects, {()}), [], ctes, sources)
        else:
            for child in node.iter_expressions():
                self._ask(child, (), sources, outputs, ctes)


def id_of(table: exp.Table, project: str) -> str:
    return f"{table.catalog or project}.{table.db}.{table.name}"


def source_of(table: exp.Table, project: str) -> str:
    """A table as FROM names it, at its time where the query says one."""
    version = table.args.get("version")
    return f"`{id_of(table, project)}`" + (f" {version.sql('bigquery')}" if version else "")


def leaves(schema: Iterable[SchemaField], path: Path) -> list[Path]:
    """The paths of the leaf columns at or under a path."""
    found = []
    for column in schema:
        name = column.name.lower()
        if not path or path[0] == name:
            # A path may go on into a JSON value, which is read whole.
            inner = [(name, *leaf) for leaf in leaves(column.fields, path[1:])] if column.fields else [(name,)]
            found += inner
    return found


def _by_column(paths: set[Path], columns: list[str]) -> dict[str, set[Path]]:
    wanted: dict[str, set[Path]] = defaultdict(set)
    for path in paths:
        for name in [path[0]] if path else columns:
            wanted[name].add(path[1:])
    return wanted


def _member(struct: exp.Struct, path: list[str]) -> exp.Expression | None:
    for member in struct.expressions:
        name = member.this.name if isinstance(member, exp.PropertyEQ) else member.alias_or_name
        if path and name.lower() == path[0]:
            return member.expression if isinstance(member, exp.PropertyEQ) else member
    return None


def _replaced(node: exp.Expression, new: Callable[[exp.Column], exp.Expression]) -> exp.Expression:
    return node.copy().transform(lambda n: new(n).copy() if isinstance(n, exp.Column) else n)


def _conjuncts(clause: exp.Expression | None) -> list[exp.Expression]:
    if clause is None:
        return []
    condition = (clause.this if isinstance(clause, exp.Where) else clause).unnest()
    return list(condition.flatten()) if isinstance(condition, exp.And) else [condition]


def _from_joins(joins: list[exp.Join], number: int) -> list[exp.Expression]:
    """The conditions of ON that a row of the source of this number must meet: an outer join's bind one side alone."""
    found = []
    for joined, join in enumerate(joins, start=1):
        binds = {"": True, "LEFT": number == joined, "RIGHT": number < joined}.get(join.side, False)
        found += _conjuncts(join.args.get("on")) if binds else []
    return found


def _handed_on(select: exp.Select, outputs: dict, filters: list) -> list[exp.Expression]:
    """Filters on a query's columns as filters on what it reads, where these leave out the same rows."""
    if select.args.get("limit") or select.args.get("offset"):
        return []
    grouping = [select.args["group"].expressions] if select.args.get("group") else []
    computed = [*select.expressions, *filter(None, [select.args.get("qualify")])]
    windows = [window for node in computed for window in node.find_all(exp.Window)]
    kept = grouping + [window.args.get("partition_by") or [] for window in windows]
    return [
        _replaced(f, lambda c: outputs[c.name])
        for f in filters
        if all(outputs[c.name] in keys or exp.column(c.name) in keys for c in f.find_all(exp.Column) for keys in kept)
    ]


def _only_of(condition: exp.Expression, name: str) -> bool:
    columns = list(condition.find_all(exp.Column))
    return bool(columns) and all(c.table == name for c in columns) and not condition.find(exp.Query)


def _partitions(definition: Table, filters: list) -> str | None:
    """A condition that holds for all rows of the partitions that filters admit, and for no others; None for all."""
    partitioning = definition.time_partitioning
    if partitioning is None:
        return None
    [column] = [c for c in definition.schema if c.name == partitioning.field]
    if partitioning.type_ != "DAY" or column.field_type not in ("DATE", "TIMESTAMP"):
        raise Refused(f"{definition.table_id} has partitions of another kind than days of a DATE or TIMESTAMP")
    days = [day for f in filters if (day := _days(f, column))]
    return " AND ".join(sorted(set(days))) or None


def _days(condition: exp.Expression, column: SchemaField) -> str | None:
    """The condition on whole days that a condition on the partition column comes to; None where it says nothing."""
    condition = condition.unnest()
    if isinstance(condition, exp.And | exp.Or):
        sides = [_days(condition.this, column), _days(condition.expression, column)]
        if isinstance(condition, exp.And):
            return " AND ".join(filter(None, sides)) or None
        return f"({sides[0]} OR {sides[1]})" if all(sides) else None
    if isinstance(condition, exp.Between):
        low, high = condition.args["low"], condition.args["high"]
        return _days(exp.and_(condition.this >= low, condition.this <= high), column)
    if isinstance(condition, exp.In) and condition.expressions:
        return _days(exp.or_(*(condition.this.eq(value) for value in condition.expressions)), column)
    if type(condition) not in _MIRRORED:
        return None
    kind, key, constant = type(condition), condition.this, condition.expression
    if constant.find(exp.Column):
        kind, key, constant = _MIRRORED[kind], constant, key
    if constant.find(exp.Column, exp.TableColumn, exp.Query, exp.AggFunc, exp.Window):
        return None
    text, partition = constant.sql("bigquery"), exp.column(column.name.lower())
    if column.field_type == "DATE":
        return f"`{column.name}` {_SIGNS[kind]} {text}" if key == partition else None
    if _is_day(key) and key.this == partition:
        return f"DATE(`{column.name}`) {_SIGNS[kind]} {text}"
    # A day has moments that the comparison admits where it holds for the day's first or last.
    if isinstance(key, exp.TimestampTrunc) and key.unit.name == "DAY" and not key.args.get("zone"):
        key = key.this
    if key != partition:
        return None
    moment = f"CAST({text} AS TIMESTAMP)"
    if kind is exp.LT:
        moment = f"TIMESTAMP_SUB({moment}, INTERVAL 1 MICROSECOND)"
    return f"DATE(`{column.name}`) {_SIGNS[_WITH_ITS_DAY[kind]]} DATE({moment})"


def _is_day(key: exp.Expression) -> bool:
    if isinstance(key, exp.Cast):
        return key.to.is_type("date")
    return isinstance(key, exp.Date) and not key.args.get("zone") and not key.expressions


def _short(node: exp.Expression) -> str:
    text = " ".join(node.sql("bigquery", comments=False).split())
    return text if len(text) <= 120 else text[:117] + "..."
