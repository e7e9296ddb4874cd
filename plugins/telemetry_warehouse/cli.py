"""The `./warehouse` command."""

import argparse
import atexit
import gc
import os
import socket
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from telemetry_warehouse.days import parse_day
from telemetry_warehouse.errors import Refused, WarehouseError, one_line, printable
from telemetry_warehouse.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0, or 1 with one line on standard error. Bad usage is 2, as argparse has it."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    options = _parser().parse_args(arguments)
    try:
        options.command(Settings.load(), options)
    except WarehouseError as error:
        return _fail(str(error))
    except GoogleAPIError as error:
        return _fail(getattr(error, "message", "") or str(error))
    except GoogleAuthError as error:
        return _fail(f"Google Cloud does not know you: {error}; run `gcloud auth application-default login`")
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has had enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(text: str) -> int:
    print(f"warehouse: {printable(one_line(text))}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./warehouse", description="A telemetry warehouse: from pings on Pub/Sub to change alerts."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, command, text):
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add("up", _up, "start the stand-ins (BigQuery, Pub/Sub, PostgreSQL) and put functions, views and tables in place")
    add("down", _down, "stop Airflow and the stand-ins")
    add("publish", _publish, "send pings to Pub/Sub").add_argument(
        "file", type=Path, metavar="FILE", help='NDJSON of {"attributes": {...}, "data": <object, or base64 string>}'
    )
    land = add("land", _land, "move pings from Pub/Sub to the live tables")
    land.add_argument("--until-empty", action="store_true", help="go on until nothing waits")
    replay = add("replay", _replay, "land messages again that are in the errors tables, or in the raw archive")
    replay.add_argument("--type", type=_type_name, metavar="NAMESPACE/TYPE/VERSION", help="only errors of this type")
    replay.add_argument("--day", type=_date, metavar="DATE", help="only errors submitted on this day")
    replay.add_argument("--error", metavar="STEP", help="only errors of this error_type")
    replay.add_argument("--raw", type=_date, metavar="DATE", help="every message submitted on this day, as archived")
    check = add("schemas", _schemas, "check schema directories against the tables: what is new, what is refused")
    check.add_argument("directories", nargs="*", type=Path, metavar="DIR", help="default: those of WAREHOUSE_SCHEMAS")
    night = add("night", _night, "do all that a night does for one day, without Airflow's scheduler")
    night.add_argument("date", type=_date, metavar="DATE")
    without = "build the day without this ping type until its stable table is published; can be given again"
    night.add_argument(
        "--without", type=_type_name, action="append", default=[], metavar="NAMESPACE/TYPE/VERSION", help=without
    )
    night.add_argument("--why", default="", metavar="TEXT", help="why the day may go without it")
    backfill = add("backfill", _backfill, "rebuild a range of days, each table in one pass")
    backfill.add_argument("start", type=_date, metavar="START")
    backfill.add_argument("end", type=_date, metavar="END")
    backfill.add_argument("--select", metavar="TABLE[+]", help="only this table; with + also all that follows from it")
    instead = backfill.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="say what would be rebuilt, and stop")
    instead.add_argument("--stage", action="store_true", help="build beside the published days and say what differs")
    instead.add_argument("--publish", action="store_true", help="publish what --stage built for the same range")
    revert = add("revert", _revert, "publish again what a table's days were before they were last published")
    revert.add_argument("table", metavar="TABLE")
    revert.add_argument("start", type=_date, metavar="START")
    revert.add_argument("end", type=_date, metavar="END")
    gate = add("gate", _gate, "show what the gate said of a table's day; exit 0 where it passed")
    gate.add_argument("table", metavar="TABLE")
    gate.add_argument("date", type=_date, metavar="DATE")
    gate.add_argument("--let-through", metavar="EXPECTATION", help="record that the day may fail this one")
    gate.add_argument("--by", metavar="NAME", help="who asks for it")
    gate.add_argument("--reviewed-by", metavar="NAME", help="who else has looked at it")
    gate.add_argument("--because", metavar="TEXT", help="why the day may be published all the same")
    gate.add_argument("--until", type=_date, metavar="DATE", help="the last day on which the override counts (UTC)")
    report = add("report", _report, "print the report of a day: every table, its gate, and what it took")
    report.add_argument("date", type=_date, metavar="DATE")
    report.add_argument("--reads", action="store_true", help="also estimate, by reading it again, what each stage read")
    add("watch", _watch, "raise an alert where last night is not over by its deadline; for cron or a timer")
    query = add("query", _query, "run SQL, given as text or as a .sql file")
    query.add_argument("sql", metavar="SQL")
    query.add_argument("--format", choices=("table", "json", "csv", "arrow"), default="table")
    history = add("history", _history, "show clients' days and pings, newest first")
    history.add_argument("clients", nargs="+", metavar="CLIENT_ID")
    history.add_argument("--app", metavar="NAME", help="only this application")
    history.add_argument(
        "--since", type=_date, metavar="DATE", help="first day; default: 27 days before the last, more days read more"
    )
    history.add_argument("--until", type=_date, metavar="DATE", help="last day; default: yesterday (UTC)")
    changes = add("changes", _changes, "list the changes found, by event, and record what people say of them")
    changes.add_argument("--since", type=_date, metavar="DATE", help="first night; default: 28 days ago (UTC)")
    changes.add_argument("--withheld", action="store_true", help="also what is too small or too noisy to be sent")
    about_changes = changes.add_subparsers(metavar="review | noisy")
    text = "record what somebody says of an alert; the newest word is its status"
    review = about_changes.add_parser("review", help=text, description=text)
    review.set_defaults(command=_changes_review)
    review.add_argument("alert", metavar="ALERT_ID")
    review.add_argument("status", metavar="STATUS", help="acknowledged, explained, 'false alarm', or new")
    review.add_argument("--who", required=True, metavar="NAME", help="who says it")
    review.add_argument("--why", required=True, metavar="TEXT", help="what they know of it")
    text = "list the series whose alerts are not sent because they change by themselves, with the reason"
    about_changes.add_parser("noisy", help=text, description=text).set_defaults(command=_changes_noisy)
    check = add("check", _check, "test that published days agree between tables")
    check.add_argument("start", type=_date, metavar="START")
    check.add_argument("end", type=_date, metavar="END")
    add("docs", _docs, "write dbt's documentation of the tables, a page that needs no server")
    status = add("status", _status, "show what is running, what is fresh and what failed")
    reads = "also estimate, by reading it again, what each table's last stage read"
    status.add_argument("--reads", action="store_true", help=reads)
    text = "run Airflow's own command in the home's Airflow, all arguments as they are"
    # No argument can have this character, so that none is an option of ours, not even --help.
    airflow = commands.add_parser("airflow", help=text, description=text, add_help=False, prefix_chars="\0")
    airflow.set_defaults(command=_airflow)
    airflow.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS")
    add("sample", _sample, "land sample data, run its nights through Airflow and print what came out (`make run`)")
    return parser


