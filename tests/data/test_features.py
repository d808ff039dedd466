"""Numbers that describe a tweet, and what may not be among them."""

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data import features as features_module
from behavesim.data.accounts import STRENGTH, AccountStatistics
from behavesim.data.features import MEDIA_KINDS, Features
from behavesim.data.task import BehaviourTask
from behavesim.data.tweets import tweets, with_media

SEED = 3


@pytest.fixture(scope="module")
def train(sample_table):
    return with_media(sample_table.frame)


@pytest.fixture(scope="module")
def fitted(train):
    return Features.fit(train, SEED)


def column(fitted, frame, name):
    """One column of `transform`, back on its own scale."""
    place = features_module.names(fitted.first, fitted.last).index(name)
    return fitted.transform(frame)[0][:, place] * fitted.scale[place] + fitted.mean[place]


def labelled(likes):
    height = len(likes)
    return pl.DataFrame(
        {
            "username": [f"user {i % 3}" for i in range(height)],
            "company": [f"company {i % 2}" for i in range(height)],
            "likes": likes,
        }
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=40), st.integers(0, 10**8), st.data())
def test_no_row_s_own_likes_reach_its_statistics(likes, changed, data):
    row = data.draw(st.integers(0, len(likes) - 1))
    other = [*likes[:row], changed, *likes[row + 1 :]]
    found = [AccountStatistics(2.5, {}, {}).out_of_fold(labelled(table), SEED)[row] for table in (likes, other)]
    # Sums less the row's own fold: equal but for the last bits of a float64.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-12)
    assert (found[0][2:] == found[1][2:]).all()


def test_out_of_fold_statistics_are_those_of_the_other_folds():
    frame = labelled(np.random.default_rng(0).integers(0, 1000, 60).tolist())
    folds = np.random.default_rng(SEED).permutation(60) % 10
    statistics = AccountStatistics.fit(frame)
    found = statistics.out_of_fold(frame, SEED)
    for fold in range(10):
        rest = AccountStatistics.fit(frame.filter(pl.Series(folds != fold)))
        np.testing.assert_allclose(found[folds == fold], rest.lookup(frame.filter(pl.Series(folds == fold))))


def test_other_rows_likes_do_reach_a_row():
    frame = labelled([10] * 30)
    more = frame.with_columns(likes=pl.Series([10] * 29 + [10**6]))
    statistics = AccountStatistics(2.5, {}, {})
    change = statistics.out_of_fold(more, SEED)[:, 0] - statistics.out_of_fold(frame, SEED)[:, 0]
    assert change[-1] == pytest.approx(0, abs=1e-12) and (change[2:29:3] > 0.1).sum() >= 6


def test_unknown_accounts_fall_back_to_their_company_then_to_all():
    frame = labelled([0, 100, 10_000, 7, 30, 2000])
    statistics = AccountStatistics.fit(frame)
    known, new_account, unknown = statistics.lookup(
        pl.DataFrame({"username": ["user 0", "nobody", "nobody"], "company": ["company 0", "company 0", "no one"]})
    )
    logs = np.log1p([0, 10_000, 30])
    company = (logs.sum() + STRENGTH * statistics.overall) / (3 + STRENGTH)
    assert new_account == pytest.approx([company, company, 0, np.log1p(3)])
    assert unknown == pytest.approx([statistics.overall, statistics.overall, 0, 0])
    assert known == pytest.approx(
        [(np.log1p([0, 7]).sum() + STRENGTH * company) / (2 + STRENGTH), company, np.log1p(2), np.log1p(3)]
    )


def test_the_prior_is_the_account_mean(train, fitted):
    _, prior = fitted.transform(train)
    np.testing.assert_allclose(prior, fitted.statistics.lookup(train)[:, 0], rtol=1e-6)


def test_dates_beyond_training_stop_at_its_ends(train, fitted):
    last, first = (train.filter(pl.col("date") == date).head(1) for date in (fitted.last, fitted.first))
    decade = timedelta(days=3653)
    for row, later in ((last, decade), (first, -decade)):
        moved = row.with_columns(pl.col("date") + later)
        assert column(fitted, moved, "trend") == column(fitted, row, "trend")
    assert column(fitted, last, "trend") > column(fitted, first, "trend")


