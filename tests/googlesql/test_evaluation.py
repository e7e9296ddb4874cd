"""The reference engine's answers beside those of the emulator, with which it shares no code."""

import random
import re
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import dedup, lineage, schemas, stages, tables
from telemetry_warehouse.lineage import Step
from telemetry_warehouse.settings import Settings
from telemetry_warehouse.tables import Table
from tests.dbt.project import Project, histogram, main_ping
from tests.googlesql.catalogue import Catalogue
from tests.googlesql.engine import Refused
from tests.googlesql.values import content, plain

FIRST = date(2026, 3, 2)  # a Monday
DAYS = 28
UNNAMED = {
    "payload": {"processes": {"parent": {"scalars": {"a.b": 12345, "c": "text", "d": 0.5, 'e"1': 3, "f": {"g": 1}}}}}
}
BUILT = FIRST + timedelta(days=20)


@pytest.fixture(scope="module")
def functions(googlesql, compiled) -> Catalogue:
    """A catalogue with the project's functions and no table."""
    catalogue = Catalogue(googlesql)
    for node, body in compiled.functions.values():
        catalogue.add_function(node, body)
    return catalogue


def test_every_function_gives_the_documented_answers(googlesql, compiled, functions):
    wrong = []
    for node, _ in compiled.functions.values():
        examples = [e for e in node["config"]["meta"]["examples"] if "returns" in e]
        pairs = ", ".join(f"TO_JSON_STRING({e['call']}), TO_JSON_STRING({e['returns']})" for e in examples)
        _, [row] = googlesql.evaluate(f"SELECT {pairs}", functions.root, {})
        answers = [cell.string_value for cell in row.cell]
        for example, answer, documented in zip(examples, answers[::2], answers[1::2], strict=True):
            if answer != documented:
                wrong.append((example["call"], answer, documented))
    assert wrong == []


def test_every_bad_argument_is_named(googlesql, compiled, functions):
    for node, _ in compiled.functions.values():
        for example in (e for e in node["config"]["meta"]["examples"] if "error" in e):
            with pytest.raises(Refused) as refused:
                googlesql.evaluate(f"SELECT {example['call']}", functions.root, {})
            assert example["error"] in str(refused.value), example["call"]


class Both:
    """A project's tables on the emulator; a query is answered there and, on the same rows, by the reference engine."""

    def __init__(self, project: Project, googlesql, functions: Catalogue):
        self.project, self._googlesql, self._functions = project, googlesql, functions
        [main] = [t for t in schemas.load(project.settings.schemas).values() if t.stable.name == "main_v4"]
        self.live = replace(main.live, dataset=f"{project.prefix}_{main.live.dataset}", retention_days=None)
        project.warehouse.ensure(self.live)
        monitoring = ("pipeline_runs", "gate_results", "change_reviews", "exclusions")
        changes = lineage.load(project.settings).step("changes_v1")
        made = [tables.from_file("monitoring", name) for name in monitoring]
        made.append(stages.definition(project.warehouse, changes))
        self.others = {table.name: replace(table, dataset=f"{project.prefix}_{table.dataset}") for table in made}
        for table in self.others.values():
            project.warehouse.ensure(table)
        self._loaded = [*project.stable.values(), self.live, *self.others.values()]
        self._tables = [*self._loaded, *project.tables.values()]
        self._as_loaded: dict[str, list[dict]] = {}

    def difference(self, sql: str) -> dict:
        """What sets the two answers apart; both have rows."""
        catalogue, contents = self._googlesql.new_catalogue("tables"), {}
        catalogue.CopyFrom(self._functions.root)
        for table in self._tables:
            # The engine knows a table that holds something by one name and not by a path.
            for dataset in (table.dataset, table.dataset.removeprefix(f"{self.project.prefix}_")):
                sql = sql.replace(f"`local`.`{dataset}`.`{table.name}`", f"`{table.id}`")
            if f"`{table.id}`" in sql:
                known = self._functions.simple_table(table)
                known.name_in_catalog = table.id
                catalogue.table.append(known)
                contents[table.id] = content(table.columns, self._rows(table))
        columns, rows = self._googlesql.evaluate(sql, catalogue, contents)
        reference = [
            {column.name: plain(cell, column.type) for column, cell in zip(columns, row.cell, strict=True)}
            for row in rows
        ]
        return apart(self.project.warehouse.rows(sql), reference)

    def _rows(self, table: Table) -> list[dict]:
        if table in self._loaded:
            if table.id not in self._as_loaded:
                self._as_loaded[table.id] = self._read(table)
            return self._as_loaded[table.id]
        return self._read(self.project.table(table.name))

    def _read(self, table: Table) -> list[dict]:
        days = f" WHERE {table.day} >= '1900-01-01'" if table.partition_field else ""
        return self.project.warehouse.rows(f"SELECT * FROM {table.id}{days}")


