"""Numbers by which splits know copies: one for texts that are nearly identical, one for a tweet."""

from datetime import datetime, timedelta
from unicodedata import normalize

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.split import identity_hash, mix64, text_keys

START = datetime(2019, 1, 1)


def frame_of(rows):
    """A table of texts, each with the numbers of its account and of its day."""
    columns = {"content": pl.String, "username": pl.String, "date": pl.Datetime("us")}
    cells = [(text, f"user {account}", START + timedelta(days=day)) for text, account, day in rows]
    return pl.DataFrame(cells, schema=columns, orient="row")


def key_list(texts):
    return text_keys(frame_of([(text, 0, 0) for text in texts])).tolist()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Big SALE!", "big sale", True),
        ("Big sale 20%", "Big sale 30%", True),
        ("<mention> big sale <hyperlink>", "big sale", True),
        ("ｂｉｇ ﬁne", "big fine", True),
        ("big sale", "big tale", False),
        ("日本", "日本語", False),
        ("\U0001f525", "\U0001f4a7", False),
        ("नमस्ते", "नमसत", False),
        ("e\u0301te\u0301", "été", True),
        ("e-\u0301", "é", True),  # what is dropped stood between a letter and its accent
        ("H\u0331", "\u1e96", True),  # a small letter that has no capital of one character
        ("İzmir", "i\u0307zmir", True),
        ("İzmir", "izmir", False),
        ("say<mention>it", "say it", True),
        ("<MENTION> hello", "hello", True),
        ("mention hello", "hello", False),
        ("#Sale today", "sale today", True),
        ("a + b", "a b", False),
        ("now $5", "now 5", False),
        ("Ⅳ", "iv", True),
    ],
)
def test_what_is_nearly_identical(one, other, same):
    keys = text_keys(frame_of([(one, 0, 0), (other, 1, 1)]))
    assert (keys[0] == keys[1]) == same


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_a_folded_text_keeps_its_key(texts):
    keys = key_list(texts)
    assert key_list([normalize("NFKC", text) for text in texts]) == keys
    assert key_list([normalize("NFD", text) for text in texts]) == keys
    assert key_list([f" 12, {text} !" for text in texts]) == keys


def test_texts_of_nothing_but_signs_are_told_apart_by_account_and_date():
    signs = ["", "12!", "…", ".", "<mention> <hyperlink>", "＜mention＞", "\u200b"]
    keys = text_keys(frame_of([(text, 0, 0) for text in signs] + [("", 0, 1), ("", 1, 0)])).tolist()
    assert len(set(keys[: len(signs)])) == 1 and len(set(keys)) == 3


def test_no_rows_have_no_keys():
    assert text_keys(frame_of([])).shape == identity_hash(frame_of([])).shape == (0,)


def test_the_identity_is_account_date_and_text():
    frame = frame_of([("a", 0, 0), ("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1)])
    found = identity_hash(frame.with_columns(company=pl.lit("any"), id=pl.Series(range(5))))
    assert found[0] == found[1] and len(set(found.tolist())) == 4 and (found >= 0).all()


def test_the_identity_is_the_same_on_every_machine():
    assert identity_hash(frame_of([("a", 0, 0)])).tolist() == [6406571250755893395]


def test_numbers_are_mixed_as_splitmix64_does():
    states = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix64(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
