"""A simulated population of browsers: its main pings as messages, and the truth about them.

The same arguments give the same bytes, message by message. A day is made in pieces as it is read, so that memory
follows the number of living clients and not the number of days.
"""

import base64
import datetime
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson

from telemetry_warehouse.simulate import catalogue
from telemetry_warehouse.simulate.clients import Pings, Population, uuids
from telemetry_warehouse.simulate.clock import instants
from telemetry_warehouse.simulate.ping import Writer
from telemetry_warehouse.simulate.probes import Change, default_changes, distributions
from telemetry_warehouse.simulate.transmission import Receipt, Transmission
from telemetry_warehouse.simulate.truth import Truth, TruthWriter

_PIECE = 2_000  # pings written at a time

_USER_AGENTS = [f"Mozilla/5.0 ({system.user_agent}) Gecko/20100101 Firefox" for system in catalogue.SYSTEMS]


def simulate(
    out_dir: Path, *, clients: int, first_day: datetime.date, days: int, seed: int, planted: list[Change] | None = None
) -> Truth:
    """Writes out_dir/messages.ndjson, for `./warehouse publish`, in order of receipt, and out_dir/truth (truth.py).

    `clients` live on the first day. `planted` are the changes in the histograms, those of probes.default_changes where
    it is not given.
    """
    out_dir = Path(out_dir)
    planted = default_changes(first_day) if planted is None else planted
    truth = Truth(out_dir / "truth", messages=[], errors=[], usage=[], planted=planted)
    truth.folder.mkdir(parents=True, exist_ok=True)
    with open(out_dir / "messages.ndjson", "wb") as file, open(truth.folder / "documents.ndjson", "wb") as documents:
        writer = TruthWriter(truth, documents)
        for day, receipts in _days(clients, first_day, days, seed, planted):
            file.writelines(map(_line, writer.day(day, receipts)))
    writer.finish()
    return truth


def messages(
    *, clients: int, first_day: datetime.date, days: int, seed: int, planted: list[Change] | None = None
) -> Iterator[tuple[bytes, dict[str, str]]]:
    """The same messages as (data, attributes), without a file."""
    planted = default_changes(first_day) if planted is None else planted
    for _, receipts in _days(clients, first_day, days, seed, planted):
        for receipt in receipts:
            yield receipt.data, receipt.attributes


def _line(receipt: Receipt) -> bytes:
    """{"attributes", "data"}: the object itself, or base64 of what is not one."""
    data = orjson.Fragment(receipt.data) if receipt.plain else base64.b64encode(receipt.data).decode()
    return orjson.dumps({"attributes": receipt.attributes, "data": data}, option=orjson.OPT_APPEND_NEWLINE)


def _days(
    clients: int, first_day: datetime.date, days: int, seed: int, planted: list[Change]
) -> Iterator[tuple[datetime.date, Iterator[Receipt]]]:
    population = Population(clients, first_day, seed)
    transmission = Transmission(seed)
    for n in range(days):
        day = first_day + datetime.timedelta(days=n)
        pings = population.step()
        writer = Writer(day, first_day, distributions(day, seed, planted))
        sent = _good_messages(pings, writer, np.random.default_rng([seed, 2, day.toordinal()]))
        yield day, transmission.day(day, sent)


def _good_messages(pings: Pings, writer: Writer, rng: np.random.Generator) -> Iterator[Receipt]:
    """The day's pings as they were sent, in order of receipt."""
    for start in range(0, len(pings), _PIECE):
        rows = slice(start, start + _PIECE)
        received = pings.received[rows]
        ids = uuids(rng, len(received)).tolist()
        columns = zip(
            received.tolist(),
            writer.documents(pings, rows, ids, rng),
            _attributes(pings, writer, rows, ids, instants(received), rng),
            ids,
            pings.of_client("client_id", rows).tolist(),
            strict=True,
        )
        for time, document, attributes, document_id, client_id in columns:
            yield Receipt(time, document.encode(), attributes, document_id, client_id, "good", True)


def _attributes(
    pings: Pings, writer: Writer, rows: slice, ids: list[str], received: list[str], rng: np.random.Generator
) -> Iterator[dict[str, str]]:
    home = pings.of_client("place", rows)
    # Some pings are sent from elsewhere: a day's places of a client are not all one.
    place = np.where(rng.random(len(ids)) < 0.03, rng.integers(0, len(catalogue.PLACES), len(ids)), home)
    system = pings.of_client("system", rows).tolist()
    address = rng.integers(1, 255, len(ids)).tolist()
    builds = writer.build_index(pings, rows).tolist()
    for i, document_id in enumerate(ids):
        build = writer.builds[builds[i]]
        where = catalogue.PLACES[place[i]]
        about = f"Firefox/{build['version']}/{build['channel']}/{build['build_id']}"
        attributes = {
            "uri": f"/submit/telemetry/main/4/{document_id}/{about}",
            "submission_timestamp": received[i],
            "user_agent": _USER_AGENTS[system[i]],
            "remote_addr": f"203.0.113.{address[i]}",
            "geo_country": where.country,
        }
        if where.subdivision:
            attributes["geo_subdivision1"] = where.subdivision
        if where.city:
            attributes["geo_city"] = where.city
        yield attributes
