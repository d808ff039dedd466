"""The cache of earlier texts: what is copied, and from where."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.models.copying import FACTOR, ORDER, Copying
from behavesim.models.decoding import Decoding, write

VOCAB = 6
END = 5
ids = st.lists(st.integers(0, VOCAB - 2), max_size=7)


def padded(rows):
    """Rows of texts, [B, E, L]."""
    texts, length = max(map(len, rows)), max((len(text) for row in rows for text in row), default=0)
    found = torch.full((len(rows), texts, length), -1)
    for row, of_row in enumerate(rows):
        for number, text in enumerate(of_row):
            found[row, number, : len(text)] = torch.tensor(text, dtype=torch.int64)
    return found


def followed(texts, said):
    """What follows the last tokens of `said`, by hand: weights of tokens."""
    found, said = Counter(), [None] * ORDER + said
    for text in texts:
        told = [None] * ORDER + text
        for place in range(ORDER, len(told)):
            agree = next((n for n in range(ORDER) if told[place - 1 - n] != said[-1 - n]), ORDER)
            if agree:
                found[told[place]] += FACTOR**agree
    return found


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.lists(ids, min_size=1, max_size=3), min_size=1, max_size=3),
    said=st.lists(ids, min_size=1, max_size=4),
    share=st.floats(0, 0.99),
)
def test_as_counted_by_hand(rows, said, share):
    rows = [[[*text, END] for text in row] for row in rows]
    length = min(map(len, said))
    said = [text[:length] for text in said]
    of = torch.tensor([number % len(rows) for number in range(len(said))])
    logits = torch.randn(len(said), VOCAB, generator=torch.Generator().manual_seed(length))
    mixed = Copying(padded(rows), share).mixed(logits, torch.tensor(said).view(len(said), length).long(), of).exp()
    for place, text in enumerate(said):
        counts = followed(rows[int(of[place])], text)
        own = logits[place].softmax(dim=0)
        copied = torch.tensor([counts[token] for token in range(VOCAB)])
        expected = (1 - share) * own + share * copied / copied.sum() if counts else own
        assert torch.allclose(mixed[place], expected, atol=1e-5)


def test_what_begins_a_text_begins_the_next_and_an_end_ends_it():
    copying, logits = Copying(padded([[[1, 2, END], [3, END]]]), 0.999), torch.zeros(1, VOCAB)
    first = copying.mixed(logits, torch.zeros(1, 0, dtype=torch.int64), torch.tensor([0])).exp()[0]
    assert first[[1, 3]].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    assert copying.mixed(logits, torch.tensor([[3]]), torch.tensor([0])).argmax() == END


@pytest.mark.parametrize("how", ["greedy", "beam", "sampled", "consensus"])
def test_every_way_of_decoding_copies_from_its_own_row(family_model, model_inputs, how):
    model = family_model("llama")
    model.eos_ids = (7,)
    texts = [[11, 12, 13, 14, 15], [21, 22, 23], [31, 32, 33, 34]]
    known = [list(range(100, 109)), list(range(120, 129)), list(range(140, 149))]
    earlier = padded([[[*text, 7]] for text in known])
    decoding = Decoding(how, alternatives=1, draws=3, beams=2, copying=0.9999, max_new_tokens=12)
    found = write(model, model_inputs(texts, {0: 1}), decoding, earlier)
    for row, text in enumerate(known):
        assert all(written[: len(text)] == text for written in found[row].tolist())
    without = write(model, model_inputs(texts, {0: 1}), decoding)
    assert not set(without.flatten().tolist()) & {100, 120, 140}


def test_a_row_without_earlier_texts_is_written_as_ever(family_model, model_inputs):
    model, texts = family_model("llama"), [[11, 12, 13, 14, 15], [21, 22, 23]]
    decoding = Decoding("greedy", copying=0.9, max_new_tokens=8)
    found = write(model, model_inputs(texts), decoding, padded([[[100, 101, 7]], [[]]]))
    assert torch.equal(found[1], write(model, model_inputs(texts), decoding)[1]) and found[0, 0, 0] == 100


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_by_default_changes_nothing(dtype):
    logits, said, rows = torch.zeros(1, VOCAB), torch.tensor([[1]]), torch.tensor([0])
    expected = Copying(padded([[[1, 2, END]]]), 0.5).mixed(logits, said, rows)
    torch.set_default_dtype(dtype)
    try:
        assert torch.equal(Copying(padded([[[1, 2, END]]]), 0.5).mixed(logits, said, rows), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_was_said_counts_less_in_the_model_alone():
    copying = Copying(padded([[[1, 2, END]]]), 0.8)
    said, rows = torch.tensor([[2, 1]]), torch.tensor([0])
    decoding = Decoding(repetition_penalty=1e9)
    found = decoding.score(torch.ones(1, VOCAB), said, lambda logits: copying.mixed(logits, said, rows))
    assert found.exp()[0, 2] == pytest.approx(0.8 + 0.2 / (2 + 4 * math.e), abs=1e-4)
