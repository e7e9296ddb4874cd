"""Do the gates find what they should? Faults planted into days that are clean, and the expectation that catches each.

The clean days are two months of simulated browsers and real flights, built by the real stages in one pass; nothing may
fire on them. The faults of a table are planted into a copy of the last weeks, each on a day of its own, and what
has failed on that day has caught it.
"""

import contextlib
import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest

from telemetry_warehouse import dedup, lineage, schemas, stages
from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.errors import GateFailed
from telemetry_warehouse.gates.days import days_of
from telemetry_warehouse.gates.judge import judge
from telemetry_warehouse.landing.document import Steps
from telemetry_warehouse.landing.message import Message
from telemetry_warehouse.settings import ROOT
from telemetry_warehouse.simulate.flights import flights
from telemetry_warehouse.simulate.population import messages

FIRST, LAST = date(2013, 2, 1), date(2013, 4, 1)
START = LAST - timedelta(days=18)
PROBES = ("GC_MS", "SEARCH_COUNTS")
LIVE = "telemetry_live.main_v4"
FLIGHTS = "fleet_live.flight_v1"


@dataclass(frozen=True)
class Fault:
    """`sql` gives the rows that a faulty build would give of the day {day}, from {clean}; `caught_by` finds them, which
    is an expectation of that severity."""

    name: str
    table: str
    sql: str
    caught_by: str
    severity: str = "critical"

    @property
    def day(self) -> date:
        """A day of its own among the faults of the table. The first is a Sunday, for cohorts; what clients_last_seen
        has wrong on a day also shows on the next."""
        number = [fault.name for fault in FAULTS if fault.table == self.table].index(self.name)
        return LAST - timedelta(days=1 + number * (2 if self.table == LAST_SEEN else 1))


def replacing(**columns: str) -> str:
    return "select * replace (" + ", ".join(f"{sql} as {name}" for name, sql in columns.items()) + ") from {clean}"


def patterns(form: str) -> str:
    names = ("seen", "active", "visited_1_uri", "visited_5_uri", "visited_10_uri", "interacted", "had_8_active_ticks")
    return replacing(**{f"days_{name}_bits": form.replace("bits", f"days_{name}_bits") for name in names})


STABLE, DAILY, LAST_SEEN = "telemetry_stable.main_v4", "derived.clients_daily_v1", "derived.clients_last_seen_v1"
FIRST_SEEN, USERS = "derived.clients_first_seen_v1", "derived.active_users_v1"
HISTOGRAMS = "derived.histogram_aggregates_v1"
DISTRIBUTIONS, SCORES = "derived.distributions_v1", "derived.change_scores_v1"
LIVE_ON_DAY = f"{LIVE} as live where date(submission_timestamp) = '{{day}}'"
[NO_LOOK_BACK] = dedup.selects(LIVE, "{day}", "{day}", look_back=0)

MADE_UP = (
    "select submission_date as detected_date, '0123456789ab' as alert_id, 'changed' as kind, axis, app_name, channel,"
    " os, probe, key, layout, submission_date as change_date, cast(null as date) as closes, 'm' as method, score,"
    " log10_e,"
    " 0.5 as effect, n_clients, cast(null as float64) as median_before, cast(null as float64) as median_after,"
    " cast(null as float64) as p95_before, cast(null as float64) as p95_after, shares_before as gained,"
    " shares_before as lost, cast([] as array<struct<dimension string, value string, effect float64, share float64>>)"
    " as movers, cast(null as string) as withheld, [struct(0 as bucket, 1.0 as share)] as shares_before,"
    f" [struct(1 as bucket, 1.0 as share)] as shares_after from {SCORES} where submission_date = '{{day}}'"
    " and axis = 'submission_date' and channel is null and os is null and app_name = 'Firefox' order by probe limit 1"
)

ONE_ID = (
    "select clean.* replace (if(client_id = one, total, pings_aggregated_by_this_row) as pings_aggregated_by_this_row)"
    " from {{clean}} cross join"
    " (select min(client_id) as one, sum(pings_aggregated_by_this_row) as total from {{clean}}"
    " where app_name = 'Firefox' and sample_id < {share})"
    " where app_name != 'Firefox' or sample_id >= {share} or client_id = one"
)

