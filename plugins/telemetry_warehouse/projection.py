"""Rows of one table as another has them, field by field and by name.

BigQuery writes a record into a record by position: where two tables have grown the same fields in another order, it
would swap their values without a word. So what writes whole rows compares the two schemas and, where they differ, takes
the records apart and makes them anew by name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count

from google.cloud.bigquery import SchemaField

from telemetry_warehouse.bigquery import Warehouse, merged
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.tables import Table, quoted, type_text

# The row that is read, in the SQL of a projection: a name that no column has (fields.OURS).
ROW = "__row"


def by_name(
    have: Iterable[SchemaField], want: Iterable[SchemaField], names: Iterable[str], target: str, row: str = ROW
) -> list[str]:
    """SQL for the columns `names`, which rows called `row` with the fields `have` give to a table with those of `want`.

    A column whose fields have one order is taken as it is; else its records are made by name, in the order of `want`.
    A field that `have` lacks is NULL, or empty; NULL records stay NULL. Raises WarehouseError, with the name `target`,
    for a field that `want` lacks: its values would be lost.
    """
    have_by_name, want_by_name = _by_name(have), _by_name(want)
    numbers = count()
    found = []
    for name in names:
        wanted = want_by_name.get(name.lower())
        if wanted is None:
            raise WarehouseError(f"{target} has no column {name}, which its new rows have; add it first")
        found.append(_value(f"{row}.`{name}`", have_by_name.get(name.lower()), wanted, f"{target}: {name}", numbers))
    return found


def both(warehouse: Warehouse, table: Table, candidate: str, more: Sequence[str] = ()) -> tuple[str, str]:
    """Queries of the table's columns, from the published table and from a candidate, that give rows of one type.

    `more`: published columns that the definition does not have; the candidate's rows have NULL there.
    """
    published, built = (warehouse.client.get_table(name).schema for name in (table.id, candidate))
    common = replace(table, columns=tuple(merged(table, published, table.columns)))
    names = [*table.column_names, *more]
    return select(quoted(table.id), published, common, names), select(quoted(candidate), built, common, names)


def select(source: str, have: Iterable[SchemaField], table: Table, names: Sequence[str] | None = None) -> str:
    """A query of the columns of `table`, or `names` of them, from a table or view `source` with the fields `have`."""
    names = table.column_names if names is None else names
    values = by_name(have, table.columns, names, table.id)
    selected = ", ".join(f"{value} AS `{name}`" for value, name in zip(values, names, strict=True))
    return f"SELECT {selected} FROM {source} AS {ROW}"


def _by_name(fields: Iterable[SchemaField]) -> dict[str, SchemaField]:
    return {field.name.lower(): field for field in fields}


def _same_order(have: SchemaField, want: SchemaField) -> bool:
    names = [[field.name.lower() for field in one.fields] for one in (have, want)]
    return names[0] == names[1] and all(map(_same_order, have.fields, want.fields))


def _value(sql: str, have: SchemaField | None, want: SchemaField, where: str, numbers: Iterable[int]) -> str:
    if have is None:
        return f"CAST(NULL AS {type_text(want)})"
    if _same_order(have, want):
        return sql
    known = _by_name(have.fields)
    if lost := known.keys() - _by_name(want.fields).keys():
        raise WarehouseError(f"{where} has no field {', '.join(sorted(lost))}, which its new rows have; add it first")
    number = next(numbers)
    element = f"__e{number}" if want.mode == "REPEATED" else sql
    members = ", ".join(
        _value(f"{element}.`{f.name}`", known.get(f.name.lower()), f, f"{where}.{f.name}", numbers) + f" AS `{f.name}`"
        for f in want.fields
    )
    if want.mode == "REPEATED":
        return (
            f"ARRAY(SELECT AS STRUCT {members} FROM UNNEST({sql}) AS {element} WITH OFFSET AS __o{number}"
            f" ORDER BY __o{number})"
        )
    return f"IF({sql} IS NULL, NULL, STRUCT({members}))"
