"""Values that people write in expectations mean the same in SQL as in Python, whatever is in them."""

from hypothesis import Phase, given, settings

from tests.gates.literals import ROWS, VALUES, broken_rows, expectations, judged


# An example is a gate, so a failing one is not made smaller.
@settings(max_examples=8, phases=[Phase.generate])
@given(rows=ROWS, asked=expectations())
def test_a_gate_counts_what_python_counts(warehouse, rows, asked):
    passed = judged(warehouse, rows, asked)
    recorded = warehouse.rows(
        "SELECT expectation, observed FROM monitoring.gate_results WHERE checked_date >= '2000-01-01'"
        " AND candidate = @candidate QUALIFY checked_at = MAX(checked_at) OVER ()",
        {"candidate": VALUES.id},
    )
    observed = {int(row["expectation"]): row["observed"].strip('"') for row in recorded}
    for n, (broken, (entry, _, _)) in enumerate(zip(broken_rows(rows, asked), asked, strict=True)):
        assert (entry, observed[n]) == (entry, f"{broken} of {len(rows)} rows" if broken else "as expected")
    assert passed != any(broken_rows(rows, asked))
