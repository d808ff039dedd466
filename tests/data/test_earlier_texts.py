"""What an account posted before, as token ids."""

import polars as pl
import pytest

from behavesim.data.earlier_texts import NOTHING, EarlierTexts
from behavesim.data.history import SCHEMA as POSTS
from behavesim.data.history import History


@pytest.fixture
def history(frame):
    """The table's rows as posts whose texts are known."""
    numbers = pl.lit([], dtype=POSTS["numbers"])
    return History.of([frame.with_columns(numbers=numbers, likes=pl.col("likes").fill_null(0))])


def texts_of(tokenizer, row):
    """The texts of a row [E, L], each of which has an end."""
    ids = [text[text != NOTHING].tolist() for text in row]
    assert all(text[-1] == tokenizer.eos_token_id for text in ids if text)
    return [tokenizer.decode(text[:-1]) for text in ids if text]


def test_the_latest_strictly_earlier_texts_of_the_account_the_latest_first(frame, history, tokenizer):
    rows = list(range(frame.height))
    found = EarlierTexts.of(frame, history, 3, tokenizer).rows(rows)
    assert found.shape[:2] == (frame.height, 3) and sum(bool((row != NOTHING).any()) for row in found) > 3
    for row, (name, date) in zip(found, frame.select("username", "date").iter_rows(), strict=True):
        earlier = frame.filter(pl.col("username") == name, pl.col("date") < date, pl.col("content") != "")
        expected = earlier.sort("date", descending=True, maintain_order=True)["content"].head(3).to_list()
        assert texts_of(tokenizer, row) == expected


def test_posts_without_a_text_are_passed_over(frame, history, tokenizer):
    silent = pl.when(pl.int_range(pl.len()) % 2 == 0).then("content").otherwise(pl.lit(None, pl.String))
    some = History(history.posts.with_columns(content=silent))
    left = some.posts.drop_nulls("content").with_columns(pl.col("date").dt.replace_time_zone(None))
    left = left.filter(pl.col("content") != "").sort("date", descending=True, maintain_order=True)
    found = EarlierTexts.of(frame, some, 3, tokenizer).rows(list(range(frame.height)))
    for row, (name, date) in zip(found, frame.select("username", "date").iter_rows(), strict=True):
        earlier = left.filter(pl.col("username") == name, pl.col("date") < date)["content"].head(3).to_list()
        assert texts_of(tokenizer, row) == earlier
    assert (found != NOTHING).any(dim=2).sum() > 3


def test_a_batch_is_as_wide_as_its_own_longest_text(frame, history, tokenizer):
    texts = EarlierTexts.of(frame, history, 2, tokenizer)
    for row in range(frame.height):
        longest = max((len(texts.ids[place]) for place in texts.places[row] if place >= 0), default=0)
        assert texts.rows([row]).shape == (1, 2, longest)


def test_where_nothing_is_known_there_is_nothing(frame, tokenizer):
    found = EarlierTexts.of(frame, History.of([]), 4, tokenizer).rows([1, 0])
    assert found.shape == (2, 4, 0)
