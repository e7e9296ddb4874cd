import dataclasses
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import bigquery, tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError

SCALARS = ["STRING", "INT64", "FLOAT64", "BOOL", "DATE", "TIMESTAMP", "BYTES", "JSON", "NUMERIC"]
names = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=3, unique=True)


def structs(inner):
    return names.flatmap(
        lambda keys: st.tuples(*[inner for _ in keys]).map(
            lambda types: "STRUCT<" + ", ".join(f"`{k}` {t}" for k, t in zip(keys, types, strict=True)) + ">"
        )
    )


def arrays(inner):
    return inner.filter(lambda text: not text.startswith("ARRAY")).map(lambda text: f"ARRAY<{text}>")


types = st.recursive(st.sampled_from(SCALARS), lambda inner: structs(inner) | arrays(inner), max_leaves=8)


@given(types)
def test_type_text_survives_the_way_through_a_schema_field(text):
    assert tables.type_text(tables.column("c", text)) == text


@pytest.mark.parametrize("text", ["INT64<", "NUMBER OF", "HLL", ""])
def test_text_that_is_no_type_is_refused_by_name(text):
    with pytest.raises(WarehouseError, match=f"column age has data_type '{text}'"):
        tables.column("age", text)


@pytest.mark.parametrize("name", ["gate_results", "pipeline_runs", "publish_tokens", "landing", "daily_profiles"])
def test_every_monitoring_table_describes_itself_and_its_columns(name):
    table = tables.from_file("monitoring", name)
    assert table.description and all(column.description for column in table.columns)
    assert table.partition_field in table.column_names


def test_the_day_of_a_timestamp_partition_is_its_date():
    columns = (tables.column("at", "TIMESTAMP"), tables.column("day", "DATE"))
    assert tables.Table("d", "t", columns, partition_field="at").day == "DATE(at)"
    assert tables.Table("d", "t", columns, partition_field="day").day == "day"


def test_a_tables_retention_follows_its_definition(warehouse_home):
    warehouse = Warehouse(warehouse_home)
    warehouse.ensure_dataset("retention")
    columns = (tables.column("day", "DATE"), tables.column("n", "INT64"))
    table = tables.Table("retention", f"t{uuid.uuid4().hex}", columns, partition_field="day", retention_days=30)
    for days in (30, 7, None, 31):
        warehouse.ensure(dataclasses.replace(table, retention_days=days))
        found = warehouse.client.get_table(table.id)
        assert found.time_partitioning.expiration_ms == (days and days * 86_400_000)
        assert found.require_partition_filter and found.schema == list(columns)


def test_columns_that_several_add_at_once_are_all_there(warehouse_home):
    base = (tables.column("n", "INT64"),)
    # The dataset and the table are new too.
    table = tables.Table(f"rivals_{uuid.uuid4().hex}", "t", base)
    wider = [dataclasses.replace(table, columns=(*base, tables.column(f"c{n}", "STRING"))) for n in range(6)]
    start = threading.Barrier(len(wider))

    def add(one):
        rival = Warehouse(warehouse_home)
        start.wait()
        rival.ensure(one)

    with ThreadPoolExecutor(len(wider)) as pool:
        list(pool.map(add, wider))
    found = {field.name for field in Warehouse(warehouse_home).client.get_table(table.id).schema}
    assert found == {"n", "c0", "c1", "c2", "c3", "c4", "c5"}


def test_an_answer_of_many_pages_has_all_its_rows(warehouse_home):
    last = bigquery._ROWS_AT_ONCE + 1
    rows = Warehouse(warehouse_home).rows(f"SELECT n FROM UNNEST(GENERATE_ARRAY(1, {last})) AS n ORDER BY n")
    assert [row["n"] for row in rows] == list(range(1, last + 1))