FAULTS = [
    Fault("a day is landed once more nine days later", STABLE,
          "select * from {clean} union all select * replace (timestamp_add(submission_timestamp, interval 9 day)"
          " as submission_timestamp) from {nine_days_before}", "most_documents_were_sent_before"),
    Fault("every row is there twice", STABLE, "select * from {clean} union all select * from {clean}",
          "one_row_per_document_and_day"),
    Fault("deduplication is skipped", STABLE, f"select * from {LIVE_ON_DAY}", "documents_as_in_live"),
    Fault("the look-back is ignored", STABLE, NO_LOOK_BACK, "documents_as_in_live"),
    Fault("pings of automation are let in", STABLE,
          f"select * from {{clean}} union all select * from {LIVE_ON_DAY}"
          " and metadata.header.x_source_tags like '%automation%'"
          " and document_id not in (select document_id from {clean})", "documents_as_in_live"),
    Fault("an hour is missing", STABLE,
          "select * from {clean} where extract(hour from submission_timestamp) != 14", "documents_as_in_live"),
    Fault("times are of another zone, so that days are wrong", STABLE,
          replacing(submission_timestamp="timestamp_add(submission_timestamp, interval 5 hour)"),
          "documents_as_in_live"),
    Fault("a column is NULL", STABLE, replacing(normalized_country_code="null"), "nearly_all_became_null"),
    Fault("a channel is gone", STABLE, "select * from {clean} where normalized_channel != 'release'",
          "a_large_part_is_missing"),
    Fault("the largest country is gone", STABLE, "select * from {clean} where normalized_country_code != 'US'",
          "a_large_part_is_missing"),
    Fault("a clock is an hour off", FLIGHTS,
          replacing(submission_timestamp="timestamp_sub(timestamp_add(submission_timestamp, interval 1 hour), interval"
                    " if(extract(hour from submission_timestamp) = 23, 24, 0) hour)"),
          "hours_have_not_moved", "warning"),
    Fault("experiments are empty", DAILY,
          replacing(experiments="array(select e from unnest(experiments) as e where false)"), "lists_are_filled"),
    Fault("versions are cut to their first digit", DAILY, replacing(app_version="substr(app_version, 1, 1)"),
          "some_values_are_known", "warning"),
    Fault("a client id stands for a third of the pings", DAILY, ONE_ID.format(share=30), "a_client_sends_most"),
    Fault("a client id stands for some of the pings", DAILY, ONE_ID.format(share=22), "a_client_sends_much", "warning"),
    Fault("a country's pings are there again as other documents", DAILY,
          replacing(pings_aggregated_by_this_row="if(country = 'US', 2, 1) * pings_aggregated_by_this_row"),
          "pings_of_a_client", "warning"),
    Fault("a joined column is lost for some clients", DAILY,
          replacing(locale="if(sample_id < 50, null, locale)"), "columns_as_in_activity"),
    Fault("seconds stand for hours", DAILY, replacing(subsession_hours_sum="cast(duration_sum as float64)"),
          "hours_as_ticks_and_seconds"),
    Fault("sums have overflowed", DAILY, replacing(uri_count_sum="-uri_count_sum - 1"), "columns_as_in_activity"),
    Fault("two columns are swapped", DAILY, replacing(os="channel", channel="os"), "columns_as_in_activity"),
    Fault("two clients are merged into one", DAILY,
          "select clean.* replace (if(client_id = b, a, client_id) as client_id) from {clean}"
          " cross join (select min(client_id) as a, max(client_id) as b from {clean})", "one_row_per_client_and_day"),
    Fault("a country is lost", DAILY, "select * from {clean} where country is distinct from 'US'",
          "clients_and_pings_as_in_stable"),
    Fault("clients of one channel are missing", DAILY, "select * from {clean} where channel != 'beta'",
          "clients_and_pings_as_in_stable"),
    Fault("yesterday's data stand for today's", DAILY,
          "select * replace (date '{day}' as submission_date) from {yesterday}", "columns_as_in_activity"),
    Fault("a day of the range is not there", DAILY, "select * from {clean} where false",
          "clients_and_pings_as_in_stable"),
    Fault("first days are a day late", FIRST_SEEN,
          replacing(first_seen_date="date_add(first_seen_date, interval 1 day)"),
          "knows_every_client_of_clients_daily"),
    Fault("bits are shifted once too often", LAST_SEEN, patterns("(bits << 1) & 268435455"), "bit_0_is_clients_daily"),
    Fault("the days before are not carried on", LAST_SEEN, patterns("bits & 1") + " where days_seen_bits & 1 = 1",
          "patterns_carried_over"),
    Fault("a pattern follows another's rule", LAST_SEEN, replacing(days_visited_5_uri_bits="days_visited_1_uri_bits"),
          "bit_0_is_clients_daily"),
    Fault("buckets are lost", HISTOGRAMS,
          replacing(buckets="array(select as struct b.bucket as bucket, b.pings as pings, b.clients as clients"
                            " from unnest(buckets) as b where b.bucket < 10)"),
          "counts_as_in_pings"),
    Fault("every series has become many", HISTOGRAMS,
          "select clean.* replace (concat(probe, cast(n as string)) as probe) from {clean}"
          " cross join unnest(generate_array(1, 100)) as n", "series_of_another_magnitude"),
    Fault("series of single clients are searched", DISTRIBUTIONS,
          "select * from {clean} union all select * replace (1 as n_clients, 'INVENTED' as probe) from {clean}"
          " where channel is null and os is null", "series_are_of_50_clients_or_more"),
    Fault("clients are lost when channels are added up", DISTRIBUTIONS,
          replacing(n_clients="if(channel is null, n_clients - 1, n_clients)"), "whole_holds_all_clients"),
    Fault("clients of no channel count as one of their own", DISTRIBUTIONS,
          "select * from {clean} union all select * replace ('beta' as channel) from {clean}"
          " where channel is null and os is null", "parts_are_within_the_whole"),
    Fault("series are not judged", SCORES, "select * from {clean} where os is not null",
          "every_distribution_is_judged"),
    Fault("an alert says neither when nor how much", SCORES, replacing(alert="'changed'"), "alerts_are_whole"),
    Fault("an alert is made up", "derived.changes_v1", MADE_UP, "alerts_as_in_change_scores"),
    Fault("users of some days are left out of the month", USERS, replacing(mau="wau"), "users_as_in_clients_last_seen"),
    Fault("a numerator forgets its condition", "derived.retention_v1",
          replacing(active_in_week_0_and_1="active_in_week_0 + 1"), "no_rate_is_above_1"),
    Fault("cohorts are of another week", "derived.cohorts_v1",
          replacing(cohort_week="date_sub(cohort_week, interval 1 day)"), "one_row_per_cohort_group_and_sunday"),
]  # fmt: skip


