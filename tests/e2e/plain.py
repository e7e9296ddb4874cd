"""The derived tables by their definitions, in plain Python: no SQL, no ring of bits, no weights, only loops and sets.

A ping is a dict with the columns of the common activity shape, and `histograms`: (probe, key, layout, {bucket: count}).
Where it is a message that has not been deduplicated, it also has `tags`, the x_source_tags that it came with.
Every function returns rows by their key, with the columns of the published table.
"""

import re
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta

DIMENSIONS = (
    "channel", "os", "os_version", "locale", "app_version", "app_build_id", "distribution_id", "is_default_browser",
    "profile_creation_date",
)  # fmt: skip
DETAILS = (
    "app_display_version", "architecture", "windows_build_number", "kernel_version", "is_wow64", "cpu_vendor",
    "cpu_cores", "cpu_speed_mhz", "gfx_vendor_id", "gfx_compositor", "disk_type", "default_search_engine",
    "search_cohort", "attribution_source", "update_channel", "updates_automatically", "distributor", "theme_id",
    "timezone_offset", "first_use_date", "profile_reset_date",
)  # fmt: skip
PLACES = ("country", "subdivision1", "subdivision2", "city")
COUNTED = (
    "active_ticks", "duration", "uri_count", "devtools_opened", "unfiltered_uri_count", "tabs_opened", "windows_opened",
)  # fmt: skip
AVERAGED = ("memory_mb", "unique_domains", "first_paint_ms")
LARGEST = ("unique_domains", "concurrent_tabs", "concurrent_windows")
UNIT = 10**9
LEAST_CLIENTS = 50
# Ids that name no client, and why.
NO_CLIENTS = {
    None: "no client_id",
    "00000000-0000-0000-0000-000000000000": "all-zero client_id",
    "c0ffeec0-ffee-c0ff-eec0-ffeec0ffeec0": "canary client_id",
}


def mode_last(values: list):
    """The most frequent of the values that are not None, ties to the one seen last."""
    known = [value for value in values if value is not None]
    times, last = Counter(known), {value: n for n, value in enumerate(known)}
    return max(times, key=lambda value: (times[value], last[value]), default=None)


def total(values: list):
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def ratio(part, whole):
    return None if part is None or not whole else part / whole


def deduplicated(pings: list[dict], look_back: int = 2) -> list[dict]:
    """Of each document and day the ping received first, unless one was received on the days of the look-back.

    Pings tagged `automation` are none. Which of several received at the same instant is kept is not said.
    """
    received = defaultdict(lambda: defaultdict(list))
    for ping in pings:
        if "automation" not in [tag.strip() for tag in (ping["tags"] or "").split(",")]:
            received[ping["document_id"]][ping["submission_timestamp"].date()].append(ping)
    kept = []
    for of_document in received.values():
        for day, of_day in of_document.items():
            if not any(day - timedelta(days=n) in of_document for n in range(1, look_back + 1)):
                kept.append(min(of_day, key=lambda ping: ping["submission_timestamp"]))
    return kept


def clients_daily(pings: list[dict]) -> dict[tuple, dict]:
    of_client = defaultdict(list)
    for ping in sorted(pings, key=lambda ping: (ping["submission_timestamp"], ping["document_id"])):
        if ping["client_id"] not in NO_CLIENTS and ping["app_name"] is not None:
            of_client[ping["submission_timestamp"].date(), ping["app_name"], ping["client_id"]].append(ping)
    return {key: _client_day(key, of_day) for key, of_day in of_client.items()}


def _client_day(key: tuple, pings: list[dict]) -> dict:
    def column(name):
        return [ping[name] for ping in pings]

    row = dict(zip(("submission_date", "app_name", "client_id"), key, strict=True))
    row |= {name: mode_last(column(name)) for name in (*DIMENSIONS, *DETAILS)}
    row |= place(pings) | {"sample_id": pings[0]["sample_id"]}
    row |= {f"{name}_sum": total(column(name)) for name in COUNTED}
    created = row["profile_creation_date"]
    known = {name: [value for value in column(name) if value is not None] for name in (*AVERAGED, *LARGEST)}
    row |= {f"{name}_mean": ratio(total(known[name]), len(known[name])) for name in AVERAGED}
    row |= {f"{name}_max": max(known[name], default=None) for name in LARGEST}
    default_browser = [value for value in column("is_default_browser") if value is not None]
    return row | {
        "experiments": experiments(column("experiments")),
        "active_addons": addons(column("active_addons")),
        "first_paint_ms_min": min(known["first_paint_ms"], default=None),
        "is_default_browser_ever": any(default_browser) if default_browser else None,
        "profile_age_in_days": created and (row["submission_date"] - created).days,
        "active_hours_sum": ratio(row["active_ticks_sum"], 720),
        "subsession_hours_sum": ratio(row["duration_sum"], 3600),
        "reports_uris": any(column("reports_uris")),
        "sessions_started_on_this_day": column("subsession_counter").count(1),
        "pings_aggregated_by_this_row": len(pings),
    }