def apart(emulator: list[dict], reference: list[dict]) -> dict:
    emulator, reference = Counter(map(repr, emulator)), Counter(map(repr, reference))
    if emulator == reference and reference:
        return {}
    return {"only emulator": list(emulator - reference)[:3], "only reference": list(reference - emulator)[:3]}


@pytest.fixture(scope="module")
def both(prepared_home, googlesql, functions) -> Both:
    """The clients' first weeks are built; the tables of the last one, from BUILT on, are not."""
    project = Project(prepared_home, f"googlesql_{uuid.uuid4().hex[:12]}")
    received = pings(seed=4)
    project.load("main", received)
    project.load("flight", [flight(n) for n in range(40)])
    made = Both(project, googlesql, functions)
    project.warehouse.load_rows(made.live, received + again(received, seed=5))
    for name, rows in (gated_stages() | reviewed_alerts()).items():
        project.warehouse.load_rows(made.others[name], rows)
    for step in read_by_models(prepared_home):
        project.build(step.name, FIRST, BUILT - timedelta(days=1))
    return made


def read_by_models(settings: Settings) -> list[Step]:
    """The models that other models read, in order."""
    models = [step for step in lineage.load(settings).steps if step.kind == "model"]
    return [step for step in models if any(step.table in other.inputs.values() for other in models)]


def pings(seed: int) -> list[dict]:
    """Four weeks of a few clients whose pings say different things, or nothing, about the same."""
    chance = random.Random(seed)
    clients = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(8)] + [None]
    rows = []
    for n in range(DAYS):
        for client in clients:
            for _ in range(chance.choice([0, 0, 0, 1, 1, 2, 3])):
                day = FIRST + timedelta(days=n)
                rows.append(
                    main_ping(
                        day,
                        str(uuid.UUID(int=chance.getrandbits(128))),
                        client,
                        second=chance.randrange(60),
                        **said(chance, (day - date(1970, 1, 1)).days),
                    )
                )
    return rows


