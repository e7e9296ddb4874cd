"""GoogleSQL to DuckDB's SQL: the same in less time, and what DuckDB runs in less."""

import itertools
import re

from bookkeeping import in_this_translation


def translate_without_copies() -> None:
    """A statement's tree was copied once more for its text, with the types of all its parts, and types were read from
    their names for each statement: main pings have types of a thousand words."""
    from local_bigquery.jobs import merge, query
    from local_bigquery.sql import script, translate
    from local_bigquery.sql.dialect import DuckDBDialect
    from sqlglot.schema import MappingSchema

    def translate_once(tree, context):
        token = in_this_translation.set({})
        try:
            context.used.clear()
            tree = tree.copy()
            for rule in translate.STATEMENT_RULES:
                tree = rule(tree, context)
            tree = translate._rewrite(tree, context)
            sql = tree.sql(dialect=DuckDBDialect, copy=False)
        finally:
            in_this_translation.reset(token)
        return sql, {name: context.values[name] for name in context.used}

    read_type = MappingSchema._to_data_type
    types: dict[tuple, object] = {}

    def type_read_once(schema, text, dialect=None):
        key = text, dialect or schema.dialect.__class__
        if key not in types:
            types[key] = read_type(schema, text, dialect)
        return types[key]

    query.translate = merge.translate = script.translate = translate_once
    MappingSchema._to_data_type = type_read_once


def look_for_implicit_arrays_in_joins_alone() -> None:
    """For `FROM t, t.array` the parser copied what any FROM reads, subqueries and all, joined or not."""
    from sqlglot.parser import Parser

    make_explicit = Parser._implicit_unnests_to_explicit
    Parser._implicit_unnests_to_explicit = lambda parser, select: (
        make_explicit(parser, select) if select.args.get("joins") else select
    )


def unnest_in_the_select_list() -> None:
    """DuckDB joins a table with an array of its own by the hash of every row as soon as something filters the two, and
    takes the array apart in the SELECT list with no join: a tenth of the time on long arrays."""
    from local_bigquery.sql.rules import NODE_RULES
    from sqlglot import exp

    def rewrite(node, _context):
        joins = node.args.get("joins") if isinstance(node, exp.Select) else None
        if not joins or len(joins) > 1 or not _is_plain_unnest(joins[0]) or not _is_table(node.args["from_"].this):
            return node
        array, table = joins[0].this, node.args["from_"].this
        name = table.alias_or_name or "__t"
        element = array.args["alias"].columns[0].name
        if _may_mean_another_column(node, name, element) or _is_an_expression(node):
            return node
        source = table if table.alias_or_name else exp.alias_(table, name, table=True)
        taken_apart = exp.alias_(exp.Unnest(expressions=array.expressions), element, quoted=True)
        # The element comes first: where the table has a column of its name, BigQuery means the element.
        node.args["from_"].set("this", exp.select(taken_apart, exp.Star()).from_(source).subquery(name))
        node.set("joins", [])
        return node

    NODE_RULES.append(rewrite)


def make_arrays_of_arrays_in_place() -> None:
    """ARRAY(SELECT ... FROM UNNEST(array) AS element) is a query for each row to DuckDB, which asks it even where
    nothing reads the result. Where it says nothing more than that, it is a list_transform."""
    from local_bigquery.sql.rules import NODE_RULES
    from sqlglot import exp

    clauses = {"expressions", "from_", "kind"}
    # Macros and functions of others are anonymous: they may aggregate, or ask.
    refused = (exp.AggFunc, exp.Window, exp.Star, exp.Query, exp.Subquery, exp.Exists, exp.Anonymous)
    numbers = itertools.count()

    def rewrite(node, _context):
        select = node.expressions[0] if isinstance(node, exp.Array) and node.expressions else None
        if not isinstance(select, exp.Select) or {key for key, value in select.args.items() if value} - clauses:
            return node
        values, kind = select.expressions, select.args.get("kind")
        if not select.args.get("from_") or not _is_plain_array(select.args["from_"].this):
            return node
        if any(value.find(*refused) for value in values):
            return node
        if kind == "STRUCT" and all(value.alias for value in values):
            fields = [exp.PropertyEQ(this=exp.to_identifier(v.alias), expression=v.unalias()) for v in values]
            made = exp.Struct(expressions=fields)
        elif len(values) == 1 and not kind:
            made = values[0].unalias()
        else:
            return node
        array = select.args["from_"].this
        # A name of its own: DuckDB takes one that a table or a column has too for theirs.
        name = f"__element_{next(numbers)}"
        _rename_first_part(made, array.args["alias"].columns[0].name, name)
        each = exp.Lambda(this=made, expressions=[exp.to_identifier(name)])
        return exp.func("coalesce", exp.func("list_transform", array.expressions[0], each), exp.Array(expressions=[]))

    NODE_RULES.append(rewrite)


