"""Where a model errs: its scores on groups of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from behavesim.metrics.estimates import LikesEstimates, check_length, check_likes
from behavesim.metrics.likes import likes_metrics, row_errors

SCORES = ("rmsle", "rmse", "mae", "spearman", "coverage_80")
# Labels of `account_sizes`, and the largest number of known tweets of each but the last.
SIZES = ("0", "1–2", "3–5", "6–20", "21–100", "over 100")
BOUNDS = (0, 2, 5, 20, 100)


def by_group(actual: np.ndarray, estimates: LikesEstimates, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of each group of rows, the largest groups first, then by name.

    `actual` and `groups` [N], such as companies. Each has `group`, `n`, `rmsle`, `rmse`, `mae`, `spearman`, `bias` (the
    mean of log1p(logmean) - log1p(likes): positive where the model promises too much) and, where there are
    quantiles, `coverage_80`. ValueError for whatever `likes_metrics` refuses, and for another number of groups.
    """
    actual = check_likes(actual, estimates)
    names, group = np.unique(check_length("groups", groups, len(actual)), return_inverse=True)
    rows_of = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    found = [
        {"group": str(name), **_scores(actual[rows], estimates.take(rows))}
        for name, rows in zip(names, rows_of, strict=True)
    ]
    return sorted(found, key=lambda scores: -scores["n"])  # stable: names ascend among equals


def account_sizes(counts: np.ndarray) -> np.ndarray:
    """The label of `SIZES` [N] of each number of tweets that are known of an account, `counts` [N] from 0."""
    return np.array(SIZES)[np.searchsorted(BOUNDS, counts)]


def _scores(actual: np.ndarray, estimates: LikesEstimates) -> dict[str, Any]:
    metrics = likes_metrics(actual, estimates)
    scores = {name: metrics[name] for name in SCORES if name in metrics}
    return {"n": metrics["n"], **scores, "bias": float(row_errors(actual, estimates, "rmsle").mean())}