def test_the_prompt_s_year_stops_at_the_end_of_training(train, fitted):
    task = BehaviourTask("ours", fitted.first, fitted.last)
    day = {"content": ["x"], "username": ["ann"], "company": ["acme"], "media_kind": ["none"], "media_count": [0]}
    years = [fitted.first.year - 10, fitted.first.year, fitted.last.year, fitted.last.year + 10]
    shown = [
        task.prompt(next(tweets(pl.DataFrame({**day, "date": [datetime(year, 7, 4, 17)]})))).before for year in years
    ]
    # Weekdays are the true ones of each date; only the year is held.
    assert [text.split(",")[1].split()[-1] for text in shown] == [str(year) for year in np.repeat(years[1:3], 2)]
    assert all(" 17h Jul " in text for text in shown)


@pytest.mark.parametrize(("shift", "names"), [({"hours": 7}, ["hour_sin", "hour_cos"]), ({"days": 2}, ["weekday_sin"])])
def test_hour_and_weekday_still_vary_after_training(train, fitted, shift, names):
    later = train.head(20).with_columns(pl.col("date") + timedelta(days=4000))
    moved = later.with_columns(pl.col("date") + timedelta(**shift))
    for name in names:
        assert np.abs(column(fitted, later, name) - column(fitted, moved, name)).max() > 0.1
    one, other = (next(tweets(frame)) for frame in (later, moved))
    task = BehaviourTask("ours", fitted.first, fitted.last)
    assert task.prompt(one).before != task.prompt(other).before


def test_views_of_a_video_change_nothing(sample_table, train, fitted):
    video = "[Video(thumbnailUrl='x', variants=[VideoVariant(url='y')], duration=12.5, views={views})]"
    frames = [
        with_media(sample_table.frame.with_columns(media=pl.lit(video.format(views=views))))
        for views in ("7", "9000000", "None")
    ]
    assert set(frames[0]["media_kind"]) == {"video"} and set(frames[0]["duration"]) == {12.5}
    task = BehaviourTask("ours", fitted.first, fitted.last)
    texts = [[task.prompt(tweet) for tweet in tweets(frame)] for frame in frames]
    numbers = [fitted.transform(frame)[0] for frame in frames]
    refitted = [Features.fit(frame, SEED).to_dict() for frame in frames]
    assert texts[0] == texts[1] == texts[2] and refitted[0] == refitted[1] == refitted[2]
    assert (numbers[0] == numbers[1]).all() and (numbers[0] == numbers[2]).all()


def test_features_come_back_from_json(train, fitted):
    back = Features.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert back == fitted
    for seed in (None, SEED):
        for found, expected in zip(
            back.transform(train, training_seed=seed), fitted.transform(train, training_seed=seed), strict=True
        ):
            assert (found == expected).all() and found.dtype == np.float32


def test_columns_are_standardised_on_training_rows(train, fitted):
    numbers, prior = fitted.transform(train, training_seed=SEED)
    assert numbers.shape == (train.height, fitted.count) and prior.shape == (train.height,)
    assert len(features_module.names(fitted.first, fitted.last)) == fitted.count
    whole = np.abs(numbers).max(axis=0) < 8  # nothing clipped
    varied = numbers.std(axis=0) > 0
    assert whole.sum() > 25 and varied.sum() > 25
    assert np.abs(numbers[:, whole].mean(axis=0)).max() < 1e-4
    np.testing.assert_allclose(numbers[:, whole & varied].std(axis=0), 1, atol=1e-4)


def test_labels_of_rows_to_describe_are_not_read(train, fitted):
    blank = train.with_columns(likes=pl.lit(None, dtype=pl.Int64))
    for found, expected in zip(fitted.transform(blank), fitted.transform(train), strict=True):
        assert (found == expected).all()


def test_every_media_kind_has_its_column(train, fitted):
    for kind in MEDIA_KINDS:
        found = column(fitted, train, f"media_{kind}")
        np.testing.assert_allclose(found, (train["media_kind"] == kind).to_numpy(), atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(content=st.text(max_size=60), year=st.integers(1900, 2200))
def test_any_text_and_date_give_finite_numbers(train, fitted, content, year):
    frame = train.head(1).with_columns(content=pl.lit(content), date=pl.lit(datetime(year, 2, 28, 23, 59)))
    numbers, prior = fitted.transform(frame)
    assert np.isfinite(numbers).all() and np.isfinite(prior).all() and np.abs(numbers).max() <= 8
