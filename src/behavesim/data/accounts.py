"""What is known of an account beforehand: smoothed means of its log1p likes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

# Pseudo-rows that pull a mean towards the level above it: account → company → all. Chosen by the error of the
# out-of-fold means on training rows of the published table, where 0.5 to 1 is best and 3 clearly worse.
STRENGTH = 0.8
FOLDS = 10
NAMES = ("account_mean", "company_mean", "account_count", "company_count")
_LEVELS = ("username", "company")


@dataclass(frozen=True)
class AccountStatistics:
    """Sums and counts of log1p likes over training rows, by account and by company."""

    overall: float
    accounts: dict[str, tuple[float, int]]
    companies: dict[str, tuple[float, int]]

    def lookup(self, frame: pl.DataFrame) -> np.ndarray:
        """Statistics of rows outside training: [N, 4], see `NAMES`."""
        accounts = [self.accounts.get(name, (0.0, 0)) for name in frame["username"]]
        companies = [self.companies.get(name, (0.0, 0)) for name in frame["company"]]
        return _columns(np.array(accounts).reshape(-1, 2), np.array(companies).reshape(-1, 2), self.overall)


@dataclass(frozen=True)
class FoldStatistics:
    """The same sums and counts by fold, for the training rows themselves.

    A row's own label must not reach its inputs: its statistics are those of the other folds. Folds, rather than leaving
    one row out, also keep a model that knows the account from reading the label off the difference to the full mean.
    """

    folds: np.ndarray  # [N] int8, of each training row
    sums: dict[str, pl.DataFrame]  # by level: the level's name, fold, sum, count
    overall: pl.DataFrame  # fold, sum, count

    @classmethod
    def fit(cls, chunks: Iterable[pl.DataFrame], rows: int, seed: int) -> "FoldStatistics":
        """From labelled training rows in chunks (columns username, company, likes), `rows` in all."""
        folds = (np.random.default_rng(seed).permutation(rows) % FOLDS).astype(np.int8)
        together, at = None, 0
        for chunk in chunks:
            fold = pl.Series("fold", folds[at : at + chunk.height])
            logs = chunk.select(*_LEVELS, fold, sum=pl.col("likes").cast(pl.Float64).log1p(), count=pl.lit(1))
            # Added up at once: what is kept grows with the accounts, not with the rows.
            together = _totals(logs if together is None else pl.concat([together, logs]), *_LEVELS, "fold")
            at += chunk.height
        levels = {level: _totals(together, level, "fold") for level in _LEVELS}
        return cls(folds, levels, _totals(together, "fold"))

    def overall_statistics(self) -> AccountStatistics:
        """Those of all folds together."""
        tables = []
        for level in _LEVELS:
            rows = _totals(self.sums[level], level).iter_rows()
            tables.append({key: (total, count) for key, total, count in rows})
        mean = self.overall["sum"].sum() / self.overall["count"].sum()
        return AccountStatistics(mean, *tables)

    @cached_property
    def _outside(self) -> dict[str, pl.DataFrame]:
        """Sums and counts of all folds but one, by level and fold: once for all chunks."""
        others = [pl.col(name).sum() - pl.col(name) for name in ("sum", "count")]
        return {level: self.sums[level].with_columns(column.over(level) for column in others) for level in _LEVELS}

    def out_of_fold(self, frame: pl.DataFrame, start: int) -> np.ndarray:
        """Statistics of training rows from `start` on, each from the other folds: [N, 4], see `NAMES`."""
        rows = frame.select(*_LEVELS).with_columns(fold=self.folds[start : start + frame.height])
        sums = []
        for level in _LEVELS:
            found = rows.join(self._outside[level], on=[level, "fold"], how="left", maintain_order="left")
            sums.append(found.select("sum", "count").to_numpy().astype(np.float64))
        total = self.overall.select(
            "fold", mean=(pl.col("sum").sum() - pl.col("sum")) / (pl.col("count").sum() - pl.col("count")).clip(1)
        )
        overall = rows.join(total, on="fold", how="left", maintain_order="left")["mean"].to_numpy()
        return _columns(sums[0], sums[1], overall)


def _totals(sums: pl.DataFrame, *keys: str) -> pl.DataFrame:
    return sums.group_by(keys, maintain_order=True).agg(pl.col("sum").sum(), pl.col("count").sum())


def _columns(accounts: np.ndarray, companies: np.ndarray, overall: float | np.ndarray) -> np.ndarray:
    """Sums and counts, [N, 2] each, and the mean of all, one or [N] → [N, 4] as `NAMES` says; counts as log1p."""
    company_mean = (companies[:, 0] + STRENGTH * overall) / (companies[:, 1] + STRENGTH)
    account_mean = (accounts[:, 0] + STRENGTH * company_mean) / (accounts[:, 1] + STRENGTH)
    return np.stack([account_mean, company_mean, np.log1p(accounts[:, 1]), np.log1p(companies[:, 1])], axis=1)
