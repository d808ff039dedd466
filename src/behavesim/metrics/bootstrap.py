"""Is one model better than another, or was it the choice of test rows? And how far does one score reach?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from behavesim.metrics.distribution import crps, inside, width
from behavesim.metrics.estimates import LikesEstimates, check_length, check_likes
from behavesim.metrics.likes import row_errors, winsorised_errors
from behavesim.metrics.ranks import FEWEST_ROWS, codes, rank_correlation, rank_correlations

ROOTS = ("rmse", "rmse_winsorised", "rmsle")
MEANS = ("mae", "crps", "crps_log", "coverage_80", "interval_80")
SHARES = ("r2", "r2_log")
WITHIN = "spearman_within"
METRICS = (*ROOTS, *MEANS, *SHARES, "spearman", WITHIN, "medae", "top_1_share")
CHUNK_ELEMENTS = 2_000_000  # numbers of a chunk of resamples, 16 MB an array

Counts = np.ndarray  # [S, G], how often each cluster is in each of S resamples
Statistic = Callable[[Counts], np.ndarray]  # -> a metric of each resample [S]


@dataclass(frozen=True)
class BootstrapResult:
    """Metric of a minus metric of b, in the metric's unit; for errors a positive one says that b is better.

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
    clusters: np.ndarray | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> BootstrapResult:
    """Percentile bootstrap over the N test rows, or over `clusters` of them, both models on the same resamples.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; the p-value is
    min(1, 2 (1 + resamples on the rarer side of zero) / (samples + 1)), which is never 0. Tweets of one account
    resemble each other: rows that are drawn one by one give intervals that are too narrow. With `clusters` [N], the
    accounts, whole accounts are drawn with replacement (Cameron, Gelbach and Miller, Bootstrap-Based Improvements for
    Inference with Clustered Errors, 2008, the pairs cluster bootstrap); a few dozen are needed for it to mean much.
    `metric` is one of `METRICS`; of `spearman_within` the clusters are the accounts, without which there is none.
    `distinct` is not among them: a resample repeats rows, so that it can only hold fewer predictions than the table.
    ValueError for another metric, fewer than one sample, and whatever `likes_metrics` refuses.
    """
    actual = check_likes(actual, a)
    check_likes(actual, b)
    cluster = _clusters(_needed(clusters, metric), len(actual))
    first, second = (_statistic(actual, each, metric, cluster) for each in (a, b))
    once = np.ones((1, int(cluster.max()) + 1))
    observed = float((first(once) - second(once))[0])
    drawn = np.concatenate([first(counts) - second(counts) for counts in _resamples(cluster, samples, seed)])
    low, high = _bounds(drawn)
    rarer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (1 + rarer) / (samples + 1))
    return BootstrapResult(observed, low, high, p_value)