def let_functions_nest() -> None:
    """A function is a macro to DuckDB, which puts the text of an argument wherever the function names it, and refuses a
    query in UNNEST(argument). An argument with a query in it, as in f(g(x)) where g asks, is bound to a name first."""
    from local_bigquery.catalog import metadata
    from local_bigquery.models import Routine
    from local_bigquery.sql.rules import STATEMENT_RULES
    from sqlglot import exp

    def asks(node, context) -> bool:
        """Whether a call's function has a query in its body."""
        if not isinstance(node, exp.Dot) or not isinstance(node.expression, exp.Anonymous):
            return False
        parts = [part.name for part in node.this.flatten()] if isinstance(node.this, exp.Dot) else [node.this.name]
        project, dataset = ([context.project_id] + parts)[-2:]
        routine = metadata.load(Routine, project, dataset, node.expression.name)
        return routine is not None and "select" in (routine.definitionBody or "").lower()

    def bind(tree, context):
        calls = [node for node in tree.find_all(exp.Dot) if asks(node, context)]
        # The innermost first, so that what is bound is bound within.
        for call in sorted(calls, key=lambda node: -node.depth):
            arguments = call.expression.expressions
            nested = [
                a for a in arguments if a.find(exp.Query) or any(asks(dot, context) for dot in a.find_all(exp.Dot))
            ]
            if nested:
                named = {id(argument): f"__argument_{number}" for number, argument in enumerate(nested)}
                bound = exp.select(*(exp.alias_(argument.copy(), named[id(argument)]) for argument in nested))
                outer = call.copy()
                outer.expression.set(
                    "expressions", [exp.column(named[id(a)]) if id(a) in named else a.copy() for a in arguments]
                )
                asked = exp.select(outer).from_(bound.subquery("__arguments")).subquery()
                if call is tree:
                    return asked
                call.replace(asked)
        return tree

    STATEMENT_RULES.insert(0, bind)


def _rename_first_part(node, old: str, new: str) -> None:
    """Renames what columns in it begin with: `old` alone, or before a field."""
    from sqlglot import exp

    for column in node.find_all(exp.Column):
        part = next(key for key in ("catalog", "db", "table", "this") if column.args.get(key))
        if column.args[part].name.casefold() == old.casefold():
            column.set(part, exp.to_identifier(new))


def _is_plain_unnest(join) -> bool:
    """CROSS JOIN UNNEST(array) AS element, without an offset."""
    return not (join.side or join.args.get("on") or join.args.get("using")) and _is_plain_array(join.this)


def _is_plain_array(array) -> bool:
    """UNNEST(array) AS element, without an offset, of elements whose fields are named after the element alone."""
    from sqlglot import exp

    return (
        isinstance(array, exp.Unnest)
        and not array.args.get("offset")
        and not array.args.get("explode_array")
        and len(array.expressions) == 1
        and array.args.get("alias") is not None
        and len(array.args["alias"].columns) == 1
    )


def _is_table(source) -> bool:
    """A table or a subquery, not a join or an array."""
    from sqlglot import exp

    return isinstance(source, exp.Table) or isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query)


def _may_mean_another_column(select, name: str, element: str) -> bool:
    """Whether the select says * or the table's name for a row, where the element would be one column too many, or names
    a column of the table that the element, or DuckDB's name for a second column of its name, would hide."""
    from sqlglot import exp

    name, element = name.casefold(), element.casefold()
    second = re.compile(re.escape(element) + r"_\d+")
    own = [star for star in select.find_all(exp.Star) if star.find_ancestor(exp.Select) is select]
    if any(not isinstance(star.parent, exp.Count) for star in own):
        return True
    for column in select.find_all(exp.Column):
        said, of = column.name.casefold(), column.table.casefold()
        if (of == name and (said == element or column.is_star)) or (said == name and not of):
            return True
        if second.fullmatch(said):
            return True
    return False


def _is_an_expression(select) -> bool:
    """Whether it is asked for each row of another query, or in a function: DuckDB refuses the SELECT list there."""
    from sqlglot import exp

    tables = (exp.Select, exp.Subquery, exp.From, exp.Join, exp.CTE, exp.With, exp.SetOperation, exp.Insert)
    around = select.parent
    while isinstance(around, tables):
        around = around.parent
    return not (around is None or isinstance(around, exp.Create) and around.args.get("kind") in ("TABLE", "VIEW"))


ALL = (
    translate_without_copies,
    look_for_implicit_arrays_in_joins_alone,
    unnest_in_the_select_list,
    make_arrays_of_arrays_in_place,
    let_functions_nest,
)
