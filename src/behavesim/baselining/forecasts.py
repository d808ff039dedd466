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


def forecasts(parts: Mapping[str, TweetRows], trees: Boosted, history: History) -> dict[str, LikesEstimates]:
    """By name, what each baseline says of the test rows of a split; `history` is what they may look back on."""
    train, test = parts["train"].frame("username", "likes"), parts["test"].frame("username", "date")
    likes = train["likes"].to_numpy()
    return {
        "constant": baselines.constant(likes, test.height),
        "account mean": baselines.account_mean(train["username"], likes, test["username"]),
        "rolling mean": baselines.rolling_mean(history.latest(test, baselines.RECENT), likes),
        LIGHTGBM: trees.estimates,
    }


def history_of_test_rows(cfg: DictConfig, rows: TweetRows, parts: Mapping[str, TweetRows]) -> History:
    """What test rows may look back on, as posts of which likes alone are asked for; `rows` are all labelled ones."""
    known = {"none": rows[:0], "train": parts["train"], "rolling": rows}[cfg.data.history]
    columns = [name for name in SCHEMA if name != "numbers"]
    return History.of([known.frame(*columns).with_columns(numbers=pl.lit([]))])