def place(pings: list[dict]) -> dict:
    """Country to city as one value; none without a country, and '??' says nothing."""
    places = [tuple(None if ping[name] == "??" else ping[name] for name in PLACES) for ping in pings]
    found = mode_last([p if p[0] is not None else None for p in places])
    return dict(zip(PLACES, found or [None] * len(PLACES), strict=True))


def experiments(enrolments: list[dict]) -> list[dict]:
    names = sorted({name for enrolled in enrolments for name in enrolled})
    return [{"key": name, "value": mode_last([e.get(name) for e in enrolments])} for name in names]


def addons(installed: list[dict]) -> list[dict]:
    """Each add-on as most pings have it: id → (name, version, type, is_system) in a ping."""
    names = ("name", "version", "type", "is_system")
    return [
        {"id": each} | dict(zip(names, mode_last([of_ping.get(each) for of_ping in installed]), strict=True))
        for each in sorted({each for of_ping in installed for each in of_ping})
    ]


def clients_left_out(pings: list[dict]) -> dict[tuple, dict]:
    left = Counter(
        (p["submission_timestamp"].date(), p["app_name"], NO_CLIENTS[p["client_id"]])
        for p in pings
        if p["client_id"] in NO_CLIENTS and p["app_name"] is not None
    )
    names = ("submission_date", "app_name", "reason")
    return {
        key: dict(zip(names, key, strict=True)) | {"pings": n, "clients": 0, "ping_type": None}
        for key, n in left.items()
    }


def clients_first_seen(daily: dict) -> dict[tuple, dict]:
    found = {}
    for (app_name, client_id), days in _days_of_clients(daily).items():
        first, second = (sorted(days) + [None])[:2]
        row = {"app_name": app_name, "client_id": client_id, "first_seen_date": first, "second_seen_date": second}
        found[app_name, client_id] = row | {name: days[first][name] for name in ("sample_id", *DIMENSIONS, *PLACES)}
    return found


def _days_of_clients(daily: dict) -> dict[tuple, dict[date, dict]]:
    clients = defaultdict(dict)
    for (day, app_name, client_id), row in daily.items():
        clients[app_name, client_id][day] = row
    return clients


def is_active(row: dict) -> bool:
    if row["reports_uris"]:
        return (row["active_ticks_sum"] or 0) > 0 and (row["uri_count_sum"] or 0) > 0
    return (row["duration_sum"] or 0) > 0


PATTERNS = {
    "seen": lambda row: True,
    "active": is_active,
    "visited_1_uri": lambda row: (row["uri_count_sum"] or 0) >= 1,
    "visited_5_uri": lambda row: (row["uri_count_sum"] or 0) >= 5,
    "visited_10_uri": lambda row: (row["uri_count_sum"] or 0) >= 10,
    "interacted": lambda row: (row["active_ticks_sum"] or 0) > 0,
    "had_8_active_ticks": lambda row: (row["active_ticks_sum"] or 0) >= 8,
    "opened_dev_tools": lambda row: (row["devtools_opened_sum"] or 0) > 0,
}


def bits(days, today: date) -> int:
    """Bit n says that n days ago is among the days; 28 bits."""
    return sum(1 << age for age in {(today - day).days for day in days} if 0 <= age < 28)


