"""A planted change through the real stages: found, explained, the same however its days are built, and reviewed."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from telemetry_warehouse import alerts, cli, detection, lineage, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.changes.alert_rows import NIGHTS_OF_A_BUILD, alert_id, series_of
from telemetry_warehouse.changes.table import WINDOW_DAYS
from telemetry_warehouse.errors import Refused
from tests.dbt.project import histogram, main_ping
from tests.support import checksum, days, load_rows

FIRST, LAST = date(2021, 3, 1), date(2021, 4, 1)
# From this day on, clients on the new build, all of them German, take ten times as long.
CHANGED = date(2021, 3, 26)
APP = "Planted"
OLD_BUILD, NEW_BUILD = "20210225093000", "20210326093000"
SPAN = f"BETWEEN '{FIRST}' AND '{LAST}'"
HELD = ("distributions_v1", "change_scores_v1", "changes_v1")


def pings() -> list[dict]:
    found = []
    for number, day in enumerate(days(FIRST, LAST)):
        for client in range(120):
            new = day >= CHANGED and client % 2 == 0
            values = {100 if new else 10: 3 + (client + number) % 2, 1: 1 + (client * 7 + number * 3) % 3}
            found.append(
                main_ping(
                    day, f"{day}-{client}", f"planted-{client}", sample_id=0, app_name=APP, channel="beta", os="Linux",
                    country="DE" if client % 2 == 0 else "FR", app_version="9" if new else "8",
                    app_build_id=NEW_BUILD if new else OLD_BUILD, histograms={"SLOW_MS": histogram(values)},
                )
            )  # fmt: skip
    return found


class Built:
    """The stages from stable tables on, whose days are said to be built."""

    def __init__(self, warehouse: Warehouse):
        self.warehouse = warehouse
        self.steps = lineage.load(warehouse.settings)
        moment = datetime(2021, 5, 1, tzinfo=UTC)
        run = {"run": "planted", "status": "published", "start_date": FIRST, "end_date": LAST, "token": 1}
        run |= {"started_date": moment.date(), "started_at": moment, "ended_at": moment}
        stable = [step.table for step in self.steps.steps if step.kind == "dedup"]
        load_rows(warehouse, "monitoring.pipeline_runs", [run | {"table_name": table} for table in stable])
        load_rows(warehouse, "telemetry_stable.main_v4", pings())
        for name in ("histogram_aggregates_v1", "histogram_aggregates_by_build_v1", *HELD):
            self.build(name, FIRST, LAST)

    def build(self, name: str, start: date, end: date) -> None:
        stages.run(self.warehouse, self.steps.step(name), start, end, "planted", lambda line: None)

    def alerts(self) -> list[dict]:
        of_app = f"detected_date {SPAN} AND app_name = '{APP}'"
        return self.warehouse.rows(f"SELECT * FROM derived.changes_v1 WHERE {of_app}")

    def checksums(self) -> dict:
        day = {"changes_v1": "detected_date"}
        return {
            name: checksum(self.warehouse, f"derived.{name}", f"{day.get(name, 'submission_date')} {SPAN}")
            for name in HELD
        }


@pytest.fixture(scope="module")
def built(prepared_home) -> Built:
    return Built(Warehouse(prepared_home))


def test_a_planted_change_is_told_of_once_in_each_roll_up(built):
    found = [row for row in built.alerts() if row["axis"] == "submission_date"]
    assert {(row["channel"], row["os"]) for row in found} == {
        (None, None), ("beta", None), (None, "Linux"), ("beta", "Linux"),
    }  # fmt: skip
    for row in found:
        assert row["change_date"] == CHANGED and row["kind"] == "changed" and row["withheld"] is None
        assert row["effect"] == pytest.approx(0.33, abs=0.03)
        assert row["alert_id"] == alert_id(series_of(row), CHANGED)
        assert 1 < row["median_before"] < 100 and row["p95_after"] >= 100
        assert [one["bucket"] for one in row["gained"]] == [100] and row["lost"][0]["bucket"] == 10


def test_the_build_the_version_and_the_country_that_moved_are_named(built):
    for row in built.alerts():
        moved = {(one["dimension"], one["value"]): one for one in row["movers"]}
        effects = [one["effect"] for one in row["movers"]]
        assert effects == sorted(effects, reverse=True)
        for name in (("build", NEW_BUILD), ("version", "9"), ("country", "DE")):
            assert moved[name]["effect"] > 0.6 and moved[name]["share"] == pytest.approx(0.5)
        assert moved["country", "FR"]["effect"] < 0.05
        assert not {"channel", "os"} & {dimension for dimension, _ in moved}  # the same for all


def plain_parts(of: dict) -> dict[tuple, tuple]:
    """(since, dimension, value) → (clients, {bucket: clients}) of the pings of one alert, all values however rare."""
    found: dict[tuple, list] = {}
    for ping in pings():
        submitted, build = date.fromisoformat(ping["submission_timestamp"][:10]), ping["application"]["build_id"]
        day = submitted
        if of["axis"] == "build_date":
            day = date.fromisoformat(build[:8])
            if not day <= submitted <= day + timedelta(days=6):
                continue
        last = of["detected_date"] - (timedelta(days=6) if of["axis"] == "build_date" else timedelta(0))
        if not max(of["change_date"] - timedelta(days=14), last - timedelta(days=42)) <= day <= last:
            continue
        said = {
            "build": build, "version": ping["application"]["version"], "country": ping["normalized_country_code"],
            "os": "Linux", "channel": "beta", None: None,
        }  # fmt: skip
        [counts] = [h["value"]["values"] for h in ping["payload"]["histograms"]]
        total = sum(one["value"] for one in counts)
        for dimension, value in said.items():
            entry = found.setdefault((day >= of["change_date"], dimension, value), [0, {}])
            entry[0] += 1
            for one in counts:
                bucket = int(one["key"])
                entry[1][bucket] = entry[1].get(bucket, 0) + one["value"] * 10**9 // total
    return {key: tuple(entry) for key, entry in found.items()}


@pytest.mark.parametrize(
    ("axis", "change_night", "night"),
    [
        ("submission_date", CHANGED, CHANGED + timedelta(days=2)),
        ("submission_date", FIRST + timedelta(days=2), LAST),
        ("build_date", CHANGED + timedelta(days=6), CHANGED + timedelta(days=6)),
    ],
)
def test_what_explains_an_alert_is_as_plain_python_has_it(built, axis, change_night, night):
    """An alert as the detector would write it; the query is the stage's own."""
    scores = f"derived_candidates.scores_of_{axis}_{change_night:%Y%m%d}"
    alert = {
        "submission_date": night, "axis": axis, "app_name": APP, "channel": None, "os": "Linux", "probe": "SLOW_MS",
        "key": "", "layout": "0/10/1-100", "alert": "changed", "change_date": change_night,
    }  # fmt: skip
    nobody = f"SELECT * FROM {alerts.SCORES} WHERE submission_date = '1999-01-01'"
    built.warehouse.query(f"CREATE OR REPLACE TABLE {scores} AS {nobody}")
    load_rows(built.warehouse, scores, [alert])
    step = built.steps.step("changes_v1")
    step = replace(step, inputs=step.inputs | {"change_scores_v1": scores})
    rows = built.warehouse.rows(detection.movers_select(built.warehouse, step, night, night, [alert]))
    found = {
        (r["since"], r["dimension"], r["value"]): (r["n_clients"], {b["bucket"]: b["clients"] for b in r["buckets"]})
        for r in rows
    }
    nights = timedelta(days=6 if axis == "build_date" else 0)
    expected = plain_parts({"axis": axis, "change_date": change_night - nights, "detected_date": night})
    # A build that nobody runs since the change explains nothing.
    known = {key[1:] for key in expected if key[0]}
    assert found == {key: of for key, of in expected.items() if key[1:] in known}
    assert len(found) > 5


