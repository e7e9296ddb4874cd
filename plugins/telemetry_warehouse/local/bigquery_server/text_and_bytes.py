"""Text and bytes as BigQuery has them: a cast between the two is UTF-8, and functions of text work on bytes too."""

import codecs
import itertools
import pathlib
import re

# What may follow a backslash in a literal.
_ESCAPE = re.compile(
    r"""[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|[0-3][0-7]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"""
    r"""|U(?:000[0-9a-fA-F]|0010)(?!(?<=0000)[dD][89a-fA-F])[0-9a-fA-F]{4}"""
)


def read_literals_as_they_are_written() -> None:
    """Escapes were read twice, so that the text \\x41 became A and the byte b'\\xff' two bytes; a raw literal of bytes
    and an escape that does not exist were taken for something else."""
    from local_bigquery.errors import BigQueryError
    from local_bigquery.sql import script
    from local_bigquery.sql.dialect import BigQueryDialect
    from local_bigquery.sql.rules import NODE_RULES, literals, strings
    from sqlglot import exp
    from sqlglot.tokens import TokenType

    def literal(node, _context):
        if isinstance(node, exp.ByteString):
            # A character of it stands for a byte.
            made = exp.func("from_hex", exp.Literal.string(node.this.encode("latin-1").hex()))
        elif isinstance(node, exp.Literal) and node.is_string and "\0" in node.this:
            # To DuckDB a statement ends there.
            of_bytes = exp.func("from_hex", exp.Literal.string(node.this.encode().hex()))
            made = exp.Anonymous(this="decode", expressions=[of_bytes])
        else:
            return node
        made.type = node.type
        return made

    NODE_RULES.remove(strings.string_escapes)
    NODE_RULES[NODE_RULES.index(literals.byte_string)] = literal

    # The parser has a kind of raw literal that BigQuery does not have, and none for raw bytes.
    prefixes = [a + b for a, b in ("rb", "rB", "Rb", "RB", "br", "bR", "Br", "BR")]
    tokenizer = BigQueryDialect.tokenizer_class
    tokenizer.NATIONAL_RAW_STRINGS = [(prefix + quote, quote) for quote in tokenizer.QUOTES for prefix in prefixes]
    for kind in (tokenizer, script.Tokenizer):
        kind.__init_subclass__()
    for parsers in (BigQueryDialect.Parser.STRING_PARSERS, BigQueryDialect.Parser.PRIMARY_PARSERS):
        parsers[TokenType.NATIONAL_RAW_STRING] = lambda parser, token: parser.expression(
            exp.ByteString(this=token.text.encode().decode("latin-1"), is_bytes=True), token
        )

    tokenize = BigQueryDialect.tokenize

    def tokenize_checked(dialect, sql):
        tokens = tokenize(dialect, sql)
        for token in tokens:
            is_read = token.token_type in (TokenType.STRING, TokenType.BYTE_STRING)
            if is_read and (wrong := _illegal_escape(sql[token.start : token.end + 1])):
                raise BigQueryError(
                    "invalidQuery", f"Syntax error: Illegal escape sequence: {wrong} at [{token.line}:{token.col}]"
                )
        return tokens

    BigQueryDialect.tokenize = tokenize_checked


def _illegal_escape(literal: str) -> str | None:
    position = literal.find("\\")
    while position >= 0:
        escape = _ESCAPE.match(literal, position + 1)
        if escape is None or (literal[0] in "bB" and escape[0][0] in "uU"):
            return literal[position : position + 2]
        position = literal.find("\\", escape.end())
    return None


