"""Likes, scored: every metric reads the estimate that it rewards."""

import math
import sys

import numpy as np

from behavesim.metrics.distribution import crps, inside, width
from behavesim.metrics.estimates import LEVELS, LikesEstimates, check_counts, check_length, check_likes
from behavesim.metrics.ranks import correlation_within, rank_correlation

__all__ = ["LEVELS", "LikesEstimates", "check_counts", "check_likes", "likes_metrics", "row_errors"]

CUT = 0.99  # the quantile of the likes at which `rmse_winsorised` cuts them


def likes_metrics(
    actual: np.ndarray, estimates: LikesEstimates, accounts: np.ndarray | None = None
) -> dict[str, float]:
    """All metrics over N tweets; `actual` [N] in likes, `accounts` [N] the names of their accounts.

    - `rmse`, `rmse_winsorised`, `r2`, `top_1_share` read `estimates.mean`. `rmse_winsorised` cuts likes and means at
      the 99th percentile of the likes; `top_1_share` is the share of the squared error that the worst hundredth of the
      rows has, of one row at least.
    - `rmsle`, `r2_log`, `spearman` and `spearman_within` read `logmean`. The last is there with `accounts` only, see
      `correlation_within`.
    - `mae` and `medae`, mean and median of the absolute error, read `median`.
    - `crps` (likes), `crps_log` (log1p units), `coverage_80` (share inside the 80 % interval) and `interval_80` (its
      mean width in log1p units) read `quantiles`. Without them the first two read `median`, the others are not there.
    - `distinct` counts the whole numbers among the rounded means: a model that knows few answers says few numbers.
      `n` counts the rows.

    `spearman` and the `r2` are 0.0 where they are undefined: constant likes, a constant prediction (`spearman`), a
    single tweet. The order of the rows changes no digit. ValueError for no rows, lengths that differ, negative or
    non-finite values, quantiles that descend.
    """
    actual = check_likes(actual, estimates)
    errors, log_errors = row_errors(actual, estimates, "rmse"), row_errors(actual, estimates, "rmsle")
    absolute = np.abs(row_errors(actual, estimates, "mae"))
    return {
        "rmse": root_mean_square(errors),
        "rmse_winsorised": root_mean_square(winsorised_errors(actual, estimates)),
        "rmsle": root_mean_square(log_errors),
        "mae": _exact_mean(absolute),
        "medae": float(np.median(absolute)),
        "r2": _r2(actual, errors),
        "r2_log": _r2(np.log1p(actual), log_errors),
        **_rank_metrics(actual, estimates, accounts),
        **_distribution_metrics(actual, estimates),
        "top_1_share": _top_share(errors),
        "distinct": len(np.unique(np.rint(estimates.mean))),
        "n": len(actual),
    }


def row_errors(actual: np.ndarray, estimates: LikesEstimates, metric: str) -> np.ndarray:
    """Signed errors [N] (estimate - actual) under `rmse`, `rmsle` (in log1p units) or `mae`; KeyError for another."""
    if metric == "rmsle":
        return np.log1p(estimates.logmean) - np.log1p(actual)
    return {"rmse": estimates.mean, "mae": estimates.median}[metric] - actual


def winsorised_errors(actual: np.ndarray, estimates: LikesEstimates) -> np.ndarray:
    """Signed errors [N] of the mean, both sides cut at the 99th percentile of the likes."""
    cut = np.quantile(actual, CUT)
    return np.minimum(estimates.mean, cut) - np.minimum(actual, cut)


def root_mean_square(errors: np.ndarray) -> float:
    """Of errors [N]; they are scaled by the largest one, so that no square overflows."""
    scale = float(np.abs(errors).max())
    return scale * math.sqrt(_exact_mean((errors / scale) ** 2)) if scale > 0 else 0.0


def _rank_metrics(actual: np.ndarray, estimates: LikesEstimates, accounts: np.ndarray | None) -> dict[str, float]:
    found = {"spearman": rank_correlation(actual, estimates.logmean)}
    if accounts is not None:
        accounts = check_length("accounts", accounts, len(actual))
        found["spearman_within"] = correlation_within(actual, estimates.logmean, accounts)
    return found


def _distribution_metrics(actual: np.ndarray, estimates: LikesEstimates) -> dict[str, float]:
    found = {f"crps{name}": _exact_mean(crps(actual, estimates, log=bool(name))) for name in ("", "_log")}
    if estimates.quantiles is not None:
        found["coverage_80"] = float(inside(actual, estimates).mean())
        found["interval_80"] = _exact_mean(width(estimates))
    return found


def _r2(actual: np.ndarray, errors: np.ndarray) -> float:
    """1 - squared error / squared deviation from the mean; at least the lowest finite number."""
    spread = root_mean_square(actual - _exact_mean(actual)) if np.ptp(actual) > 0 else 0.0
    if spread == 0:
        return 0.0
    ratio = root_mean_square(errors) / spread
    return max(1 - ratio * ratio, -sys.float_info.max)


def _top_share(errors: np.ndarray) -> float:
    squares = np.sort((errors / (np.abs(errors).max() or 1.0)) ** 2)
    total = math.fsum(squares)
    return math.fsum(squares[-max(1, len(squares) // 100) :]) / total if total else 0.0


def _exact_mean(values: np.ndarray) -> float:
    # fsum rounds once, at the end: neither the order of the rows nor a large value among small ones costs digits.
    return math.fsum(values) / len(values)