def said(chance: random.Random, today: int) -> dict:
    def one_of(*values):
        return chance.choice((None, *values))

    return {
        "sample_id": 7,
        "channel": one_of("release", "beta", ""),
        "os": one_of("Linux", "Windows"),
        "country": one_of("DE", "FR", "??"),
        "subdivision1": one_of("BE", "??"),
        "city": one_of("Berlin", "Paris", "??"),
        "app_version": one_of("1", "2", "10.0"),
        "app_build_id": one_of("20260301", "20260308", "20260318093000"),
        "os_version": one_of("6.1", "10"),
        "locale": one_of("de", "fr"),
        "memory_mb": one_of(0, 1000, 2047),
        "is_default_browser": one_of(True, False),
        "profile_creation_date": one_of(0, today, today - 1, today - 3, today + 2, 4_000_000),
        "distribution_id": one_of("x", ""),
        "experiments": {key: chance.choice("ab") for key in ("e1", "e2") if chance.random() < 0.5},
        "duration": one_of(0, 10, 3600, 2**62),
        "subsession_counter": one_of(1, 2),
        "active_ticks": one_of(0, 1, 9),
        "older_active_ticks": one_of(3),
        "uri_count": one_of(0, 1, 7, 12),
        "devtools_opened": one_of(0, 1),
        "windows_build_number": one_of(19045, 22631),
        "gfx_vendor_ids": chance.sample(["0x8086", "0x10de", "0x1002"], chance.randrange(3)),
        "first_paint_ms": one_of(0, 850, 1733),
        "concurrent_tabs": one_of(1, 4, 30),
        "addons": {
            f"{name}@x": {"name": one_of(name), "version": chance.choice(["1.0", 2]), "is_system": one_of(True)}
            for name in "abc"
            if chance.random() < 0.4
        },
        "histograms": {
            probe: histogram({b: chance.randrange(9) for b in range(4)}, bounds=(1, chance.choice([100, 200])))
            for probe in ("GC_MS", "CYCLE_MS")
            if chance.random() < 0.7
        },
        "keyed_histograms": {"KEYED": {key: histogram({1: chance.choice([0, 2**62])}) for key in "xy"}},
        "content_histograms": {"GC_MS": histogram({5: 2})},
        "content_keyed_histograms": {"KEYED": {"x": histogram({1: 1})}},
        "content_scalars": {"media.count": chance.randrange(-2000, 2000), "text": "x"},
        "keyed_scalars": {"search.counts": {"enter": 3, "flag": True, "name": "7", "share": 0.5}},
        "content_keyed_scalars": {"k.s": {"y": -1234}},
        "additional_properties": chance.choice([None, UNNAMED]),
    }


def flight(n: int) -> dict:
    day = FIRST + timedelta(days=n % DAYS)
    return {
        "document_id": f"flight{n}",
        "submission_timestamp": f"{day}T10:{n % 60:02}:00Z",
        "client_id": f"aircraft{n % 7}",
        "normalized_app_name": "Fleet",
        "normalized_channel": ("UA", "DL")[n % 2],
        "origin": ("JFK", None)[n % 3 == 0],
        "duration_minutes": (100, None, 0)[n % 3],
        "histograms": [{"key": "DELAY", "value": histogram({-15: 1, 0: n % 3}, bounds=(-60, 1440))}],
    }


def gated_stages() -> dict[str, list[dict]]:
    """What monitoring has of a range whose second day was let through, and of a night and a failure after it."""
    runs, results = [], []
    stages = [("range", 0, 2, "published"), ("night", 2, 2, "published"), ("failed", 1, 1, "failed")]
    for number, (run, first, last, status) in enumerate(stages):
        began = datetime.combine(BUILT, datetime.min.time(), UTC) + timedelta(hours=number)
        of_run = {"run": run, "start_date": FIRST + timedelta(days=first), "end_date": FIRST + timedelta(days=last)}
        runs.append(
            of_run
            | {"table_name": "x_stable.y", "status": status, "row_count": number + 5, "checksum": "c"}
            | {"started_date": BUILT, "started_at": began, "ended_at": began + timedelta(minutes=9)}
        )
        override = {"submission_date": FIRST + timedelta(days=1), "requested_by": "a", "reviewed_by": "b"}
        for table, expectation, verdict in [
            ("x_live.y", "ids", "let through"),
            ("x_stable.y", "few", "warned"),
            ("x_stable.y", "many", "warned"),
            ("x_stable.y", "all", "passed"),
        ]:
            is_through = run == "range" and verdict == "let through"
            through = [override | {"reason": "c", "until_date": BUILT}] * is_through
            results.append(
                of_run
                | {"table_name": table, "expectation": expectation, "verdict": verdict, "observed": str(number)}
                | {"checked_date": BUILT, "checked_at": began + timedelta(minutes=5), "overrides": through}
            )
    runs[0]["excluded"] = f"{FIRST} x/y/1 {FIRST + timedelta(days=1)}"
    let_go = {"recorded_date": BUILT, "recorded_at": datetime.combine(BUILT, datetime.min.time(), UTC)}
    let_go |= {"status": "excluded", "submission_date": FIRST, "ping_type": "x/y/1", "run": "night", "reason": "c"}
    return {"pipeline_runs": runs, "gate_results": results, "exclusions": [let_go]}


