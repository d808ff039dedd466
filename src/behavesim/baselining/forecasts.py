"""All baselines on the test rows of a split."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from omegaconf import DictConfig

from behavesim.baselining.boosting import Boosted
from behavesim.data.prepared import TweetRows
from behavesim.metrics import baselines
from behavesim.metrics.estimates import LikesEstimates

RECENT = 5  # tweets of an account in its rolling mean
LIGHTGBM = "lightgbm"


def forecasts(
    cfg: DictConfig, rows: TweetRows, parts: Mapping[str, TweetRows], trees: Boosted
) -> dict[str, LikesEstimates]:
    """By name, what each baseline says of the test rows; `rows` are all labelled ones, `parts` those of the split."""
    train, test = parts["train"].frame("username", "likes"), parts["test"].frame("username", "date")
    likes = train["likes"].to_numpy()
    known = {"none": rows[:0], "train": parts["train"], "rolling": rows}[cfg.data.get("history", "train")]
    return {
        "constant": baselines.constant(likes, test.height),
        "account mean": baselines.account_mean(train["username"], likes, test["username"]),
        "rolling mean": baselines.rolling_mean(_recent(known.frame("username", "date", "likes"), test), likes),
        LIGHTGBM: trees.estimates,
    }


def _recent(known: pl.DataFrame, rows: pl.DataFrame) -> list[np.ndarray]:
    """log1p likes of the last `RECENT` known tweets of each row's account that are strictly earlier: N arrays."""
    known = known.sort("username", "date", maintain_order=True)
    accounts = {
        name: (frame["date"].to_numpy(), np.log1p(frame["likes"].to_numpy().astype(np.float64)))
        for (name,), frame in known.group_by("username")
    }
    nothing = np.zeros(0, "datetime64[us]"), np.zeros(0)
    found = []
    for name, date in zip(rows["username"], rows["date"].to_numpy(), strict=True):
        dates, logs = accounts.get(name, nothing)
        end = int(np.searchsorted(dates, date, side="left"))
        found.append(logs[max(0, end - RECENT) : end])
    return found
