import math

import numpy as np
import pytest

from behavesim.metrics.estimates import LEVELS, LikesEstimates
from behavesim.metrics.likes import likes_metrics

Q = len(LEVELS)


def test_levels_are_even_and_hold_those_that_are_named():
    assert Q == 19
    assert np.diff(LEVELS) == pytest.approx(0.05)
    assert {0.1, 0.5, 0.9} < set(LEVELS)
    assert LEVELS[0] + LEVELS[-1] == 1


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
    assert estimates.take([]).quantiles is None


def test_quantiles_go_with_their_rows():
    quantiles = np.arange(3)[:, None] + np.linspace(0, 1, Q)
    estimates = LikesEstimates(*3 * [np.arange(3)], quantiles)
    assert np.array_equal(estimates.take([2, 0]).quantiles, quantiles[[2, 0]])
    assert np.array_equal(estimates.at(0.5), quantiles[:, 9])
    assert LikesEstimates.point(np.ones(3)).quantiles is None
    for unknown, wrong in ((estimates, 0.12), (LikesEstimates.point(np.ones(3)), 0.5)):
        with pytest.raises(ValueError, match=f"level {wrong}: found no such quantile"):
            unknown.at(wrong)


@pytest.mark.parametrize(
    ("quantiles", "message"),
    [
        (np.ones((2, 5)), r"quantiles must have shape \[2, 19\], got \[2, 5\]"),
        (np.ones(2), r"quantiles must have shape \[2, 19\], got \[2\]"),
        (np.full((2, Q), math.nan), "quantiles at 0.05 .* row 0 is nan"),
        (np.full((2, Q), -1), "quantiles at 0.05 .* row 0 is -1"),
        (
            np.stack([np.arange(Q), np.arange(Q)[::-1]]),
            "must not descend: row 1 falls from 18.0 at 0.05 to 17.0 at 0.1",
        ),
    ],
)
def test_unusable_quantiles_are_named(quantiles, message):
    with pytest.raises(ValueError, match=message):
        likes_metrics(np.ones(2), LikesEstimates(*3 * [np.ones(2)], quantiles))


def test_a_rounding_may_descend():
    quantiles = np.tile(np.linspace(100, 200, Q), (2, 1))
    quantiles[0, 3] = quantiles[0, 2] * (1 - 1e-6)
    assert likes_metrics(np.ones(2), LikesEstimates(*3 * [np.ones(2)], quantiles))["n"] == 2
