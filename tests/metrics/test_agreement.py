"""The text that others have most in common with."""

from hypothesis import given
from hypothesis import strategies as st

from behavesim.metrics.agreement import by_agreement

texts = st.lists(st.text(alphabet="ab <hyperlink>.", max_size=12), min_size=1, max_size=6)


def test_by_hand():
    # Words and pairs in common with `new shoes today`: 5 of 5, 3 of 5, none.
    drawn = ["old hats", "new shoes tomorrow", "New shoes today!"]
    assert by_agreement(drawn, ["new shoes today"]) == [2, 1, 0]


def test_without_references_the_others_count():
    assert by_agreement(["x y", "a b c", "a b d"], []) == [1, 2, 0]


def test_what_is_copied_does_not_count():
    references = ["summer sale of shoes", "winter sale of hats", "winter sale of coats"]
    # The first is one of them word for word, the second has something of each.
    assert by_agreement(["summer sale of shoes", "winter sale of shoes"], references) == [1, 0]


def test_a_marker_is_one_word():
    assert by_agreement(["link", "<hyperlink>"], ["see <hyperlink>"]) == [1, 0]


@given(texts=texts, references=texts)
def test_nothing_is_lost_and_their_order_counts_among_equals_alone(texts, references):
    order = by_agreement(texts, references)
    assert sorted(order) == list(range(len(texts)))
    assert by_agreement([texts[place] for place in order], references) == list(range(len(texts)))


@given(texts=texts, others=texts)
def test_a_text_that_was_posted_comes_first(texts, others):
    posted = "winter sale of hats"
    assert by_agreement([*texts, posted], [posted])[0] == len(texts)
