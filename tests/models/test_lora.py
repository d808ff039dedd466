"""Adapters sit in the language model alone, and what should train does."""

import pytest
import torch

from behavesim.errors import UserError
from behavesim.models.llm import tiny_llama
from behavesim.models.lora import add_lora
from behavesim.models.trainable import part_of

TEXTS = [[11, 12, 13, 14], [21, 22, 23]]
LIKES = torch.tensor([3.0, 900.0])


def llama():
    return tiny_llama(vocab_size=300, hidden_size=32, layers=2, heads=2)


def train_some_steps(model, inputs, steps=4):
    # Without weight decay, which would move weights that no gradient reaches.
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model.head.loss(model(**inputs), LIKES).backward()
        optimizer.step()


def test_adapters_lie_in_the_language_model_alone(tiny_model):
    model = tiny_model(r=8)
    adapters = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert len(adapters) == 2 * 2 * 2  # layers, targets, A and B
    assert all(name.startswith("llm.") and (".q_proj." in name or ".v_proj." in name) for name in adapters)


@torch.no_grad()
def test_fresh_adapters_change_nothing(tiny_model, model_inputs):
    plain, adapted = tiny_model(), tiny_model(r=8)
    weights = {name: weight for name, weight in plain.state_dict().items() if not name.startswith("llm.")}
    adapted.load_state_dict(weights, strict=False)
    base = {name.replace(".base_layer", ""): p for name, p in adapted.llm.named_parameters() if "lora_" not in name}
    for name, weight in plain.llm.named_parameters():
        base[name].copy_(weight)
    inputs = model_inputs(TEXTS, {0: 1})
    torch.testing.assert_close(adapted(**inputs), plain(**inputs), atol=1e-6, rtol=0)


def test_an_unknown_target_is_refused_with_the_accepted_ones():
    with pytest.raises(UserError, match=r"found Wqkv; accepted: .*k_proj.*q_proj") as error:
        add_lora(llama(), r=8, alpha=16, dropout=0.0, target_modules=["q_proj", "Wqkv"])
    assert "model.lora.target_modules" in str(error.value) and "\n" not in str(error.value)


def test_adapters_and_parts_train_and_the_frozen_base_stays(tiny_model, model_inputs):
    model = tiny_model(r=8, frames=2, train=["projector", "llm", "head"])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    inputs = model_inputs(TEXTS, {0: 1, 1: 2, 2: 3}) | {"prior": torch.tensor([1.0, 5.0])}
    train_some_steps(model, inputs)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    expected = {name for name in before if part_of(name) in ("projector", "lora", "head")}
    assert moved == expected
    assert {name for name in moved if "lora_B" in name} == {name for name in before if "lora_B" in name} != set()


def test_without_adapters_every_parameter_gets_a_gradient(tiny_model, model_inputs):
    model = tiny_model(frames=2).train()
    inputs = model_inputs(TEXTS, {0: 1, 1: 2, 2: 3}) | {"prior": torch.tensor([1.0, 5.0])}
    model.head.loss(model(**inputs), LIKES).backward()
    missed = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert missed == []


def test_a_model_at_its_real_start_trains_too(tiny_model, model_inputs):
    model = tiny_model(r=8)
    torch.nn.init.zeros_(model.head.linear.weight)  # as the head starts outside these tests
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train_some_steps(model, model_inputs(TEXTS, {0: 1, 1: 2}) | {"prior": torch.tensor([1.0, 5.0])})
    still = [name for name, p in model.named_parameters() if p.requires_grad and torch.equal(p, before[name])]
    assert still == []
