"""All baselines on the test rows of a split."""

from collections.abc import Mapping

import polars as pl
from omegaconf import DictConfig

from behavesim.baselining.boosting import Boosted
from behavesim.data.history import SCHEMA, History
from behavesim.data.prepared import TweetRows
from behavesim.metrics import baselines
from behavesim.metrics.estimates import LikesEstimates

LIGHTGBM = "lightgbm"


def forecasts(
    cfg: DictConfig, rows: TweetRows, parts: Mapping[str, TweetRows], trees: Boosted
) -> dict[str, LikesEstimates]:
    """By name, what each baseline says of the test rows; `rows` are all labelled ones, `parts` those of the split."""
    train, test = parts["train"].frame("username", "likes"), parts["test"].frame("username", "date")
    likes = train["likes"].to_numpy()
    known = {"none": rows[:0], "train": parts["train"], "rolling": rows}[cfg.data.history]
    return {
        "constant": baselines.constant(likes, test.height),
        "account mean": baselines.account_mean(train["username"], likes, test["username"]),
        "rolling mean": baselines.rolling_mean(history_of(known).latest(test, baselines.RECENT), likes),
        LIGHTGBM: trees.estimates,
    }


def history_of(rows: TweetRows) -> History:
    """Labelled rows as posts of which likes alone are asked for."""
    columns = [name for name in SCHEMA if name != "effect"]
    return History.of([rows.frame(*columns).with_columns(effect=pl.lit(0.0))])