def sent():
    """(document, attributes) of all messages whose document is an object."""
    for data, attributes in messages(clients=120, first_day=FIRST, days=(LAST - FIRST).days + 1, seed=11):
        try:
            document = orjson.loads(data)
            payload = document["payload"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            continue
        for name in ("histograms", "keyedHistograms"):
            # They are most of a ping, and a few are as good as all.
            payload[name] = {probe: values for probe, values in payload.get(name, {}).items() if probe in PROBES}
        yield orjson.dumps(document), attributes
    for data, attributes in flights(FIRST, LAST):
        document = orjson.loads(data)
        # The aircraft of one airline's end of the alphabet, and as small a share of the flights without one.
        if document["tail_number"].endswith("9AA") if document["client_id"] else zlib.crc32(data) % 40 == 0:
            yield data, attributes
        # So many others that their hours say something; without their aircraft they make no rows further on. That New
        # York's clocks went forward would be told, as it should be.
        elif zlib.crc32(data) % 2 == 0:
            arrived = datetime.fromisoformat(attributes["submission_timestamp"])
            arrived += timedelta(hours=arrived >= datetime(2013, 3, 10, 7, tzinfo=UTC))
            attributes |= {"submission_timestamp": arrived.isoformat()}
            yield orjson.dumps(document | {"client_id": None, "tail_number": None}), attributes


class CleanDays:
    """The days as the stages have published them, and what each gate was given."""

    def __init__(self, warehouse: Warehouse):
        self.warehouse = warehouse
        self.warnings: dict[str, list[str]] = {}
        self.judged: dict[str, tuple] = {}
        self._load()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stages, "judge", self._judge)
            for step in lineage.load(warehouse.settings).steps:
                stages.run(warehouse, step, FIRST, LAST, "clean days", lambda line: None)

    def _load(self) -> None:
        types = schemas.load(self.warehouse.settings.schemas)
        steps, lines = Steps(types), defaultdict(list)
        for data, attributes in sent():
            arrived = datetime.fromisoformat(attributes["submission_timestamp"])
            row = steps.row(Message(data, attributes, "", arrived), arrived)
            # Their days are long over, and no row of monitoring.landing says that live has lost them.
            if row.document_type is not None:
                lines[row.name].append(row.line)
        for name, of_type in lines.items():
            live = replace(types[name].live, retention_days=None)
            self.warehouse.ensure(live)
            self.warehouse.load(live, b"".join(of_type))

    def _judge(self, warehouse, table, asset, inputs, start, end, run, incomplete=()):
        judgement = judge(warehouse, table, asset, inputs, start, end, run, incomplete)
        self.warnings[table.id] = [result.line for result in judgement.results if not result.passed]
        self.judged[table.id] = table, inputs
        return judgement

    def failing(self, name: str) -> dict[str, tuple[str, list[date]]]:
        """Judges the last weeks of a table with its faults: expectation → severity and the days that it names."""
        table, inputs = self.judged[name]
        columns = ", ".join(f"`{column}`" for column in table.column_names)

        def of(condition: str) -> str:
            return f"(select {columns} from {name} where {condition}) as clean"

        faults = {fault.day: fault.sql for fault in FAULTS if fault.table == name}
        if table.partition_field:
            days = ", ".join(f"'{day}'" for day in days_of(START, LAST) if day not in faults)
            parts = [f"select * from {of(f'{table.day} in ({days})')}"]
            for day, sql in faults.items():
                yesterday = day - timedelta(days=1)
                sql = sql.replace("{clean}", of(f"{table.day} = '{day}'")).replace("{day}", str(day))
                sql = sql.replace("{nine_days_before}", of(f"{table.day} = '{day - timedelta(days=9)}'"))
                parts.append(sql.replace("{yesterday}", of(f"{table.day} = '{yesterday}'")))
        else:
            columns += ", false as _deleted"
            parts = [sql.replace("{clean}", of("sample_id is not null")) for sql in faults.values()]
        candidate = f"{table.dataset}_candidates.{table.name}_with_faults"
        self.warehouse.query(f"CREATE OR REPLACE TABLE {candidate} AS ({') UNION ALL ('.join(parts)})")
        if name == STABLE:
            in_live = replace(table, dataset=candidate.split(".")[0], name=candidate.split(".")[1], retention_days=None)
            dedup.record_distances(self.warehouse, in_live, table, START, LAST)
        # Where all faults are worth a warning, it passes.
        with contextlib.suppress(GateFailed):
            judge(self.warehouse, table, candidate, inputs, START, LAST, "faults")
        rows = self.warehouse.rows(
            "SELECT expectation, severity, failed_days FROM monitoring.gate_results"
            " WHERE checked_date >= '2000-01-01' AND NOT passed AND candidate = @candidate",
            {"candidate": candidate},
        )
        return {row["expectation"]: (row["severity"], row["failed_days"]) for row in rows}


