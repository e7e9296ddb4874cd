"""Starts the BigQuery emulator with the corrections that dbt-bigquery and our tables need, and what makes it quick.

Runs on its own in the emulator's environment (`python -P bigquery_server --host ... `, the arguments of
local-bigquery), so nothing in this folder imports our package.
"""

import importlib.metadata
import sys

CHECKED_VERSION = "0.3.2"


def main() -> None:
    version = importlib.metadata.version("local-bigquery")
    if version != CHECKED_VERSION:
        sys.exit(
            f"local-bigquery is {version} and the corrections in {__file__} were checked on {CHECKED_VERSION}; "
            "run tests/local/test_bigquery_server.py on the new version, then change CHECKED_VERSION"
        )

    from local_bigquery import cli

    change()
    cli.main()


def change() -> None:
    """Makes local-bigquery, in this process, the emulator that we need."""
    import bookkeeping
    import corrections
    import definitions
    import doors
    import forgetting
    import full_disk
    import reopening
    import text_and_bytes
    import translation

    # What is written down is written with the last room, before it is kept in memory.
    ends = (reopening, full_disk, forgetting)
    answers = (text_and_bytes, definitions, corrections, bookkeeping, translation)
    for part in (*ends, *answers, doors):
        for correct in part.ALL:
            correct()


if __name__ == "__main__":
    main()
