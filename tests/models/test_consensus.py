"""The draw that the others agree with most."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.models.consensus import agreement, by_agreement, common_length
from behavesim.models.decoding import Decoding, write

PAD = 0
texts = st.lists(st.integers(1, 4), max_size=7)


def padded(rows, width=7):
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.int64)


def in_common(left, right):
    """The same by its definition: a token of the front is in it, or one of the two texts goes on without."""
    if not left or not right:
        return 0
    if left[0] == right[0]:
        return 1 + in_common(left[1:], right[1:])
    return max(in_common(left[1:], right), in_common(left, right[1:]))


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_common_length_is_that_of_the_definition(pairs):
    left, right = (padded(side) for side in zip(*pairs, strict=True))
    assert common_length(left, right, PAD).tolist() == [in_common(*pair) for pair in pairs]


def test_agreement_by_hand():
    # Of [1 2 3 4] and [1 3 4 5] three tokens are common: 6 / 8; [9] has nothing in common with any.
    ids = padded([[1, 2, 3, 4], [1, 3, 4, 5], [9]])[None]
    assert agreement(ids, PAD)[0].tolist() == pytest.approx([0.375, 0.375, 0.0])
    assert agreement(ids[:, :1], PAD).tolist() == [[0.0]]


@settings(deadline=None, max_examples=40)
@given(draws=st.lists(texts, min_size=3, max_size=6), seed=st.integers(0, 99))
def test_the_nearest_comes_first_in_whatever_order_they_were_drawn(draws, seed):
    ids = padded(draws)[None]
    found = by_agreement(ids, PAD)
    scores = agreement(found, PAD)[0]
    assert (scores.diff() <= 1e-6).all()
    assert sorted(found[0].tolist()) == sorted(ids[0].tolist())
    turned = ids[:, torch.randperm(len(draws), generator=torch.Generator().manual_seed(seed))]
    assert agreement(by_agreement(turned, PAD), PAD)[0].tolist() == pytest.approx(scores.tolist(), abs=1e-6)


def test_it_is_chosen_among_the_draws_of_the_same_seed(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs([[11, 12, 13, 14, 15], [21, 22, 23]])
    drawn = write(model, inputs, Decoding("sampled", alternatives=5, max_new_tokens=6, temperature=0.3))
    settled = Decoding("consensus", alternatives=2, draws=5, max_new_tokens=6, temperature=0.3)
    assert torch.equal(write(model, inputs, settled), by_agreement(drawn, model.pad_id)[:, :2])
    assert write(model, inputs, replace(settled, draws=1)).shape[1] == 2  # never fewer than are asked for
