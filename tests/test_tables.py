import dataclasses
import io
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_warehouse import bigquery, remake, schemas, tables, type_tables
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.differences import column_notes, differences
from telemetry_warehouse.errors import Refused, WarehouseError
from telemetry_warehouse.locks import table_lock
from tests.test_schemas import write

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


def a_table(dataset: str, *columns: str, **more) -> tables.Table:
    return tables.Table(
        dataset, "made_v1", tuple(tables.column(*column.split(maxsplit=1)) for column in columns), **more
    )


@pytest.mark.parametrize(
    "mended",
    [
        lambda dataset: a_table(dataset, "day DATE", "n STRING", "r STRUCT<a INT64>"),
        lambda dataset: a_table(dataset, "day DATE", "n ARRAY<INT64>", "r STRUCT<a INT64>"),
        lambda dataset: a_table(dataset, "day DATE", "n INT64", "r STRUCT<a STRING>"),
        lambda dataset: a_table(dataset, "n INT64", "day DATE", "r STRUCT<a INT64>"),
        lambda dataset: a_table(dataset, "day DATE", "n INT64"),
        lambda dataset: a_table(dataset, "day DATE", "n INT64", "r STRUCT<a INT64>", partition_field="day"),
        lambda dataset: a_table(dataset, "day DATE", "n INT64", "r STRUCT<a INT64>", clustering=("n",)),
    ],
)
def test_a_table_that_was_never_published_is_made_anew_as_it_is_defined_now(warehouse_home, mended):
    warehouse, dataset = Warehouse(warehouse_home), f"made_{uuid.uuid4().hex}"
    first = a_table(dataset, "day DATE", "n INT64", "r STRUCT<a INT64>")
    warehouse.ensure(first)
    remake.published_table(warehouse, first)
    table = mended(dataset)
    assert not warehouse.differs(first) and warehouse.differs(table)
    remake.published_table(warehouse, table)
    warehouse.ensure(table)
    assert not warehouse.differs(table)


def test_a_table_with_rows_or_a_published_day_is_never_made_anew(warehouse_home):
    warehouse = Warehouse(warehouse_home)
    filled, published = (a_table(f"made_{uuid.uuid4().hex}", "n INT64") for _ in range(2))
    for table in (filled, published):
        warehouse.ensure(table)
    warehouse.load_rows(filled, [{"n": 1}])
    runs = tables.from_file("monitoring", "pipeline_runs")
    warehouse.ensure(runs)
    known = {"started_date": "2026-11-20", "started_at": "2026-11-20T00:00:00Z", "ended_at": "2026-11-20T00:00:00Z"}
    days = {"start_date": "2026-11-20", "end_date": "2026-11-20", "token": 1, "run": "night"}
    row = known | days | {"table_name": published.id, "status": "published"}
    warehouse.load_rows(runs, [row])
    for table in (filled, published):
        changed = dataclasses.replace(table, columns=(tables.column("n", "STRING"),))
        remake.published_table(warehouse, changed)
        with pytest.raises(Refused, match="column n is INTEGER NULLABLE and cannot become STRING NULLABLE"):
            warehouse.ensure(changed)


def test_a_table_that_is_published_while_somebody_wants_to_make_it_anew_stays(warehouse_home):
    """Who builds it holds its lock; when that is free, the table has rows."""
    warehouse = Warehouse(warehouse_home)
    table = a_table(f"made_{uuid.uuid4().hex}", "n INT64")
    warehouse.ensure(table)
    changed = dataclasses.replace(table, columns=(tables.column("n", "STRING"),))
    asked = threading.Event()

    def make_anew():
        asked.set()
        remake.published_table(Warehouse(warehouse_home), changed)

    with ThreadPoolExecutor(1) as pool:
        with table_lock(warehouse_home, table.id, "a night"):
            waiting = pool.submit(make_anew)
            assert asked.wait(60)
            warehouse.load_rows(table, [{"n": 1}])
        waiting.result()
    assert [row["n"] for row in warehouse.rows(f"SELECT n FROM {table.id}")] == [1]


def test_a_types_tables_that_never_got_a_row_follow_its_schema_and_others_stay(warehouse_home, tmp_path):
    warehouse = Warehouse(warehouse_home)
    namespace = f"made{uuid.uuid4().hex[:12]}"

    def of(kind):
        write(tmp_path, f"{namespace}/ping/1", {"type": "object", "properties": {"n": {"type": kind}}})
        return next(iter(schemas.load([tmp_path]).values()))

    type_tables.ensure(warehouse, of("integer"))
    mended = of("string")
    type_tables.ensure(warehouse, mended)
    assert not warehouse.differs(mended.live) and not warehouse.differs(mended.stable)
    warehouse.load_rows(
        mended.live, [{"document_id": "d", "submission_timestamp": "2026-11-20T00:00:00Z", "n": "x"}]
    )
    with pytest.raises(Refused, match="column n is STRING NULLABLE and cannot become INTEGER NULLABLE"):
        type_tables.ensure(warehouse, of("integer"))


