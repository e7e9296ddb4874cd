"""SQL that a person typed reads and does nothing else, also within a script."""

import logging
from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import Refused, one_line

_RULE = "a query reads and does nothing else: SELECT, DECLARE, SET, CREATE TEMP TABLE and CREATE TEMP FUNCTION"
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Command)
# Statements whose first word alone does not say what they do.
_TWO_WORDS = ("ALTER", "CREATE", "DROP", "EXECUTE", "EXPORT", "LOAD")


def refuse_unless_reading(warehouse: Warehouse, sql: str) -> None:
    """Raises Refused, naming the statement, for SQL that could change anything. Runs nothing.

    It lists what is allowed, so what BigQuery learns to do later is refused. Of a single query BigQuery's own analysis
    must say the same; where the query is wrong, this raises what BigQuery says of it (google.api_core exceptions).
    """
    # It logs what it does not take apart, which is refused.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        statements = list(_statements(sql))
    except SqlglotError as error:
        _refuse_unread(warehouse, sql, one_line(str(error).splitlines()[0]))
        return
    if not statements:
        raise Refused("there is no query")
    for name, tree in statements:
        if not _reads(tree):
            raise Refused(f"{name} is refused; {_RULE}")
    if len(statements) == 1 and isinstance(statements[0][1], exp.Query):
        kind = warehouse.statement_type(sql)
        if kind != "SELECT":
            raise Refused(f"BigQuery takes this for {kind}, which is refused; {_RULE}")


def _refuse_unread(warehouse: Warehouse, sql: str, why: str) -> None:
    if warehouse.statement_type(sql) != "SELECT":
        raise Refused(f"what this SQL does cannot be told, so it is refused ({why}); {_RULE}")


def _statements(sql: str) -> Iterator[tuple[str, exp.Expression]]:
    """The words that each statement begins with, and its tree. Raises SqlglotError for what cannot be parsed."""
    tokens: list[Token] = []
    for token in [*sqlglot.tokenize(sql, read="bigquery"), None]:
        # A semicolon in a string or in a comment is no token.
        if token is not None and token.token_type != TokenType.SEMICOLON:
            tokens.append(token)
        elif tokens:
            text = sql[tokens[0].start : tokens[-1].end + 1]
            words = text.upper().split(maxsplit=2)[:2]
            yield " ".join(words if words[0] in _TWO_WORDS else words[:1]), sqlglot.parse_one(text, read="bigquery")
            tokens = []


def _reads(tree: exp.Expression) -> bool:
    if isinstance(tree, exp.Create):
        properties = tree.args["properties"].expressions if tree.args.get("properties") else []
        is_temporary = any(isinstance(one, exp.TemporaryProperty) for one in properties)
        # A temporary table has no dataset.
        return is_temporary and tree.kind in ("TABLE", "FUNCTION") and not tree.find(exp.Table).db
    if isinstance(tree, exp.Query):
        return tree.find(*_WRITES) is None
    return isinstance(tree, exp.Declare | exp.Set)
