import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse.changes.discoveries import NIGHTS_OF_A_MONTH, log10_e, stand
from telemetry_warehouse.changes.window import MIN_SCORE

EVIDENCE = st.lists(st.floats(-2, 12), max_size=30).map(np.array)


def test_no_score_is_no_evidence():
    assert log10_e(MIN_SCORE - 0.01, 28) == -np.inf
    assert log10_e(np.nan, 28) == -np.inf
    assert log10_e(MIN_SCORE, 28) == pytest.approx(3.6)


def test_few_days_say_little_however_they_score():
    assert log10_e(37, 3) == pytest.approx(5.3)
    assert log10_e(37, 4) == pytest.approx(7.3)
    assert log10_e(37, 28) > 15


def test_one_alarm_stands_where_its_evidence_pays_for_every_series_and_night_of_the_month():
    needed = np.log10(5000 * NIGHTS_OF_A_MONTH / 0.05)
    assert stand(np.array([needed + 1e-9, needed - 0.31]), 5000, 0, 0.05).tolist() == [True, False]
    assert stand(np.array([needed + 1e-9, needed - 0.3]), 5000, 0, 0.05).tolist() == [True, True]
    assert stand(np.array([needed - 0.3]), 5000, 1, 0.05).tolist() == [True]  # one more stood before


@given(EVIDENCE, st.integers(1, 5000), st.integers(0, 50))
def test_alarms_stand_together_if_all_of_them_pay_for_their_number(evidence, series, before):
    stands = stand(evidence, series, before, 0.05)
    k = int(stands.sum())
    cost = np.log10(series * NIGHTS_OF_A_MONTH / 0.05)
    if k:
        assert evidence[stands].min() >= cost - np.log10(k + before)
        assert k == len(evidence) or evidence[~stands].max() < evidence[stands].min()
    for more in range(k + 1, len(evidence) + 1):
        assert np.sort(evidence)[-more] < cost - np.log10(more + before)


@given(EVIDENCE, st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_stricter_share_lets_fewer_stand(evidence, one, other):
    strict, lax = (stand(evidence, 100, 0, share) for share in sorted((one, other)))
    assert (strict <= lax).all()


def test_false_alarms_stay_within_the_share_that_is_set():
    """Null e-values of mean 1 for every series and night, dependent within a night, beside as many true ones."""
    rng = np.random.default_rng(1)
    share, months, false = 0.2, 400, []
    for _ in range(months):
        before = wrong = 0
        for _ in range(NIGHTS_OF_A_MONTH):
            common = rng.random() < 0.01
            nulls = np.where(rng.random(50) < (0.5 if common else 0.0), 2.0 + np.log10(2), -np.inf)  # mean e = 1
            true = np.full(1, 5.0)
            stands = stand(np.concatenate([nulls, true]), 51, before, share)
            before, wrong = before + int(stands.sum()), wrong + int(stands[:50].sum())
        false.append(wrong / max(before, 1))
    assert np.mean(false) <= share
