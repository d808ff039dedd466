"""The text head learns its answer alone, writes it without having seen it, and reads it back as numbers."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.head import LEVELS, Targets
from behavesim.models.text_head import TextHead, answer_mask

TEXTS = [[31, 32, 33, 34, 12, 13], [41, 42, 15], [51, 52, 53, 54, 55, 18, 11, 2]]
LENGTHS = [2, 1, 3]
LIKES = torch.tensor([23.0, 5.0, 81.0])
PICTURES = {0: 1, 2: 3}


def targets_of(lengths=LENGTHS, prior=(1.0, 2.0, 3.0), likes=LIKES):
    return Targets(torch.tensor(prior[: len(lengths)]), torch.tensor(lengths), likes)


@pytest.fixture
def model(family_model):
    """Built with these settings of `Answering`; the ids from 10 to 19 are the digits."""
    return lambda **answering: family_model("llama", answering=answering, eos_ids=(2,))


def prompts(model_inputs, lengths=LENGTHS):
    """The same rows without their answers."""
    return model_inputs([text[: len(text) - n] for text, n in zip(TEXTS, lengths, strict=True)], PICTURES)


def manual_loss(model, inputs, supervised):
    """Mean over the tokens at (row, place), each read at the token before it, or None at a text's first."""
    length = inputs["input_ids"].shape[1]
    logits = model(**inputs).logits[:, -length:].log_softmax(dim=-1)
    costs = [-logits[row, place - 1, TEXTS[row][place]] for row, place in supervised]
    return torch.stack(costs).mean()


@torch.no_grad()
def test_the_loss_is_that_of_the_answers_tokens(model, model_inputs):
    model, inputs = model(), model_inputs(TEXTS, PICTURES, pad_to=10)
    answers = [(0, 4), (0, 5), (1, 2), (2, 5), (2, 6), (2, 7)]
    assert_close(model.loss(inputs, targets_of()), manual_loss(model, inputs, answers))


@torch.no_grad()
def test_training_may_hide_the_question_and_never_the_answer(model, model_inputs):
    model, inputs = model().train(), model_inputs(TEXTS, PICTURES)
    length, shown = inputs["input_ids"].shape[1], []
    model.llm.model.layers[0].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    for model.token_dropout in (0.0, 0.999):
        model.loss(inputs, targets_of())
    start = shown[0].shape[1] - length  # of a row without gaps, the second of which has no picture
    same = (shown[0] == shown[1]).all(dim=2)[[0, 2], start:]
    texts = [TEXTS[0], TEXTS[2]]
    for row, (text, answer) in enumerate(zip(texts, (LENGTHS[0], LENGTHS[2]), strict=True)):
        assert same[row, len(text) - answer : len(text)].all() and not same[row, : len(text) - answer].all()


@torch.no_grad()
def test_supervising_all_is_every_token_of_the_text_but_its_first(model, model_inputs):
    model, inputs = model(supervise="all"), model_inputs(TEXTS, PICTURES, pad_to=10)
    everything = [(row, place) for row, text in enumerate(TEXTS) for place in range(1, len(text))]
    loss = model.loss(inputs, targets_of())
    assert_close(loss, manual_loss(model, inputs, everything))
    mean = F.cross_entropy(torch.zeros(1, 300), torch.tensor([0]))
    assert abs(loss - mean) > 1e-2  # no chance value


def test_nothing_but_the_answer_asks_for_a_gradient(model, model_inputs):
    model, inputs = model(), model_inputs(TEXTS, PICTURES)
    rows = []
    hook = model.llm.get_output_embeddings().register_forward_hook(lambda _m, _i, out: rows.append(out.shape))
    model.loss(inputs, targets_of()).backward()
    hook.remove()
    assert rows == [(6, 300)]  # six answer tokens: vocabulary logits are made for no other
    # The token that ends an answer is predicted, and its own embedding feeds nothing that is supervised.
    grad = model.llm.get_input_embeddings().weight.grad
    assert grad[[13, 15, 2]].abs().max() == 0 and (grad[[12, 18, 11, 34]].abs().amax(dim=1) > 0).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7)), min_size=1, max_size=4))
def test_the_answer_is_the_end_of_each_text(rows):
    mask = torch.tensor([[1] * length + [0] * (6 - length) for length, _ in rows])
    found = answer_mask(mask, torch.tensor([answer for _, answer in rows]))
    expected = [[max(0, length - answer) <= place < length for place in range(6)] for length, answer in rows]
    assert found.tolist() == expected


@torch.no_grad()
@pytest.mark.parametrize("decode", ["greedy", "expected"])
def test_estimates_never_see_the_answer(model, model_inputs, decode):
    def read(ids):  # every id counts
        return (ids.double() * 1.5 ** torch.arange(ids.shape[1])).sum(dim=1)

    model, inputs = model(decode=decode, read=read), model_inputs(TEXTS, PICTURES)
    loss, before = model.score(inputs, targets_of())
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    for row, (text, length) in enumerate(zip(TEXTS, LENGTHS, strict=True)):
        other["input_ids"][row, len(text) - length : len(text)] = 16
    other_loss, after = model.score(other, targets_of(likes=LIKES * 7))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert abs(loss - other_loss) > 1e-3
    # Nor does it matter whether there is an answer at all, as when predicting.
    nothing, bare = model.score(prompts(model_inputs), targets_of([0, 0, 0], likes=None))
    assert nothing is None and all(torch.equal(before[name], bare[name]) for name in before)
    # The prompt does matter.
    inputs["input_ids"][:, 1] = 77
    assert (model.score(inputs, targets_of())[1]["mean"] - before["mean"]).abs().min() > 1


