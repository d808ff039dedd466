"""Trees on the columns of a tweet, and their predictions as likes."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.baselining.boosting import smeared
from behavesim.baselining.columns import TweetColumns, frame_of
from behavesim.data.accounts import NAMES
from behavesim.metrics.estimates import LEVELS, check_likes

LOGS = st.lists(st.floats(-2, 12), min_size=1, max_size=20).map(np.array)
RESIDUALS = st.lists(st.floats(-5, 5), min_size=1, max_size=20).map(np.array)


@given(LOGS, RESIDUALS)
def test_the_mean_is_that_of_each_residual_added_in_turn(predicted, residuals):
    expected = np.expm1(np.maximum(predicted[:, None] + residuals, 0)).mean(1)
    assert smeared(predicted, residuals).mean == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(LOGS, RESIDUALS)
def test_estimates_are_likes_that_ascend(predicted, residuals):
    estimates = smeared(predicted, residuals)
    check_likes(np.zeros(len(predicted)), estimates)
    assert estimates.logmean == pytest.approx(np.expm1(np.maximum(predicted, 0)))
    assert estimates.median == pytest.approx(estimates.quantiles[:, LEVELS.index(0.5)], rel=1e-9, abs=1e-9)


def test_smearing_finds_the_mean_of_skewed_likes():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 20_000)
    estimates = smeared(np.array([5.0]), noise[:10_000])
    assert estimates.mean[0] == pytest.approx(np.expm1(5 + noise[10_000:]).mean(), rel=0.05)
    assert estimates.mean[0] > 1.5 * estimates.logmean[0]


def test_columns_are_words_what_a_tweet_shows_and_its_account(sample_table):
    rows = sample_table.all()
    train, other = frame_of(rows[:150]), frame_of(rows[150:])
    columns = TweetColumns.fit(train, 0)
    inside, outside = columns.training(train), columns.held_out(other)
    assert (inside.shape[0], outside.shape[0]) == (150, 50)
    assert inside.shape[1] == outside.shape[1] > 40
    account = outside[:, -1 - len(NAMES) : -1].toarray()
    assert account == pytest.approx(columns.statistics.overall_statistics().lookup(other))
    assert outside[:, -1].toarray()[:, 0] == pytest.approx(account[:, 0] - account[:, 1])
    assert inside[:, -1 - len(NAMES) : -1].toarray() == pytest.approx(columns.statistics.out_of_fold(train, 0))
    assert "hyperlink" in columns.terms.vocabulary_


def test_texts_without_a_frequent_word_leave_the_other_columns(sample_table, caplog):
    rows = frame_of(sample_table.all()[:30])
    words = rows.with_columns(content=rows["date"].hash().cast(pl.String))
    with caplog.at_level("INFO", logger="behavesim"):
        columns = TweetColumns.fit(words, 0)
    assert columns.terms is None and "LightGBM reads no text" in caplog.text
    assert columns.held_out(words).shape[0] == 30
