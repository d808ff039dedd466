"""A head over likes reads numbers first: the text comes in through a gate that opens in training."""

import pytest
import torch
from torch.testing import assert_close

from behavesim.models.head import Hidden, Targets

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
HEADS = ["histogram", "regression"]


def hidden_of(rows, members=2, width=32):
    valid = torch.ones(rows, 3, dtype=torch.bool)
    return Hidden(torch.randn(rows, 3, width), 0, valid, torch.randn(rows, members, width))


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_a_closed_gate_lets_no_text_through_and_an_open_one_does(tiny_model, model_inputs, head):
    model, inputs = tiny_model(head=head), model_inputs(TEXTS, {0: 1})
    other = inputs | {"input_ids": inputs["input_ids"] + 40}
    assert (model(**inputs).logits - model(**other).logits).abs().amax(dim=(1, 2)).min() > 1e-3
    torch.nn.init.zeros_(model.head.gate.weight)
    assert torch.equal(model(**inputs).logits, model(**other).logits)
    told = inputs | {"features": inputs["features"] + 1}
    assert (model(**inputs).logits - model(**told).logits).abs().amax(dim=(1, 2)).min() > 1e-3


@torch.no_grad()
def test_each_member_has_a_gate_of_its_own(tiny_model):
    head, hidden = tiny_model().head, hidden_of(4)
    before = head.logits(None, hidden, None)
    head.gate.weight[1] += 1
    after = head.logits(None, hidden, None)
    assert torch.equal(after[:, 0], before[:, 0])
    assert (after[:, 1] - before[:, 1]).abs().amax(dim=1).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
def test_text_is_hidden_from_its_share_of_rows_in_training_alone(tiny_model, head):
    head, hidden = tiny_model(head=head, text_dropout=0.3).head.eval(), hidden_of(3000)
    seen = head.logits(None, hidden, None)
    without = head(hidden.summary)
    assert (seen - without).abs().amax(dim=2).min() > 1e-4
    found = head.train().logits(None, hidden, None)
    hid = torch.isclose(found, without, atol=1e-5).all(dim=2)
    assert_close(torch.where(hid[:, :, None], seen, found), seen)  # the others see it whole
    assert hid.double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (hid[:, 0] != hid[:, 1]).any()  # members are told apart


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_a_fresh_model_learns_what_the_text_says(tiny_model, model_inputs, head, metadata):
    """Without numbers and pictures too, where nothing else could open the gate."""
    model, inputs = tiny_model(head=head, metadata=metadata, fresh=True), model_inputs(TEXTS)
    inputs |= {name: inputs[name][:1].expand(2, -1) for name in ("features", "statistics")}
    targets = Targets(torch.tensor([3.0, 3.0]), torch.zeros(2).long(), torch.tensor([2.0, 500.0]))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.train().loss(inputs, targets).backward()
        optimizer.step()
    found = model.eval().score(inputs, targets)[1]["logmean"]
    assert found[0] < 20 and found[1] > 100
