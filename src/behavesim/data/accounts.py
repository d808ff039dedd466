"""What is known of an account beforehand: smoothed means of its log1p likes."""

from dataclasses import dataclass

import numpy as np
import polars as pl

# Pseudo-rows that pull a mean towards the level above it: account → company → all. Chosen by the error of the
# out-of-fold means on training rows of the published table, where 0.5 to 1 is best and 3 clearly worse.
STRENGTH = 0.8
FOLDS = 10


@dataclass(frozen=True)
class AccountStatistics:
    """Sums and counts of log1p likes over training rows, by account and by company."""

    overall: float
    accounts: dict[str, tuple[float, int]]
    companies: dict[str, tuple[float, int]]

    @classmethod
    def fit(cls, frame: pl.DataFrame) -> "AccountStatistics":
        """From labelled training rows (columns username, company, likes)."""
        logs = frame.select("username", "company", pl.col("likes").cast(pl.Float64).log1p().alias("log"))
        tables = [
            {key: (total, count) for key, total, count in _totals(logs, column).iter_rows()}
            for column in ("username", "company")
        ]
        return cls(float(logs["log"].mean()), *tables)

    def lookup(self, frame: pl.DataFrame) -> np.ndarray:
        """Statistics of rows outside training: [N, 4], see `_columns`."""
        accounts = [self.accounts.get(name, (0.0, 0)) for name in frame["username"]]
        companies = [self.companies.get(name, (0.0, 0)) for name in frame["company"]]
        return _columns(np.array(accounts).reshape(-1, 2), np.array(companies).reshape(-1, 2), self.overall)

    def out_of_fold(self, frame: pl.DataFrame, seed: int) -> np.ndarray:
        """Statistics of the training rows themselves, each from the other folds: [N, 4].

        A row's own label must not reach its inputs. Folds, rather than leaving one out, also keep a model that knows
        the account from reading the label off the difference to the full mean.
        """
        folds = np.random.default_rng(seed).permutation(frame.height) % FOLDS
        logs = frame.select("username", "company", pl.col("likes").cast(pl.Float64).log1p().alias("log"))
        logs = logs.with_columns(fold=folds)
        sums = []
        for column in ("username", "company"):
            outside = [
                (pl.col("log").sum().over(column) - pl.col("log").sum().over(column, "fold")).alias("sum"),
                (pl.len().over(column) - pl.len().over(column, "fold")).alias("count"),
            ]
            sums.append(logs.select(outside).to_numpy().astype(np.float64))
        overall = logs.select(
            (pl.col("log").sum() - pl.col("log").sum().over("fold")) / (pl.len() - pl.len().over("fold")).clip(1)
        ).to_numpy()[:, 0]
        return _columns(sums[0], sums[1], overall)


NAMES = ("account_mean", "company_mean", "account_count", "company_count")


def _totals(logs: pl.DataFrame, column: str) -> pl.DataFrame:
    return logs.group_by(column, maintain_order=True).agg(pl.col("log").sum(), pl.len().alias("count"))


def _columns(accounts: np.ndarray, companies: np.ndarray, overall: float | np.ndarray) -> np.ndarray:
    """Sums and counts, [N, 2] each, and the mean of all, one or [N] → [N, 4] as `NAMES` says; counts as log1p."""
    company_mean = (companies[:, 0] + STRENGTH * overall) / (companies[:, 1] + STRENGTH)
    account_mean = (accounts[:, 0] + STRENGTH * company_mean) / (accounts[:, 1] + STRENGTH)
    return np.stack([account_mean, company_mean, np.log1p(accounts[:, 1]), np.log1p(companies[:, 1])], axis=1)
