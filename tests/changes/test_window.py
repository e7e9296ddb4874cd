"""What spans are judged by, beside the same said day by day."""

import numpy as np
import pytest

from telemetry_warehouse.changes.residuals import GRID, LAGS, roots
from telemetry_warehouse.changes.window import PERSISTENT, REFERENCE_DAYS, Scorer
from tests.changes.series import simulate


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    simulated = simulate("hard", 77, 20, 160, buckets=20, kind="gradual", change=100, clients=(5e3, 1e5))
    x, sample = roots(simulated.counts), simulated.n_clients
    scorer = Scorer(x, sample, sample > 0, 0)
    scorer.candidates()
    return scorer


def screened(scorer: Scorer):
    return [spans for lag in LAGS for spans in scorer._screened(lag) if len(spans.day)]


def test_long_spans_are_without_the_days_that_lie_far_out(scorer):
    left_out = 0
    for spans in screened(scorer):
        if spans.length <= 7:
            continue
        measured = scorer.residuals[spans.lag].known[spans.at] > 0
        far = measured & (scorer.squares[spans.at] > spans.cap[:, None])
        kept, known = scorer._without_outliers(spans, measured)
        for row in range(len(kept.day)):
            [before] = np.flatnonzero((spans.day == kept.day[row]) & (spans.series == kept.series[row]))
            days = spans.at[0][before][measured[before] & ~far[before]]
            values = scorer.residuals[kept.lag].values[days, kept.series[row]]
            assert kept.days[row] == len(days) >= PERSISTENT[kept.length] and known[row].sum() == len(days)
            assert (kept.shift[row] == values.sum(axis=0)).all()
            assert kept.size[row] == pytest.approx(((values.mean(axis=0) / GRID) ** 2).sum())
            left_out += far[before].sum()
    assert left_out > 10


def test_the_noise_of_a_span_knows_how_its_days_follow_their_neighbours(scorer):
    correlations = []
    for spans in screened(scorer):
        noise = scorer._noise(spans)
        for row in range(0, len(spans.day), 50):
            days = spans.day[row] - 7 * spans.lag - np.arange(REFERENCE_DAYS)[::-1]
            residuals = scorer.residuals[1].values[np.maximum(days, 0), spans.series[row]]
            weighted = residuals * noise.weight[row][:, None]
            lagged = (weighted[1:] * weighted[:-1]).sum() / noise.neighbours[row] / spans.trace[row]
            expected = np.clip(lagged + 1 / noise.free[row], 0, 0.9)
            assert noise.correlation[row] == pytest.approx(expected)
            correlations.append(expected)
    assert max(correlations) > 0.3
