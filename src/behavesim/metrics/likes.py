"""Likes, predicted and scored: for each score the estimate that it rewards."""

import math
from dataclasses import dataclass, fields
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class LikesEstimates:
    """Three point estimates for each of N tweets, in likes: float64 arrays [N].

    One number cannot serve every score: on skewed counts the mean lies far above the median.
    ValueError when the arrays are not three one-dimensional ones of one length.
    """

    mean: np.ndarray
    """E[likes], which RMSE rewards."""
    logmean: np.ndarray
    """expm1(E[log1p likes]), which RMSE of log1p likes rewards."""
    median: np.ndarray
    """The median, which MAE rewards."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, np.asarray(getattr(self, field.name), dtype=np.float64))
        shapes = {field.name: getattr(self, field.name).shape for field in fields(self)}
        if self.mean.ndim != 1 or len(set(shapes.values())) != 1:
            raise ValueError(f"estimates must be three arrays of one shape [N], got {shapes}")

    def __len__(self) -> int:
        return len(self.mean)

    @classmethod
    def point(cls, values: np.ndarray) -> Self:
        """One number for all three, as generated text gives it; `values` [N] in likes."""
        return cls(values, values, values)

    def take(self, rows: np.ndarray) -> Self:
        """The estimates of some rows, by indices [K] or by a boolean mask [N]."""
        rows = np.asarray(rows)
        rows = rows if rows.dtype == bool else rows.astype(np.intp)  # an empty list would arrive as floats
        return type(self)(self.mean[rows], self.logmean[rows], self.median[rows])


def likes_metrics(actual: np.ndarray, estimates: LikesEstimates) -> dict[str, float]:
    """RMSE, RMSE of log1p, MAE and Spearman's rank correlation over N tweets; `distinct` and `n` (ints).

    `actual` [N] in likes. `rmse` reads `estimates.mean`, `rmsle` and `spearman` read `logmean`, `mae` reads `median`.
    `distinct` counts the whole numbers among the rounded means: a model that knows few answers says few numbers.
    `spearman` is 0.0 where it is undefined: a constant prediction, constant likes, a single tweet. The order of the
    rows changes no digit. ValueError for no rows, lengths that differ, negative or non-finite values.
    """
    actual = check_likes(actual, estimates)
    return {
        "rmse": _root_mean_square(row_errors(actual, estimates, "rmse")),
        "rmsle": _root_mean_square(row_errors(actual, estimates, "rmsle")),
        "mae": _exact_mean(np.abs(row_errors(actual, estimates, "mae"))),
        "spearman": float(rank_correlation(codes(actual)[None], codes(estimates.logmean)[None])[0]),
        "distinct": len(np.unique(np.rint(estimates.mean))),
        "n": len(actual),
    }


def row_errors(actual: np.ndarray, estimates: LikesEstimates, metric: str) -> np.ndarray:
    """Signed errors [N] (estimate - actual) under `rmse`, `rmsle` (in log1p units) or `mae`; KeyError for another."""
    if metric == "rmsle":
        return np.log1p(estimates.logmean) - np.log1p(actual)
    return {"rmse": estimates.mean, "mae": estimates.median}[metric] - actual


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation [S] of each row of two arrays [S, N] of `codes`; 0.0 where a row is constant.

    Pearson's correlation of the ranks, ties at mid-rank. Centred ranks are multiples of one half, so the sums are exact
    in float64 up to about 300,000 columns.
    """
    x, y = _centred_ranks(first), _centred_ranks(second)
    spread = np.sqrt((x * x).sum(-1)) * np.sqrt((y * y).sum(-1))
    correlation = np.divide((x * y).sum(-1), spread, out=np.zeros_like(spread), where=spread > 0)
    return np.clip(correlation, -1.0, 1.0)


def codes(values: np.ndarray) -> np.ndarray:
    """Each of `values` [N] as its place among the distinct values, from 0."""
    return np.unique(values, return_inverse=True)[1]


def check_counts(name: str, values: np.ndarray) -> np.ndarray:
    """`values` as float64 [N]; ValueError naming `name`, row and value unless N > 0 finite, non-negative numbers."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} must have shape [N], got {list(values.shape)}")
    if not len(values):
        raise ValueError(f"{name} is empty: at least one row is needed")
    wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite and not negative: row {wrong[0]} is {values[wrong[0]]}, "
            f"{len(wrong)} of {len(values)} rows in all"
        )
    return values


def check_likes(actual: np.ndarray, estimates: LikesEstimates) -> np.ndarray:
    """`actual` as float64 [N]; ValueError unless it and the three estimates are valid likes of one length."""
    actual = check_counts("actual", actual)
    if len(actual) != len(estimates):
        raise ValueError(f"actual has {len(actual)} rows, the estimates have {len(estimates)}")
    for field in fields(estimates):
        check_counts(f"estimates.{field.name}", getattr(estimates, field.name))
    return actual


def _centred_ranks(code: np.ndarray) -> np.ndarray:  # [S, N] -> [S, N]
    # Counting instead of sorting: 2,000 resamples of 10,000 rows take a second or two, not a quarter of a minute.
    samples, n = code.shape
    size = int(code.max()) + 1
    counts = np.bincount((code + size * np.arange(samples)[:, None]).ravel(), minlength=samples * size)
    counts = counts.reshape(samples, size)
    middle = counts.cumsum(-1) - (counts - 1) / 2 - (n + 1) / 2
    return np.take_along_axis(middle, code, axis=-1)


def _exact_mean(values: np.ndarray) -> float:
    # fsum rounds once, at the end: neither the order of the rows nor a large value among small ones costs digits.
    return math.fsum(values) / len(values)


def _root_mean_square(errors: np.ndarray) -> float:
    # Scaled by the largest error, so that no square overflows.
    scale = float(np.abs(errors).max())
    return scale * math.sqrt(_exact_mean((errors / scale) ** 2)) if scale > 0 else 0.0
