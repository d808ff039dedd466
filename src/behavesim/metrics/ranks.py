"""Rank correlation: over all rows, over weighted resamples of them, and inside each account."""

import math

import numpy as np

FEWEST_ROWS = 5  # of an account; with fewer a rank correlation is mostly chance


def codes(values: np.ndarray) -> np.ndarray:
    """Each of `values` [N] as its place among the distinct values, from 0."""
    return np.unique(values, return_inverse=True)[1]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two arrays of values [N]; 0.0 where one of them is constant.

    Pearson's correlation of the ranks, ties at mid-rank. The order of the rows changes no digit: centred ranks are
    multiples of one half, so that their sums are exact in float64 up to about 300,000 rows.
    """
    return float(rank_correlations(codes(first), codes(second), np.ones((1, len(first))))[0])


def rank_correlations(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlations [S] of two arrays of `codes` [N], for S ways to repeat the rows.

    `weights` [S, N] says how often each row occurs, whole numbers from 0, so that one resample is one row of it.
    """
    x, y = _centred_ranks(first, weights), _centred_ranks(second, weights)  # [S, N] each
    spread = np.sqrt((weights * x * x).sum(-1)) * np.sqrt((weights * y * y).sum(-1))
    correlation = np.divide((weights * x * y).sum(-1), spread, out=np.zeros_like(spread), where=spread > 0)
    return np.clip(correlation, -1.0, 1.0)


def correlation_within(actual: np.ndarray, predicted: np.ndarray, accounts: np.ndarray) -> float:
    """Mean rank correlation inside the accounts, weighted by their rows; all inputs [N].

    Over all rows, a guess that knows each account's level and nothing of the tweet ranks well; inside an account it
    does not rank at all. Accounts with fewer than `FEWEST_ROWS` rows, or whose likes are all the same, do not count;
    0.0 where none is left. The order of the rows changes no digit.
    """
    account = codes(accounts)
    order = np.argsort(account, kind="stable")
    found = []
    for rows in np.split(order, np.flatnonzero(np.diff(account[order])) + 1):
        if len(rows) >= FEWEST_ROWS and np.ptp(actual[rows]) > 0:
            found.append((len(rows), rank_correlation(actual[rows], predicted[rows])))
    total = sum(count for count, _ in found)
    return math.fsum(count * value for count, value in found) / total if total else 0.0


def _centred_ranks(code: np.ndarray, weights: np.ndarray) -> np.ndarray:  # [N], [S, N] -> [S, N]
    # Counting instead of sorting each resample: 2,000 of 10,000 rows take two seconds, not a quarter of a minute.
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], np.arange(code.max() + 1))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)  # [S, K]
    middle = counts.cumsum(-1) - (counts - 1) / 2 - (counts.sum(-1, keepdims=True) + 1) / 2
    return middle[:, code]