def confidence_interval(
    actual: np.ndarray,
    estimates: LikesEstimates,
    *,
    metric: str,
    clusters: np.ndarray | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bounds of 95 % of the resamples of one metric; arguments and errors as of `paired_bootstrap`."""
    actual = check_likes(actual, estimates)
    cluster = _clusters(_needed(clusters, metric), len(actual))
    statistic = _statistic(actual, estimates, metric, cluster)
    return _bounds(np.concatenate([statistic(counts) for counts in _resamples(cluster, samples, seed)]))


def mean_interval(
    values: np.ndarray, *, clusters: np.ndarray | None = None, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bounds of 95 % of the resamples of the mean of `values` [N], a score of each row in whatever unit."""
    cluster = _clusters(clusters, len(values))
    means = _means(cluster, values)
    return _bounds(np.concatenate([means(counts)[:, 0] for counts in _resamples(cluster, samples, seed)]))


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _needed(clusters: np.ndarray | None, metric: str) -> np.ndarray | None:
    if clusters is None and metric == WITHIN:
        raise ValueError(f"clusters: found None; accepted: the accounts of the rows, as {metric} is of accounts")
    return clusters


def _clusters(clusters: np.ndarray | None, rows: int) -> np.ndarray:
    """The number of each row's cluster [N], from 0; without any every row is its own."""
    return np.arange(rows) if clusters is None else codes(check_length("clusters", clusters, rows))


def _resamples(cluster: np.ndarray, samples: int, seed: int) -> Iterator[Counts]:
    """As many clusters as there are, drawn with replacement, in chunks of resamples."""
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    rng, groups = np.random.default_rng(seed), int(cluster.max()) + 1
    size = max(1, CHUNK_ELEMENTS // len(cluster))
    for start in range(0, samples, size):
        chunk = min(size, samples - start)
        drawn = rng.integers(groups, size=(chunk, groups)) + groups * np.arange(chunk)[:, None]
        yield np.bincount(drawn.ravel(), minlength=chunk * groups).reshape(chunk, groups).astype(np.float64)


def _statistic(actual: np.ndarray, estimates: LikesEstimates, metric: str, cluster: np.ndarray) -> Statistic:
    """The metric as a function of how often each cluster is drawn.

    What a metric takes from the table as a whole stays that of the table: the cut of `rmse_winsorised`, and which
    accounts `spearman_within` counts.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is not known; accepted: {', '.join(METRICS)}")
    if metric == WITHIN:
        return _within(actual, estimates.logmean, cluster)
    if metric == "medae":
        return _median(cluster, np.abs(row_errors(actual, estimates, "mae")))
    if metric == "top_1_share":
        return _top_share(cluster, row_errors(actual, estimates, "rmse"))
    if metric == "spearman":
        truth, guess = codes(actual), codes(estimates.logmean)
        return lambda counts: rank_correlations(truth, guess, counts[:, cluster])
    if metric in MEANS:
        means = _means(cluster, _losses(actual, estimates, metric))
        return lambda counts: means(counts)[:, 0]
    errors = _errors(actual, estimates, metric)
    scale = np.abs(errors).max() or 1.0  # so that no square overflows
    if metric in ROOTS:
        means = _means(cluster, (errors / scale) ** 2)
        return lambda counts: scale * np.sqrt(means(counts)[:, 0])
    deviation = np.log1p(actual) if metric == "r2_log" else actual
    deviation = (deviation - deviation.mean()) / scale
    means = _means(cluster, (errors / scale) ** 2, deviation, deviation**2)
    return lambda counts: _r2(*means(counts).T)


def _losses(actual: np.ndarray, estimates: LikesEstimates, metric: str) -> np.ndarray:
    """What a metric of `MEANS` is the mean of: [N]."""
    if metric == "mae":
        return np.abs(row_errors(actual, estimates, "mae"))
    if metric in ("crps", "crps_log"):
        return crps(actual, estimates, log=metric == "crps_log")
    return width(estimates) if metric == "interval_80" else inside(actual, estimates)


def _errors(actual: np.ndarray, estimates: LikesEstimates, metric: str) -> np.ndarray:
    """Signed errors [N], of whose squares the metric is made."""
    if metric == "rmse_winsorised":
        return winsorised_errors(actual, estimates)
    return row_errors(actual, estimates, "rmsle" if metric in ("rmsle", "r2_log") else "rmse")


def _means(cluster: np.ndarray, *columns: np.ndarray) -> Callable[[Counts], np.ndarray]:
    """Means [S, M] of M columns [N] over the rows of resamples: sums of clusters are enough, and they are few."""
    sums = np.stack([np.bincount(cluster, column) for column in columns], axis=1)  # [G, M]
    sizes = np.bincount(cluster).astype(np.float64)
    return lambda counts: (counts @ sums) / (counts @ sizes)[:, None]


def _within(actual: np.ndarray, predicted: np.ndarray, cluster: np.ndarray) -> Statistic:
    """`correlation_within` of clusters that are accounts; the rows of one that is drawn twice correlate as before."""
    sizes = np.bincount(cluster)
    counted, correlations = np.zeros(len(sizes)), np.zeros(len(sizes))  # [G]
    for group, rows in enumerate(np.split(np.argsort(cluster, kind="stable"), np.cumsum(sizes)[:-1])):
        if len(rows) >= FEWEST_ROWS and np.ptp(actual[rows]) > 0:
            counted[group], correlations[group] = len(rows), rank_correlation(actual[rows], predicted[rows])

    def statistic(counts: Counts) -> np.ndarray:
        rows = counts @ counted
        return np.divide(counts @ (counted * correlations), rows, out=np.zeros_like(rows), where=rows > 0)

    return statistic


def _median(cluster: np.ndarray, values: np.ndarray) -> Statistic:
    """Of values [N]; of an even number of rows the middle of the two in the middle."""
    order = np.argsort(values, kind="stable")
    ordered, cluster = values[order], cluster[order]

    def statistic(counts: Counts) -> np.ndarray:
        behind = counts[:, cluster].cumsum(-1)  # [S, N], rows up to and with each value
        middle = [(behind <= place[:, None]).sum(-1) for place in ((behind[:, -1] - 1) // 2, behind[:, -1] // 2)]
        return ordered[middle].mean(0)

    return statistic


def _top_share(cluster: np.ndarray, errors: np.ndarray) -> Statistic:
    """Share of the squares of errors [N] that the worst hundredth of the rows has, of one row at least."""
    squares = (errors / (np.abs(errors).max() or 1.0)) ** 2
    order = np.argsort(-squares, kind="stable")
    squares, cluster = squares[order], cluster[order]

    def statistic(counts: Counts) -> np.ndarray:
        rows = counts[:, cluster]  # [S, N], the worst first
        behind = rows.cumsum(-1)
        worst = np.maximum(behind[:, -1:] // 100, 1)
        total = rows @ squares
        top = (rows - np.maximum(behind - worst, 0)).clip(0) @ squares
        return np.divide(top, total, out=np.zeros_like(total), where=total > 0)

    return statistic


def _r2(square: np.ndarray, deviation: np.ndarray, squared_deviation: np.ndarray) -> np.ndarray:
    """1 - mean square error / variance of each resample [S]; 0.0 where all likes are the same."""
    variance = squared_deviation - deviation**2
    ratio = np.divide(square, variance, out=np.ones_like(variance), where=variance > 1e-12 * squared_deviation)
    return 1 - ratio
