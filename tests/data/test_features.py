"""Numbers that describe a tweet, and what may not be among them."""

import itertools
import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data import features as features_module
from behavesim.data.accounts import FOLDS, NAMES, STRENGTH, AccountStatistics, FoldStatistics
from behavesim.data.features import MEDIA_KINDS, Features
from behavesim.data.task import BehaviourTask
from behavesim.data.tweets import tweets

SEED = 3


@pytest.fixture(scope="module")
def train(sample_frame):
    return sample_frame


@pytest.fixture(scope="module")
def folds(train):
    return FoldStatistics.fit([train], train.height, SEED)


@pytest.fixture(scope="module")
def fitted(train, folds):
    return Features.fit(lambda: [train], folds)


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


def cut(frame, lengths):
    """The frame in pieces, the last of which takes what is left."""
    bounds = sorted({0, frame.height, *(end for end in np.cumsum(lengths).tolist() if end < frame.height)})
    return [frame[start:end] for start, end in itertools.pairwise(bounds)]


def fit(frame, *lengths):
    return FoldStatistics.fit(iter(cut(frame, lengths)), frame.height, SEED)


def out_of_fold(frame):
    return fit(frame).out_of_fold(frame, 0)


def naive(frame, others):
    """Statistics of each row of `frame` from the rows of `others`, as the definition says."""
    logs = np.log1p(others["likes"].to_numpy().astype(np.float64))
    overall = logs.sum() / max(1, len(logs))

    def known(column, name):
        own = logs[(others[column] == name).to_numpy()]
        return own.sum(), len(own)

    found = []
    for username, company in frame.select("username", "company").iter_rows():
        (account, accounts), (firm, firms) = known("username", username), known("company", company)
        company_mean = (firm + STRENGTH * overall) / (firms + STRENGTH)
        account_mean = (account + STRENGTH * company_mean) / (accounts + STRENGTH)
        found.append([account_mean, company_mean, np.log1p(accounts), np.log1p(firms)])
    return np.array(found).reshape(-1, len(NAMES))


LIKES = st.lists(st.integers(0, 10**6), min_size=2, max_size=40)
LENGTHS = st.lists(st.integers(1, 20), max_size=8)


@settings(deadline=None, max_examples=50)
@given(LIKES, st.integers(0, 10**8), st.data())
def test_no_row_s_own_likes_reach_its_statistics(likes, changed, data):
    row = data.draw(st.integers(0, len(likes) - 1))
    other = [*likes[:row], changed, *likes[row + 1 :]]
    found = [out_of_fold(labelled(table))[row] for table in (likes, other)]
    # Sums less the row's own fold: equal but for the last bits of a float64.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-12)
    assert (found[0][2:] == found[1][2:]).all()


@settings(deadline=None, max_examples=25)
@given(LIKES, LENGTHS, st.integers(0, 5))
def test_out_of_fold_statistics_are_those_of_the_other_folds(likes, lengths, seed):
    frame = labelled(likes)
    statistics = FoldStatistics.fit(cut(frame, lengths), frame.height, seed)
    folds = np.random.default_rng(seed).permutation(frame.height) % FOLDS
    assert (statistics.folds == folds).all()
    found, start = [], 0
    for chunk in cut(frame, [7]):
        found.append(statistics.out_of_fold(chunk, start))
        start += chunk.height
    found = np.concatenate(found)
    for fold in range(FOLDS):
        own, rest = (frame.filter(pl.Series(chosen)) for chosen in (folds == fold, folds != fold))
        np.testing.assert_allclose(found[folds == fold], naive(own, rest), rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(LIKES, LENGTHS)
def test_all_folds_together_are_all_training_rows(likes, lengths):
    frame = labelled(likes)
    strangers = pl.DataFrame({"username": ["user 0", "nobody", "nobody"], "company": ["no one", "company 1", "no one"]})
    for rows in (frame, strangers):
        found = fit(frame, *lengths).overall_statistics().lookup(rows)
        np.testing.assert_allclose(found, naive(rows, frame), rtol=1e-12)


def test_other_rows_likes_do_reach_a_row():
    frame = labelled([10] * 30)
    more = frame.with_columns(likes=pl.Series([10] * 29 + [10**6]))
    change = out_of_fold(more)[:, 0] - out_of_fold(frame)[:, 0]
    assert change[-1] == pytest.approx(0, abs=1e-12) and (change[2:29:3] > 0.1).sum() >= 6


@pytest.mark.parametrize("lengths", [[1] * 50, [7] * 20, [199]])
def test_fitting_in_chunks_changes_nothing(train, fitted, lengths):
    statistics = fit(train, *lengths)
    again = Features.fit(lambda: iter(cut(train, lengths)), statistics)
    assert (again.first, again.last) == (fitted.first, fitted.last)
    np.testing.assert_allclose(again.mean, fitted.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(again.scale, fitted.scale, rtol=1e-9)
    whole = [values for start in (None, 0) for values in fitted.transform(train, rest(train, fitted, start))]
    parts = [values for start in (None, 0) for values in again.transform(train, rest(train, again, start))]
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def rest(train, fitted, start):
    """Out-of-fold statistics from `start` on, None for known ones."""
    return None if start is None else fit(train).out_of_fold(train, start)


def test_unknown_accounts_fall_back_to_their_company_then_to_all():
    frame = labelled([0, 100, 10_000, 7, 30, 2000])
    statistics = fit(frame).overall_statistics()
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


def test_features_come_back_from_json(train, folds, fitted):
    back = Features.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert back == fitted and isinstance(back.statistics, AccountStatistics)
    for statistics in (None, folds.out_of_fold(train, 0)):
        for found, expected in zip(back.transform(train, statistics), fitted.transform(train, statistics), strict=True):
            assert (found == expected).all() and found.dtype == np.float32


def test_columns_are_standardised_on_training_rows(train, folds, fitted):
    numbers, prior = fitted.transform(train, folds.out_of_fold(train, 0))
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
