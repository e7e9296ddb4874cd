"""Readers while several days are replaced: each query sees all of the old rows or all of the new ones."""

import threading
from collections import Counter
from dataclasses import replace
from datetime import date

import pytest
from google.cloud import bigquery

from telemetry_warehouse import lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates.publish import announce, publish
from telemetry_warehouse.tables import Table
from tests.support import days

DAYS = days(date(2015, 1, 1), date(2015, 1, 3))
READERS = 3
# Clients of each version; the first of them are in both.
CLIENTS = (range(3000), range(500, 3800))
# How often each version must have been seen.
ENOUGH = 10
DAY_OF = f"DATE_ADD(DATE '{DAYS[0]}', INTERVAL MOD(n, {len(DAYS)}) DAY)"


def candidate(warehouse, table: Table, version: int, columns: dict[str, str], clients: range) -> str:
    """A candidate with a row for each of `clients` (as `n`), spread over DAYS; `os` is the version."""
    name = f"readers_test_candidates.{table.name}_{version}"
    warehouse.drop(name)
    warehouse.ensure_dataset("readers_test_candidates")
    extra = [bigquery.SchemaField("_deleted", "BOOL")] * bool(table.merge_key)
    schema = [*table.columns, *extra]
    warehouse.client.create_table(bigquery.Table(f"{warehouse.settings.project_id}.{name}", schema=schema))
    columns = columns | {"os": f"'{version}'", "app_name": "'Firefox'"}
    numbers = f"UNNEST(GENERATE_ARRAY({clients.start}, {clients.stop - 1})) AS n"
    warehouse.query(f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {numbers}")
    return name


def replaced_by_days(warehouse) -> tuple[Table, list[str], str]:
    """A table of days, a candidate for each version, and its day column."""
    table = replace(definition(warehouse, "active_users_v1"), dataset="readers_test")
    columns = {"submission_date": DAY_OF, "dau": "n"}
    return table, [candidate(warehouse, table, v, columns, CLIENTS[v]) for v in (0, 1)], "submission_date"


def merged_by_client(warehouse) -> tuple[Table, list[str], str]:
    """The table of first days likewise; a candidate also deletes the clients that only the other version has."""
    table = replace(definition(warehouse, "clients_first_seen_v1"), dataset="readers_test")
    everybody = range(CLIENTS[0].start, CLIENTS[1].stop)
    candidates = []
    for version, clients in enumerate(CLIENTS):
        gone = f"n NOT BETWEEN {clients.start} AND {clients.stop - 1}"
        columns = {"client_id": "CAST(n AS STRING)", "first_seen_date": DAY_OF, "_deleted": gone}
        candidates.append(candidate(warehouse, table, version, columns, everybody))
    return table, candidates, "first_seen_date"


def definition(warehouse, name: str) -> Table:
    return stages.definition(warehouse, lineage.load(warehouse.settings).step(name))


@pytest.mark.parametrize("made", [replaced_by_days, merged_by_client])
def test_a_reader_of_several_days_sees_one_version(prepared_home, made):
    warehouse = Warehouse(prepared_home)
    table, candidates, day = made(warehouse)
    warehouse.drop(table.id)
    token = announce(warehouse, table, "test")
    publish(warehouse, table, candidates[0], DAYS[0], DAYS[-1], token)
    whole = {
        tuple((d, str(version), sum(n % len(DAYS) == position for n in clients)) for position, d in enumerate(DAYS))
        for version, clients in enumerate(CLIENTS)
    }
    sql = (
        f"SELECT {day} AS day, os, COUNT(*) AS found FROM {table.id}"
        f" WHERE {day} BETWEEN '{DAYS[0]}' AND '{DAYS[-1]}' GROUP BY day, os ORDER BY day, os"
    )
    seen, stop = [], threading.Event()

    def read():
        reader = Warehouse(prepared_home)
        while not stop.is_set():
            seen.append(tuple(tuple(row.values()) for row in reader.rows(sql)))

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    turn = 0
    try:
        while all(r.is_alive() for r in readers) and min(Counter(seen)[version] for version in whole) < ENOUGH:
            turn += 1
            publish(warehouse, table, candidates[turn % 2], DAYS[0], DAYS[-1], token)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert set(seen) == whole
