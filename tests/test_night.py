"""What a caller hears of a night that fails."""

from datetime import UTC, datetime, timedelta

import pytest

from telemetry_warehouse import digest, night, report
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import WarehouseError


def test_what_stopped_a_night_is_heard_though_nobody_could_be_told(prepared_home, monkeypatch):
    def fail(text):
        def failing(*_):
            raise WarehouseError(text)

        return failing

    said = []
    # Not before the first ping that any test of this home has landed.
    day = datetime.now(UTC).date() - timedelta(days=2)
    monkeypatch.setattr(night, "_build_tables", fail("the first table failed"))
    monkeypatch.setattr(digest, "tell", fail("the mail server is gone"))
    with pytest.raises(WarehouseError, match="the first table failed"):
        night.run(Warehouse(prepared_home), day, "night", said.append)
    assert [line for line in said if "the mail server is gone" in line]
    assert [line for line in said if line.startswith("report: ")]
    monkeypatch.setattr(report, "write", fail("the disk is full"))
    with pytest.raises(WarehouseError, match="the first table failed"):
        night.run(Warehouse(prepared_home), day, "night", said.append)