def cast_as_utf_8_and_work_on_bytes() -> None:
    """DuckDB's casts between text and bytes read and write escapes, and few of its functions take bytes."""
    from local_bigquery.engine import database
    from local_bigquery.errors import BigQueryError
    from local_bigquery.sql import native
    from local_bigquery.sql.dialect import macro
    from local_bigquery.sql.rules import STATEMENT_RULES, query, typing
    from sqlglot import exp

    native.FUNCTIONS |= {name: (function, kinds[:-1], kinds[-1]) for name, (function, *kinds) in _FUNCTIONS.items()}
    database.FUNCTIONS.append(pathlib.Path(__file__).with_suffix(".sql"))
    not_text = exp.DataType.INTEGER_TYPES | exp.DataType.REAL_TYPES | {exp.DataType.Type.BOOLEAN} | typing.TEMPORAL

    def cast(node):
        value = node.this
        if node.to.this in typing.BYTES:
            if typing.kind(value) in not_text and not isinstance(value, exp.Null):
                raise BigQueryError("invalidQuery", f"Invalid cast from {value.type.sql('bigquery')} to BYTES")
            node.set("this", macro("_bytes", value))
        elif node.to.this in typing.TEXT and not node.args.get("format"):
            if _is_bytes(value):
                decoded = exp.Anonymous(this="decode", expressions=[value])
            elif typing.kind(value) in (None, exp.DataType.Type.UNKNOWN):
                # What a function is given, and what a variable holds, is known when it runs.
                decoded = macro("_text", value)
            else:
                return
            is_safe = isinstance(node, exp.TryCast)
            node.set("this", exp.Anonymous(this="try", expressions=[decoded]) if is_safe else decoded)

    def rewrite(tree, _context):
        _name_types_of_arguments(tree)
        for node in reversed(list(tree.walk())):
            if isinstance(node, exp.Cast):
                cast(node)
            elif made := _on_bytes(node) or _on_text(node):
                node.replace(made)
        return tree

    def map_values(values, function):
        if isinstance(values, exp.Order):
            return exp.Order(this=exp.func(function, values.this.copy()), expressions=values.copy().expressions)
        return exp.func(function, values.copy())

    query._map_values = map_values
    STATEMENT_RULES.insert(STATEMENT_RULES.index(typing.annotate), _name_types_of_parameters)
    STATEMENT_RULES.append(rewrite)


def write_bytes_as_json_and_values_as_literals() -> None:
    """TO_JSON gave bytes within a table's rows as DuckDB escapes them, and a NULL record as one of NULLs; FORMAT's %T
    gave values, not the literals that they are."""
    from local_bigquery.sql.rules import STATEMENT_RULES, typing
    from sqlglot import exp

    as_base64 = typing._base64

    def as_base64_or_null(value, datatype, names):
        made = as_base64(value, datatype, names)
        if datatype.this != exp.DataType.Type.STRUCT:
            return made
        is_null = exp.Is(this=value.copy(), expression=exp.null())
        return exp.Case(ifs=[exp.If(this=is_null, true=exp.null())], default=made)

    typing._base64 = as_base64_or_null

    def rewrite(tree, _context):
        for node in list(tree.find_all(exp.Anonymous, exp.Format)):
            if isinstance(node, exp.Format):
                _format_as_literals(node)
            elif node.name.lower() in typing.TO_JSON and node.expressions:
                _name_type_of_row(node.expressions[0])
        return tree

    STATEMENT_RULES.append(rewrite)


def _is_bytes(node) -> bool:
    """Whether an expression gives bytes, as far as it can be known before it runs."""
    from local_bigquery.sql.rules.typing import BYTES, kind
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        return _is_bytes(node.this)
    if isinstance(node, exp.Coalesce):
        return any(map(_is_bytes, (node.this, *node.expressions)))
    if isinstance(node, exp.Anonymous) and node.name.lower().rpartition(".")[2] in _GIVE_BYTES:
        return True
    return isinstance(node, (exp.ByteString, exp.Unhex, exp.FromBase64)) or kind(node) in BYTES


def _name_types_of_parameters(tree, context):
    """Parameters with bytes are cast to the type that they have, so that it is known."""
    from sqlglot import exp

    given = [(node, node.name) for node in tree.find_all(exp.Parameter)]
    places = enumerate(tree.find_all(exp.Placeholder, bfs=False), start=context.position)
    for node, name in [*given, *((node, f"p{number}") for number, node in places)]:
        if with_bytes := re.search(r" AS ([^()]*BLOB[^()]*)\)$", context.parameters.get(name, "")):
            node.replace(exp.cast(node.copy(), exp.DataType.build(with_bytes[1], dialect="duckdb")))
    return tree


