"""Cached, batched generation is what recomputing everything for one row at a time gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models import generation
from behavesim.models.continuation import Continuation
from behavesim.models.generation import Sampler, greedy, row_keys

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23], [31, 32, 33, 34]]
PICTURES = {"none": None, "all": {0: 1, 1: 2, 2: 3}, "some": {1: 2}}
STEPS = 6


@torch.no_grad()
def one_by_one(model, inputs, choose=greedy, steps=STEPS):
    """The oracle: one row, no cache, the chosen token appended and everything computed anew."""
    new = []
    for step in range(steps):
        logits = model(**inputs).logits[:, -1]  # one row without padding: the last place is the last text token
        new.append(choose(logits, step))
        inputs = inputs | {
            "input_ids": torch.cat([inputs["input_ids"], new[-1][:, None]], dim=1),
            "attention_mask": torch.ones(1, inputs["input_ids"].shape[1] + 1, dtype=torch.int64),
        }
    return torch.stack(new, dim=1)


def single(model_inputs, row, pictures):
    return model_inputs([TEXTS[row]], {0: pictures[row]} if pictures and row in pictures else None)


@pytest.mark.parametrize("pictures", PICTURES.values(), ids=PICTURES)
def test_greedy_equals_recomputation_token_by_token(family, family_model, model_inputs, pictures):
    model = family_model(family)
    found = model.generate(max_new_tokens=STEPS, **model_inputs(TEXTS, pictures, pad_to=7))
    expected = [one_by_one(model, single(model_inputs, row, pictures)) for row in range(3)]
    assert torch.equal(found, torch.cat(expected))
    assert len(found.unique()) > len(TEXTS)  # a model that repeats itself would show little


def test_pictures_change_what_is_generated(family, family_model, model_inputs):
    model = family_model(family)
    plain, seen = (model.generate(max_new_tokens=STEPS, **model_inputs(TEXTS, {0: seed})) for seed in (1, 2))
    assert not torch.equal(plain[0], seen[0]) and torch.equal(plain[1:], seen[1:])


def test_several_pictures_and_empty_frames_too(family, family_model, model_inputs):
    model = family_model(family, frames=3)
    found = model.generate(max_new_tokens=STEPS, **model_inputs(TEXTS, {0: 1, 2: 2, 3: 4, 4: 5, 5: 6}))
    rows = [(TEXTS[0], {0: 1, 2: 2}), (TEXTS[1], {0: 4, 1: 5, 2: 6}), (TEXTS[2], None)]
    expected = [one_by_one(model, model_inputs([text], pictures)) for text, pictures in rows]
    assert torch.equal(found, torch.cat(expected))


def test_who_else_is_in_the_batch_changes_nothing(family, family_model, model_inputs):
    model = family_model(family)
    together = model.generate(max_new_tokens=STEPS, **model_inputs(TEXTS, {0: 1}))
    turned = model.generate(max_new_tokens=STEPS, **model_inputs(TEXTS[::-1], {2: 1}, pad_to=9))
    assert torch.equal(turned.flip(0), together)
    pair = model.generate(max_new_tokens=STEPS, **model_inputs(TEXTS[:2], {0: 1}))
    assert torch.equal(pair, together[:2])


@pytest.mark.parametrize("family", ["llama", "opt", "mpt"])
def test_a_row_stops_at_its_end_and_padding_follows(family, family_model, model_inputs):
    model, inputs = family_model(family), model_inputs(TEXTS, {0: 1})
    free = model.generate(max_new_tokens=STEPS, **inputs)
    last = next(place for place in range(1, STEPS) if free[0, place] != free[0, place - 1])
    model.eos_ids, model.pad_id = (int(free[0, last]), 299), 7
    stopped = model.generate(max_new_tokens=STEPS, **inputs)
    for row, expected in zip(stopped.tolist(), free.tolist(), strict=True):
        ends = [place for place, token in enumerate(expected) if token in model.eos_ids]
        kept = ends[0] + 1 if ends else STEPS
        assert row == (expected[:kept] + [7] * STEPS)[: stopped.shape[1]]
    assert 7 in stopped[0].tolist()


def test_generation_ends_with_the_last_row_that_does(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS)
    free = model.generate(max_new_tokens=STEPS, **inputs)
    model.eos_ids = free[:, 1].tolist()
    longest = max(next(place for place, token in enumerate(row) if token in model.eos_ids) + 1 for row in free.tolist())
    stopped = model.generate(max_new_tokens=STEPS, **inputs)
    assert stopped.shape == (3, longest) and longest < STEPS
    assert model.generate(max_new_tokens=1, **inputs).shape == (3, 1)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("pictures", PICTURES.values(), ids=PICTURES)
def test_samples_equal_recomputation_and_stand_side_by_side(family, family_model, model_inputs, pictures, samples):
    model = family_model(family)
    sampler = Sampler(samples, STEPS, seed=3)
    found = model.generate(
        max_new_tokens=STEPS, choose=sampler, samples=samples, **model_inputs(TEXTS, pictures, pad_to=6)
    )
    assert found.shape == (3 * samples, STEPS)
    for row in range(3):
        for draw in range(samples):

            def choose(logits, step, draw=draw):
                return sampler(logits.expand(samples, -1), step)[draw : draw + 1]

            expected = one_by_one(model, single(model_inputs, row, pictures), choose)
            assert torch.equal(found[row * samples + draw], expected[0])


def test_draws_depend_on_the_seed_alone():
    logits = torch.randn(4, 50)
    draws = {seed: Sampler(4, 2, seed)(logits, 1).tolist() for seed in range(8)}
    assert all(Sampler(4, 2, seed)(logits, 1).tolist() == draw for seed, draw in draws.items())
    assert len({tuple(draw) for draw in draws.values()}) > 4
    torch.manual_seed(99)
    assert Sampler(4, 2, 0)(logits, 1).tolist() == draws[0]  # nor on the state of torch's own generator


def test_a_row_is_drawn_without_regard_to_its_neighbours():
    sampler, logits = Sampler(5, 1, seed=0), torch.randn(3, 40)
    together = sampler(logits.repeat_interleave(5, dim=0), 0)
    for row in range(3):
        assert torch.equal(sampler(logits[row].expand(5, -1), 0), together[5 * row : 5 * row + 5])


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_draws_have_the_frequencies_of_the_softmax(spread):
    samples, steps, vocabulary = 4000, 3, 30
    logits = torch.randn(vocabulary) * spread
    sampler = Sampler(samples, steps, seed=1)
    expected = logits.softmax(dim=0).numpy()
    for step in range(steps):
        drawn = sampler(logits.expand(samples, -1), step).numpy()
        found = np.bincount(drawn, minlength=vocabulary) / samples
        # One draw falls in each of 4000 equal shares of the distribution: counts are off by less than 2 at each end.
        assert np.abs(found - expected).max() <= 2 / samples


def test_steps_of_a_draw_are_independent():
    samples = 4000
    sampler, coin = Sampler(samples, 2, seed=2), torch.zeros(samples, 4)
    first, second = sampler(coin, 0), sampler(coin, 1)
    table = torch.zeros(4, 4).index_put_((first, second), torch.ones(samples), accumulate=True) / samples
    # Four standard deviations of a share of 1/16.
    assert_close(table, torch.full((4, 4), 1 / 16), atol=4 * (1 / 16 / samples) ** 0.5, rtol=0)


def test_draws_are_stratified_and_within_the_vocabulary():
    for seed in range(20):
        sampler = Sampler(8, 1, seed)
        assert sampler(torch.zeros(8, 8), 0).sort().values.tolist() == list(range(8))
        assert ((sampler.uniforms >= 0) & (sampler.uniforms < 1)).all()
    certain = torch.full((8, 5), -1e4)
    for token in range(5):
        assert (sampler(certain.clone().index_fill_(1, torch.tensor([token]), 0.0), 0) == token).all()


@torch.no_grad()
def test_rows_that_do_not_fit_together_are_generated_apart(family, family_model, model_inputs, monkeypatch):
    model = family_model(family)
    inputs, sampler = model_inputs(TEXTS, {0: 1}, pad_to=6), Sampler(2, STEPS, seed=1)
    together = model.generate(max_new_tokens=STEPS, choose=sampler, samples=2, **inputs)
    monkeypatch.setattr(generation, "CACHE_BYTES", 1)
    assert torch.equal(model.generate(max_new_tokens=STEPS, choose=sampler, samples=2, **inputs), together)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=8), min_size=1, max_size=6), st.integers(0, 5))
def test_a_row_s_key_is_its_text_s_alone(texts, more):
    def keys(rows, padding):
        width = max(map(len, rows)) + padding
        ids = torch.tensor([row + [7] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return row_keys(ids, mask).tolist()

    together = keys(texts, more)
    assert together == [keys([row], 0)[0] for row in texts]
    assert len(set(together)) == len({tuple(row) for row in texts})


def test_rows_of_one_distribution_are_drawn_apart_and_evenly_each():
    rows, samples = 400, 8
    sampler = Sampler(samples, 3, seed=0, keys=torch.arange(rows) * 7 + 1)
    for step in range(3):
        drawn = sampler(torch.zeros(rows * samples, 64), step).view(rows, samples)
        assert drawn.unique(dim=0).shape[0] > 60  # 64 tokens, each row's draws one shift of the strata
        assert (drawn.sort(dim=1).values.diff(dim=1) > 0).all()  # every stratum of eight tokens is met once
        means = drawn.double().mean(dim=0)
        assert ((means - 31.5).abs() < 4 * 18.5 / rows**0.5).all()  # over rows each draw is uniform


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 3])
def test_texts_that_have_ended_are_left_out_and_change_no_other(
    family, family_model, model_inputs, samples, monkeypatch
):
    model, inputs = family_model(family), model_inputs(TEXTS, {0: 1}, pad_to=6)
    sampler = Sampler(samples, STEPS, seed=1, keys=torch.arange(3) * 7 + 1)
    whole = model.generate(max_new_tokens=STEPS, choose=sampler, samples=samples, **inputs)
    model.eos_ids = tuple(whole[: len(whole) * 2 // 3, 1].tolist())  # most texts end there
    left = []
    go_on_from = Continuation.go_on_from
    monkeypatch.setattr(Continuation, "go_on_from", lambda own, rows: left.append(len(rows)) or go_on_from(own, rows))
    found = model.generate(max_new_tokens=STEPS, choose=sampler, samples=samples, **inputs)
    ends = torch.isin(whole, torch.tensor(model.eos_ids))
    behind = (ends.cumsum(dim=1) - ends.long()) > 0
    expected = whole.masked_fill(behind, model.pad_id)[:, : found.shape[1]]
    assert torch.equal(found, expected) and behind[:, found.shape[1] :].all()
    assert left == sorted(left, reverse=True) and bool(left) != bool(ends[:, 1].all())
