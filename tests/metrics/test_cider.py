"""CIDEr-D against a public implementation and against what can be worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.metrics.cider import cider_d

TEXTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=1, max_size=6)


def split(*sentences):
    return [sentence.split() for sentence in sentences]


def test_the_published_example_of_aac_metrics():
    """The example of its README; its tokeniser drops the full stops."""
    texts = split("a man is speaking", "rain falls")
    references = [
        split("a man speaks", "someone speaks", "a man is speaking while a bird is chirping in the background"),
        split("rain is falling hard on a surface"),
    ]
    found = cider_d(texts, references)
    assert found == pytest.approx([1.3641, 0.5587], abs=5e-5)
    assert found.mean() == pytest.approx(0.9614, abs=5e-5)


def test_half_of_two_words():
    """Text `a b`, reference `a c`, each n-gram in one reference of two: weights ln 2."""
    found = cider_d(split("a b", "x y"), [split("a c"), split("p q")])
    # 1-grams share one of two: cosine 1/2; no 2-gram is shared; there are no longer ones. Lengths are equal.
    assert found == pytest.approx([10 * (1 / 2) / 4, 0.0])


def test_what_is_repeated_earns_no_more_and_length_costs():
    once, often = cider_d(split("a b", "a b a b", "z"), [split("a b"), split("a b"), split("y")])[:2]
    assert once == pytest.approx(10 * 2 / 4)  # 1-grams and 2-grams are all there, longer ones in neither
    # `a`, `b` and `a b` twice, cut at once; `b a` is strange to all references and weighs the logarithm of all 3.
    pair, strange = math.log(3 / 2), math.log(3)
    cosines = 2 * pair**2 / (math.sqrt(8) * pair * math.sqrt(2) * pair) + pair / math.sqrt(4 * pair**2 + strange**2)
    assert often == pytest.approx(10 * cosines / 4 * math.exp(-(2**2) / 72))


def test_what_all_references_hold_weighs_nothing():
    assert cider_d(split("a b c d"), [split("a b c d")]).tolist() == [0.0]
    assert cider_d(split("a", "a"), [split("a"), split("a")]).tolist() == [0.0, 0.0]


@given(TEXTS, st.data())
def test_scores_lie_between_0_and_10_and_follow_their_rows(references, data):
    texts = [data.draw(st.lists(st.sampled_from("abcde"), max_size=8)) for _ in references]
    wanted = [[reference] for reference in references]
    found = cider_d(texts, wanted)
    assert ((found >= 0) & (found <= 10 + 1e-9)).all()
    order = data.draw(st.permutations(range(len(texts))))
    again = cider_d([texts[row] for row in order], [wanted[row] for row in order])
    np.testing.assert_array_equal(again, found[order])
    best = cider_d(references, wanted)
    assert (best >= found - 1e-9).all()


@pytest.mark.parametrize("references", [[], [[["a"]], [["b"]]], [[]]])
def test_each_text_needs_references(references):
    with pytest.raises(ValueError, match="found 1 texts"):
        cider_d([["a"]], references)


def test_empty_texts_score_nothing():
    assert cider_d([[], ["a"]], [[["a"]], [[]]]).tolist() == [0.0, 0.0]
