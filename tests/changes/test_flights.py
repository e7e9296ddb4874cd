"""What the detector makes of real days: the flights that left New York in 2013."""

from datetime import date

import pytest

from tests.changes import flights


@pytest.fixture(scope="module")
def alerts():
    return flights.found()


def test_the_delays_of_december_are_what_changed_in_that_year(alerts):
    found = {(row["probe"], row["channel"]): row for row in alerts}
    assert set(found) == {("dep_delay", "B6"), ("dep_delay", "UA")}
    for row in alerts:
        assert row["alert"] == "changed"
        assert date(2013, 12, 1) <= row["change_date"] <= date(2013, 12, 5)
        assert flights.late(row["shares_after"]) > 2 * flights.late(row["shares_before"])


def test_december_had_the_weather_for_it(alerts):
    sky = flights.weather()
    for row in alerts:
        since = sky.loc[row["change_date"] : row["submission_date"]].mean()
        assert since.rain > 1.5 * sky.rain.mean() and since.fog > 1.5 * sky.fog.mean()


def test_a_storm_of_one_day_is_no_change(alerts):
    """The blizzard of 9 February and the storm of 8 March: the most unusual days, and over the next day."""
    assert not [row for row in alerts if row["submission_date"] < date(2013, 12, 1)]
