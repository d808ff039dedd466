"""Scores of a whole predicted distribution, row by row: CRPS, coverage and width of the 80 % interval.

Quantiles are those of `LikesEstimates`, at `LEVELS`. Likes and quantiles are [N] and [N, Q], in likes.
"""

import numpy as np

from behavesim.metrics.estimates import LEVELS, LikesEstimates

LOW, HIGH = 0.1, 0.9  # the interval that should hold eight of ten tweets


def crps(actual: np.ndarray, estimates: LikesEstimates, *, log: bool = False) -> np.ndarray:
    """Continuous ranked probability score of each row [N], in likes or, with `log`, of log1p(likes) in its units.

    Twice the mean pinball loss over `LEVELS`, which tends to the CRPS as levels grow dense (Gneiting and Ranjan,
    Comparing Density Forecasts Using Threshold- and Quantile-Weighted Scoring Rules, 2011, eq. 15). For a point
    forecast all quantiles are its median, and the score is the absolute error.
    """
    scale = np.log1p if log else np.asarray
    if estimates.quantiles is None:
        return np.abs(scale(estimates.median) - scale(actual))
    error = scale(actual)[:, None] - scale(estimates.quantiles)  # [N, Q]
    levels = np.array(LEVELS)
    # One contiguous row after the other, so that each row's mean is the same in whatever order they stand.
    return np.ascontiguousarray(2 * np.maximum(levels * error, (levels - 1) * error)).mean(-1)


def inside(actual: np.ndarray, estimates: LikesEstimates) -> np.ndarray:
    """Whether the likes of each row lie in its 80 % interval, ends included: bool [N]."""
    return (estimates.at(LOW) <= actual) & (actual <= estimates.at(HIGH))


def width(estimates: LikesEstimates) -> np.ndarray:
    """Width of each row's 80 % interval [N] in log1p units: 0.69 is from n to 2 n likes."""
    return np.log1p(estimates.at(HIGH)) - np.log1p(estimates.at(LOW))


def observed_shares(actual: np.ndarray, estimates: LikesEstimates) -> np.ndarray:
    """Share of rows whose likes lie at or below their quantile, at each of `LEVELS`: [Q]; calibrated, it is the level.

    A row that lies on its quantile counts as half, as likes are whole numbers and many tweets have none. ValueError
    where there are no quantiles.
    """
    if estimates.quantiles is None:
        raise ValueError("estimates: found no quantiles; accepted: estimates with quantiles")
    below = (actual[:, None] < estimates.quantiles).mean(0)
    return below + (actual[:, None] == estimates.quantiles).mean(0) / 2
