"""Landing: its rate beside a bare loop, beside a parser and beside dlt, with bad messages, with two landers; memory."""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import orjson

from telemetry_warehouse import schemas
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.landing import land
from telemetry_warehouse.landing.document import Steps
from telemetry_warehouse.landing.lander import Lander
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.landing.pull import Batch
from telemetry_warehouse.local import pubsub_server, standins
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.settings import ROOT, Settings
from telemetry_warehouse.simulate.flights import flights
from tests.benchmarks.__main__ import Result
from tests.conftest import environment_of, temporary_home

MESSAGES = 20_000
# Enough for a lander to have a batch in each of its rooms.
BACKLOG = 3 * MESSAGES
ROUNDS = 3
REAL = ROOT.parent / "shared" / "real_pings" / "pings" / "telemetry"
SEEDS_PER_CPU = 278  # 3-KB pings a second and vCPU: Mozilla's 400 million a day in 5 hours on 80 of them, 2016


def run() -> Iterator[Result]:
    messages = list(itertools.islice(flights(date(2013, 1, 1), date(2013, 2, 28)), MESSAGES))
    yield from steps(messages)
    for kind in pubsub_server.ABOUT:
        with temporary_home({"WAREHOUSE_PUBSUB_SERVER": kind}) as settings:
            standins.up(settings, say=lambda _: None)
            yield beside_a_bare_loop(settings, kind, messages)
            if kind == "broker":
                yield with_bad_messages(settings, messages)
                yield two_landers(settings, messages)
                yield memory(settings, messages)
                yield beside_dlt(settings, messages)


def steps(messages) -> Iterator[Result]:
    """Decode, validate and shape alone, on one core."""
    compiled = Steps(schemas.load([ROOT / "schemas"]))
    now = datetime.now(UTC)
    taken = min(seconds(rows_of, compiled, messages, now) for _ in range(ROUNDS))
    parsed = min(seconds(parse, messages) for _ in range(ROUNDS))
    size = statistics.mean(len(data) for data, _ in messages)
    yield Result(
        f"decode, validate and shape flights of {size:.0f} bytes, one core",
        f"{len(messages) / taken:,.0f} pings/s",
        f"{len(messages) / parsed:,.0f}/s parsed by orjson alone",
        parsed / taken,
        "aim 20,000 pings/s",
    )
    files = [path.read_bytes() for path in sorted(REAL.glob("main.4.*.pass.json")) if path.stat().st_size > 130_000]
    if not files:
        print("large main pings: not measured, the published samples are not at hand", flush=True)
        return
    attributes = {"uri": f"/submit/telemetry/main/4/{uuid.uuid4()}"}
    large = [(orjson.dumps(orjson.loads(data)), attributes) for data in files * 20]
    taken = min(seconds(rows_of, compiled, large, now) for _ in range(ROUNDS))
    parsed = min(seconds(parse, large) for _ in range(ROUNDS))
    total = sum(len(data) for data, _ in large) / 1e6
    yield Result(
        f"the same for real main pings of {total / len(large) * 1000:.0f} KB",
        f"{total / taken:.0f} MB/s, {len(large) / taken:,.0f} pings/s",
        f"{total / parsed:.0f} MB/s parsed by orjson alone",
        parsed / taken,
        "aim .4",
    )


def rows_of(compiled: Steps, messages, now: datetime) -> None:
    for data, attributes in messages:
        row = compiled.row(Message(data, attributes, "1", now), now)
        assert row.error_type is None, row.line[:300]


def parse(messages) -> None:
    for data, _ in messages:
        orjson.loads(data)


def beside_a_bare_loop(settings: Settings, kind: str, messages) -> Result:
    warehouse = Warehouse(settings)
    publish(settings, messages[:100])
    land(warehouse, until_empty=True)
    landed, bare = [], []
    for _ in range(ROUNDS):
        publish(settings, messages * 3)
        bare.append(BACKLOG / seconds(pull_and_acknowledge, settings))
        publish(settings, messages * 3)
        landed.append(BACKLOG / seconds(land, warehouse, until_empty=True))
    ratios = [a / b for a, b in zip(landed, bare, strict=True)]
    return Result(
        f"landing {BACKLOG:,} flights, {kind} Pub/Sub",
        f"{statistics.median(landed):,.0f} pings/s",
        f"{statistics.median(bare):,.0f} messages/s pulled and acknowledged",
        statistics.median(ratios),
        f"aim .7; median of {ROUNDS}; one lander; the raw archive included;"
        f" {statistics.median(landed) / os.cpu_count() / SEEDS_PER_CPU:.0f} times the seeds' {SEEDS_PER_CPU} a second"
        " and vCPU (3-KB pings there)",
    )


