"""Rows written by name into a table whose fields have another order: on the reference engine, for any records."""

from datetime import date

import pytest
from google.cloud.bigquery import SchemaField
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_warehouse import projection, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.gates.publish import publish
from telemetry_warehouse.tables import Table, column, type_text
from tests.googlesql.catalogue import Catalogue
from tests.googlesql.values import content, plain

DAY = date(2026, 3, 1)
NAMES = st.lists(st.sampled_from(["a", "b", "select", "Key", "value", "x_1"]), min_size=1, max_size=3, unique=True)


@st.composite
def fields(draw, depth: int = 3) -> tuple[SchemaField, ...]:
    found = []
    for name in draw(NAMES):
        mode = draw(st.sampled_from(["NULLABLE", "REPEATED"]))
        if depth and draw(st.booleans()):
            found.append(SchemaField(name, "RECORD", mode, fields=draw(fields(depth - 1))))
        else:
            found.append(SchemaField(name, draw(st.sampled_from(["STRING", "INTEGER"])), mode))
    return tuple(found)


def other_order(draw, of: tuple[SchemaField, ...]) -> tuple[SchemaField, ...]:
    """The same fields in any order and, at any depth, some more."""
    shuffled = [
        SchemaField(f.name, f.field_type, f.mode, fields=other_order(draw, f.fields)) if f.fields else f for f in of
    ]
    more = draw(st.sampled_from([None, "STRING", "RECORD"]))
    if more:
        mode = draw(st.sampled_from(["NULLABLE", "REPEATED"]))
        members = (SchemaField("m", "STRING"),) if more == "RECORD" else ()
        shuffled.append(SchemaField("more", more, mode, fields=members))
    return tuple(draw(st.permutations(shuffled)))


def value_of(draw, field: SchemaField, element: bool = False):
    if field.mode == "REPEATED" and not element:
        return [value_of(draw, field, element=True) for _ in range(draw(st.integers(0, 2)))]
    if not element and draw(st.booleans()) and draw(st.booleans()):
        return None
    if field.field_type == "RECORD":
        return {member.name: value_of(draw, member) for member in field.fields}
    return draw(st.integers(0, 9) if field.field_type == "INTEGER" else st.text("xyz", max_size=2))


def as_wanted(value, want: SchemaField, element: bool = False):
    """By brute force: what the field of another order holds."""
    if want.mode == "REPEATED" and not element:
        return [as_wanted(one, want, element=True) for one in value or []]
    if value is None or want.field_type != "RECORD":
        return value
    return {member.name: as_wanted(value.get(member.name), member) for member in want.fields}


class OnReference:
    def __init__(self, engine):
        self._engine, self._types = engine, Catalogue(engine)

    def rows(self, sql: str, have: tuple[SchemaField, ...], rows: list[dict]) -> list[dict]:
        table = Table("d", "have", have)
        catalogue = self._engine.new_catalogue("rows")
        known = self._types.simple_table(table)
        known.name_in_catalog = table.id
        catalogue.table.append(known)
        columns, found = self._engine.evaluate(sql, catalogue, {table.id: content(have, rows)})
        return [{c.name: plain(cell, c.type) for c, cell in zip(columns, row.cell, strict=True)} for row in found]


@pytest.fixture(scope="module")
def reference(googlesql):
    return OnReference(googlesql)


def list_of(members: str) -> SchemaField:
    return column("l", f"ARRAY<STRUCT<key STRING, value STRUCT<{members}>>>")


HAVE = (column("r", "STRUCT<a INT64, b INT64>"), list_of("a INT64, b INT64"))
WANT = (column("r", "STRUCT<b INT64, a INT64>"), list_of("b INT64, a INT64"))
ROW = {"r": {"a": 1, "b": 2}, "l": [{"key": "k", "value": {"a": 1, "b": 2}}]}


