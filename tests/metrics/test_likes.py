import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from behavesim.metrics.likes import LikesEstimates, likes_metrics

likes = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)
pairs = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e6)), min_size=1, max_size=30)


def test_values_by_hand():
    estimates = LikesEstimates(
        mean=np.array([3.0, 4.0]), logmean=np.array([0.0, math.expm1(2)]), median=np.array([1.0, 0.0])
    )
    scores = likes_metrics(np.array([0, 8]), estimates)
    assert set(scores) == {"rmse", "rmsle", "mae", "spearman", "distinct", "n"}
    assert scores["rmse"] == pytest.approx(math.sqrt((9 + 16) / 2))
    assert scores["rmsle"] == pytest.approx(math.sqrt((2 - math.log(9)) ** 2 / 2))
    assert scores["mae"] == pytest.approx((1 + 8) / 2)
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["n"] == 2 and scores["distinct"] == 2
    assert isinstance(scores["n"], int)
    assert all(type(scores[key]) is float for key in ("rmse", "rmsle", "mae", "spearman"))


def test_distinct_predictions_are_counted_as_whole_numbers():
    estimates = LikesEstimates.point(np.array([100.0, 100.4, 99.6, 7.0, 7.0]))
    assert likes_metrics(np.ones(5), estimates)["distinct"] == 2


@given(pairs)
def test_order_of_rows_changes_no_digit(rows):
    actual, guess = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    order = np.random.default_rng(0).permutation(len(rows))
    estimates = LikesEstimates.point(guess)
    assert likes_metrics(actual, estimates) == likes_metrics(actual[order], estimates.take(order))


@given(likes)
def test_perfect_prediction_has_no_error(values):
    scores = likes_metrics(np.array(values), LikesEstimates.point(np.array(values)))
    assert scores["rmse"] == scores["rmsle"] == scores["mae"] == 0
    assert scores["spearman"] == pytest.approx(1.0 if len(set(values)) > 1 else 0.0)


@given(likes, st.floats(0, 1e6))
def test_each_estimate_is_the_best_constant_for_its_score(values, other):
    actual = np.array(values, dtype=float)
    best = LikesEstimates(
        mean=np.full(len(actual), actual.mean()),
        logmean=np.full(len(actual), np.expm1(np.log1p(actual).mean())),
        median=np.full(len(actual), np.median(actual)),
    )
    scores, others = (
        likes_metrics(actual, best),
        likes_metrics(actual, LikesEstimates.point(np.full(len(actual), other))),
    )
    for metric in ("rmse", "rmsle", "mae"):
        assert scores[metric] <= others[metric] * (1 + 1e-9) + 1e-9


@given(pairs)
def test_spearman_is_scipys(rows):
    actual, guess = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    ours = likes_metrics(actual, LikesEstimates.point(guess))["spearman"]
    if len(set(actual)) > 1 and len(set(guess)) > 1:
        assert ours == pytest.approx(spearmanr(actual, guess).statistic)
    else:
        assert ours == 0.0


def test_huge_values_do_not_overflow():
    scores = likes_metrics(np.array([0.0, 1e200]), LikesEstimates.point(np.array([1e200, 0.0])))
    assert scores["rmse"] == pytest.approx(1e200)
    assert scores["mae"] == pytest.approx(1e200)


@pytest.mark.parametrize(
    ("actual", "guess", "message"),
    [
        ([], [], "actual is empty"),
        ([1, 2], [1], "actual has 2 rows, the estimates have 1"),
        ([1, -2], [1, 1], "actual must be finite and not negative: row 1 is -2.0"),
        ([1, math.nan], [1, 1], "actual .* row 1 is nan"),
        ([1, 2], [math.inf, 1], "estimates.mean .* row 0 is inf"),
        ([1, 2], [1, -0.5], "estimates.mean .* row 1 is -0.5, 1 of 2 rows"),
        ([[1, 2]], [1, 1], r"actual must have shape \[N\]"),
    ],
)
def test_unusable_values_are_named(actual, guess, message):
    with pytest.raises(ValueError, match=message):
        likes_metrics(np.array(actual, dtype=float), LikesEstimates.point(np.array(guess, dtype=float)))


def test_each_of_the_three_estimates_is_checked():
    good, bad = np.ones(2), np.array([1.0, math.nan])
    with pytest.raises(ValueError, match=r"estimates\.median .* row 1 is nan"):
        likes_metrics(good, LikesEstimates(good, good, bad))
    with pytest.raises(ValueError, match=r"one shape .*'logmean': \(3,\)"):
        LikesEstimates(good, np.ones(3), good)


def test_take_by_index_and_mask():
    estimates = LikesEstimates(np.arange(3), np.arange(3) + 10, np.arange(3) + 20)
    for rows in (np.array([0, 2]), np.array([True, False, True]), [0, 2]):
        taken = estimates.take(rows)
        assert taken.mean.tolist() == [0, 2]
        assert taken.logmean.tolist() == [10, 12]
        assert taken.median.tolist() == [20, 22]
    assert taken.mean.dtype == np.float64
    assert len(estimates.take([])) == 0
