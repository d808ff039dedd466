"""Adapters sit in the language model alone, and what should train does."""

import pytest
import torch
from torch.testing import assert_close

from behavesim.errors import UserError
from behavesim.models.head import Targets
from behavesim.models.llm import llm_config, random_llm
from behavesim.models.lora import add_lora
from behavesim.models.trainable import part_of

TEXTS = [[11, 12, 13, 14], [21, 22, 23]]
TARGETS = Targets(prior=torch.tensor([1.0, 5.0]), answer_length=torch.tensor([2, 1]), likes=torch.tensor([3.0, 900.0]))
LORA = {"r": 8, "alpha": 16, "dropout": 0.0}


def train_some_steps(model, inputs, steps=4):
    # Without weight decay, which would move weights that no gradient reaches.
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(inputs, TARGETS).backward()
        optimizer.step()


def moved_by_training(model, inputs):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train_some_steps(model, inputs)
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


def of_parts(model, *parts):
    return {name for name, _ in model.named_parameters() if part_of(name) in parts}


def test_adapters_lie_in_the_language_model_alone(family, family_model):
    model = family_model(family, r=8)
    adapters = [name for name, _ in model.named_parameters() if "lora_" in name]
    targets = (".Wqkv.",) if family == "mpt" else (".q_proj.", ".v_proj.")
    assert len(adapters) == 2 * len(targets) * 2  # layers, targets, A and B
    assert all(name.startswith("llm.") and any(target in name for target in targets) for name in adapters)


@torch.no_grad()
def test_fresh_adapters_change_nothing(tiny_model, model_inputs):
    plain, adapted = tiny_model(), tiny_model(r=8)
    weights = {name: weight for name, weight in plain.state_dict().items() if not name.startswith("llm.")}
    adapted.load_state_dict(weights, strict=False)
    base = {name.replace(".base_layer", ""): p for name, p in adapted.llm.named_parameters() if "lora_" not in name}
    for name, weight in plain.llm.named_parameters():
        base[name].copy_(weight)
    inputs = model_inputs(TEXTS, {0: 1})
    assert_close(adapted(**inputs).logits, plain(**inputs).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize("target", ["Wq", "lm_head", "conv1", "proj"])
def test_an_unknown_target_is_refused_with_the_accepted_ones(family, family_shape, target):
    llm = random_llm(llm_config(family_shape(family)))
    known = {"mpt": "Wqkv"}.get(family, "q_proj")
    with pytest.raises(UserError, match=rf"found {target}; accepted: .*{known}") as error:
        add_lora(llm, **LORA, target_modules=[known, target])
    assert "model.lora.target_modules" in str(error.value) and "\n" not in str(error.value)
    assert not [name for name, _ in llm.named_parameters() if "lora_" in name]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("head", ["text", "histogram"])
def test_adapters_and_parts_train_and_the_frozen_base_stays(family, family_model, model_inputs, head, checkpointing):
    model = family_model(
        family, r=8, frames=2, head=head, gradient_checkpointing=checkpointing, train=["projector", "lora", "head"]
    )
    moved = moved_by_training(model, model_inputs(TEXTS, {0: 1, 1: 2, 2: 3}))
    assert moved == of_parts(model, "projector", "lora", "head")
    assert any("lora_B" in name for name in moved)


def test_adapters_alone_train_under_checkpointing(family, family_model, model_inputs):
    model = family_model(family, r=8, gradient_checkpointing=True, train=["lora"])
    assert moved_by_training(model, model_inputs(TEXTS)) == of_parts(model, "lora")


def gradients(model, inputs):
    model.train().zero_grad()
    calls = []
    # Early in its layer: what is computed anew stops once the backward pass has all that it needs.
    name = next(name for name, _ in model.llm.named_modules() if name.endswith(("layers.1.self_attn", "blocks.1.attn")))
    hook = model.llm.get_submodule(name).register_forward_hook(lambda *_: calls.append(name))
    model.loss(inputs, TARGETS).backward()
    hook.remove()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, len(calls)


def test_checkpointing_computes_twice_and_gives_the_same_gradients(family, family_model, model_inputs):
    inputs = model_inputs(TEXTS, {0: 1, 1: 2})
    pieces = {"train": ["vision", "projector", "llm", "head"], "head": "histogram"}
    plain, once = gradients(family_model(family, **pieces), inputs)
    checkpointed, twice = gradients(family_model(family, **pieces, gradient_checkpointing=True), inputs)
    assert (once, twice) == (1, 2)
    assert plain.keys() == checkpointed.keys() and len(plain) > 20
    for name, gradient in plain.items():
        assert_close(checkpointed[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_adapters_stay_in_fp32_over_a_bfloat16_base_and_train(family, family_model, model_inputs, checkpointing):
    model = family_model(
        family,
        r=8,
        weights_dtype="bfloat16",
        head="histogram",
        gradient_checkpointing=checkpointing,
        train=["projector", "lora", "head"],
    )
    base = {name: p for name, p in model.llm.named_parameters() if "lora_" not in name}
    assert {p.dtype for p in base.values()} == {torch.bfloat16}
    moved = moved_by_training(model, model_inputs(TEXTS, {0: 1, 1: 2}))
    assert moved == of_parts(model, "projector", "lora", "head")
    assert {p.dtype for name, p in model.named_parameters() if name in moved} == {torch.float32}


def test_without_adapters_every_parameter_gets_a_gradient(tiny_model, model_inputs):
    model = tiny_model(frames=2).train()
    model.loss(model_inputs(TEXTS, {0: 1, 1: 2, 2: 3}), TARGETS).backward()
    missed = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert missed == []


def test_a_model_at_its_real_start_trains_too(tiny_model, model_inputs):
    model = tiny_model(r=8)
    torch.nn.init.zeros_(model.head.linear.weight)  # as the head starts outside these tests
    moved = moved_by_training(model, model_inputs(TEXTS, {0: 1, 1: 2}))
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad}
