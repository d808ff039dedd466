"""What is asked of a model that writes tweets, and how its texts are read."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.data.content_task import LEVELS, SEPARATOR, ContentTask, levels
from behavesim.data.task import Told
from behavesim.data.tweets import Tweet

DAY = datetime(2020, 7, 4, 17, tzinfo=UTC)
TASK = ContentTask(DAY, DAY)
texts = st.text(max_size=40)


def tweet(content=""):
    return Tweet(DAY, content, "ann", "acme", "photo", 2)


def test_a_request_says_who_when_and_with_what_media():
    assert TASK.prompt(tweet("secret")).text == "ann of acme, Sat 17h Jul 2020, 2 photo:\n"
    aimed = TASK.prompt(tweet(), Told(level="high"))
    assert aimed.text == "ann of acme, Sat 17h Jul 2020, 2 photo, high likes:\n"


def test_earlier_tweets_stand_before_and_alone_may_be_cut():
    prompt = TASK.prompt(tweet(), Told(("new", "older")))
    assert prompt.content == f"new{SEPARATOR}older{SEPARATOR}" and prompt.before == ""
    assert prompt.after == TASK.prompt(tweet()).text


@given(one=texts, other=texts, examples=st.lists(texts, max_size=3))
def test_the_text_is_in_no_prompt(one, other, examples):
    told = Told(tuple(examples))
    assert TASK.prompt(tweet(one), told) == TASK.prompt(tweet(other), told)


@given(text=texts)
def test_a_text_is_read_as_it_was_posted(text):
    assert TASK.target(tweet(text), 3.0) == text
    if SEPARATOR not in text:
        assert TASK.parse(text) == text.strip()
    assert bool(TASK.parse(text)) == bool(text.strip())


def test_what_follows_in_the_form_of_a_prompt_is_no_part_of_a_text():
    assert TASK.parse(f" hello{SEPARATOR}ann of acme:") == "hello"
    assert TASK.parse(f"{SEPARATOR}hello") == "hello"


def rows(*pairs):
    return pl.DataFrame(pairs, schema={"username": pl.String, "likes": pl.Int64}, orient="row")


def test_levels_are_fifths_of_the_account_s_own_likes():
    known = rows(*(("ann", likes) for likes in range(10)), *(("bob", 1000 * likes) for likes in range(10)))
    asked = rows(("ann", 0), ("ann", 3), ("ann", 4), ("ann", 9), ("bob", 9), ("bob", 9000), ("ann", None))
    expected = ["lowest", "low", "middle", "highest", "lowest", "highest", None]
    assert levels(asked, known) == expected


def test_of_an_account_with_equal_likes_every_tweet_is_in_the_middle():
    assert levels(rows(("ann", 7)), rows(*[("ann", 7)] * 6)) == ["middle"]


@pytest.mark.parametrize("posts", [0, 4])
def test_accounts_with_few_posts_are_seen_among_all(posts):
    known = rows(*(("ann", likes) for likes in range(100)), *[("bob", 0)] * posts)
    assert levels(rows(("bob", 99), ("bob", 1)), known) == ["highest", "lowest"]


@given(known=st.lists(st.integers(0, 50), max_size=30), likes=st.lists(st.integers(0, 60), min_size=2, max_size=2))
def test_more_likes_are_no_lower_level(known, likes):
    found = levels(rows(*(("ann", count) for count in sorted(likes))), rows(*(("ann", count) for count in known)))
    places = [LEVELS.index(level) for level in found]
    assert places == sorted(places)
