import numpy as np
import pytest

from behavesim.metrics.distribution import crps, inside, observed_shares, width
from behavesim.metrics.estimates import LEVELS, LikesEstimates

Q = len(LEVELS)


def of_quantiles(quantiles):
    quantiles = np.asarray(quantiles, dtype=float)
    return LikesEstimates(*3 * [quantiles[:, 9]], quantiles)


def test_crps_of_a_uniform_distribution_is_near_the_integral():
    estimates = of_quantiles([np.array(LEVELS) * 100])
    # Of a uniform on [0, 100] and likes y: 100 * ((y/100)^3 + (1 - y/100)^3) / 3.
    for likes in (0.0, 30.0, 50.0, 100.0):
        share = likes / 100
        expected = 100 * (share**3 + (1 - share) ** 3) / 3
        assert crps(np.array([likes]), estimates)[0] == pytest.approx(expected, rel=0.05, abs=0.3)


def test_crps_of_a_point_is_the_absolute_error():
    guess = LikesEstimates(np.ones(2), np.ones(2), np.array([3.0, 7.0]))
    assert crps(np.array([1.0, 15.0]), guess).tolist() == [2, 8]
    assert crps(np.array([1.0, 15.0]), guess, log=True) == pytest.approx(np.log([2, 2]))


def test_ends_of_the_interval_are_inside():
    estimates = of_quantiles([10 * np.arange(1, Q + 1)] * 4)  # from 20 at 0.1 to 180 at 0.9
    assert inside(np.array([19, 20, 180, 181]), estimates).tolist() == [False, True, True, False]
    assert width(estimates) == pytest.approx(np.log(181 / 21))


def test_observed_shares_of_a_calibrated_distribution_are_its_levels():
    actual = np.arange(2000.0)
    estimates = of_quantiles(np.tile(np.quantile(actual, LEVELS), (2000, 1)))
    assert observed_shares(actual, estimates) == pytest.approx(LEVELS, abs=1e-3)
    assert observed_shares(np.zeros(5), of_quantiles(np.zeros((5, Q)))) == pytest.approx(0.5)