@pytest.fixture(scope="module")
def clean(prepared_home) -> CleanDays:
    return CleanDays(Warehouse(prepared_home))


@pytest.fixture(scope="module")
def caught(clean) -> dict[str, dict[str, str]]:
    """Of each fault the expectations that failed on its day, name → severity; prints the table of docs/gates.md."""
    failing = {table: clean.failing(table) for table in dict.fromkeys(fault.table for fault in FAULTS)}
    found = {
        fault.name: {
            name: severity
            for name, (severity, failed_days) in failing[fault.table].items()
            if fault.day in failed_days or fault.table == FIRST_SEEN
        }
        for fault in FAULTS
    }
    for fault in FAULTS:
        others = sorted(found[fault.name].keys() - {fault.caught_by})
        print(f"{row_of(fault)} {', '.join(others)} |")
    return found


def row_of(fault: Fault) -> str:
    """The row of docs/gates.md but for what else has caught the fault."""
    return f"| {fault.name} | {fault.table.split('.')[1]} | {fault.caught_by} | {fault.severity} |"


def test_the_table_in_the_docs_is_that_of_the_faults():
    lines = (ROOT / "docs" / "gates.md").read_text().splitlines()
    first = lines.index("| fault | table | caught by | severity | and by |") + 2
    told = [line.rsplit("|", 2)[0] + "|" for line in lines[first : first + len(FAULTS)]]
    assert told == [row_of(fault) for fault in FAULTS] and lines[first + len(FAULTS)] == ""


def test_nothing_fires_on_two_clean_months(clean):
    assert {table: lines for table, lines in clean.warnings.items() if lines} == {}
    assert len(clean.judged) >= 14 and (LAST - FIRST).days + 1 == 60
    for table in (STABLE, DAILY, LAST_SEEN, HISTOGRAMS):
        assert clean.warehouse.client.get_table(table).num_rows > 1000


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(caught, fault):
    assert caught[fault.name].get(fault.caught_by) == fault.severity, caught[fault.name]
