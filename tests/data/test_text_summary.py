"""Texts as a few numbers: alike for training texts, and never wild for others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.text_summary import COLUMNS, LIMIT, TextSummary

VOCABULARY, WIDTH = 60, 8
TEXT = st.lists(st.integers(0, 10**6), max_size=40).map(lambda ids: np.array(ids, dtype=np.int64))


def drawn(count=400, seed=0, vocabulary=VOCABULARY):
    """Texts of a few subjects, so that they differ in some directions more than in others."""
    random = np.random.default_rng(seed)
    subjects = random.dirichlet(np.full(vocabulary, 0.2), 6)
    return [random.choice(vocabulary, random.integers(3, 30), p=subjects[random.integers(6)]) for _ in range(count)]


def fit(texts, vocabulary=VOCABULARY, width=WIDTH, chunk=1000):
    return TextSummary.fit(lambda: (texts[at : at + chunk] for at in range(0, len(texts), chunk)), vocabulary, width)


@pytest.fixture(scope="module")
def summary():
    return fit(drawn())


def test_numbers_of_training_texts_have_variance_one_and_do_not_go_together(summary):
    numbers = summary.transform(drawn())
    assert numbers.shape == (400, WIDTH) == (400, summary.width) and numbers.dtype == np.float32
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(numbers.var(axis=0), 1, atol=0.1)
    apart = np.corrcoef(numbers.T) - np.eye(WIDTH)
    assert np.abs(apart).max() < 0.1


def test_texts_of_one_subject_are_near_each_other(summary):
    random = np.random.default_rng(1)
    one, other = (np.arange(start, start + 10) for start in (0, 30))
    near = summary.transform([random.choice(one, 20), random.choice(one, 20), random.choice(other, 20)])
    assert np.linalg.norm(near[0] - near[1]) < np.linalg.norm(near[0] - near[2])


@pytest.mark.parametrize("chunk", [1, 7, 399])
def test_fitting_in_chunks_changes_nothing(summary, chunk):
    again, texts = fit(drawn(), chunk=chunk), drawn(50, seed=3)
    np.testing.assert_allclose(again.idf, summary.idf, rtol=1e-6)
    np.testing.assert_allclose(again.transform(texts), summary.transform(texts), atol=1e-3)


def test_transforming_in_chunks_changes_nothing(summary):
    texts = drawn(50, seed=3)
    alone = np.concatenate([summary.transform([text]) for text in texts])
    np.testing.assert_allclose(alone, summary.transform(texts), atol=1e-5)
    assert summary.transform([]).shape == (0, WIDTH)


def test_the_same_texts_give_the_same_summary(summary):
    again = fit(drawn())
    for name, array in vars(summary).items():
        assert array.tobytes() == getattr(again, name).tobytes() and array.dtype == np.float32
    assert summary.transform(drawn(20)).tobytes() == again.transform(drawn(20)).tobytes()


def test_words_in_another_order_are_the_same_text(summary):
    texts = drawn(20)
    backwards = [text[::-1] for text in texts]
    assert (summary.transform(texts) == summary.transform(backwards)).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXT, max_size=5))
def test_any_text_gives_small_finite_numbers(summary, texts):
    found = summary.transform(texts)
    assert found.shape == (len(texts), WIDTH) and np.isfinite(found).all() and np.abs(found).max(initial=0) <= LIMIT


def test_empty_texts_are_all_alike_and_finite(summary):
    empty = np.zeros(0, dtype=np.int64)
    found = summary.transform([empty, empty])
    assert np.isfinite(found).all() and (found[0] == found[1]).all()
    some = fit([*drawn(50), empty])
    assert np.isfinite(some.transform([empty])).all()


@pytest.mark.parametrize("texts", [[np.zeros(0, np.int64)] * 3, [np.array([1, 2])] * 3, [np.array([5])]])
def test_texts_that_do_not_differ_give_finite_numbers(texts):
    found = fit(texts).transform([*texts, np.array([3, 4, 5])])
    assert (found == 0).all()


def test_directions_that_training_did_not_see_say_nothing():
    texts = [np.array([1, 2]), np.array([1, 3]), np.array([2, 3, 4])]
    numbers = fit(texts).transform([*texts, np.array([40, 41])])
    assert (np.abs(numbers).max(axis=0) > 0.1).sum() == 2 and np.isfinite(numbers).all()


def test_a_large_vocabulary_is_folded_and_a_small_one_bounds_the_width():
    texts = drawn(60, vocabulary=5000)
    folded = fit(texts, vocabulary=5000)
    assert folded.components.shape == (COLUMNS, WIDTH) and np.isfinite(folded.transform(texts)).all()
    assert fit(drawn(60, vocabulary=4), vocabulary=4, width=64).width == 4
