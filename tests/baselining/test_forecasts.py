"""The last tweets of an account."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
from omegaconf import OmegaConf

from behavesim.baselining.forecasts import forecasts, history_of_test_rows
from behavesim.data.history import History
from behavesim.metrics.baselines import RECENT

START = datetime(2020, 1, 1, tzinfo=UTC)


def frame(*rows):
    names, days, likes = zip(*rows, strict=True)
    dates = pl.Series([START + timedelta(days=day) for day in days], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"username": names, "date": dates, "likes": likes}).with_columns(
        pl.int_range(pl.len()).alias("identity"), company=pl.lit("c"), media_kind=pl.lit("none"), numbers=pl.lit([])
    )


def likes_of(known, tweets):
    return [np.rint(np.expm1(logs)).tolist() for logs in History.of(known).latest(tweets, RECENT)]


def test_recent_likes_are_the_last_of_the_account_and_strictly_earlier():
    known = frame(("a", 3, 30), ("a", 1, 10), ("b", 2, 99), ("a", 2, 20))
    found = likes_of([known], frame(("a", 3, 0), ("a", 9, 0), ("a", 1, 0), ("b", 9, 0), ("c", 9, 0)))
    assert found == [[20, 10], [30, 20, 10], [], [99], []]


def test_no_more_than_the_last_few_count():
    known = frame(*(("a", day, day) for day in range(20)))
    [found] = likes_of([known], frame(("a", 15, 0)))
    assert found == list(range(14, 14 - RECENT, -1))


def test_nothing_known_is_nothing_recent():
    assert likes_of([], frame(("a", 1, 1))) == [[]]


def test_the_history_says_which_tweets_count(sample_table):
    rows = sample_table.all()
    parts = {"train": rows[:100], "test": rows[100:]}
    trees = SimpleNamespace(estimates=None)
    found, looked_back = {}, {}
    for mode in ("none", "train", "rolling"):
        looked_back[mode] = history_of_test_rows(OmegaConf.create({"data": {"history": mode}}), rows, parts)
        estimates = forecasts(parts, trees, looked_back[mode])
        found[mode] = estimates["rolling mean"].logmean
    assert {mode: len(history) for mode, history in looked_back.items()} == {
        "none": 0,
        "train": 100,
        "rolling": len(rows),
    }
    assert (found["none"] == estimates["constant"].logmean).all()
    test = parts["test"].frame("username", "date")
    for mode in ("train", "rolling"):
        last = looked_back[mode].latest(test, RECENT)
        assert [np.expm1(logs.mean()) for logs in last if len(logs)] == [
            value for value, logs in zip(found[mode], last, strict=True) if len(logs)
        ]
    assert (found["train"] != found["rolling"]).any()
