import math

import numpy as np
import pytest

from behavesim.metrics.baselines import RAW_STRENGTH_FACTOR, account_mean, constant, rolling_mean
from behavesim.metrics.estimates import LEVELS
from behavesim.metrics.likes import likes_metrics


def test_constant_by_hand():
    estimates = constant(np.array([0, 3, 15]), 2)
    assert estimates.mean == pytest.approx([6, 6])
    assert estimates.logmean == pytest.approx([3, 3])  # log1p in base 2: 0, 2, 4
    assert estimates.median == pytest.approx([3, 3])
    assert len(constant(np.array([1]), 0)) == 0


def test_account_mean_by_hand():
    estimates = account_mean(["a", "b", "b"], np.array([0, 3, 15]), ["b", "a"], strength=1.0)
    # log1p in base 2: a 0, b 2 and 4, overall 2; raw: a 0, b 18, overall 6; overall median 3
    assert np.log2(estimates.logmean + 1) == pytest.approx([(6 + 2) / 3, 2 / 2])
    assert np.log2(estimates.median + 1) == pytest.approx([(6 + 2) / 3, 2 / 2])
    s = RAW_STRENGTH_FACTOR
    assert estimates.mean == pytest.approx([(18 + 6 * s) / (2 + s), 6 * s / (1 + s)])


def test_unseen_account_gets_the_constant():
    likes = np.array([0, 1, 100, 4000])
    unseen, fallback = account_mean(["a", "a", "b", "c"], likes, ["new", ""]), constant(likes, 2)
    assert unseen.mean == pytest.approx(fallback.mean)
    assert unseen.logmean == pytest.approx(fallback.logmean)
    assert unseen.median == pytest.approx(fallback.median)
    assert unseen.quantiles == pytest.approx(fallback.quantiles)


def test_quantiles_of_the_constant_are_those_of_the_training_likes():
    likes = np.arange(101)
    estimates = constant(likes, 3)
    assert estimates.quantiles == pytest.approx(np.tile(100 * np.array(LEVELS), (3, 1)))
    assert likes_metrics(np.arange(3), estimates)["coverage_80"] == 0


@pytest.mark.parametrize("rows", [2, 40])
def test_quantiles_of_the_account_mean_hold_on_new_tweets(rows):
    """Also where accounts are of few tweets, whose own level is hardly known."""
    rng = np.random.default_rng(0)
    accounts = np.repeat(np.arange(4000 // rows), rows)
    level = rng.normal(5, 1, 4000 // rows)[accounts]
    train, test = (np.expm1((level + rng.normal(0, 0.5, 4000)).clip(0)) for _ in range(2))
    scores = likes_metrics(test, account_mean(accounts, train, accounts))
    assert scores["coverage_80"] == pytest.approx(0.8, abs=0.1)


def test_quantiles_of_the_account_mean_are_likes():
    estimates = account_mean(["a", "a", "b"], np.array([0, 0, 10**6]), ["a", "b"])
    assert (estimates.quantiles >= 0).all()
    assert (np.diff(estimates.quantiles) >= 0).all()


def test_the_rolling_mean_is_that_of_the_last_tweets():
    train = np.array([0, 3, 15])
    recent = [np.log1p([1.0, 7.0]), np.array([]), np.log1p([0.0, 0.0, 26.0]), []]
    estimates = rolling_mean(recent, train)
    assert estimates.mean == pytest.approx([4, 6, 26 / 3, 6])
    assert estimates.logmean == pytest.approx([3, 3, 2, 3])
    assert estimates.median == pytest.approx([4, 3, 0, 3])
    assert estimates.quantiles is None
    assert len(rolling_mean([], train)) == 0
    with pytest.raises(ValueError, match=r"recent\[1\] must be finite and not negative: row 0 is -1.0"):
        rolling_mean([[], [-1.0]], train)


def test_small_account_shrinks_more_than_a_large_one():
    accounts = ["small"] * 1 + ["large"] * 20 + ["rest"] * 30
    likes = np.array([1000] * 21 + [10] * 30)
    estimates = account_mean(accounts, likes, ["small", "large"])
    overall = constant(likes, 1)
    for guess, level in (
        (estimates.mean, overall.mean),
        (estimates.logmean, overall.logmean),
        (estimates.median, overall.median),
    ):
        small, large = guess
        assert level[0] < small < large < 1000


def test_strength_moves_towards_the_constant():
    accounts, likes = ["a", "b"], np.array([0, 1000])
    guesses = [account_mean(accounts, likes, ["a"], strength=s).logmean[0] for s in (1e-9, 0.5, 5.0, 1e9)]
    assert guesses == sorted(guesses)
    assert guesses[0] == pytest.approx(0, abs=1e-6)
    assert guesses[-1] == pytest.approx(constant(likes, 1).logmean[0])


def test_no_rows_to_predict():
    assert len(account_mean(["a"], np.array([1]), [])) == 0


@pytest.mark.parametrize(
    ("accounts", "likes", "strength", "message"),
    [
        (["a"], [1, 2], 1.0, "train_accounts has 1 rows, train_likes has 2"),
        ([], [], 1.0, "train_likes is empty"),
        (["a"], [-1], 1.0, "train_likes .* row 0 is -1"),
        (["a"], [1], 0.0, "strength .* got 0.0"),
        (["a"], [1], math.nan, "strength .* got nan"),
    ],
)
def test_unusable_input_is_named(accounts, likes, strength, message):
    with pytest.raises(ValueError, match=message):
        account_mean(accounts, np.array(likes), ["a"], strength=strength)
