"""Decoding of texts: what may not stand where, and how draws are steered."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.models.decoding import Decoding, write

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23], [31, 32, 33, 34]]
HOWS = [
    Decoding("greedy", max_new_tokens=6),
    Decoding("beam", alternatives=2, beams=3, max_new_tokens=6),
    Decoding("sampled", alternatives=3, max_new_tokens=6),
    Decoding("consensus", alternatives=2, draws=4, max_new_tokens=6),
]


@pytest.mark.parametrize("decoding", HOWS, ids=lambda decoding: decoding.how)
def test_what_may_never_stand_does_not_and_no_text_is_empty(family_model, model_inputs, decoding):
    model, inputs = family_model("llama"), model_inputs(TEXTS, {0: 1})
    free = write(model, inputs, decoding)
    never = tuple(free.unique().tolist())
    model.eos_ids = (next(token for token in range(300) if token not in never),)
    found = write(model, inputs, replace(decoding, never=never, not_first=model.eos_ids))
    written = found[found != model.pad_id]
    assert not set(written.tolist()) & set(never)
    assert not torch.isin(found[:, :, 0], torch.tensor(model.eos_ids)).any()


@pytest.mark.parametrize("decoding", HOWS, ids=lambda decoding: decoding.how)
def test_who_else_is_in_the_batch_changes_nothing(family_model, model_inputs, decoding):
    model = family_model("llama")
    together = write(model, model_inputs(TEXTS, {0: 1}, pad_to=9), decoding)
    turned = write(model, model_inputs(TEXTS[::-1], {2: 1}), decoding)
    assert torch.equal(turned.flip(0), together)


def test_draws_are_those_of_their_seed(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS)
    draws = [write(model, inputs, replace(HOWS[2], seed=seed)).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_cold_draw_is_greedy(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS)
    greedy = write(model, inputs, HOWS[0])
    for cold in ({"temperature": 1e-4}, {"top_p": 1e-6}):
        assert torch.equal(write(model, inputs, replace(HOWS[2], alternatives=1, **cold)), greedy)


def test_what_was_said_is_less_likely_to_be_said_again(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS)
    free = write(model, inputs, replace(HOWS[0], max_new_tokens=20))
    held = write(model, inputs, replace(HOWS[0], max_new_tokens=20, repetition_penalty=50.0))
    repeated = [sum(20 - row.unique().numel() for row in ids[:, 0]) for ids in (free, held)]
    assert repeated[1] < repeated[0]


@settings(deadline=None, max_examples=25)
@given(
    logits=st.lists(st.floats(-5, 5), min_size=6, max_size=6),
    said=st.lists(st.integers(0, 5), max_size=4),
    top_p=st.floats(0.05, 1),
    temperature=st.floats(0.2, 3),
)
def test_the_likeliest_token_is_never_cut_off(logits, said, top_p, temperature):
    decoding = Decoding("sampled", top_p=top_p, temperature=temperature, never=(0,), not_first=(1,))
    logits = torch.tensor(logits)
    found = decoding.score(logits[None], torch.tensor([said], dtype=torch.int64).view(1, -1))[0]
    allowed = logits[1 if said else 2 :]
    assert logits[found.argmax()] == allowed.max() and torch.isfinite(found.max())
    assert not torch.isfinite(found[0]) and (bool(said) or not torch.isfinite(found[1]))