def test_bigquery_swaps_what_is_written_by_position_and_not_what_is_written_by_name(reference):
    as_want = ", ".join(f"CAST({{}} AS {type_text(field)}) AS {field.name}" for field in WANT)
    [swapped] = reference.rows(f"SELECT {as_want.format('r', 'l')} FROM `d.have`", HAVE, [ROW])
    assert swapped["r"] == {"b": 1, "a": 2} and swapped["l"][0]["value"] == {"b": 1, "a": 2}
    values = projection.by_name(HAVE, WANT, ["r", "l"], "d.want")
    [row] = reference.rows(f"SELECT {as_want.format(*values)} FROM `d.have` AS {projection.ROW}", HAVE, [ROW])
    assert row == {"r": {"b": 2, "a": 1}, "l": [{"key": "k", "value": {"b": 2, "a": 1}}]}


@settings(max_examples=60)
@given(st.data())
def test_any_records_keep_their_values_by_name_in_any_order(reference, data):
    have = data.draw(fields())
    want = other_order(data.draw, have)
    rows = [{field.name: value_of(data.draw, field) for field in have} for _ in range(2)]
    names = [field.name for field in want]
    values = projection.by_name(have, want, names, "d.want")
    # The types are those of the table that is written, to the order of the fields.
    cast = ", ".join(f"CAST({v} AS {type_text(f)}) AS `{f.name}`" for v, f in zip(values, want, strict=True))
    selected = ", ".join(f"{v} AS `{f.name}`" for v, f in zip(values, want, strict=True))
    expected = [{field.name: as_wanted(row.get(field.name), field) for field in want} for row in rows]
    for columns in (cast, selected):
        found = reference.rows(f"SELECT {columns} FROM `d.have` AS {projection.ROW}", have, rows)
        assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_columns_of_one_order_are_taken_as_they_are():
    assert projection.by_name(HAVE, HAVE[::-1], ["r", "l"], "d.want") == ["__row.`r`", "__row.`l`"]


@pytest.mark.parametrize(
    ("want", "lost"),
    [
        ((HAVE[0],), "d.want has no column l"),
        ((HAVE[0], column("l", "ARRAY<STRUCT<key STRING, value STRUCT<b INT64>>>")), "d.want: l.value has no field a"),
    ],
)
def test_a_field_that_the_table_lacks_is_named_and_not_lost(want, lost):
    with pytest.raises(WarehouseError, match=lost):
        projection.by_name(HAVE, want, ["r", "l"], "d.want")


@pytest.mark.parametrize("merge_key", [(), ("n",)])
def test_publishing_writes_records_by_name(warehouse_home, merge_key):
    """The candidate's records have another order than the published table's, and one field less."""
    warehouse = Warehouse(warehouse_home)
    columns = (column("submission_date", "DATE"), column("n", "INT64"), *WANT, column("select", "STRUCT<`from` INT64>"))
    partition = None if merge_key else "submission_date"
    table = Table("by_name", f"merged{len(merge_key)}", columns, partition_field=partition, merge_key=merge_key)
    warehouse.ensure(table)
    warehouse.ensure(tables.from_file("monitoring", "publish_tokens"))
    warehouse.ensure_dataset("by_name_candidates")
    candidate = f"by_name_candidates.{table.name}"
    deleted = ", FALSE AS _deleted" * bool(merge_key)
    warehouse.query(
        f"CREATE OR REPLACE TABLE {candidate} AS SELECT DATE '{DAY}' AS submission_date, 7 AS n,"
        " STRUCT(1 AS a, 2 AS b) AS r, [STRUCT('k' AS key, STRUCT(1 AS a, 2 AS b) AS value)] AS l,"
        f" STRUCT(3 AS `from`) AS `select`{deleted}"
    )
    for token in (1, 2):
        publish(warehouse, table, candidate, DAY, DAY, token)
    [row] = warehouse.rows(f"SELECT * FROM {table.id} WHERE submission_date = '{DAY}'")
    assert row["r"] == {"b": 2, "a": 1} and row["l"] == [{"key": "k", "value": {"b": 2, "a": 1}}]
    assert row["select"] == {"from": 3}
