"""Scores of written tweets, against what can be worked out by hand."""

import math
import random
import sys

import pytest
from absl import logging as absl_logging
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.metrics.text import text_metrics, tokens

TWEETS = st.text(alphabet="abc ABC.!é <>#'", max_size=20) | st.sampled_from(["<mention> hi", "go <hyperlink>", ""])
SHARES = (
    "bleu_1",
    "bleu_2",
    "bleu_3",
    "bleu_4",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "chrf",
    "distinct_texts",
    "empty_texts",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("<mention>'s <HYPERLINK>", ["<mention>", "'", "s", "<hyperlink>"]),
        ("don’t #Übung 3.5%", ["don’t", "#", "übung", "3", ".", "5", "%"]),
        ("😀👍", ["😀", "👍"]),
        ("<b>", ["<", "b", ">"]),
        (" \n", []),
    ],
)
def test_tokens(text, expected):
    assert tokens(text) == expected


def test_every_score_by_hand():
    found = text_metrics(["The cat sat <mention>", "a dog"], ["the cat ran <mention>", "a dog"])
    # Tokens: 5 of 6 are right; pairs: 2 of 4 (`the cat`, `a dog`); lengths agree.
    assert found["bleu_1"] == pytest.approx(5 / 6)
    assert found["bleu_2"] == pytest.approx(math.sqrt(5 / 6 * 2 / 4))
    assert found["rouge_1"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["rouge_2"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["rouge_l"] == pytest.approx((3 / 4 + 1) / 2)
    # Two references, every n-gram in one of them: cosines 3/4, 1/3, 0, 0 and 1, 1, and no longer ones.
    assert found["cider"] == pytest.approx(10 * ((3 / 4 + 1 / 3) / 4 + 2 / 4) / 2)
    assert (found["distinct_texts"], found["empty_texts"], found["length_ratio"], found["n"]) == (1, 0, 1, 2)


def test_a_short_text_pays_in_bleu():
    assert text_metrics(["a b"], ["a b c d"])["bleu_1"] == pytest.approx(math.exp(1 - 4 / 2))


def test_rouge_l_follows_the_longest_common_subsequence():
    found = text_metrics(["a x b y c"], ["c a b c"])["rouge_l"]  # a b c: 3 of 5 and 3 of 4
    assert found == pytest.approx(2 * 3 / 5 * 3 / 4 / (3 / 5 + 3 / 4))


def test_a_marker_is_one_token_and_one_character():
    marked = text_metrics(["<hyperlink>"], ["<mention>"])
    assert marked["bleu_1"] == pytest.approx(marked["chrf"]) == 0
    one = text_metrics(["x <hyperlink>", "z"], ["y <hyperlink>", "z"])
    assert one["bleu_1"] == pytest.approx(2 / 3) and one["rouge_1"] == pytest.approx((1 / 2 + 1) / 2)
    assert text_metrics(["<hyperlink>"], ["x"])["chrf"] == text_metrics(["y"], ["x"])["chrf"] == 0


def test_case_never_counts():
    assert text_metrics(["HI <MENTION>", "b"], ["hi <mention>", "B"]) == text_metrics(
        ["hi <mention>", "b"], ["hi <mention>", "B"]
    )


def test_punctuation_counts_in_bleu_alone():
    bare, marked = (
        text_metrics(["good day", "b"], ["good day!", "b"]),
        text_metrics(["good day", "b"], ["good day", "b"]),
    )
    assert bare["bleu_1"] < marked["bleu_1"] == pytest.approx(1)
    assert bare["rouge_l"] == marked["rouge_l"] == 1 and bare["cider"] == marked["cider"] > 0


@settings(deadline=None)
@given(st.lists(st.tuples(TWEETS, TWEETS), min_size=1, max_size=6), st.integers(0, 100))
def test_scores_are_shares_whatever_is_written_and_in_whatever_order(rows, seed):
    found = text_metrics(*zip(*rows, strict=True))
    assert all(0 <= found[name] <= 1 + 1e-9 for name in SHARES) and 0 <= found["cider"] <= 10 + 1e-9
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert text_metrics(*zip(*shuffled, strict=True)) == found


@pytest.mark.parametrize("texts", [["", ""], ["  ", "\n"]])
def test_empty_texts_score_nothing(texts):
    found = text_metrics(texts, ["one two", "three"])
    assert found["empty_texts"] == 1
    assert all(found[name] == 0 for name in ("bleu_1", "bleu_4", "rouge_1", "rouge_l", "cider", "chrf", "length_ratio"))


@pytest.mark.parametrize(("texts", "references"), [([], []), (["a"], []), (["a"], ["b", "c"])])
def test_rows_go_in_pairs(texts, references):
    with pytest.raises(ValueError, match="accepted: as many, at least one"):
        text_metrics(texts, references)


def test_the_process_s_own_stderr_is_all_that_a_log_handler_may_hold():
    assert absl_logging.get_absl_handler().python_handler.stream is sys.__stderr__
