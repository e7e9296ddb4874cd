"""Great Expectations' own-SQL expectation without its second query: the rows are only fetched once some are known.

Imports Great Expectations, so import it where it is used.
"""

from typing import ClassVar

from great_expectations.expectations import UnexpectedRowsExpectation


class NoUnexpectedRows(UnexpectedRowsExpectation):
    """Holds where the query returns nothing; counts the rows and does not fetch them."""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.row_count",)

    def _validate(self, metrics, runtime_configuration=None, execution_engine=None):
        return {"success": metrics["unexpected_rows_query.row_count"] == 0}