def _name_types_of_arguments(tree) -> None:
    """Within a function that is being created, its arguments have the types that it declares."""
    from local_bigquery.sql.rules.typing import kind
    from sqlglot import exp

    if not isinstance(tree, exp.Create) or not isinstance(tree.this, exp.UserDefinedFunction) or not tree.expression:
        return
    types = {a.name.casefold(): a.args.get("kind") for a in tree.this.expressions if isinstance(a, exp.ColumnDef)}
    for column in tree.expression.find_all(exp.Column):
        if not column.table and kind(column) in (None, exp.DataType.Type.UNKNOWN):
            column.type = types.get(column.name.casefold())


def _name_type_of_row(argument) -> None:
    """The alias of a table or query, said for its row, is a record; known where there are bytes in it."""
    from sqlglot import exp

    if isinstance(argument, exp.Struct) and _may_have_bytes(types := _types_of_members(argument)):
        argument.type = types
    if not isinstance(argument, exp.Column) or argument.table:
        return
    for source in _sources(argument.find_ancestor(exp.Select)):
        if source.alias_or_name.casefold() == argument.name.casefold():
            row = exp.DataType(this=exp.DataType.Type.STRUCT, expressions=_fields(source), nested=True)
            if _may_have_bytes(row):
                argument.type = row


def _may_have_bytes(datatype) -> bool:
    from local_bigquery.sql.rules.typing import BYTES
    from sqlglot import exp

    return any(part.this in BYTES for part in datatype.find_all(exp.DataType))


def _types_of_members(struct):
    """The type of a record that a query makes, of whose members some may have a type that is not known."""
    from sqlglot import exp

    fields = []
    for member in struct.expressions:
        value = member.expression if isinstance(member, exp.PropertyEQ) else member.unalias()
        kind = value.type.copy() if value.type else exp.DataType.build("UNKNOWN")
        fields.append(exp.ColumnDef(this=exp.to_identifier(member.alias_or_name or member.name), kind=kind))
    return exp.DataType(this=exp.DataType.Type.STRUCT, expressions=fields, nested=True)


def _sources(select) -> list:
    """What a SELECT reads."""
    if select is None or not select.args.get("from_"):
        return []
    return [select.args["from_"].this, *(join.this for join in select.args.get("joins") or [])]


def _fields(source) -> list:
    """The columns of a table or query, each with its type, as far as it is known."""
    from local_bigquery.catalog import tables
    from local_bigquery.engine.types import bigquery_type
    from sqlglot import exp

    def field(name, kind):
        return exp.ColumnDef(this=exp.to_identifier(name), kind=kind or exp.DataType.build("UNKNOWN"))

    if isinstance(source, exp.Table):
        if source.args.get("version"):
            # Its columns were others then.
            return []
        if source.catalog and source.db:
            columns = tables.columns(source.catalog, source.db, source.name)
            return [field(c.name, exp.DataType.build(bigquery_type(c), dialect="bigquery")) for c in columns]
        ctes = (cte for within in _ancestors(source) for cte in within.ctes if cte.alias == source.name)
        source = next(ctes, None)
    while isinstance(source, (exp.Subquery, exp.CTE, exp.SetOperation)):
        source = source.this
    if not isinstance(source, exp.Select):
        return []
    found = []
    for value in source.expressions:
        if value.is_star:
            of = value.table if isinstance(value, exp.Column) else ""
            star = value.this if isinstance(value, exp.Column) else value
            left_out = {column.name.casefold() for column in star.args.get("except_") or []}
            read = [one for one in _sources(source) if not of or one.alias_or_name.casefold() == of.casefold()]
            found += [f for one in read for f in _fields(one) if f.name.casefold() not in left_out]
        else:
            found.append(field(value.alias_or_name, value.type and value.type.copy()))
    return found


def _ancestors(node):
    from sqlglot import exp

    while node := node.parent:
        if isinstance(node, exp.Query):
            yield node


