import math

import numpy as np
import pytest

from behavesim.metrics.baselines import RAW_STRENGTH_FACTOR, account_mean, constant


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
