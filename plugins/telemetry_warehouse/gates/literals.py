"""Values that people write in YAML as GoogleSQL literals, and the conditions of Great Expectations with them.

SQLAlchemy would write them for a driver that formats its statements: with every `%` doubled, and escapes of Python.

Imports SQLAlchemy, so import it where it is used.
"""

from datetime import UTC, date, datetime
from math import isfinite

import sqlalchemy
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy_bigquery import BigQueryDialect

from telemetry_warehouse.bigquery import text_literal


class _Dialect(BigQueryDialect):
    """Names and operators as in BigQuery, and nothing done to what is between quotes."""

    # The compiler of BigQuery's dialect rewrites the text of lists.
    statement_compiler = SQLCompiler


# With this style a statement is not formatted by its driver.
_DIALECT = _Dialect(paramstyle="named")


def literal(value: object, column_type: str = "") -> str:
    """`value` (text, number, truth, day, time or None) as a literal, to be compared with a column of that type.

    A time without an offset is UTC where the column is a TIMESTAMP, and a day there is its midnight. Raises ValueError
    for a value of another kind.
    """
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, bool | int):
        return str(value).upper()
    if isinstance(value, float):
        return repr(value) if isfinite(value) else f"CAST('{value}' AS FLOAT64)"
    if isinstance(value, date) and not isinstance(value, datetime):
        if column_type != "TIMESTAMP":
            return f"DATE '{value}'"
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        if value.tzinfo is None and column_type != "TIMESTAMP":
            return f"DATETIME '{value}'"
        return f"TIMESTAMP '{value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC).replace(tzinfo=None)}+00'"
    raise ValueError(f"{value!r} is no value that a column can be compared with")


def condition_sql(condition: sqlalchemy.ColumnElement, column_type: str = "") -> str:
    """The text of a condition, its values as literals to be compared with a column of that type."""

    def replaced(element, **_):
        right = getattr(element, "right", None)
        if isinstance(right, sqlalchemy.BindParameter) and right.expanding and not right.value:
            return {operators.in_op: sqlalchemy.false(), operators.not_in_op: sqlalchemy.true()}[element.operator]
        if not isinstance(element, sqlalchemy.BindParameter):
            return None
        if element.expanding:
            return sqlalchemy.literal_column(f"({', '.join(literal(value, column_type) for value in element.value)})")
        return sqlalchemy.literal_column(literal(element.value, column_type))

    return str(visitors.replacement_traverse(condition, {}, replaced).compile(dialect=_DIALECT))
