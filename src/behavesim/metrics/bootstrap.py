"""Is one model better than another, or was it the choice of test rows?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from behavesim.metrics.likes import LikesEstimates, check_likes, codes, rank_correlation, row_errors

METRICS = ("rmse", "rmsle", "mae", "spearman")
CHUNK_ELEMENTS = 2_000_000  # resampled rows held at once, 16 MB an array


@dataclass(frozen=True)
class BootstrapResult:
    """Metric of a minus metric of b, in the metric's unit; for the three errors a positive one says that b is better.

    `low` and `high` bound 95 % of the resamples. `p_value` is two-sided: how often a resample reaches or crosses zero.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    actual: np.ndarray,
    a: LikesEstimates,
    b: LikesEstimates,
    *,
    metric: str = "rmsle",
    samples: int = 2000,
    seed: int = 0,
) -> BootstrapResult:
    """Percentile bootstrap over the N test rows, both models on the same resampled rows.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; the p-value is
    min(1, 2 (1 + resamples on the rarer side of zero) / (samples + 1)), which is never 0. Rows count as independent:
    where few accounts own most rows, the true interval is wider. `metric` is one of `METRICS`.
    ValueError for another metric, fewer than one sample, and whatever `likes_metrics` refuses.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not known; accepted: {', '.join(METRICS)}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    actual = check_likes(actual, a)
    check_likes(actual, b)
    difference = _difference(actual, a, b, metric)
    observed = float(difference(np.arange(len(actual))[None])[0])
    drawn = np.concatenate([difference(rows) for rows in _resamples(len(actual), samples, seed)])  # [samples]
    low, high = np.quantile(drawn, (0.025, 0.975))
    rarer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (1 + rarer) / (samples + 1))
    return BootstrapResult(observed, float(low), float(high), p_value)


def _resamples(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers drawn with replacement, in chunks [S, n]."""
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK_ELEMENTS // n)
    for start in range(0, samples, size):
        yield rng.integers(n, size=(min(size, samples - start), n))


def _difference(
    actual: np.ndarray, a: LikesEstimates, b: LikesEstimates, metric: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Row numbers [S, N] -> metric(a) - metric(b) [S]."""
    if metric == "spearman":
        truth, x, y = codes(actual), codes(a.logmean), codes(b.logmean)
        return lambda rows: rank_correlation(truth[rows], x[rows]) - rank_correlation(truth[rows], y[rows])
    errors_a, errors_b = row_errors(actual, a, metric), row_errors(actual, b, metric)
    if metric == "mae":
        return lambda rows: np.abs(errors_a)[rows].mean(-1) - np.abs(errors_b)[rows].mean(-1)
    scale = max(np.abs(errors_a).max(), np.abs(errors_b).max()) or 1.0  # so that no square overflows
    squares_a, squares_b = (errors_a / scale) ** 2, (errors_b / scale) ** 2
    return lambda rows: scale * (np.sqrt(squares_a[rows].mean(-1)) - np.sqrt(squares_b[rows].mean(-1)))
