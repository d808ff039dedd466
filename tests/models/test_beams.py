"""Beam search: what following the best texts one by one, without a cache, gives."""

import math

import pytest
import torch

from behavesim.models.beams import Beams
from behavesim.models.decoding import Decoding, write

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23], [31, 32, 33, 34]]
STEPS, WIDTH = 5, 3


@torch.no_grad()
def followed(model, inputs, ends, penalty=1.0):
    """The best texts of one row: lists of ids with their scores, every continuation computed anew."""
    texts = [((), 0.0)]
    for _ in range(STEPS):
        found = []
        for ids, total in texts:
            if ids and ids[-1] in ends:
                found.append((ids, total))
                continue
            said = torch.tensor([[*inputs["input_ids"][0].tolist(), *ids]])
            told = inputs | {"input_ids": said, "attention_mask": torch.ones_like(said)}
            logs = model(**told).logits[0, -1].double().log_softmax(dim=-1)
            found += [((*ids, token), total + value) for token, value in enumerate(logs.tolist())]
        texts = sorted(found, key=lambda text: -text[1] / len(text[0]) ** penalty)[:WIDTH]
    return [ids for ids, _ in texts]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("family", ["llama", "opt", "mpt"])
def test_beams_are_those_that_are_followed_one_by_one(family, family_model, model_inputs, penalty):
    model = family_model(family)
    first = model.generate(max_new_tokens=1, **model_inputs(TEXTS, {0: 1}))
    model.eos_ids, model.pad_id = (int(first[0, 0]), 17, 60), 7
    decoding = Decoding("beam", alternatives=WIDTH, beams=WIDTH, length_penalty=penalty, max_new_tokens=STEPS)
    found = write(model, model_inputs(TEXTS, {0: 1}, pad_to=7), decoding)
    assert found.shape[:2] == (3, WIDTH)
    for row, text in enumerate(TEXTS):
        expected = followed(model, model_inputs([text], {0: 1} if row == 0 else None), model.eos_ids, penalty)
        padded = [[*ids, *[7] * (found.shape[2] - len(ids))] for ids in expected]
        assert found[row].tolist() == padded


def test_one_beam_is_greedy(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS, {0: 1})
    one = write(model, inputs, Decoding("beam", beams=1, max_new_tokens=STEPS))
    assert torch.equal(one, write(model, inputs, Decoding("greedy", max_new_tokens=STEPS)))
    assert torch.equal(one[:, 0], model.generate(max_new_tokens=STEPS, **inputs))


def test_wider_beams_find_no_less_likely_texts(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS[:1])
    every = followed_scores(model, inputs, [1, 4, 16])
    assert every == sorted(every)


def followed_scores(model, inputs, widths):
    """Mean log-probability of the best text by width."""
    scores = []
    for width in widths:
        ids = write(model, inputs, Decoding("beam", beams=width, max_new_tokens=3))[0, 0]
        told = inputs | {"input_ids": torch.cat([inputs["input_ids"], ids[None]], dim=1)}
        told["attention_mask"] = torch.ones_like(told["input_ids"])
        with torch.no_grad():
            logs = model(**told).logits[0, -4:-1].double().log_softmax(dim=-1)
        scores.append(logs.gather(1, ids[:, None]).mean().item())
    return scores


def test_a_text_that_ended_stays_until_better_ones_push_it_out():
    beams = Beams(1, 2, torch.tensor([2]), pad_id=0, length_penalty=1.0)
    probabilities = torch.tensor([[0.05, 0.4, 0.5, 0.05], [0.25] * 4])
    beams.extend(probabilities.log())
    assert beams.ids.tolist() == [[2], [1]] and beams.ended.tolist() == [True, False]
    sure = torch.tensor([[0.25] * 4, [0.01, 0.01, 0.01, 0.97]])
    rows = beams.extend(sure.log())
    # (log 0.4 + log 0.97) / 2 is more than log 0.5: the longer text leads now.
    assert beams.ids.tolist() == [[1, 3], [2, 0]] and rows.tolist() == [1, 0]
    assert beams.length.tolist() == [2, 1]
    assert beams.total[0].tolist() == pytest.approx([math.log(0.4 * 0.97), math.log(0.5)], rel=1e-6)
