"""The tokenizer that is learned from training texts: nothing of a text is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.tokenizer import train_tokenizer


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
