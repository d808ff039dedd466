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
from behavesim.data.features import Features
from behavesim.data.history import MEDIA_KINDS
from behavesim.data.task import BehaviourTask
from behavesim.data.tweets import tweets


@pytest.fixture(scope="module")
def train(sample_frame):
    return sample_frame


@pytest.fixture(scope="module")
def fitted(train):
    return Features.fit(lambda: [train])


def column(fitted, frame, name):
    """One column of `observed`, back on its own scale."""
    place = features_module.names(fitted).index(name)
    return fitted.observed(frame)[:, place] * fitted.scale[place] + fitted.mean[place]


def cut(frame, lengths):
    """The frame in pieces, the last of which takes what is left."""
    bounds = sorted({0, frame.height, *(end for end in np.cumsum(lengths).tolist() if end < frame.height)})
    return [frame[start:end] for start, end in itertools.pairwise(bounds)]


@pytest.mark.parametrize("lengths", [[1] * 50, [7] * 20, [199]])
def test_fitting_in_chunks_changes_nothing(train, fitted, lengths):
    again = Features.fit(lambda: iter(cut(train, lengths)))
    assert (again.first, again.last) == (fitted.first, fitted.last)
    np.testing.assert_allclose(again.mean, fitted.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(again.scale, fitted.scale, rtol=1e-9)
    np.testing.assert_allclose(again.observed(train), fitted.observed(train), rtol=1e-7, atol=1e-9)


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
    assert [text.split(",")[0].split()[-1] for text in shown] == [str(year) for year in np.repeat(years[1:3], 2)]
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


def test_features_come_back_from_json(train, fitted):
    back = Features.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert back == fitted
    assert (back.observed(train) == fitted.observed(train)).all()


def test_columns_are_standardised_on_training_rows(train, fitted):
    numbers = fitted.observed(train)
    assert numbers.shape == (train.height, fitted.count)
    assert len(features_module.names(fitted)) == fitted.count
    whole = np.abs(numbers).max(axis=0) < 8  # nothing clipped
    varied = numbers.std(axis=0) > 0
    assert whole.sum() > 25 and varied.sum() > 25
    assert np.abs(numbers[:, whole].mean(axis=0)).max() < 1e-6
    np.testing.assert_allclose(numbers[:, whole & varied].std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("shows", [("time",), ("wording", "media"), ("media",)])
def test_what_is_not_shown_changes_no_number(train, fitted, shows):
    some = Features.fit(lambda: [train], shows)
    other = train.with_columns(
        **({} if "time" in shows else {"date": pl.col("date").reverse()}),
        **({} if "wording" in shows else {"content": pl.lit("other words")}),
        **({} if "media" in shows else {"media_kind": pl.lit("video"), "media_count": pl.lit(9)}),
    )
    assert other.select("date", "content", "media_kind").rows() != train.select("date", "content", "media_kind").rows()
    np.testing.assert_array_equal(some.observed(other), some.observed(train))
    told = features_module.names(some)
    assert 0 < len(told) < fitted.count
    whole = fitted.observed(train)[:, [features_module.names(fitted).index(name) for name in told]]
    np.testing.assert_array_equal(some.observed(train), whole)
    assert Features.from_dict(json.loads(json.dumps(some.to_dict()))) == some


def test_each_number_belongs_to_one_group(train, fitted):
    alone = [features_module.names(Features.fit(lambda: [train], [group])) for group in features_module.GROUPS]
    assert sorted(itertools.chain(*alone)) == sorted(features_module.names(fitted))


def test_labels_are_not_read(train, fitted):
    blank = train.with_columns(likes=pl.lit(None, dtype=pl.Int64))
    assert (fitted.observed(blank) == fitted.observed(train)).all()
    assert Features.fit(lambda: [blank]) == fitted


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("three words here", "words", np.log1p(3)),
        ("a <hyperlink> b <hyperlink>", "links", np.log1p(2)),
        ("a <mention>", "mentions", np.log1p(1)),
        ("<mention> a", "reply", 1),
        ("a <mention>", "reply", 0),
        ("#one two #three", "hashtags", np.log1p(2)),
        ("12 or 3", "digits", np.log1p(3)),
        ("a\nb\n", "lines", np.log1p(2)),
        ("ABcd", "capitals", 0.5),
        ("aé", "beyond_ascii", 0.5),
        ("", "beyond_ascii", 0),
    ],
)
def test_wording_is_counted(train, fitted, text, name, expected):
    exact = fitted.__class__(**(vars(fitted) | {"scale": (1.0,) * fitted.count}))  # so that nothing is clipped
    found = column(exact, train.head(1).with_columns(content=pl.lit(text)), name)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_every_media_kind_has_its_column(train, fitted):
    for kind in MEDIA_KINDS:
        found = column(fitted, train, f"media_{kind}")
        np.testing.assert_allclose(found, (train["media_kind"] == kind).to_numpy(), atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(content=st.text(max_size=60), year=st.integers(1900, 2200))
def test_any_text_and_date_give_finite_numbers(train, fitted, content, year):
    frame = train.head(1).with_columns(content=pl.lit(content), date=pl.lit(datetime(year, 2, 28, 23, 59)))
    numbers = fitted.observed(frame)
    assert np.isfinite(numbers).all() and np.abs(numbers).max() <= 8