def test_a_day_that_is_built_again_is_followed_by_all_that_looks_back_at_it(built):
    scores, changes = (built.steps.step(name) for name in ("change_scores_v1", "changes_v1"))
    assert scores.carries_days >= WINDOW_DAYS and scores.reads_yesterday
    assert changes.carries_days == detection._MOST_DAYS + NIGHTS_OF_A_BUILD and not changes.reads_yesterday


def test_nights_one_by_one_and_again_give_the_same_bytes(built):
    before = built.checksums()
    last = max(row["detected_date"] for row in built.alerts())
    for name in HELD[1:]:
        for day in days(last - timedelta(days=1), last):
            built.build(name, day, day)
    assert built.checksums() == before


def test_a_review_is_the_alerts_status_and_outlives_a_rerun(built):
    [alert, *_] = alerts.found(built.warehouse, CHANGED)
    assert (alert["status"], alert["reviewed_by"], alert["event"]) == ("new", None, CHANGED)
    alerts.review(built.warehouse, alert["alert_id"], "acknowledged", "ann", "looking")
    alerts.review(built.warehouse, alert["alert_id"], "explained", " bob ", "the release of 26 March")
    built.build("changes_v1", alert["detected_date"], alert["detected_date"])
    said = {one["alert_id"]: one for one in alerts.found(built.warehouse, CHANGED)}[alert["alert_id"]]
    assert (said["status"], said["reviewed_by"], said["why"]) == ("explained", "bob", "the release of 26 March")
    assert said | {name: alert[name] for name in ("status", "reviewed_by", "why")} == alert
    [row] = built.warehouse.rows(
        f"SELECT COUNT(*) AS n FROM monitoring.change_reviews WHERE alert_id = '{alert['alert_id']}'"
    )
    assert row["n"] == 2, "nobody's word is erased"


