"""What a gate asks is answered by the reference engine as by Python, whatever is in the values of expectations."""

import pytest
from hypothesis import Phase, given, settings

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.gates import by_day
from telemetry_warehouse.tables import quoted, type_text
from tests.gates.literals import ROWS, VALUES, broken_rows, expectations, judged, with_keys
from tests.googlesql.catalogue import Catalogue
from tests.googlesql.values import content


# An example is a gate, so a failing one is not made smaller.
@settings(max_examples=8, phases=[Phase.generate])
@given(rows=ROWS, asked=expectations())
def test_the_reference_engine_counts_what_python_counts(warehouse_home, googlesql, rows, asked):
    sent = {}

    def counting_query(about, conditions):
        sent["names"], sent["sql"] = [int(name) for name in conditions], write(about, conditions)
        return sent["sql"]

    write = by_day.counting_query
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_day, "counting_query", counting_query)
        judged(Warehouse(warehouse_home), rows, asked)
    catalogue = Catalogue(googlesql)
    catalogue.learn_types(type_text(column) for column in VALUES.columns)
    # The engine knows a table that holds something by one name and not by a path.
    known = catalogue.simple_table(VALUES)
    known.name_in_catalog = VALUES.id
    catalogue.root.table.append(known)
    sql = sent["sql"].replace(quoted(VALUES.id), f"`{VALUES.id}`")
    _, [counted] = googlesql.evaluate(sql, catalogue.root, {VALUES.id: content(VALUES.columns, with_keys(rows))})
    # The day, the application and the number of rows come first, and what is counted of values last.
    found = {n: cell.int64_value for n, cell in zip(sent["names"], counted.cell[3:-3], strict=True)}
    for n, (broken, (entry, _, _)) in enumerate(zip(broken_rows(rows, asked), asked, strict=True)):
        assert (entry, found[n]) == (entry, broken)
