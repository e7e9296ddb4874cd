"""Airflow's side of the rooms: each operator is one call of a function that the command line calls too."""

from datetime import UTC, date, datetime, timedelta

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from telemetry_warehouse.days import parse_day
from telemetry_warehouse.errors import Behind, GateFailed, NotAllBuilt, Refused, printable
from telemetry_warehouse.settings import Settings


def _warehouse():
    from telemetry_warehouse.bigquery import Warehouse

    return Warehouse(Settings.load())


def excluded_types(context) -> list:
    """The ping types that the run was triggered without, as its form names them: with spaces between."""
    from telemetry_warehouse.schemas import TypeName

    names = (context["params"].get("without") or "").split()
    if wrong := [name for name in names if name.count("/") != 2]:
        raise Refused(f"{wrong[0]!r} is not a ping type; write it as telemetry/main/4")
    return [TypeName(*name.split("/")) for name in names]


class _Step(BaseOperator):
    """Runs `work`; what no retry can mend (a failed gate, a refusal) fails the task at once."""

    def execute(self, context):
        try:
            return self.work(context)
        except (Behind, GateFailed, NotAllBuilt, Refused) as error:
            raise AirflowFailException(printable(error)) from error

    def say(self, line: str) -> None:
        self.log.info(printable(line))

    @staticmethod
    def again(context, by_hand: str) -> str:
        """How the task is run again, in Airflow or by a command."""
        return f"clear {context['ti'].task_id} of {context['run_id']} in Airflow, or {by_hand}"

    @staticmethod
    def day(context) -> date:
        start = context["data_interval_start"]
        return date(start.year, start.month, start.day)


class Land(_Step):
    """Drains the subscription."""

    def work(self, context):
        from telemetry_warehouse.landing import land

        totals = land(_warehouse(), until_empty=True)
        self.say(f"landed {totals.landed:,} of {totals.received:,} pings, {totals.failed:,} to errors")


class WatchBacklog(_Step):
    """Fails where what waits on Pub/Sub grows faster than it lands."""

    def work(self, context):
        from telemetry_warehouse.landing import watch_backlog

        found = watch_backlog(_warehouse(), datetime.now(UTC))
        self.say(f"last drained {found.drained_at}, messages wait {found.wait_seconds} s")


class LandUntilPast(_Step):
    """Lands until everything received on the day must have been seen."""

    def work(self, context):
        from telemetry_warehouse import night

        night.land_until_past(_warehouse(), self.day(context), self.say)


class Deploy(_Step):
    """Puts functions, views and empty tables in place, and notes the ping types that the day goes without."""

    def work(self, context):
        from telemetry_warehouse import exclusions, night
        from telemetry_warehouse.notify import notify_refused_schemas

        warehouse = _warehouse()
        excluded = exclusions.stable_tables(warehouse, excluded_types(context))
        notify_refused_schemas(warehouse, night.prepare(warehouse, self.say), self.say)
        if excluded:
            exclusions.record(warehouse, self.day(context), excluded, context["run_id"], context["params"]["why"] or "")


REBUILD_EARLIER_DAYS = "rebuild_earlier_days"


class RebuildEarlierDays(_Step):
    """Rebuilds earlier days for which pings landed after their night, or whose night was missed.

    Those that cannot be built stop only what reads them: the task succeeds and returns what is not built, as text.
    """

    def work(self, context):
        from telemetry_warehouse import night, refusals

        warehouse, day = _warehouse(), self.day(context)
        refusals.refuse_before_every_ping(warehouse, day, day)
        again = self.again(context, night.again_by_hand(day))
        progress = night.rebuild_earlier_days(warehouse, day, context["run_id"], self.say, again=again)
        try:
            progress.finish(f"the days before {day}")
        except NotAllBuilt as error:
            return str(error)


class CheckEarlierDays(_Step):
    """Fails where days before the night's own are not built."""

    def work(self, context):
        if left := context["ti"].xcom_pull(task_ids=REBUILD_EARLIER_DAYS):
            raise NotAllBuilt(left)


class BuildTable(_Step):
    """Builds, gates and publishes one table for the day of the run."""

    def __init__(self, *, table: str, **kwargs):
        super().__init__(**kwargs)
        self.table = table

    def work(self, context):
        from telemetry_warehouse import exclusions, lineage, night, runs, stages
        from telemetry_warehouse.progress import Progress

        warehouse, day = _warehouse(), self.day(context)
        steps = lineage.load(warehouse.settings)
        if self.table not in {step.table for step in steps.steps}:
            # The DAG was read before the night found out.
            self.say(f"{self.table} is left out: the schema of its pings is not there, or cannot be applied")
            return
        step = steps.step(self.table)
        if self.table in exclusions.stable_tables(warehouse, excluded_types(context)):
            self.say(f"{self.table} {day} is left out")
            return
        not_built = context["ti"].xcom_pull(task_ids=REBUILD_EARLIER_DAYS)
        if not_built and (cause := night.cause_of_waiting(warehouse, step, day)):
            raise Refused(f"{self.table} {day} waits for {cause}")
        again = self.again(context, night.again_by_hand(day))
        if day in exclusions.in_force(runs.published(warehouse, [self.table], day, day)).get(self.table, ()):
            night.build_let_go(Progress(warehouse, context["run_id"], self.say, again), step, day)
        else:
            stages.run(warehouse, step, day, day, context["run_id"], self.say, again)


class TellChanges(_Step):
    """Tells people of the changes that the night found; a backfill of Airflow's tells nobody."""

    def work(self, context):
        from telemetry_warehouse import digest

        if context["dag_run"].run_type == "backfill":
            self.say("a backfill tells nobody of changes")
            return
        digest.tell(_warehouse(), self.day(context), self.say)


class WriteReport(_Step):
    """Writes the report of the day, whatever became of its tables."""

    def work(self, context):
        from telemetry_warehouse import report

        path = report.write(_warehouse(), self.day(context))
        self.say(f"{path}:\n{path.read_text()}")


class Backfill(_Step):
    """Logs the plan of the range that the run was triggered with, and rebuilds it unless that was all."""

    def work(self, context):
        from telemetry_warehouse import backfill, dbt, night, plan, type_tables

        given = context["params"]
        warehouse = _warehouse()
        start, end = parse_day(given["start_date"]), parse_day(given["end_date"])
        if given["dry_run"]:
            dbt.prepare(warehouse.settings)
        else:
            for line in type_tables.lines(night.prepare(warehouse, self.say)):
                self.say(line)
        planned = plan.make(warehouse, start, end, given["select"] or None)
        plan.show(warehouse, planned, self.say)
        planned.refuse()
        if not given["dry_run"]:
            again = self.again(context, f"./warehouse backfill {planned.asked}")
            backfill.run(warehouse, planned, context["run_id"], self.say, again)


DEFAULTS = {
    "owner": "warehouse",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "execution_timeout": timedelta(hours=1),
}