def with_bad_messages(settings: Settings, messages) -> Result:
    """As many malformed messages as good ones, between them."""
    warehouse = Warehouse(settings)
    clean, mixed = [], []
    bad = [(data[: len(data) // 2], attributes) for data, attributes in messages]
    for _ in range(ROUNDS):
        publish(settings, messages)
        clean.append(MESSAGES / seconds(land, warehouse, until_empty=True))
        publish(settings, (message for pair in zip(messages, bad, strict=True) for message in pair))
        mixed.append(MESSAGES / seconds(land, warehouse, until_empty=True))
    return Result(
        "good flights among as many malformed ones",
        f"{statistics.median(mixed):,.0f} good pings/s",
        f"{statistics.median(clean):,.0f} pings/s without the bad",
        statistics.median(mixed) / statistics.median(clean),
        "aim at least .33",
    )


def two_landers(settings: Settings, messages) -> Result:
    rates = []
    for landers in (1, 2):
        publish(settings, messages * 3)
        began = datetime.now(UTC)
        processes = [command(settings) for _ in range(landers)]
        for process in processes:
            process.wait()
        [row] = Warehouse(settings).rows(
            "SELECT MIN(started_at) AS began, MAX(ended_at) AS ended, SUM(landed) AS landed FROM monitoring.landing"
            " WHERE landed_date >= '2026-01-01' AND started_at >= @began AND received > 0",
            {"began": began},
        )
        rates.append(row["landed"] / (row["ended"] - row["began"]).total_seconds())
    return Result(
        f"two landers on {BACKLOG:,} flights",
        f"{rates[1]:,.0f} pings/s",
        f"{rates[0]:,.0f} pings/s by one",
        rates[1] / rates[0],
        f"aim 1.5 where the broker allows it; {os.cpu_count()} cores hold landers, broker and warehouse",
    )


def memory(settings: Settings, messages) -> Result:
    """The lander's peak, with a backlog of flights and of large pings."""
    files = [path.read_bytes() for path in sorted(REAL.glob("main.4.*.pass.json")) if path.stat().st_size > 130_000]
    large = [
        (data, {"uri": f"/submit/telemetry/main/4/{uuid.uuid4()}"}) for data in files * (600 // max(len(files), 1))
    ]
    publish(settings, messages * 3 + large)
    process = command(settings)
    _, _, usage = os.wait4(process.pid, 0)
    backlog = sum(len(data) for data, _ in messages * 3 + large) / 1e6
    return Result(
        f"peak memory of a lander, {len(messages) * 3 + len(large):,} messages waiting",
        f"{usage.ru_maxrss / 1000:,.0f} MB",
        f"{backlog:,.0f} MB of messages",
        usage.ru_maxrss / 1000 / backlog,
        "aim below 1,000 MB whatever the backlog",
    )


def command(settings: Settings) -> subprocess.Popen:
    line = [sys.executable, "-m", "telemetry_warehouse.cli", "land", "--until-empty"]
    return subprocess.Popen(line, env=environment_of(settings), stdout=subprocess.DEVNULL)


def beside_dlt(settings: Settings, messages) -> Result:
    """The same flights from one NDJSON file to typed rows: ours in the BigQuery stand-in, dlt's in DuckDB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flights.ndjson"
        path.write_bytes(b"".join(data + b"\n" for data, _ in messages))
        python = ROOT / ".venv" / "bench" / "bin" / "python"
        script = ROOT / "tests" / "benchmarks" / "dlt_peer.py"
        done = subprocess.run(
            [python, script, path, folder], capture_output=True, text=True, check=True, env={"HOME": folder}
        )
        peer = json.loads(done.stdout.splitlines()[-1])
    assert peer["rows"] == len(messages), peer
    taken = seconds(load_messages, settings, messages)
    return Result(
        f"{len(messages):,} flights from memory to typed rows",
        f"{len(messages) / taken:,.0f} pings/s, validated, archived, monitored",
        f"{len(messages) / peer['seconds']:,.0f} rows/s by dlt {peer['version']} to DuckDB",
        peer["seconds"] / taken,
        "aim above 1; imports are not counted for either",
    )


def load_messages(settings: Settings, messages) -> None:
    now = datetime.now(UTC)
    lander = Lander(Warehouse(settings))
    batch = Batch(now, [Message(data, attributes, str(n), now) for n, (data, attributes) in enumerate(messages)])
    for part, rows in lander.parts(batch):
        lander.load(part, rows)


def seconds(work, *arguments, **options) -> float:
    began = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - began


def pull_and_acknowledge(settings: Settings) -> None:
    client = settings.subscriber_client()
    subscription = client.subscription_path(settings.project_id, settings.subscription)
    left = BACKLOG
    while left:
        received = client.pull(subscription=subscription, max_messages=1000).received_messages
        if received:
            client.acknowledge(subscription=subscription, ack_ids=[m.ack_id for m in received])
        left -= len(received)
