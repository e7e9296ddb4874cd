import numpy as np
import pytest

from telemetry_warehouse.changes.martingale import Settings, cosine, hellinger, scan
from tests.changes.series import FIRST_DAY, simulate


def test_a_change_is_found_with_interpolation_and_hardly_without():
    world = simulate("week", 1, 30, 131, kind="new mode", change=100, clients=(1e4, 3e5))
    found = {}
    for points in (1, 3):
        alarms = scan(world.counts, FIRST_DAY, world.n_clients, Settings(interpolation=points))
        found[points] = len({alarm.series for alarm in alarms if 100 <= alarm.detected < 110})
    assert found[3] > 25
    assert found[1] < found[3] / 2


def test_an_alarm_shows_before_and_after_and_the_test_begins_anew():
    rng = np.random.default_rng(2)
    usual, other = rng.dirichlet(np.full(10, 3.0), 2)
    shares = np.where(((np.arange(200) >= 80) & (np.arange(200) < 140))[:, None], other, usual)
    alarms = scan(rng.multinomial(100_000, shares)[None], FIRST_DAY)
    assert [alarm.detected // 10 for alarm in alarms] == [8, 14]
    there = alarms[0]
    assert there.score >= np.log10(20)
    assert 78 <= there.changed <= there.detected
    assert np.allclose(there.before, usual, atol=0.02)


@pytest.mark.parametrize("measure", [cosine, hellinger])
def test_strangeness_is_none_of_the_mean_and_grows_with_distance(measure):
    mean = np.array([[0.5, 0.3, 0.2]])
    near, far = np.array([[0.45, 0.35, 0.2]]), np.array([[0.0, 0.0, 1.0]])
    assert measure(mean, mean) == pytest.approx(0, abs=1e-12)
    assert measure(near, mean) < measure(far, mean)
    assert hellinger(np.array([[1.0, 0]]), np.array([[0, 1.0]])) == pytest.approx(1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((2, 100, 5), int),
        np.full((2, 100, 5), 7),
        np.full((2, 100, 1), 7),
        np.full((2, 1, 5), 7),
        np.zeros((0, 100, 5), int),
        np.full((1, 30, 10_000), 3),
    ],
    ids=["zero", "constant", "one bucket", "one day", "no series", "10,000 buckets"],
)
def test_nothing_to_find_is_an_empty_list(counts):
    assert scan(counts, FIRST_DAY) == []


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="counts must be integers"):
        scan(np.full((2, 5, 3), np.nan), FIRST_DAY)