def clients_last_seen(daily: dict, first: date, last: date) -> dict[tuple, dict]:
    """On each of the days first..last, every client with a row in the 28 days up to it."""
    found = {}
    for (app_name, client_id), days in _days_of_clients(daily).items():
        marked = {name: [day for day, row in days.items() if applies(row)] for name, applies in PATTERNS.items()}
        branches = defaultdict(list)
        for day, row in days.items():
            for enrolled in row["experiments"]:
                branches[enrolled["key"], enrolled["value"]].append(day)
        for today in (first + timedelta(days=n) for n in range((last - first).days + 1)):
            window = [day for day in days if 0 <= (today - day).days < 28]
            if window:
                row = {"submission_date": today, "app_name": app_name, "client_id": client_id}
                row |= {name: days[max(window)][name] for name in ("sample_id", *DIMENSIONS, *PLACES)}
                row |= {f"days_{name}_bits": bits(of_pattern, today) for name, of_pattern in marked.items()}
                row["days_created_profile_bits"] = bits(_made([days[day] for day in window]), today)
                row["experiments"] = _branch_bits(branches, today)
                found[today, app_name, client_id] = row
    return found


def _made(rows: list[dict]) -> list[date]:
    """The days on which the profile was made, by rows of at most 6 days later."""
    return [row["profile_creation_date"] for row in rows if row["profile_age_in_days"] in range(7)]


def _branch_bits(branches: dict[tuple, list[date]], today: date) -> list[dict]:
    seen = {branch: bits(days, today) for branch, days in branches.items()}
    return [{"key": key, "value": value, "bits": seen[key, value]} for key, value in sorted(seen) if seen[key, value]]


SEGMENTS = {"infrequent": range(1, 7), "casual": range(7, 14), "regular": range(14, 21), "core": range(21, 29)}


def segment(active_days: int) -> str | None:
    """What a client is that was active on so many of 28 days."""
    return next((name for name, days in SEGMENTS.items() if active_days in days), None)


GROUP = ("app_name", "channel", "country", "os", "app_version")


def active_users(last_seen: dict) -> dict[tuple, dict]:
    names = ("submission_date", *GROUP)
    found = {}
    for client in last_seen.values():
        key = tuple(client[name] for name in names)
        row = found.setdefault(key, Counter(dict(zip(names, key, strict=True))))
        for name in SEGMENTS:
            row[f"{name}_users"] += segment(client["days_active_bits"].bit_count()) == name
        for name, days in {"dau": 1, "wau": 7, "mau": 28}.items():
            row[name] += any(client["days_seen_bits"] >> age & 1 for age in range(days))
            row[f"active_{name}"] += any(client["days_active_bits"] >> age & 1 for age in range(days))
        row["new_profiles"] += client["days_seen_bits"] == 1 and client["days_created_profile_bits"] != 0
    return {key: dict(row) for key, row in found.items()}


def retention(daily: dict, last_seen: dict) -> dict[tuple, dict]:
    """For each day of last_seen and each of the windows that end on it, of its clients; None for weeks to come."""
    of_clients = _days_of_clients(daily)
    counts = defaultdict(dict)
    for (today, *client), row in last_seen.items():
        days = {day: of_day for day, of_day in of_clients[tuple(client)].items() if 0 <= (today - day).days < 28}
        active = {day for day, of_day in days.items() if is_active(of_day)}
        made = min((day for day in _made(list(days.values())) if (today - day).days < 28), default=None)
        group = tuple(row[name] for name in GROUP)
        for window_days in (6, 13, 20, 27):
            metric_date = today - timedelta(days=window_days)
            key = (today, window_days, metric_date, *group)
            for name, counted in _returns(metric_date, today, active, made == metric_date).items():
                counts[key][name] = None if counted is None else counts[key].get(name, 0) + counted
    names = ("submission_date", "window_days", "metric_date", *GROUP)
    return {
        key: dict(zip(names, key, strict=True)) | of_group for key, of_group in counts.items() if any(of_group.values())
    }