def _date(text: str) -> date:
    try:
        return parse_day(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _type_name(text: str):
    from telemetry_warehouse.schemas import TypeName

    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a document type; write it as telemetry/main/4")
    return TypeName(*parts)


def _say(line: str) -> None:
    print(printable(line, keep="\n"), flush=True)


def _warehouse(settings: Settings):
    from telemetry_warehouse.bigquery import Warehouse

    return Warehouse(settings)


def _run_id(kind: str) -> str:
    return f"{kind}-{socket.gethostname()}-{os.getpid()}"


def _prepare(warehouse) -> None:
    """Puts in place what the project defines, and says which schemas cannot be applied."""
    from telemetry_warehouse import night, type_tables

    for line in type_tables.lines(night.prepare(warehouse, _say)):
        _say(line)


def _up(settings, options):
    from telemetry_warehouse import leftovers
    from telemetry_warehouse.local import standins

    standins.up(settings, _say)
    warehouse = _warehouse(Settings.load())
    _prepare(warehouse)
    for line in leftovers.find(warehouse):
        _say(f"note: {line}")
    _say("the warehouse is ready: ./warehouse status shows what runs where")


def _down(settings, options):
    from telemetry_warehouse.local import standins

    standins.down(settings, _say)


def _publish(settings, options):
    from telemetry_warehouse.publishing import publish_file

    _say(f"published {publish_file(settings, options.file, say=_say):,} messages to {settings.topic}")


def _land(settings, options):
    from telemetry_warehouse.landing import land

    totals = land(_warehouse(settings), until_empty=options.until_empty, say=_say)
    _say(f"received {totals.received:,}, landed {totals.landed:,}, to errors {totals.failed:,}")


def _replay(settings, options):
    from telemetry_warehouse.landing import replay_errors, replay_raw

    if options.raw and (options.type or options.day or options.error):
        raise WarehouseError("--raw lands a whole day; leave out --type, --day and --error")
    warehouse = _warehouse(settings)
    if options.raw:
        replayed = replay_raw(warehouse, options.raw, _say)
    else:
        replayed = replay_errors(warehouse, options.type, options.day, options.error, _say)
    for (table, day), count in sorted(replayed.landed.items()):
        _say(f"{table} {day}: {count:,} landed")
    for step, count in sorted(replayed.failed.items()):
        _say(f"{count:,} still cannot land ({step})")
    if not replayed.read:
        raise WarehouseError("there is nothing to replay: no message is kept that fits")
    if days := replayed.days:
        _say("these days are stale now; the next night rebuilds those of the last 28 days, and this all of them:")
        _say(f"  ./warehouse backfill {days[0]} {days[-1]}")


def _schemas(settings, options):
    from telemetry_warehouse.schema_check import check

    check(_warehouse(settings), options.directories or settings.schemas, _say)


def _night(settings, options):
    from telemetry_warehouse import night

    if options.why and not options.without:
        raise WarehouseError("--why says why a day goes without a ping type; give --without NAMESPACE/TYPE/VERSION too")
    run_id = _run_id(f"night-{options.date}")
    outcomes = night.run(_warehouse(settings), options.date, run_id, _say, options.without, options.why)
    held = sum(outcome.expectations for outcome in outcomes)
    _say(f"the night of {options.date} is published: {len(outcomes)} tables, {held} expectations held")


def _backfill(settings, options):
    from telemetry_warehouse import backfill, dbt, plan

    warehouse = _warehouse(settings)
    if options.dry_run:
        dbt.prepare(settings)
    else:
        _prepare(warehouse)
    if options.publish:
        _publish_staged(warehouse, options)
        return
    planned = plan.make(warehouse, options.start, options.end, options.select)
    plan.show(warehouse, planned, _say)
    planned.refuse()
    if options.dry_run:
        return
    if options.stage:
        _stage(warehouse, planned)
        return
    outcomes = backfill.run(warehouse, planned, _run_id(f"backfill-{options.start}-{options.end}"), _say)
    _say(f"{options.start}..{options.end} is published: {len(outcomes)} stages, {len(planned.tables)} tables")


def _stage(warehouse, planned):
    from telemetry_warehouse import staged

    staged.stage(warehouse, planned, _run_id(f"stage-{time.time_ns()}"), _say)
    _say(f"nothing is published yet; to do it: ./warehouse backfill {planned.asked} --publish")


def _publish_staged(warehouse, options):
    from telemetry_warehouse import staged

    published = staged.publish(warehouse, options.start, options.end, options.select, _say)
    _say(f"{options.start}..{options.end} is published: {len(published)} tables")


def _revert(settings, options):
    from telemetry_warehouse import lineage, revert

    warehouse = _warehouse(settings)
    step = lineage.load(settings).step(options.table)
    revert.revert(warehouse, step, options.start, options.end, _run_id(f"revert-{time.time_ns()}"), _say)


def _gate(settings, options):
    from telemetry_warehouse import verdicts
    from telemetry_warehouse.gates.overrides import Override

    given = {
        "--let-through": options.let_through,
        "--by": options.by,
        "--reviewed-by": options.reviewed_by,
        "--because": options.because,
        "--until": options.until,
    }
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        verdicts.print_judgement(_warehouse(settings), options.table, options.date, _say)
        return
    if missing:
        raise WarehouseError(f"an override needs {', '.join(given)}; give {', '.join(missing)} too")
    override = Override(options.date, options.by, options.reviewed_by, options.because, options.until)
    verdicts.let_through(_warehouse(settings), options.table, options.let_through, override, _say)


def _report(settings, options):
    from telemetry_warehouse import report

    _say(report.text(_warehouse(settings), options.date, options.reads).rstrip())


def _watch(settings, options):
    from telemetry_warehouse.watch import watch

    watch(_warehouse(settings), datetime.now(UTC), _say)


def _query(settings, options):
    from telemetry_warehouse.querying import print_query

    print_query(_warehouse(settings), options.sql, options.format)


def _history(settings, options):
    from telemetry_warehouse.history import print_history

    print_history(_warehouse(settings), options.clients, options.app, options.since, options.until)


def _changes(settings, options):
    from telemetry_warehouse import alerts

    since = options.since or datetime.now(UTC).date() - timedelta(days=28)
    alerts.print_found(_warehouse(settings), since, options.withheld, _say)


def _changes_review(settings, options):
    from telemetry_warehouse import alerts

    alerts.review(_warehouse(settings), options.alert, options.status, options.who, options.why)
    _say(f"recorded: {options.alert} is {options.status}, says {options.who}: {options.why}")


def _changes_noisy(settings, options):
    from telemetry_warehouse import alerts

    alerts.print_noisy(_warehouse(settings), _say)


def _check(settings, options):
    from telemetry_warehouse import agreement

    warehouse = _warehouse(settings)
    _prepare(warehouse)
    held = agreement.check(warehouse, options.start, options.end)
    _say(f"{options.start}..{options.end}: all {held} tests held")


def _docs(settings, options):
    from telemetry_warehouse import dbt

    _prepare(_warehouse(settings))
    _say(f"open {dbt.write_docs(settings)} in a browser")


def _status(settings, options):
    from telemetry_warehouse.status import print_status

    print_status(settings, options.reads)


def _airflow(settings, options):
    from telemetry_warehouse.local import airflow

    airflow.run_command(settings, options.arguments)


def _sample(settings, options):
    from telemetry_warehouse import sample

    sample.run(settings, _say, yesterday=datetime.now(UTC).date() - timedelta(days=1))


if __name__ == "__main__":
    # The process ends; looking through all that dbt and Great Expectations have imported takes more than a second.
    atexit.register(gc.freeze)
    sys.exit(main())
