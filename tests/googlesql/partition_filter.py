"""Whether a statement names the partitions it reads, as BigQuery demands of tables that require it.

The emulator asks this of a table that is queried outright, but not through a view. Here every scan of a resolved
statement must have, in the same query or one around it, a condition on its partition column against constants. What
BigQuery might still see through is refused too: a filter behind a window function or an aggregation admits nothing.
"""

from collections.abc import Iterator, Mapping

# Kinds of join, as the protocol numbers them.
_INNER, _LEFT, _RIGHT = range(3)
_COMPARISONS = {"$equal", "$less", "$less_or_equal", "$greater", "$greater_or_equal", "$between", "$in"}
# Days and times that BigQuery reads through when it prunes.
_TRANSPARENT = {"date", "timestamp_trunc", "date_trunc"}
# A row's place among others depends on rows that a filter above would take away.
_OPAQUE = ("ResolvedAnalyticScanProto", "ResolvedLimitOffsetScanProto", "ResolvedSampleScanProto")


def unfiltered(statement, partition_columns: Mapping[str, str], known: frozenset[int] = frozenset()) -> list[str]:
    """The ids of tables that a resolved statement scans without a filter on their partition column.

    `partition_columns` has the column of every table that requires a filter; `known` are ids of columns on which there
    will be one around the statement.
    """
    walk = _Walk(partition_columns)
    walk.visit(statement, known)
    return walk.found


def view_column(statement, partition_columns: Mapping[str, str]) -> str | None:
    """The column of a view, given by its resolved query, that a query of it must filter; None where it need not.

    Raises ValueError naming the tables where no filter on one column of the view would do.
    """
    tables = unfiltered(statement, partition_columns)
    if not tables:
        return None
    for output in statement.resolved_query_stmt_node.output_column_list:
        if not unfiltered(statement, partition_columns, frozenset([output.column.column_id])):
            return output.name
    raise ValueError(f"no column of the view passes a filter on to {', '.join(tables)}; select its partition column")


class _Walk:
    def __init__(self, partition_columns: Mapping[str, str]):
        self.partition_columns = partition_columns
        self.found: list[str] = []
        self._uses: dict[str, list[frozenset[int]]] = {}

    def visit(self, node, known: frozenset[int]) -> None:
        node = _bare(node)
        kind = node.DESCRIPTOR.name
        if kind == "ResolvedTableScanProto":
            self._scan(node, known)
        elif kind == "ResolvedFilterScanProto":
            self.visit(node.input_scan, known | _constrained(node.filter_expr))
            self.visit(node.filter_expr, frozenset())
        elif kind == "ResolvedJoinScanProto":
            self._join(node, known)
        elif kind in ("ResolvedDeleteStmtProto", "ResolvedUpdateStmtProto"):
            self._visit_children(node, known | _constrained(node.where_expr))
        elif kind == "ResolvedMergeStmtProto":
            self._visit_children(node, known | _constrained(node.merge_expr))
        elif kind == "ResolvedInsertStmtProto":
            self._visit_children(node, known, but="table_scan")  # written to and not read
        elif kind == "ResolvedSetOperationScanProto":
            for item in node.input_item_list:
                self.visit(item.scan, known | _renamed(node.parent.column_list, item.output_column_list, known))
        elif kind == "ResolvedWithScanProto":
            self._with(node, known)
        elif kind == "ResolvedWithRefScanProto":
            columns = node.parent.column_list
            places = frozenset(n for n, column in enumerate(columns) if column.column_id in known)
            self._uses.setdefault(node.with_query_name, []).append(places)
        else:
            self._visit_children(node, frozenset() if kind in _OPAQUE else known)

    def _visit_children(self, node, known: frozenset[int], but: str = "") -> None:
        for child in _children(node, but):
            self.visit(child, known)

    def _scan(self, node, known: frozenset[int]) -> None:
        wanted = self.partition_columns.get(node.table.full_name)
        if wanted and not any(c.name == wanted and c.column_id in known for c in node.parent.column_list):
            self.found.append(node.table.full_name)

    def _join(self, node, known: frozenset[int]) -> None:
        """What ON says of a table counts where it takes rows away: not on the side whose rows are all kept."""
        on = _constrained(node.join_expr)
        self.visit(node.left_scan, known | on if node.join_type in (_INNER, _RIGHT) else known)
        self.visit(node.right_scan, known | on if node.join_type in (_INNER, _LEFT) else known)
        self.visit(node.join_expr, frozenset())

    def _with(self, node, known: frozenset[int]) -> None:
        """A named query is filtered where all that read it are."""
        self.visit(node.query, known)
        for entry in reversed(node.with_entry_list):
            uses = self._uses.get(entry.with_query_name, [])
            places = frozenset.intersection(*uses) if uses else frozenset()
            columns = _bare_scan_columns(entry.with_subquery)
            self.visit(entry.with_subquery, frozenset(columns[n].column_id for n in places))


def _bare(node):
    """The node itself: unions of kinds wrap it."""
    while node.DESCRIPTOR.name.startswith("AnyResolved"):
        chosen = node.WhichOneof("node")
        if chosen is None:
            return node
        node = getattr(node, chosen)
    return node


def _children(node, but: str = "") -> Iterator:
    for field, value in node.ListFields():
        if field.message_type and field.name != but and "Resolved" in field.message_type.name:
            yield from value if field.is_repeated else [value]


def _bare_scan_columns(scan) -> list:
    parent = _bare(scan).parent
    while parent.DESCRIPTOR.name != "ResolvedScanProto":
        parent = parent.parent
    return parent.column_list


def _renamed(outer, inner, known: frozenset[int]) -> frozenset[int]:
    return frozenset(i.column_id for o, i in zip(outer, inner, strict=True) if o.column_id in known)


def _constrained(expression) -> frozenset[int]:
    """The columns that a condition compares with constants."""
    name, arguments = _call(expression)
    if name in ("$and", "$or") and arguments:
        sides = [_constrained(argument) for argument in arguments]
        return frozenset.union(*sides) if name == "$and" else frozenset.intersection(*sides)
    if name not in _COMPARISONS:
        return frozenset()
    if name not in ("$between", "$in") and _is_constant(arguments[0]):
        arguments = arguments[::-1]
    column = _column(arguments[0])
    return frozenset() if column is None or not all(map(_is_constant, arguments[1:])) else frozenset([column])


def _call(expression) -> tuple[str, list]:
    node = _bare(expression)
    if node.DESCRIPTOR.name != "ResolvedFunctionCallProto":
        return "", []
    return node.parent.function.name.removeprefix("ZetaSQL:"), list(node.parent.argument_list)


def _column(expression) -> int | None:
    node = _bare(expression)
    if node.DESCRIPTOR.name == "ResolvedColumnRefProto":
        return None if node.is_correlated else node.column.column_id
    name, arguments = _call(node)
    return _column(arguments[0]) if name in _TRANSPARENT else None


def _is_constant(expression) -> bool:
    node = _bare(expression)
    kind = node.DESCRIPTOR.name
    if kind in ("ResolvedLiteralProto", "ResolvedParameterProto"):
        return True
    if kind == "ResolvedCastProto":
        return _is_constant(node.expr)
    return kind == "ResolvedFunctionCallProto" and all(map(_is_constant, node.parent.argument_list))