def differing(warehouse: Warehouse, published: tables.Table, defined: tables.Table) -> list:
    warehouse.ensure(published)
    warehouse.load_rows(
        published, [{"day": "2026-11-20", "k": k, "active": k or None, "l": [1] * k} for k in range(3)]
    )
    candidate = f"{defined.dataset}.candidate"
    names = ", ".join(defined.column_names)
    warehouse.query(f"CREATE TABLE {candidate} AS SELECT {names} FROM {published.id} WHERE day = '2026-11-20'")
    day = date(2026, 11, 20)
    return differences(warehouse, defined, candidate, day, day)


def test_a_column_that_is_no_longer_built_shows_as_values_that_become_null(warehouse_home):
    warehouse, dataset = Warehouse(warehouse_home), f"gone_{uuid.uuid4().hex}"
    more = {"partition_field": "day", "grain": ("k",)}
    published = a_table(dataset, "day DATE", "k INT64", "active INT64", "l ARRAY<INT64>", **more)
    defined = a_table(dataset, "day DATE", "k INT64", **more)
    assert differing(warehouse, published, published) == []
    warehouse.drop(f"{dataset}.candidate")
    warehouse.drop(published.id)
    [found] = differing(warehouse, published, defined)
    assert (found.changed, found.columns, found.lost) == (2, {}, {"active": 2, "l": 2})
    assert [note.split(" of ")[0] for note in column_notes(warehouse, defined)] == ["the column active", "the column l"]
nested = st.recursive(st.just("STRING"), lambda inner: structs(inner) | arrays(inner), max_leaves=4)


@settings(max_examples=15)
@given(old=nested, new=nested)
def test_a_field_added_in_any_record_is_there_and_is_loaded(warehouse_home, old, new):
    """`new` comes into every record of a column that holds `old`: one, a list, a map's values and a deeper one."""
    shapes = (
        "STRUCT<old {old}{more}>",
        "ARRAY<STRUCT<old {old}{more}>>",
        "ARRAY<STRUCT<key STRING, value STRUCT<old {old}{more}>>>",
        "STRUCT<inner STRUCT<list ARRAY<STRUCT<old {old}{more}>>>>",
    )
    table = tables.Table(f"grown_{uuid.uuid4().hex[:12]}", "t", ())
    for more in ("", f", new {new}"):
        texts = (shape.format(old=old, more=more) for shape in shapes)
        table = dataclasses.replace(table, columns=tuple(tables.column(f"c{n}", text) for n, text in enumerate(texts)))
        warehouse = Warehouse(warehouse_home)
        warehouse.ensure(table)
        assert warehouse.missing_columns(table) == []
        warehouse.load_rows(table, [{column.name: full(column) for column in table.columns}])
    rows = warehouse.rows(f"SELECT * FROM {table.id}")
    assert {column.name: full(column) for column in table.columns} in rows


def full(field, element: bool = False):
    """A value of a column that has every field of its type."""
    if field.mode == "REPEATED" and not element:
        return [full(field, element=True)] * 2
    return {member.name: full(member) for member in field.fields} if field.fields else "x"


def test_a_table_that_does_not_take_what_it_was_told_to_is_named_with_what_it_lacks(warehouse_home, monkeypatch):
    warehouse = Warehouse(warehouse_home)
    old = tables.Table(f"forgets_{uuid.uuid4().hex[:12]}", "t", (tables.column("r", "ARRAY<STRUCT<a INT64>>"),))
    warehouse.ensure(old)
    new = dataclasses.replace(old, columns=(tables.column("r", "ARRAY<STRUCT<a INT64, b STRING>>"),))
    monkeypatch.setattr(warehouse.client, "update_table", lambda *_: None)
    with pytest.raises(Refused, match=rf"{old.id}: .*does not have r\.b$"):
        warehouse.ensure(new)
    monkeypatch.undo()
    warehouse.ensure(new)


def test_rows_that_a_load_leaves_out_are_told_of(warehouse_home):
    warehouse = Warehouse(warehouse_home)
    table = tables.Table(f"counted_{uuid.uuid4().hex[:12]}", "t", (tables.column("n", "INT64"),))
    warehouse.ensure(table)
    config = bigquery.load_config(table)
    config.max_bad_records = 1
    job = warehouse.client.load_table_from_file(io.BytesIO(b'{"n": 1}\n{"n": "x"}\n'), table.id, job_config=config)
    with pytest.raises(WarehouseError, match="wrote 1 rows of the 2 that were sent"):
        bigquery.written(job, table, 2)


def test_text_is_loaded_as_it_is(warehouse_home):
    warehouse = Warehouse(warehouse_home)
    table = tables.Table(f"texts_{uuid.uuid4().hex[:12]}", "t", (tables.column("s", "STRING"),))
    warehouse.ensure(table)
    texts = ["2026-1-5", "2026-01-05T10:00:00Z", "1e3", "true", "C:\\x41"]
    warehouse.load_rows(table, ({"s": text} for text in texts))
    assert {row["s"] for row in warehouse.rows(f"SELECT s FROM {table.id}")} == set(texts)


def test_an_answer_of_many_pages_has_all_its_rows(warehouse_home):
    last = bigquery._ROWS_AT_ONCE + 1
    rows = Warehouse(warehouse_home).rows(f"SELECT n FROM UNNEST(GENERATE_ARRAY(1, {last})) AS n ORDER BY n")
    assert [row["n"] for row in rows] == list(range(1, last + 1))