@pytest.mark.parametrize(
    ("review", "said"),
    [
        (("0123456789ab", "explained", "ann", "so"), "there is no alert '0123456789ab'"),
        (("0123456789ab", "fine", "ann", "so"), "'fine' is no status of an alert; give one of acknowledged, explained"),
        (("0123456789ab", "explained", "", "so"), "needs who says it and why"),
        (("0123456789ab", "explained", "ann", " "), "needs who says it and why"),
    ],
)
def test_a_review_that_makes_no_sense_is_refused(built, review, said):
    with pytest.raises(Refused, match=said):
        alerts.review(built.warehouse, *review)


def test_an_event_has_the_gate_warnings_and_landing_errors_of_its_days(built):
    landed = {
        "landed_date": "2021-03-27", "submission_date": str(CHANGED), "document_namespace": "telemetry",
        "document_type": "main", "document_version": "4", "failed": 7,
        "failures": [{"error_type": "schema", "messages": 7}],
    }  # fmt: skip
    day_before = landed | {"submission_date": str(CHANGED - timedelta(days=1))}
    load_rows(built.warehouse, "monitoring.landing", [landed, landed, day_before])
    moment = datetime(2021, 5, 2, tzinfo=UTC)
    run = {"run": "warned", "table_name": "derived.clients_daily_v1", "start_date": CHANGED, "end_date": CHANGED}
    published = {"status": "published", "started_date": moment.date(), "started_at": moment, "ended_at": moment}
    judged = {"checked_date": moment.date(), "checked_at": moment, "expectation": "few", "verdict": "warned"}
    load_rows(built.warehouse, "monitoring.pipeline_runs", [run | published])
    load_rows(built.warehouse, "monitoring.gate_results", [run | judged | {"observed": "3"}])
    [event] = alerts.beside(built.warehouse, CHANGED)
    assert (event.first, event.last, len(event.alerts)) == (CHANGED, CHANGED, 4)
    assert [(e["document_type"], e["error_type"], e["messages"]) for e in event.errors] == [
        ("telemetry/main/4", "schema", 14)
    ]
    assert [(w["table_name"], w["expectation"]) for w in event.warnings] == [("derived.clients_daily_v1", "few")]


