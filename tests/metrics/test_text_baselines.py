"""Guesses of what a tweet says: training tweets of the account."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.metrics.text_baselines import most_typical, nearest_by_metadata, nearest_in_time, random_of_account

START = datetime(2020, 1, 1, tzinfo=UTC)
posts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), min_size=1, max_size=20)


def frame(rows, **columns):
    """Rows of (account, hours); texts are their places."""
    table = pl.DataFrame(
        {
            "username": [name for name, _ in rows],
            "date": [START + timedelta(hours=hours) for _, hours in rows],
            "content": [str(place) for place in range(len(rows))],
        },
        schema={"username": pl.String, "date": pl.Datetime("us", "UTC"), "content": pl.String},
    )
    values = {"company": "acme", "media_kind": "photo", "media_count": 1} | columns
    return table.with_columns(
        value if isinstance(value, pl.Series) else pl.lit(value).alias(name) for name, value in values.items()
    )


@given(train=posts, asked=posts)
def test_the_nearest_in_time_is_of_the_account_where_it_has_any(train, asked):
    found = nearest_in_time(frame(train), frame(asked))
    for (name, hours), text in zip(asked, found, strict=True):
        own = [post for post in train if post[0] == name] or train
        assert train[int(text)] in own
        assert abs(train[int(text)][1] - hours) == min(abs(other - hours) for _, other in own)


@given(train=posts, asked=posts, seed=st.integers(0, 9))
def test_a_random_tweet_is_of_the_account_and_of_its_seed(train, asked, seed):
    found = random_of_account(frame(train), frame(asked), seed)
    assert found == random_of_account(frame(train), frame(asked), seed)
    for (name, _), text in zip(asked, found, strict=True):
        assert train[int(text)][0] == name or name not in {other for other, _ in train}


def test_every_tweet_of_an_account_is_drawn_sometimes():
    train = frame([("a", hours) for hours in range(4)])
    assert set(random_of_account(train, frame([("a", 0)] * 200), 0)) == set("0123")


def test_the_most_typical_tweet_has_most_in_common_with_the_others():
    texts = ["a b c", "a b d", "a b c d", "x y", "p q", "p q r"]
    train = frame([("a", hours) for hours in range(4)] + [("b", 0), ("b", 1)], content=pl.Series("content", texts))
    assert most_typical(train, frame([("b", 0), ("a", 0), ("c", 0)])) == ["p q", "a b c d", "a b c d"]


def test_old_tweets_are_no_longer_typical():
    texts = ["old words"] * 40 + [f"new {place}" for place in range(32)]
    train = frame([("a", hours) for hours in range(72)], content=pl.Series("content", texts))
    assert most_typical(train, frame([("a", 99)]))[0].startswith("new")


@pytest.mark.parametrize(
    ("asked", "text"),
    [((("a", 0), {}), "0"), ((("b", 30), {}), "3"), ((("c", 700), {"company": "zeta"}), "4"), ((("a", 25), {}), "1")],
)
def test_the_nearest_by_metadata_shares_most_of_what_is_rare(asked, text):
    companies = pl.Series("company", ["acme", "acme", "acme", "acme", "zeta"])
    train = frame([("a", 0), ("a", 25), ("b", 0), ("b", 30), ("d", 700)], company=companies)
    row, columns = asked
    assert nearest_by_metadata(train, frame([row], **columns)) == [text]


def test_of_equally_near_tweets_the_latest_counts():
    week = 24 * 7  # the same hour and weekday, and of one month
    train = frame([("a", 0), ("a", 2 * week), ("a", week)])
    assert nearest_by_metadata(train, frame([("a", 3 * week)])) == ["1"]


def test_names_with_spaces_are_one_word():
    train = frame([("an n", 0), ("an", 0)])
    assert nearest_by_metadata(train, frame([("an", 0), ("an n", 0)])) == ["1", "0"]
