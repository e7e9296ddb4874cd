"""Published documents through the steps: landed or refused as their names say, and nothing of them lost."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from shutil import copytree

import orjson
import pytest

from telemetry_warehouse import schemas
from telemetry_warehouse.landing import land
from telemetry_warehouse.landing.document import Row, Steps
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.publishing import publish
from telemetry_warehouse.settings import ROOT
from tests.landing.rebuild import document_of, same_json

REAL = ROOT.parent / "shared" / "real_pings"
NOW = datetime.now(UTC)
ID = "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"
SAMPLES = sorted(REAL.glob("pings/*/*.json"))
pytestmark = pytest.mark.skipif(not SAMPLES, reason=f"{REAL} is absent")


@cache
def steps(directory: Path) -> Steps:
    return Steps(schemas.load([directory]))


def attributes_of(path: Path) -> dict[str, str]:
    return {"uri": f"/submit/{name_of(path)}/{ID}"}


def name_of(path: Path) -> schemas.TypeName:
    return schemas.TypeName(path.parent.name, *path.name.split(".")[:2])


def published(path: Path) -> schemas.TypeName:
    name = name_of(path)
    return name._replace(namespace=f"published-{name.namespace}")


def row_of(path: Path, directory: Path) -> Row:
    return steps(directory).row(Message(path.read_bytes(), attributes_of(path), "1", NOW), NOW)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_each_published_document_lands_or_fails_as_its_name_says(path):
    row = row_of(path, REAL / "schemas")
    if path.name.endswith(".fail.json"):
        assert row.error_type == "schema"
    else:
        assert row.error_type is None, row.line[:300]
        assert same_json(document_of(row.document_type, orjson.loads(row.line)), orjson.loads(path.read_bytes()))


@pytest.mark.parametrize(
    "path", [p for p in SAMPLES if p.match("telemetry/main.4.*.pass.json")], ids=lambda path: path.name
)
def test_each_good_main_ping_lands_by_our_own_schema_too(path):
    row = row_of(path, ROOT / "schemas")
    assert row.error_type is None, row.line[:300]
    assert same_json(document_of(row.document_type, orjson.loads(row.line)), orjson.loads(path.read_bytes()))


def test_all_published_documents_go_through_the_warehouse_and_back(warehouse, tmp_path):
    """Every published schema becomes a table, every good document a row of it, every bad one an error row."""
    # In namespaces of their own: this home has a table telemetry_live.main_v4 of our own schema.
    for folder in (REAL / "schemas").iterdir():
        copytree(folder, tmp_path / f"published-{folder.name}")
    types = schemas.load([tmp_path])
    for document_type in types.values():
        warehouse.ensure(document_type.live)
    sent = {}
    for number, path in enumerate(SAMPLES):
        document_id = f"{number:08x}{ID[8:]}"
        name = published(path)
        sent[document_id] = (path, path.read_bytes(), {"uri": f"/submit/{name}/{document_id}"})
    assert publish(warehouse.settings, ((data, attributes) for _, data, attributes in sent.values())) == len(SAMPLES)

    totals = land(warehouse, until_empty=True)

    good = {key for key, (path, _, _) in sent.items() if path.name.endswith(".pass.json")}
    assert (totals.received, totals.landed, totals.failed) == (len(sent), len(good), len(sent) - len(good))
    found = {}
    for document_type in {types[published(sent[key][0])] for key in good}:
        rows = warehouse.rows(
            f"SELECT * FROM {document_type.live.id} WHERE submission_timestamp >= '{NOW.isoformat()}'"
            f" AND SUBSTR(document_id, 9) = '{ID[8:]}'"
        )
        for row in rows:
            assert same_json(document_of(document_type, row), orjson.loads(sent[row["document_id"]][1]))
            found[row["document_id"]] = row
    assert found.keys() == good
    errors = {}
    for namespace in {name.namespace for name in types}:
        errors |= {
            row["document_id"]: row
            for row in warehouse.rows(
                f"SELECT * FROM {schemas.clean(namespace)}_errors.pings"
                f" WHERE submission_timestamp >= '{NOW.isoformat()}'"
            )
            if row["document_id"] in sent
        }
    assert errors.keys() == sent.keys() - good
    assert all(row["payload"] == sent[key][1] and row["error_type"] == "schema" for key, row in errors.items())