def _on_bytes(node):
    """What to ask of bytes instead of a function of text; None for what is no such function, or has no bytes."""
    from sqlglot import exp

    kind = node.name.lower() if isinstance(node, exp.Anonymous) else type(node).__name__
    if kind not in _ON_BYTES:
        return None
    name, keys, defaults = _ON_BYTES[kind]
    given = node.expressions if isinstance(node, exp.Anonymous) else [node.args.get(key) for key in keys]
    of = given[0].type.expressions[:1] if kind == "ArrayToString" and given[0].type else given[:1]
    if not any(_is_bytes(one) or getattr(one, "this", None) == exp.DataType.Type.BINARY for one in of):
        return None
    # What may be left out has a value; what follows it is left out with it.
    defaults = [*(None for _ in range(len(_FUNCTIONS[name]) - 2 - len(defaults))), *defaults]
    given = [*given, *(None for _ in range(len(defaults) - len(given)))]
    arguments = [default if one is None else one for one, default in zip(given, defaults, strict=True)]
    if None in arguments:
        return None
    made = exp.Anonymous(this=name, expressions=[exp.convert(one) for one in arguments])
    made.type = exp.DataType.build(_FUNCTIONS[name][-1], dialect="duckdb")
    return exp.not_(made) if isinstance(node, exp.Like) and node.args.get("negate") else made


def _on_text(node):
    """DuckDB reverses what a reader takes for one character as a whole, and counts from before the first one."""
    from local_bigquery.sql.dialect import macro
    from sqlglot import exp

    if isinstance(node, exp.Reverse):
        return exp.Anonymous(this="_text_reverse", expressions=[node.this])
    start = node.args.get("start") if isinstance(node, exp.Substring) else None
    if start is None or isinstance(start, exp.Literal) and start.name != "0":
        return None
    node.set("start", macro("_start", node.this.copy(), start))
    return None


def _format_as_literals(node) -> None:
    from local_bigquery.sql.rules.strings import SPECIFIER
    from sqlglot import exp

    if not (isinstance(node.this, exp.Literal) and node.this.is_string):
        return
    arguments, number = list(node.expressions), itertools.count()

    def specifier(match):
        if match[0] == "%%" or match[0][-1] not in "tT":
            next(number, None) if match[0] != "%%" else None
            return match[0]
        place = next(number)
        if place < len(arguments):
            arguments[place] = _literal(arguments[place], arguments[place].type, match[0][-1] == "T", itertools.count())
        return match[0][:-1] + "s"

    node.set("this", exp.Literal.string(SPECIFIER.sub(specifier, node.this.name)))
    node.set("expressions", arguments)


def _literal(value, datatype, quoted: bool, names):
    """The text of a value as FORMAT's %T (`quoted`) or %t has it."""
    from local_bigquery.sql.rules.typing import BYTES, TEXT
    from sqlglot import exp

    kinds = exp.DataType.Type
    kind = datatype.this if datatype else None
    text = exp.cast(value.copy(), "VARCHAR")
    if kind in BYTES:
        made = exp.Anonymous(this="_bytes_literal", expressions=[value.copy(), exp.convert(quoted)])
    elif kind in TEXT and quoted:
        made = exp.Anonymous(this="_text_literal", expressions=[value.copy()])
    elif kind == kinds.ARRAY and datatype.expressions:
        name = exp.to_identifier(f"_l{next(names)}")
        each = exp.Lambda(this=_literal(exp.column(name), datatype.expressions[0], quoted, names), expressions=[name])
        joined = exp.func("array_to_string", exp.func("list_transform", value.copy(), each), exp.convert(", "))
        made = _joined("[", joined, "]")
    elif kind == kinds.STRUCT and datatype.expressions:
        parts = []
        for position, field in enumerate(datatype.expressions, start=1):
            member = exp.Anonymous(this="struct_extract_at", expressions=[value.copy(), exp.convert(position)])
            kind_of_field = field.args["kind"] if isinstance(field, exp.ColumnDef) else field
            parts += [exp.convert(", ")] * bool(parts) + [_literal(member, kind_of_field, quoted, names)]
        made = (
            exp.case()
            .when(exp.Is(this=value.copy(), expression=exp.null()), exp.null())
            .else_(_joined("(", *parts, ")"))
        )
    elif quoted and kind and kind.name in _NAMED_IN_LITERALS:
        made = _joined(f'{_NAMED_IN_LITERALS[kind.name]} "', text, '"')
    else:
        made = text
    return exp.func("coalesce", made, exp.convert("NULL"))


def _joined(*parts):
    from sqlglot import exp

    first, *others = (exp.convert(part) if isinstance(part, str) else part for part in parts)
    for other in others:
        first = exp.DPipe(this=first, expression=other)
    return exp.paren(first)


