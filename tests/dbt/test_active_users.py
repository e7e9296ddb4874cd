"""active_users_v1: the windows, groups with NULL, and who is a new profile."""

from datetime import date

DAY = date(2026, 3, 1)


def test_windows_and_groups(project):
    clients = [  # os, seen, active, created_profile
        ("a", 1, 1, 0),
        ("a", 0b1000000, 0, 0),  # the last day of the week
        ("a", 0b10000000, 0b10000000, 0),  # the day before it
        ("a", 1 << 27, 1 << 27, 0),
        (None, 0b11, 0b10, 0b10),
        (None, 1, 0, 0b1000),  # made three days ago, seen for the first time
        (None, 1, 0, 0),
    ]
    project.load(
        "clients_last_seen_v1",
        [
            {
                "submission_date": str(DAY),
                "app_name": "Firefox",
                "client_id": f"c{n}",
                "os": os,
                "days_seen_bits": seen,
                "days_active_bits": active,
                "days_created_profile_bits": created,
            }
            for n, (os, seen, active, created) in enumerate(clients)
        ],
    )
    project.build("active_users_v1", DAY)
    measures = ("dau", "active_dau", "wau", "active_wau", "mau", "active_mau", "new_profiles")
    found = {row["os"]: tuple(row[name] for name in measures) for row in project.rows("active_users_v1")}
    assert found == {"a": (1, 1, 2, 1, 4, 3, 0), None: (3, 0, 3, 1, 3, 1, 1)}
