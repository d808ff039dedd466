"""Heads of models that write: what their losses are the mean of."""

import pytest
import torch
from torch.testing import assert_close

from behavesim.models.head import Targets
from behavesim.models.written_head import JointHead, WrittenHead, likes_head, text_nats

TEXTS = [[31, 32, 33, 34, 12, 13], [41, 42, 15], [51, 52, 53, 54, 55, 18, 11, 2]]
LENGTHS = [2, 0, 3]
LIKES = torch.tensor([23.0, 5.0, 81.0])
PRIOR = torch.tensor([1.0, 2.0, 3.0])


def targets(lengths=LENGTHS):
    return Targets(PRIOR, torch.tensor(lengths), LIKES)


@pytest.fixture
def joint(family_model):
    """A model that does both, with a head over likes that has learned something."""

    def build(weight=1.0):
        model = family_model("llama", head="histogram")
        torch.nn.init.normal_(model.head.linear.weight)
        torch.nn.init.ones_(model.head.gate.weight)
        model.head = JointHead(model.head, weight)
        model.llm.lm_head.requires_grad_(True)  # frozen where nothing reads it
        return model.eval()

    return build


def nats_of(model, inputs, row, places):
    length = inputs["input_ids"].shape[1]
    states = model.hidden(**inputs).states[:, -length:]
    logits = model.vocabulary(states).log_softmax(dim=-1)
    return -sum(logits[row, place - 1, TEXTS[row][place]] for place in places)


@torch.no_grad()
def test_nats_are_those_of_each_row_s_text(joint, model_inputs):
    model, inputs = joint(), model_inputs(TEXTS, {0: 1}, pad_to=10)
    nats, tokens = text_nats(model, model.hidden(**inputs), inputs, targets())
    assert tokens.tolist() == LENGTHS
    expected = [nats_of(model, inputs, 0, (4, 5)), torch.tensor(0.0), nats_of(model, inputs, 2, (5, 6, 7))]
    assert_close(nats, torch.stack(expected))


@torch.no_grad()
def test_the_loss_of_texts_is_the_mean_over_their_tokens(family_model, model_inputs):
    model, inputs = family_model("llama"), model_inputs(TEXTS, {0: 1})
    model.head = WrittenHead()
    nats, tokens = text_nats(model, model.hidden(**inputs), inputs, targets())
    assert_close(model.loss(inputs, targets()), nats.sum() / 5)
    loss, found = model.score(inputs, targets())
    assert_close(loss, nats.sum() / 5)
    assert_close(found["nats"], nats) and found["tokens"].tolist() == tokens.tolist()
    assert model.head.answers(inputs, targets()) == 5


@torch.no_grad()
@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_the_joint_loss_is_the_mean_over_rows_of_both_kinds(joint, model_inputs, weight):
    model, inputs = joint(weight), model_inputs(TEXTS, {0: 1}, pad_to=9)
    nats, _ = text_nats(model, model.hidden(**inputs), inputs, targets())
    logits = model.head.likes.logits(model, model.hidden(**inputs), PRIOR)
    of_likes = model.head.likes.loss(logits[1:2], LIKES[1:2], PRIOR[1:2])
    expected = (of_likes + weight * (nats[0] / 2 + nats[2] / 3)) / 3
    assert_close(model.loss(inputs, targets()), expected)
    assert model.head.answers(inputs, targets()) == 3


@pytest.mark.parametrize("lengths", [[0, 0, 0], [2, 1, 3], LENGTHS], ids=["likes", "texts", "both"])
def test_every_batch_brings_gradients_to_both_parts(joint, model_inputs, lengths):
    model, inputs = joint().train(), model_inputs(TEXTS, {0: 1})
    loss = model.loss(inputs, targets(lengths))
    loss.backward()
    missing = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
    assert torch.isfinite(loss) and not missing
    some = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert ("head.likes.linear.weight" in some) == (0 in lengths)
    assert ("llm.lm_head.weight" in some) == any(lengths)


@torch.no_grad()
def test_a_batch_of_one_kind_is_scored_by_its_part(joint, model_inputs):
    model, inputs = joint(), model_inputs(TEXTS, {0: 1})
    assert {"nats", "tokens"} == set(model.score(inputs, targets([2, 1, 3]))[1])
    assert {"mean", "logmean", "median", "quantiles"} <= set(model.score(inputs, targets([0, 0, 0]))[1])


def test_the_head_over_likes_is_found_in_either(joint):
    model = joint()
    assert likes_head(model.head) is model.head.likes and likes_head(model.head.likes) is model.head.likes
    assert model.head.writes and not model.head.likes.writes


@pytest.mark.parametrize("head", ["written", "joint"])
def test_no_token_of_what_is_to_be_written_is_hidden_in_training(joint, model_inputs, head):
    model, inputs = joint(), model_inputs(TEXTS, {0: 1})
    model.head = model.head if head == "joint" else WrittenHead()
    lengths = [2, 1, 3] if head == "written" else LENGTHS
    shown = []
    rows = torch.tensor(lengths) > 0
    model.llm.model.layers[0].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    model.train()
    for share in (0.0, 0.9):
        model.token_dropout = share
        model.loss(inputs, targets(lengths))
    same = (shown[0] == shown[1]).flatten(1).all(dim=1)
    assert same.tolist() == rows.tolist()
