"""The derived tables by their definitions, in plain Python: no SQL, no ring of bits, no weights, only loops and sets.

A ping is a dict with the columns of the common activity shape, and `histograms`: (probe, key, layout, {bucket: count}).
Every function returns rows by their key, with the columns of the published table.
"""

from collections import Counter, defaultdict
from datetime import date, timedelta

DIMENSIONS = (
    "channel", "os", "os_version", "locale", "app_version", "app_build_id", "distribution_id", "is_default_browser",
    "profile_creation_date",
)  # fmt: skip
PLACES = ("country", "subdivision1", "subdivision2", "city")
COUNTED = ("active_ticks", "duration", "uri_count", "devtools_opened")
UNIT = 10**9


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


def clients_daily(pings: list[dict]) -> dict[tuple, dict]:
    of_client = defaultdict(list)
    for ping in sorted(pings, key=lambda ping: (ping["submission_timestamp"], ping["document_id"])):
        if ping["client_id"] is not None:
            of_client[ping["submission_timestamp"].date(), ping["app_name"], ping["client_id"]].append(ping)
    return {key: _client_day(key, of_day) for key, of_day in of_client.items()}


def _client_day(key: tuple, pings: list[dict]) -> dict:
    def column(name):
        return [ping[name] for ping in pings]

    row = dict(zip(("submission_date", "app_name", "client_id"), key, strict=True))
    row |= {name: mode_last(column(name)) for name in DIMENSIONS} | place(pings) | {"sample_id": pings[0]["sample_id"]}
    row |= {f"{name}_sum": total(column(name)) for name in COUNTED}
    created = row["profile_creation_date"]
    memory = [value for value in column("memory_mb") if value is not None]
    return row | {
        "experiments": experiments(column("experiments")),
        "profile_age_in_days": created and (row["submission_date"] - created).days,
        "active_hours_sum": ratio(row["active_ticks_sum"], 720),
        "subsession_hours_sum": ratio(row["duration_sum"], 3600),
        "memory_mb_mean": ratio(total(memory), len(memory)),
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


def clients_left_out(pings: list[dict]) -> dict[tuple, dict]:
    left = Counter((p["submission_timestamp"].date(), p["app_name"]) for p in pings if p["client_id"] is None)
    return {
        key: {"submission_date": key[0], "app_name": key[1], "reason": "no client_id", "pings": n, "clients": 0}
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


def active_users(last_seen: dict) -> dict[tuple, dict]:
    names = ("submission_date", "app_name", "channel", "country", "os", "app_version")
    found = {}
    for client in last_seen.values():
        key = tuple(client[name] for name in names)
        row = found.setdefault(key, Counter(dict(zip(names, key, strict=True))))
        for name, days in {"dau": 1, "wau": 7, "mau": 28}.items():
            row[name] += any(client["days_seen_bits"] >> age & 1 for age in range(days))
            row[f"active_{name}"] += any(client["days_active_bits"] >> age & 1 for age in range(days))
        row["new_profiles"] += client["days_seen_bits"] == 1 and client["days_created_profile_bits"] != 0
    return {key: dict(row) for key, row in found.items()}


def histogram_aggregates(pings: list[dict]) -> dict[tuple, dict]:
    """Each client's histograms of a day are added up, then it counts once, as shares in units of 1e-9 rounded down."""
    names = ("submission_date", "app_name", "channel", "os", "probe", "key", "layout")
    of_series, n_pings = defaultdict(lambda: defaultdict(Counter)), Counter()
    for ping in pings:
        day = ping["submission_timestamp"].date()
        for probe, key, layout, counts in ping["histograms"]:
            if ping["client_id"] is not None and any(counts.values()):
                series = (day, ping["app_name"], ping["channel"], ping["os"], probe, key, layout)
                of_series[series][ping["client_id"]].update(counts)
                n_pings[series] += 1
    return {
        series: dict(zip(names, series, strict=True))
        | {"n_clients": len(clients), "n_pings": n_pings[series], "buckets": _buckets(clients), "saturated": False}
        for series, clients in of_series.items()
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