def _returns(metric_date: date, today: date, active: set[date], is_new: bool) -> dict:
    """What one client adds to the counts of a metric date."""

    def weeks_day(week: int, nth: int) -> date:
        return metric_date + timedelta(days=7 * week + nth)

    def in_week(week: int, first_day: int = 0) -> bool:
        return any(weeks_day(week, nth) in active for nth in range(first_day, 7))

    found = {
        "active_on_metric_date": metric_date in active,
        "active_on_metric_date_and_after": metric_date in active and in_week(0, first_day=1),
        "active_in_week_0": in_week(0),
        "new_profiles": is_new,
        "new_profiles_active_in_week_0": is_new and in_week(0),
    }
    for week in (1, 2, 3):
        passed = weeks_day(week, 6) <= today
        found[f"active_in_week_0_and_{week}"] = (in_week(0) and in_week(week)) if passed else None
        found[f"new_profiles_active_in_week_{week}"] = (is_new and in_week(week)) if passed else None
    return found


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def cohorts(daily: dict, first: date, last: date) -> dict[tuple, dict]:
    """On every Sunday of first..last, the clients first seen in each of the 53 weeks up to it."""
    names = ("submission_date", "cohort_week", "weeks_since", "app_name", "channel", "country", "os")
    of_clients, found = _days_of_clients(daily), {}
    for client, first_day in clients_first_seen(daily).items():
        cohort_week = _monday(first_day["first_seen_date"])
        for weeks_since in range(53):
            week = [cohort_week + timedelta(days=7 * weeks_since + nth) for nth in range(7)]
            sunday = week[6]
            if first <= sunday <= last:
                rows = [of_clients[client][day] for day in week if day in of_clients[client]]
                key = (sunday, cohort_week, weeks_since, *(first_day[name] for name in names[3:]))
                row = found.setdefault(key, dict(zip(names, key, strict=True)) | {"clients": 0, "seen": 0, "active": 0})
                row["clients"] += 1
                row["seen"] += bool(rows)
                row["active"] += any(is_active(of_day) for of_day in rows)
    return found


def two_digits(value: int) -> int:
    """The value rounded down to its two leading digits."""
    unit = 10 ** max(len(str(abs(value))) - 2, 0)
    return value // unit * unit


def histogram_aggregates(pings: list[dict], by_build: bool = False) -> dict[tuple, dict]:
    """Each client's histograms of a day are added up, then it counts once, as shares in units of 1e-9 rounded down."""
    of_ping = ("app_name", "channel", "os") + ("app_build_id",) * by_build
    names = ("submission_date", *of_ping, "probe", "key", "layout")
    of_series, n_pings = defaultdict(lambda: defaultdict(Counter)), Counter()
    for ping in pings:
        day = ping["submission_timestamp"].date()
        for probe, key, layout, counts in ping["histograms"]:
            if ping["client_id"] not in NO_CLIENTS and ping["app_name"] is not None and any(counts.values()):
                series = (day, *(ping[name] for name in of_ping), probe, key, layout)
                of_series[series][ping["client_id"]].update(counts)
                n_pings[series] += 1
    return {
        series: dict(zip(names, series, strict=True))
        | {"n_clients": len(clients), "n_pings": n_pings[series], "buckets": _buckets(clients), "saturated": False}
        for series, clients in of_series.items()
    }


def distributions(aggregates, axis: str, build: str | None, first: date, last: date) -> dict[tuple, dict]:
    """Aggregates over all and over each channel and system, of LEAST_CLIENTS or more; by build, a week's of the builds
    made on one day."""
    sums = defaultdict(lambda: [0, Counter()])
    for row in aggregates:
        night = row["submission_date"]
        if build:
            if not re.match("20[0-9]{6}", row[build] or ""):
                continue
            night = datetime.strptime(row[build][:8], "%Y%m%d").date() + timedelta(days=6)
            if not night - timedelta(days=6) <= row["submission_date"] <= night:
                continue
        if not first <= night <= last:
            continue
        for channel in {row["channel"], None}:
            for os in {row["os"], None}:
                series = (night, axis, row["app_name"], channel, os, row["probe"], row["key"], row["layout"])
                sums[series][0] += row["n_clients"]
                sums[series][1].update({bucket["bucket"]: bucket["clients"] for bucket in row["buckets"]})
    names = ("submission_date", "axis", "app_name", "channel", "os", "probe", "key", "layout")
    return {
        series: dict(zip(names, series, strict=True))
        | {"n_clients": clients, "buckets": [{"bucket": b, "clients": n} for b, n in sorted(buckets.items())]}
        for series, (clients, buckets) in sums.items()
        if clients >= LEAST_CLIENTS
    }


def _buckets(clients: dict) -> list[dict]:
    found = {}
    for counts in clients.values():
        for bucket, count in counts.items():
            if count:
                entry = found.setdefault(bucket, {"bucket": bucket, "pings": 0, "clients": 0})
                entry["pings"] += count
                entry["clients"] += count * UNIT // sum(counts.values())
    return [found[bucket] for bucket in sorted(found)]
