"""What is predicted of each tweet: for each score the estimate that it rewards."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Levels of the quantiles, Q = 19 of them: 0.05, 0.1, …, 0.95."""
# Quantiles of half precision or of a distribution over bins may descend by a rounding; more is a mistake.
SLACK = 1e-4


@dataclass(frozen=True, eq=False)
class LikesEstimates:
    """Three point estimates for each of N tweets, and quantiles if there are any, in likes: float64 arrays.

    One number cannot serve every score: on skewed counts the mean lies far above the median.
    ValueError when the first three are not one-dimensional arrays of one length N, or `quantiles` is not [N, Q].
    """

    mean: np.ndarray
    """E[likes], which RMSE rewards."""
    logmean: np.ndarray
    """expm1(E[log1p likes]), which RMSE of log1p likes rewards."""
    median: np.ndarray
    """The median, which MAE rewards."""
    quantiles: np.ndarray | None = None
    """[N, Q], ascending along Q, at `LEVELS`, which CRPS rewards; None for a forecast that is a point."""

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items() if values is not None}
        for name, values in arrays.items():
            object.__setattr__(self, name, values)
        shapes = {name: values.shape for name, values in arrays.items() if name != "quantiles"}
        if self.mean.ndim != 1 or len(set(shapes.values())) != 1:
            raise ValueError(f"estimates must be three arrays of one shape [N], got {shapes}")
        expected = (len(self), len(LEVELS))
        if self.quantiles is not None and self.quantiles.shape != expected:
            raise ValueError(f"estimates.quantiles must have shape {list(expected)}, got {list(self.quantiles.shape)}")

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
        quantiles = None if self.quantiles is None else self.quantiles[rows]
        return type(self)(self.mean[rows], self.logmean[rows], self.median[rows], quantiles)

    def at(self, level: float) -> np.ndarray:
        """The quantile [N] at one of `LEVELS`; ValueError for another level, or where there are no quantiles."""
        if self.quantiles is None or level not in LEVELS:
            raise ValueError(f"level {level}: found no such quantile; accepted: one of LEVELS, of estimates with them")
        return self.quantiles[:, LEVELS.index(level)]


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
    """`actual` as float64 [N]; ValueError unless it and the estimates are valid likes of one length."""
    actual = check_counts("actual", actual)
    if len(actual) != len(estimates):
        raise ValueError(f"actual has {len(actual)} rows, the estimates have {len(estimates)}")
    for name in ("mean", "logmean", "median"):
        check_counts(f"estimates.{name}", getattr(estimates, name))
    if estimates.quantiles is not None:
        for level, column in zip(LEVELS, estimates.quantiles.T, strict=True):
            check_counts(f"estimates.quantiles at {level}", column)
        _check_ascending(estimates.quantiles)
    return actual


def check_length(name: str, values: np.ndarray, rows: int) -> np.ndarray:
    """`values`, such as names of accounts, as an array [N]; ValueError unless it has one of each row."""
    values = np.asarray(values)
    if values.shape != (rows,):
        raise ValueError(f"{name} must have shape [{rows}], one of each row, got {list(values.shape)}")
    return values


def _check_ascending(quantiles: np.ndarray) -> None:
    lower, upper = quantiles[:, :-1], quantiles[:, 1:]
    wrong = np.argwhere(upper < lower - SLACK * (1 + lower))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"estimates.quantiles must not descend: row {row} falls from {lower[row, column]} at {LEVELS[column]} "
            f"to {upper[row, column]} at {LEVELS[column + 1]}"
        )
