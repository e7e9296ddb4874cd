"""Rows of derived.distributions_v1 for tests of the change detector."""

from datetime import date, timedelta

UNIT = 10**9


def rows_of(counts, n_clients, first_day: date, **of) -> list[dict]:
    """A row a day of one series: counts (days, buckets) of clients, bucket i with lower bound 10 × i."""
    defaults = {
        "axis": "submission_date", "app_name": "App", "channel": "release", "os": "Linux", "probe": "delay", "key": "",
        "layout": "9/1-9",
    }  # fmt: skip
    return [
        defaults
        | of
        | {
            "submission_date": first_day + timedelta(days=day),
            "n_clients": int(clients),
            "buckets": [
                {"bucket": 10 * bucket, "clients": int(count) * UNIT}
                for bucket, count in enumerate(row)
                if count
            ],
        }
        for day, (row, clients) in enumerate(zip(counts, n_clients, strict=True))
        if clients
    ]
