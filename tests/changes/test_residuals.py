import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse.changes.residuals import GRID, LAGS, WEEKS, residuals, roots


@given(st.integers(0, 1000), st.integers(1, 120))
def test_a_day_is_measured_against_up_to_8_same_weekdays_from_its_lag_on(seed, days):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(50, (2, days, 3))
    counts[rng.random((2, days)) < 0.1] = 0
    x = roots(counts).transpose(1, 0, 2).astype(float)
    data = (counts.sum(axis=2) > 0).T
    learn = data & (rng.random(data.shape) < 0.9)
    found = residuals(x, learn, data)
    for lag in LAGS:
        for day, series in np.ndindex(days, 2):
            others = [day - 7 * (lag + week) for week in range(WEEKS)]
            others = [other for other in others if other >= 0 and learn[other, series]]
            known = len(others) if data[day, series] else 0
            expected = np.rint(x[day, series] - sum(x[other, series] for other in others) / known) if known else 0
            assert found[lag].known[day, series] == known
            assert (found[lag].values[day, series] == expected).all()


def test_roots_of_shares_are_on_the_grid_and_gaps_are_none():
    found = roots(np.array([[[1, 3], [0, 0]]]))
    assert found.tolist() == [[[round(GRID * 0.5), round(GRID * 0.75**0.5)], [0, 0]]]