def test_the_history_of_an_alert_is_its_series_and_no_other(built):
    found = alerts.found(built.warehouse, CHANGED)
    alert = next(one for one in found if (one["channel"], one["os"]) == (None, "Linux"))
    distributions, scores = alerts.history(built.warehouse, alert)
    assert [row["submission_date"] for row in distributions] == days(FIRST, LAST)
    assert [row["submission_date"] for row in scores] == days(FIRST, LAST)
    assert {series_of(row) for row in (*distributions, *scores)} == {series_of(alert)}
    assert [row["submission_date"] for row in scores if row["alert"]] == [alert["detected_date"]]


def test_the_command_lists_alerts_by_event_and_records_reviews(built, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE_HOME", str(built.warehouse.settings.home))
    alert = alerts.found(built.warehouse, CHANGED)[-1]
    review = ["changes", "review", alert["alert_id"], "false alarm", "--who", "eve", "--why", "a test"]
    assert cli.main(review) == 0
    assert cli.main(["changes", "--since", str(CHANGED)]) == 0
    said = capsys.readouterr().out
    assert f"{APP}, {CHANGED}: 4 alerts" in said and "median " in said and "95th percentile" in said
    assert f"build {NEW_BUILD}" in said and "status: false alarm (eve: a test)" in said
    assert cli.main(["changes", "--since", "2021-04-02"]) == 0
    assert "no alert was sent since 2021-04-02" in capsys.readouterr().out


def test_what_is_small_or_noisy_is_kept_and_listed_only_when_asked_for(built, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE_HOME", str(built.warehouse.settings.home))
    large = Warehouse(replace(built.warehouse.settings, least_effect=0.9))
    night = built.alerts()[0]["detected_date"]
    stages.run(large, lineage.load(large.settings).step("changes_v1"), night, night, "planted", lambda line: None)
    assert alerts.found(built.warehouse, CHANGED) == []
    withheld = alerts.found(built.warehouse, CHANGED, withheld=True)
    assert {one["withheld"].split(":")[0] for one in withheld} == {"small"}
    assert cli.main(["changes", "--since", str(CHANGED)]) == 0
    assert "no alert was sent" in capsys.readouterr().out
    assert cli.main(["changes", "--since", str(CHANGED), "--withheld"]) == 0
    assert "not sent, small: 0.3" in capsys.readouterr().out
    noisy = f"submission_date = '{night}' AND os IS NULL AND alert IS NOT NULL"
    built.warehouse.query(f"UPDATE {alerts.SCORES} SET noisy = 'it jumps' WHERE {noisy}")
    built.build("changes_v1", night, night)
    assert {one["os"]: one["withheld"] for one in alerts.found(built.warehouse, CHANGED, withheld=True)} == {
        None: "noisy: it jumps", "Linux": None,
    }  # fmt: skip


def test_series_that_are_too_noisy_are_listed_with_the_reason(built, monkeypatch, capsys):
    monkeypatch.setenv("WAREHOUSE_HOME", str(built.warehouse.settings.home))
    [newest] = built.warehouse.rows(
        f"SELECT MAX(end_date) AS night FROM monitoring.pipeline_runs WHERE table_name = '{alerts.SCORES}'"
        " AND status = 'published'"
    )
    assert cli.main(["changes", "noisy"]) == 0
    assert "alerts of every series are sent" in capsys.readouterr().out
    # The newest night is another's where tests of Airflow have used this home.
    built.warehouse.query(
        f"INSERT INTO {alerts.SCORES}"
        f" SELECT * REPLACE (DATE '{newest['night']}' AS submission_date, 'it jumps' AS noisy) FROM {alerts.SCORES}"
        f" WHERE submission_date = '{LAST}' AND axis = 'submission_date' AND app_name = '{APP}'"
        " AND channel IS NULL AND os IS NULL"
    )
    assert cli.main(["changes", "noisy"]) == 0
    said = capsys.readouterr().out
    assert "SLOW_MS" in said and "it jumps" in said
    built.warehouse.query(
        f"DELETE FROM {alerts.SCORES} WHERE submission_date = '{newest['night']}' AND noisy = 'it jumps'"
    )
