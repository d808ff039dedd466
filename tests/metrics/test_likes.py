import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from behavesim.metrics.estimates import LEVELS, LikesEstimates
from behavesim.metrics.likes import likes_metrics

KEYS = ["rmse", "rmse_winsorised", "rmsle", "mae", "medae", "r2", "r2_log", "spearman", "spearman_within"]
KEYS += ["crps", "crps_log", "coverage_80", "interval_80", "top_1_share", "distinct", "n"]
likes = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)
pairs = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e6)), min_size=1, max_size=30)


def test_values_by_hand():
    estimates = LikesEstimates(
        mean=np.array([3.0, 4.0]), logmean=np.array([0.0, math.expm1(2)]), median=np.array([1.0, 0.0])
    )
    scores = likes_metrics(np.array([0, 8]), estimates)
    assert list(scores) == [key for key in KEYS if key not in ("spearman_within", "coverage_80", "interval_80")]
    assert scores["rmse"] == pytest.approx(math.sqrt((9 + 16) / 2))
    assert scores["rmsle"] == pytest.approx(math.sqrt((2 - math.log(9)) ** 2 / 2))
    assert scores["mae"] == pytest.approx((1 + 8) / 2)
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["n"] == 2 and scores["distinct"] == 2
    assert isinstance(scores["n"], int)
    assert all(type(value) is float for key, value in scores.items() if key not in ("n", "distinct"))
    assert scores["medae"] == pytest.approx(4.5)
    assert scores["r2"] == pytest.approx(1 - 25 / 32)
    assert scores["r2_log"] == pytest.approx(1 - (2 - math.log(9)) ** 2 / (math.log(9) ** 2 / 2))
    assert scores["crps"] == scores["mae"]
    assert scores["crps_log"] == pytest.approx((math.log(2) + math.log(9)) / 2)
    assert scores["top_1_share"] == pytest.approx(16 / 25)


def test_all_metrics_of_a_distribution_of_accounts():
    actual, estimates = spread_world(300)
    scores = likes_metrics(actual, estimates, np.arange(300) % 10)
    assert list(scores) == KEYS
    assert scores["coverage_80"] == pytest.approx(0.8, abs=0.07)
    assert scores["interval_80"] == pytest.approx(2 * 1.2816 * 0.7, rel=0.05)
    assert scores["crps_log"] == pytest.approx(0.7 / math.sqrt(math.pi), rel=0.1)  # of a normal that is right
    assert scores["rmse_winsorised"] < scores["rmse"]
    assert 0.01 < scores["top_1_share"] < 1
    assert scores["r2_log"] == pytest.approx(1 - 0.49 / 4.49, abs=0.05)


def spread_world(n):
    """Likes around levels that are known, with the quantiles of a normal of log likes."""
    rng = np.random.default_rng(0)
    level = rng.normal(7, 2, n)
    normal = np.quantile(rng.normal(size=100_000), LEVELS)
    quantiles = np.expm1((level[:, None] + 0.7 * normal).clip(0))
    actual = np.expm1((level + 0.7 * rng.normal(size=n)).clip(0))
    return actual, LikesEstimates(np.exp(level), np.expm1(level.clip(0)), quantiles[:, 9], quantiles)


def test_distinct_predictions_are_counted_as_whole_numbers():
    estimates = LikesEstimates.point(np.array([100.0, 100.4, 99.6, 7.0, 7.0]))
    assert likes_metrics(np.ones(5), estimates)["distinct"] == 2


@given(pairs, st.integers(1, 4))
def test_order_of_rows_changes_no_digit(rows, accounts):
    actual, guess = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    order = np.random.default_rng(0).permutation(len(rows))
    estimates = LikesEstimates(guess, guess, guess, guess[:, None] * np.linspace(0.5, 1.7, len(LEVELS)))
    account = np.arange(len(rows)) % accounts
    first = likes_metrics(actual, estimates, account)
    assert first == likes_metrics(actual[order], estimates.take(order), account[order])


@given(pairs)
def test_bounds_of_the_scores(rows):
    actual, guess = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    scores = likes_metrics(
        actual, LikesEstimates(*3 * [guess], np.tile(guess[:, None], len(LEVELS))), np.ones(len(rows))
    )
    assert scores["rmse_winsorised"] <= scores["rmse"] * (1 + 1e-12)
    assert scores["r2"] <= 1 and scores["r2_log"] <= 1
    assert -1 <= scores["spearman_within"] <= 1
    assert 0 <= scores["top_1_share"] <= 1
    assert scores["crps"] == pytest.approx(scores["mae"])  # quantiles that all are the median
    assert scores["coverage_80"] == np.mean(actual == guess)
    assert scores["interval_80"] == 0


@given(likes)
def test_no_other_constant_distribution_has_a_lower_crps(values):
    actual = np.array(values, dtype=float)
    best = np.quantile(actual, LEVELS, method="inverted_cdf")
    for other in (best + 1, best * 0.5, np.full(len(LEVELS), np.median(actual))):
        scores = [
            likes_metrics(actual, LikesEstimates(actual, actual, actual, np.tile(quantiles, (len(actual), 1))))
            for quantiles in (best, other)
        ]
        assert scores[0]["crps"] <= scores[1]["crps"] * (1 + 1e-9) + 1e-9


def test_ranks_inside_accounts_do_not_know_the_level_of_the_account():
    accounts = np.repeat(["small", "large", "few", "flat"], [10, 10, 4, 8])
    actual = np.concatenate([np.arange(10), 1000 + np.arange(10), [5, 1, 9, 2], np.full(8, 7)]).astype(float)
    level = LikesEstimates.point(np.select([accounts == "small", accounts == "large"], [5.0, 1000.0], 7.0))
    assert likes_metrics(actual, level, accounts)["spearman"] > 0.7
    assert likes_metrics(actual, level, accounts)["spearman_within"] == 0
    half = LikesEstimates.point(np.where(accounts == "small", actual, 1e4 - actual))
    assert likes_metrics(actual, half, accounts)["spearman_within"] == 0  # 1 and -1, equally many rows
    assert likes_metrics(actual, LikesEstimates.point(actual), accounts)["spearman_within"] == 1
    assert likes_metrics(actual, level, np.arange(32))["spearman_within"] == 0


@given(likes)
def test_perfect_prediction_has_no_error(values):
    scores = likes_metrics(np.array(values), LikesEstimates.point(np.array(values)))
    assert scores["rmse"] == scores["rmsle"] == scores["mae"] == scores["top_1_share"] == scores["crps"] == 0
    assert scores["r2"] == scores["r2_log"] == (1.0 if len(set(values)) > 1 else 0.0)
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
    scores = likes_metrics(np.array([0.0, 1.0]), LikesEstimates.point(np.array([1e200, 0.0])), np.zeros(2))
    assert all(math.isfinite(value) for value in scores.values())


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


def test_accounts_are_of_each_row():
    with pytest.raises(ValueError, match=r"accounts must have shape \[2\], one of each row, got \[3\]"):
        likes_metrics(np.ones(2), LikesEstimates.point(np.ones(2)), np.ones(3))
