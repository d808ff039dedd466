"""The tokenizer that is learned from training texts: nothing of a text is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.tokenizer import MARKERS, add_markers, decoded, marker_pieces, train_tokenizer


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back(tokenizer, vocabulary, text):
    found = ids(tokenizer, text)
    assert tokenizer.decode(found) == text
    assert max(found, default=0) < len(tokenizer) <= vocabulary


@pytest.mark.parametrize("marker", ["<hyperlink>", "<mention>"])
@pytest.mark.parametrize("text", ["{}", "a {} b", "a{}b", "{}{}", "\n{} ."])
def test_a_marker_is_one_token(tokenizer, marker, text):
    found = ids(tokenizer, text.format(marker, marker))
    assert found.count(tokenizer.convert_tokens_to_ids(marker)) == text.count("{}")
    assert tokenizer.decode(found) == text.format(marker, marker)


def test_training_is_deterministic_and_learns_merges(frame, tokenizer, vocabulary):
    again = train_tokenizer(frame["content"], vocabulary)
    text = frame["content"][0]
    assert again.get_vocab() == tokenizer.get_vocab() and ids(again, text) == ids(tokenizer, text)
    assert len(ids(tokenizer, text)) < len(text.encode())


def test_special_tokens_are_told_apart(tokenizer):
    special = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert len(set(special)) == 3 and None not in special


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    back = AutoTokenizer.from_pretrained(tmp_path)
    text = "a <mention> b , c . é\n<hyperlink>"
    assert ids(back, text) == ids(tokenizer, text) and back.decode(ids(back, text)) == text
    assert (back.pad_token_id, back.bos_token_id) == (tokenizer.pad_token_id, tokenizer.bos_token_id)


@pytest.mark.parametrize("text", ["a {} b", "{}", "{}a", "see {} and {} now", "{}{} both", "at the end {}", "a\n{}\nb"])
def test_markers_become_single_tokens_of_a_published_tokenizer(published_tokenizer, text):
    tokenizer = published_tokenizer()
    text = text.format(*MARKERS)
    before = len(tokenizer)
    assert len(ids(tokenizer, MARKERS[0])) > 1
    add_markers(tokenizer)
    found = ids(tokenizer, text)
    new = tokenizer.convert_tokens_to_ids(list(MARKERS))
    assert new == [before, before + 1] and len(tokenizer) == before + 2
    assert [number for number in found if number in new] == new[: text.count("<")]
    assert decoded(tokenizer, [found, found]) == [text, text]
    add_markers(tokenizer)
    assert len(tokenizer) == before + 2


def test_pieces_of_a_marker_are_what_it_was_written_in(published_tokenizer):
    tokenizer = published_tokenizer()
    add_markers(tokenizer)
    pieces = marker_pieces(tokenizer)
    assert set(pieces) == set(tokenizer.convert_tokens_to_ids(list(MARKERS)))
    for marker, parts in zip(MARKERS, pieces.values(), strict=True):
        assert max(parts) < min(pieces) and "".join(tokenizer.decode(parts).split()) == marker


def test_a_tokenizer_that_splits_markers_has_no_pieces(published_tokenizer):
    assert marker_pieces(published_tokenizer()) == {}