def digits(numbers):
    """An `Answering.read` that gives these numbers in turn."""
    return lambda ids: torch.tensor(numbers, dtype=torch.float64)[: len(ids)]


@torch.no_grad()
def test_greedy_takes_the_likeliest_answer_as_every_estimate(model, model_inputs):
    seen = []

    def read(ids):
        seen.append(ids)
        return ids[:, 0].double()

    model = model(decode="greedy", read=read, max_new_tokens=3)
    _, estimates = model.score(model_inputs(TEXTS, PICTURES), targets_of())
    expected = model.generate(max_new_tokens=3, **prompts(model_inputs))
    assert len(seen) == 1 and torch.equal(seen[0], expected)
    for name in ("mean", "logmean", "median", "p10", "p90"):
        assert_close(estimates[name], expected[:, 0].double())


@torch.no_grad()
def test_expected_takes_statistics_of_draws(model, model_inputs):
    drawn = []

    def read(ids):
        drawn.append(ids[:, 0].double() * ids[:, 1].double())
        return drawn[-1]

    model = model(decode="expected", read=read, samples=16, max_new_tokens=2, limit=1e9)
    inputs, targets = model_inputs(TEXTS, PICTURES), targets_of()
    _, estimates = model.score(inputs, targets)
    numbers = drawn[0].view(3, 16).numpy()
    expected = {
        "mean": numbers.mean(axis=1),
        "logmean": np.expm1(np.log1p(numbers).mean(axis=1)),
        "quantiles": np.quantile(numbers, LEVELS, axis=1).T,
        "median": np.quantile(numbers, 0.5, axis=1),
        "p10": np.quantile(numbers, 0.1, axis=1),
        "p90": np.quantile(numbers, 0.9, axis=1),
        "failures": np.zeros(3),
    }
    assert estimates.keys() == expected.keys() and numbers.std(axis=1).min() > 1
    for name, values in expected.items():
        assert_close(estimates[name], torch.from_numpy(values), msg=name)
    model.score(inputs, targets)
    assert torch.equal(drawn[1], drawn[0])  # by the seed alone


def test_failures_are_counted_and_left_out(model):
    nan = math.nan
    numbers = torch.tensor([[1.0, nan, 3.0, nan], [nan] * 4, [0, 10, 20, 30]], dtype=torch.float64)
    prior = torch.log1p(torch.tensor([500.0, 40.0, 500.0]))
    estimates = model().head.estimates(numbers, prior)
    assert estimates["failures"].tolist() == [0.5, 1.0, 0.0]
    assert_close(estimates["mean"], torch.tensor([2.0, 40.0, 15.0]).double(), atol=1e-4, rtol=0)
    assert_close(estimates["logmean"][:2], torch.tensor([math.sqrt(8) - 1, 40.0]).double(), atol=1e-4, rtol=0)
    assert_close(estimates["p90"], torch.tensor([2.8, 40.0, 27.0]).double(), atol=1e-4, rtol=0)
    assert all(torch.isfinite(values).all() for values in estimates.values())


@torch.no_grad()
def test_a_row_without_any_number_takes_its_prior(model, model_inputs):
    for decode in ("greedy", "expected"):
        read = digits([math.nan] * 24)
        _, estimates = model(decode=decode, read=read).score(model_inputs(TEXTS), targets_of())
        assert_close(estimates["mean"], torch.expm1(torch.tensor([1.0, 2.0, 3.0])).double(), atol=1e-5, rtol=1e-5)
        assert estimates["failures"].tolist() == [1, 1, 1]


def test_numbers_count_with_the_limit_at_most(model):
    numbers = torch.tensor([[1e12, 10.0], [math.nan, math.nan]], dtype=torch.float64)
    estimates = model(limit=100).head.estimates(numbers, torch.tensor([0.0, 50.0]))
    assert estimates["mean"].tolist() == [55.0, 100.0]
    assert estimates["p90"][0] == 91.0 and estimates["p90"][1] == 100.0


@settings(deadline=None)
@given(st.lists(st.lists(st.none() | st.integers(0, 10**7), min_size=5, max_size=5), min_size=1, max_size=4))
def test_estimates_are_ordered_and_within_the_limit(data_facts, rows):
    numbers = torch.tensor([[math.nan if n is None else n for n in row] for row in rows], dtype=torch.float64)
    found = TextHead(data_facts(limit=1e6).answering).estimates(numbers, torch.full((len(rows),), 3.0))
    assert (found["p10"] <= found["median"]).all() and (found["median"] <= found["p90"]).all()
    assert (found["logmean"] <= found["mean"] * (1 + 1e-9) + 1e-9).all()
    assert all(((values >= 0) & (values <= 1e6 * (1 + 1e-9))).all() for values in found.values())


def test_the_head_has_no_weights_of_its_own():
    assert list(TextHead(None).state_dict()) == []