def reviewed_alerts() -> dict[str, list[dict]]:
    """Alerts of two events, one closed, one withheld, and what was said of them."""
    last, shape = FIRST + timedelta(days=DAYS - 1), [{"bucket": 1, "share": 0.5}]
    series = {"axis": "submission_date", "app_name": "App", "channel": None, "os": "Linux", "probe": "P", "key": ""}
    alerts = []
    for number, (detected, changed, more) in enumerate([
        (last - timedelta(days=9), last - timedelta(days=12), {}),
        (last - timedelta(days=9), last - timedelta(days=11), {"probe": "Q", "withheld": "small: 0.01"}),
        (last, last - timedelta(days=3), {"kind": "reverted", "closes": last - timedelta(days=12)}),
        (last, last - timedelta(days=1), {"os": None}),
        (last, last - timedelta(days=9), {"channel": "beta"}),
    ]):  # fmt: skip
        of_alert = {"detected_date": detected, "change_date": changed, "alert_id": f"{number:012x}", "kind": "changed"}
        about = {"layout": "l", "effect": 0.5, "gained": shape, "shares_after": shape}
        alerts.append(series | of_alert | about | more)
    moment = datetime.combine(last, datetime.min.time(), UTC)
    reviews = [
        {"alert_id": f"{3:012x}", "status": status, "who": "ann", "why": "w", "reviewed_at": at}
        for at, status in ((moment, "explained"), (moment + timedelta(hours=1), "acknowledged"))
    ]
    return {"changes_v1": alerts, "change_reviews": reviews}


def again(received: list[dict], seed: int) -> list[dict]:
    """Messages that arrive once more: the same at the same instant, or up to four days later, some as automation's.

    Which of different messages of one instant is kept is not BigQuery's to say: each engine writes a row in its own way
    before it is hashed.
    """
    chance = random.Random(seed)
    repeated = []
    for row in chance.sample(received, len(received) // 3):
        wait = timedelta(seconds=chance.choice([0, 5]), days=chance.randrange(5))
        if not wait:
            repeated.append(row)
            continue
        moment = datetime.fromisoformat(row["submission_timestamp"]) + wait
        tags = chance.choice([None, "automation", "x, automation", "automations"])
        metadata = row["metadata"] | {"header": {"x_source_tags": tags}}
        repeated.append(row | {"submission_timestamp": moment.isoformat(), "metadata": metadata})
    return repeated


def test_engines_that_answer_differently_are_told_apart(both):
    assert both.difference("SELECT RAND() AS x")
    assert both.difference("SELECT 1 AS x FROM UNNEST([1]) WHERE FALSE"), "two empty answers say nothing"


def test_deduplication_keeps_the_same_messages(both):
    last = FIRST + timedelta(days=DAYS - 1)
    found = [both.difference(sql) for sql in dedup.selects(f"`{both.live.id}`", BUILT, last, slices=2)]
    assert found == [{}, {}]


def test_every_model_and_view_gives_the_same_rows(both, compiled, known, warehouse_home):
    """A model is asked for the last week as a range, on top of what is there of the weeks before."""
    last = FIRST + timedelta(days=DAYS - 1)
    found = {}
    for step in (step for step in lineage.load(warehouse_home).steps if step.kind == "model"):
        # So few clients make no series that is searched.
        sql = both.project.sql(step.name, BUILT, last)
        found[step.name] = both.difference(re.sub(r"(having sum\(per_bucket\.n_clients\) >= )50", r"\g<1>1", sql))
        if step in read_by_models(warehouse_home):
            both.project.build(step.name, BUILT, last)
    for name, sql in compiled.views.items():
        if not re.fullmatch(r"\s*select \* from [`\w.]+\s*", sql):
            column = known.partition_columns.get(f"telemetry.{name}")
            day = f"WHERE {column} = DATE '{last}'" if column else ""
            found[name] = both.difference(f"SELECT * FROM (\n{sql}\n) {day}")
    assert {name: difference for name, difference in found.items() if difference} == {}