_NAMED_IN_LITERALS = {
    "DATE": "DATE", "DATETIME": "DATETIME", "TIMESTAMP": "DATETIME", "TIMESTAMPTZ": "TIMESTAMP", "TIME": "TIME",
    "DECIMAL": "NUMERIC", "BIGDECIMAL": "BIGNUMERIC", "JSON": "JSON",
}  # fmt: skip


def _substring(value: bytes, start: int, length: int) -> bytes:
    if length < 0:
        raise ValueError("Third argument in SUBSTR() cannot be negative")
    start = max(len(value) + start, 0) if start < 0 else max(start - 1, 0)
    return value[start : start + length]


def _left(value: bytes, length: int) -> bytes:
    if length < 0:
        raise ValueError("Second argument in LEFT() cannot be negative")
    return value[:length]


def _right(value: bytes, length: int) -> bytes:
    if length < 0:
        raise ValueError("Second argument in RIGHT() cannot be negative")
    return value[max(len(value) - length, 0) :]


def _instr(value: bytes, part: bytes, start: int, occurrence: int) -> int:
    if start == 0 or occurrence < 1:
        raise ValueError("INSTR() takes a position other than 0 and an occurrence from 1 on")
    last = len(value) - len(part)
    places = range(start - 1, last + 1) if start > 0 else range(min(len(value) + start, last), -1, -1)
    found = [place for place in places if value.startswith(part, place)]
    return found[occurrence - 1] + 1 if len(found) >= occurrence else 0


def _repeat(value: bytes, times: int) -> bytes:
    if times < 0:
        raise ValueError("Second argument in REPEAT() cannot be negative")
    return value * times


