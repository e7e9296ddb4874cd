"""A backfill that is compared before it is published, and a publish that is undone."""

from datetime import date, timedelta

import pytest

from telemetry_warehouse import lineage, plan, provenance, revert, staged, stages
from telemetry_warehouse.errors import Refused
from tests.e2e.test_reruns import DAYS
from tests.support import checksums, succeed

LAST = DAYS[1]
SELECTED = "clients_daily_v1+"


def quiet(line: str) -> None:
    pass


def step(chain, table: str) -> lineage.Step:
    return lineage.load(chain.settings).step(table)


def profiles(chain) -> dict[str, list[str]]:
    """What is known of LAST, by table that --select SELECTED builds: as JSON, for every time that it was published."""
    rows = chain.rows(
        "SELECT table_name, profiled_at, ARRAY_AGG(TO_JSON_STRING(STRUCT(app_name, row_count, measures))"
        " ORDER BY app_name) AS apps FROM monitoring.daily_profiles"
        f" WHERE submission_date = '{LAST}' AND table_name LIKE 'derived.clients_%_v1'"
        " GROUP BY table_name, profiled_at ORDER BY table_name, profiled_at"
    )
    found = {}
    for row in rows:
        found.setdefault(row["table_name"], []).append(str(row["apps"]))
    return found


def test_staging_shows_what_differs_and_publishing_it_swaps_it_in(chain, simulated):
    true = checksums(chain, *DAYS)
    of_day = f"submission_date = '{LAST}' AND app_name = 'Firefox'"
    [client] = chain.rows(f"SELECT MIN(client_id) AS id FROM derived.clients_daily_v1 WHERE {of_day}")
    of_day += f" AND client_id = '{client['id']}'"
    chain.query(f"UPDATE derived.clients_daily_v1 SET locale = 'other', os = NULL WHERE {of_day}")
    chain.query(f"DELETE FROM derived.clients_last_seen_v1 WHERE {of_day}")
    chain.query(
        "INSERT INTO derived.active_users_v1 (submission_date, app_name, channel, dau)"
        f" VALUES ('{LAST}', 'Firefox', 'never was', 1)"
    )
    before, known = checksums(chain, *DAYS), profiles(chain)
    said = succeed(chain.settings, "backfill", LAST, LAST, "--select", SELECTED, "--stage").stdout
    assert checksums(chain, *DAYS) == before
    assert profiles(chain) == known
    lines = said.splitlines()

    def of(table):
        [place] = [n for n, line in enumerate(lines) if line.startswith(f"derived.{table}: ") and "rows," in line]
        return lines[place : place + 2]

    assert of("clients_daily_v1")[1].strip() == f"{LAST}: 0 rows added, 0 removed, 1 changed (locale 1, os 1)"
    # Built from the staged clients_daily, not from the published one: its own os is the true one.
    assert of("clients_last_seen_v1")[1].strip() == f"{LAST}: 1 rows added, 0 removed, 0 changed"
    assert of("active_users_v1")[1].strip() == f"{LAST}: 0 rows added, 1 removed, 0 changed"
    assert of("retention_v1")[0].endswith("the same as published")
    assert of("clients_first_seen_v1")[0].endswith("the same as published")

    succeed(chain.settings, "backfill", LAST, LAST, "--select", SELECTED, "--publish")
    assert checksums(chain, *DAYS) == true
    # As after the night that built the same rows.
    assert profiles(chain) == {table: [*of_table, of_table[-1]] for table, of_table in known.items()}


def test_what_was_staged_is_not_published_once_something_has_changed(chain, simulated):
    with pytest.raises(Refused, match=f"nothing is staged for {LAST} {LAST} --select clients_left_out_v1; run it with"):
        staged.publish(chain, LAST, LAST, "clients_left_out_v1", quiet)
    left_out = step(chain, "clients_left_out_v1")
    staged.stage(chain, plan.make(chain, LAST, LAST, left_out.name), "staged", quiet)
    stages.run(chain, left_out, LAST, LAST, "a night in between", quiet)
    with pytest.raises(Refused, match="was published by a night in between since; stage it again: `./warehouse"):
        staged.publish(chain, LAST, LAST, left_out.name, quiet)


def test_a_revert_brings_back_what_was_there_before_and_a_second_one_undoes_it(chain, simulated):
    users = step(chain, "active_users_v1")
    day = LAST - timedelta(days=1)
    good = checksums(chain, *DAYS)
    chain.query(f"UPDATE derived.active_users_v1 SET dau = dau + 1000 WHERE submission_date = '{day}'")
    before = checksums(chain, *DAYS)
    stages.run(chain, users, day, day, "the publish to undo", quiet)
    assert checksums(chain, *DAYS) == good
    said = []
    revert.revert(chain, users, day, day, "undo", said.append)
    assert checksums(chain, *DAYS) == before
    assert "those of the publish to undo gone" in said[0]
    revert.revert(chain, users, day, day, "undo again", quiet)
    assert checksums(chain, *DAYS) == good


def test_what_cannot_be_reverted_is_refused(chain, simulated):
    never = date(2020, 1, 1)
    with pytest.raises(Refused, match="active_users_v1 2020-01-01 was never published; there is nothing before"):
        revert.revert(chain, step(chain, "active_users_v1"), never, never, "undo", quiet)
    with pytest.raises(Refused, match="row per app_name and client_id over all days and no days to restore"):
        revert.revert(chain, step(chain, "clients_first_seen_v1"), LAST, LAST, "undo", quiet)


def test_days_that_other_code_built_are_listed(chain, simulated):
    assert not any(provenance.built_by_older_code(chain, lineage.load(chain.settings).steps).values())
    left_out = step(chain, "clients_left_out_v1")
    first = DAYS[0]
    older = lineage.Step(**vars(left_out) | {"code": "the code of last year"})
    stages.run(chain, older, first, first, "last year", quiet)
    assert provenance.built_by_older_code(chain, [left_out]) == {left_out.table: [(first, first)]}
    [line] = [line for line in succeed(chain.settings, "status").stdout.splitlines() if left_out.table in line]
    assert line.rstrip(" │").endswith(f"│ {first}")
    stages.run(chain, left_out, first, first, "this year", quiet)
    assert provenance.built_by_older_code(chain, [left_out]) == {left_out.table: []}
