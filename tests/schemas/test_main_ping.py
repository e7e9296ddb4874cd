"""Our schema of the main ping against the documents published with Mozilla's."""

import json

import jsonschema_rs
import pytest

from telemetry_warehouse.settings import ROOT

PINGS = ROOT.parent / "shared" / "real_pings" / "pings" / "telemetry"
pytestmark = pytest.mark.skipif(not PINGS.exists(), reason=f"{PINGS} is not here")

# Published documents to refuse whose fault lies in a field that our schema names.
REFUSED = ("displayversion", "empty", "experiments", "histogram", "negative_count")


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((ROOT / "schemas/telemetry/main/main.4.schema.json").read_text())
    return jsonschema_rs.validator_for(schema)


def _published(verdict: str) -> list:
    return sorted(PINGS.glob(f"main.4.*.{verdict}.json")) if PINGS.exists() else []


def test_there_are_documents_to_check():
    assert len(_published("pass")) >= 16 and len(_published("fail")) >= 24


@pytest.mark.parametrize("path", _published("pass"), ids=lambda path: path.name)
def test_a_good_document_is_accepted(validator, path):
    validator.validate(json.loads(path.read_text()))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_document_is_refused_for_its_own_fault(validator, name):
    document = json.loads((PINGS / f"main.4.{name}.fail.json").read_text())
    errors = list(validator.iter_errors(document))
    assert errors
    places = {".".join(map(str, error.instance_path)) for error in errors}
    fault = {
        "displayversion": "environment.build.displayVersion",
        "empty": "",
        "experiments": "environment.experiments.experiment_name2.branch",
        "histogram": "payload.histograms.INVALID_BUCKET_TYPE.values",
        "negative_count": "payload.histograms.NEGATIVE_COUNT.values.2",
    }[name]
    assert fault in places