def _pad(value: bytes, length: int, pattern: bytes, is_left: bool) -> bytes:
    if length < 0 or not pattern:
        raise ValueError("LPAD() and RPAD() take a length from 0 on and a pattern that is not empty")
    missing = max(length - len(value), 0)
    added = (pattern * (missing // len(pattern) + 1))[:missing]
    return (added + value if is_left else value + added)[:length]


def _trim(value: bytes, what: bytes, side: str) -> bytes:
    return {"LEADING": bytes.lstrip, "TRAILING": bytes.rstrip}.get(side, bytes.strip)(value, what)


def _split(value: bytes, delimiter: bytes) -> list[bytes]:
    return value.split(delimiter) if delimiter else [bytes([byte]) for byte in value] or [b""]


def _like(value: bytes, pattern: bytes) -> bool:
    parts = re.findall(rb"(?s)\\.|.", pattern)
    wildcards = {b"%": b"(?s:.*)", b"_": b"(?s:.)"}
    return bool(re.fullmatch(b"".join(wildcards.get(part) or re.escape(part[-1:]) for part in parts), value))


def _bytes_literal(value: bytes, quoted: bool) -> str:
    text = "".join(chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in value.replace(b"\\", b"\\\\"))
    return f"b{_quoted(text)}" if quoted else re.sub("[\"'`]", r"\\\g<0>", text)


def _text_literal(value: str) -> str:
    parts: list[str] = []
    for c in value:
        # A digit after two hexadecimal ones might be read as a third.
        is_third = parts and parts[-1].startswith("\\x") and c in "0123456789abcdefABCDEF"
        is_control = c < " " or c == "\x7f"
        parts.append(_ESCAPED.get(c) or (f"\\x{ord(c):02x}" if is_third or is_control else c))
    return _quoted("".join(parts))


def _quoted(text: str) -> str:
    quote = "'" if '"' in text and "'" not in text else '"'
    return quote + text.replace(quote, "\\" + quote) + quote


codecs.register_error("replace_each_byte", lambda error: ("\ufffd" * (error.end - error.start), error.end))
_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Name → function, the types of its arguments and of its result.
_FUNCTIONS = {
    "_bytes_substring": (_substring, "BLOB", "BIGINT", "BIGINT", "BLOB"),
    "_bytes_left": (_left, "BLOB", "BIGINT", "BLOB"),
    "_bytes_right": (_right, "BLOB", "BIGINT", "BLOB"),
    "_bytes_replace": (lambda b, old, new: b.replace(old, new) if old else b, "BLOB", "BLOB", "BLOB", "BLOB"),
    "_bytes_reverse": (lambda b: b[::-1], "BLOB", "BLOB"),
    "_bytes_starts_with": (lambda b, part: b.startswith(part), "BLOB", "BLOB", "BOOLEAN"),
    "_bytes_ends_with": (lambda b, part: b.endswith(part), "BLOB", "BLOB", "BOOLEAN"),
    "_bytes_instr": (_instr, "BLOB", "BLOB", "BIGINT", "BIGINT", "BIGINT"),
    "_bytes_repeat": (_repeat, "BLOB", "BIGINT", "BLOB"),
    "_bytes_pad": (_pad, "BLOB", "BIGINT", "BLOB", "BOOLEAN", "BLOB"),
    "_bytes_trim": (_trim, "BLOB", "BLOB", "VARCHAR", "BLOB"),
    "_bytes_upper": (lambda b: b.upper(), "BLOB", "BLOB"),
    "_bytes_lower": (lambda b: b.lower(), "BLOB", "BLOB"),
    "_bytes_split": (_split, "BLOB", "BLOB", "BLOB[]"),
    "_bytes_join": (lambda parts, delimiter: delimiter.join(p for p in parts if p is not None),
                    "BLOB[]", "BLOB", "BLOB"),
    "_bytes_points": (list, "BLOB", "BIGINT[]"),
    "_bytes_like": (_like, "BLOB", "BLOB", "BOOLEAN"),
    "_bytes_matches": (lambda b, pattern: bool(re.search(pattern, b)), "BLOB", "BLOB", "BOOLEAN"),
    "_bytes_bits": (lambda b: int.from_bytes(b).bit_count(), "BLOB", "BIGINT"),
    "_bytes_as_text": (lambda b: b.decode(errors="replace_each_byte"), "BLOB", "VARCHAR"),
    "_bytes_literal": (_bytes_literal, "BLOB", "BOOLEAN", "VARCHAR"),
    "_text_literal": (_text_literal, "VARCHAR", "VARCHAR"),
    "_text_reverse": (lambda text: text[::-1], "VARCHAR", "VARCHAR"),
}  # fmt: skip
# Class or macro of the parser → our function, the parts that are its arguments, and what stands for those left out.
_ON_BYTES = {
    "Substring": ("_bytes_substring", ("this", "start", "length"), (2**62,)),
    "Left": ("_bytes_left", ("this", "expression"), ()),
    "Right": ("_bytes_right", ("this", "expression"), ()),
    "Replace": ("_bytes_replace", ("this", "expression", "replacement"), ()),
    "Reverse": ("_bytes_reverse", ("this",), ()),
    "StartsWith": ("_bytes_starts_with", ("this", "expression"), ()),
    "EndsWith": ("_bytes_ends_with", ("this", "expression"), ()),
    "StrPosition": ("_bytes_instr", ("this", "substr"), (1, 1)),
    "bq.main.instr": ("_bytes_instr", (), (1, 1)),
    "Repeat": ("_bytes_repeat", ("this", "times"), ()),
    "Pad": ("_bytes_pad", ("this", "expression", "fill_pattern", "is_left"), (b" ", False)),
    "Trim": ("_bytes_trim", ("this", "expression", "position"), ("BOTH",)),
    "Upper": ("_bytes_upper", ("this",), ()),
    "Lower": ("_bytes_lower", ("this",), ()),
    "Split": ("_bytes_split", ("this", "expression"), ()),
    "ArrayToString": ("_bytes_join", ("this", "expression"), ()),
    "bq.main.to_code_points": ("_bytes_points", (), ()),
    "Like": ("_bytes_like", ("this", "expression"), ()),
    "RegexpLike": ("_bytes_matches", ("this", "expression"), ()),
    "BitwiseCount": ("_bytes_bits", ("this",), ()),
}
_GIVE_BYTES = {"from_hex", "from_base64", "from_base32", "code_points_to_bytes", "sha512", "_bytes", "encode"} | {
    name for name, kinds in _FUNCTIONS.items() if kinds[-1] == "BLOB"
}
ALL = (
    read_literals_as_they_are_written,
    cast_as_utf_8_and_work_on_bytes,
    write_bytes_as_json_and_values_as_literals,
)
