"""The last tweets of an account."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
from omegaconf import OmegaConf

from behavesim.baselining.forecasts import RECENT, _recent, forecasts

START = datetime(2020, 1, 1)


def frame(*rows):
    names, days, likes = zip(*rows, strict=True)
    dates = pl.Series([START + timedelta(days=day) for day in days], dtype=pl.Datetime("us"))
    return pl.DataFrame({"username": names, "date": dates, "likes": likes})


def test_recent_likes_are_the_last_of_the_account_and_strictly_earlier():
    known = frame(("a", 3, 30), ("a", 1, 10), ("b", 2, 99), ("a", 2, 20))
    found = _recent(known, frame(("a", 3, 0), ("a", 9, 0), ("a", 1, 0), ("b", 9, 0), ("c", 9, 0)))
    assert [np.rint(np.expm1(logs)).tolist() for logs in found] == [[10, 20], [10, 20, 30], [], [99], []]


def test_no_more_than_the_last_few_count():
    known = frame(*(("a", day, day) for day in range(20)))
    [found] = _recent(known, frame(("a", 15, 0)))
    assert np.rint(np.expm1(found)).tolist() == list(range(15 - RECENT, 15))


def test_nothing_known_is_nothing_recent():
    known = frame(("a", 1, 1))
    assert [len(logs) for logs in _recent(known[:0], known)] == [0]


def test_the_history_says_which_tweets_count(sample_table):
    rows = sample_table.all()
    parts = {"train": rows[:100], "test": rows[100:]}
    trees = SimpleNamespace(estimates=None)
    found = {}
    for history in ("none", "train", "rolling"):
        cfg = OmegaConf.create({"data": {"history": history}})
        estimates = forecasts(cfg, rows, parts, trees)
        found[history] = estimates["rolling mean"].logmean
    assert (found["none"] == estimates["constant"].logmean).all()
    test = parts["test"].frame("username", "date")
    for history, known in (("train", rows[:100]), ("rolling", rows)):
        recent = _recent(known.frame("username", "date", "likes"), test)
        assert [np.expm1(logs.mean()) for logs in recent if len(logs)] == [
            value for value, logs in zip(found[history], recent, strict=True) if len(logs)
        ]
    assert (found["train"] != found["rolling"]).any()
