import dataclasses

import pytest

from telemetry_warehouse.errors import WarehouseError
from telemetry_warehouse.gates.expectations import parse
from telemetry_warehouse.tables import Table, column

TABLE = Table("derived", "demo_v1", (column("day", "DATE"), column("client_id", "STRING")), partition_field="day")


def expecting(**entry) -> Table:
    return dataclasses.replace(TABLE, expectations=(entry,))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "expect_miracles"}, "'expect_miracles'"),
        ({"type": "expect_column_values_to_not_be_null", "column": "clientid"}, "'clientid'"),
        ({"type": "expect_column_values_to_not_be_null", "column": "client_id", "severity": "mild"}, "'mild'"),
        (
            {"name": "own", "query": "SELECT * FROM {candidate} JOIN {clients_dayly_v1} USING (day)"},
            "{clients_dayly_v1}",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_and_named_with_its_table(entry, said):
    with pytest.raises(WarehouseError) as caught:
        parse(expecting(**entry), {"clients_daily_v1": "derived.clients_daily_v1"})
    assert said in str(caught.value) and "derived.demo_v1" in str(caught.value)


def test_severity_is_critical_unless_said_otherwise():
    [expectation] = parse(expecting(type="expect_column_values_to_not_be_null", column="client_id"), {})
    assert (expectation.severity, expectation.name) == ("critical", "expect_column_values_to_not_be_null(client_id)")
