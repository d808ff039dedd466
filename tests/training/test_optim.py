"""Optimiser groups and the learning rate's way."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from behavesim.training.optim import parameter_groups, rate_schedule


def rates(steps, warmup, schedule, lr=1.0):
    """Rate used at each step, and the one after the last."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = rate_schedule(optimizer, steps=steps, warmup=warmup, schedule=schedule)
    found = []
    for _ in range(steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@given(st.integers(1, 60), st.floats(0, 0.9), st.sampled_from(["constant", "cosine"]), st.floats(1e-6, 1))
def test_the_rate_rises_to_its_peak_and_never_beyond(steps, warmup, schedule, lr):
    found = rates(steps, warmup, schedule, lr)
    rise = max(1, round(warmup * steps))
    assert found[0] > 0 and max(found) == pytest.approx(lr)
    assert all(0 <= rate <= lr * (1 + 1e-9) for rate in found)
    assert all(rate > 0 for rate in found[:steps])
    assert found[:rise] == sorted(found[:rise]) and found[rise:] == sorted(found[rise:], reverse=True)


def test_the_warm_up_is_linear():
    assert rates(100, 0.1, "constant")[:12] == pytest.approx([*(step / 10 for step in range(1, 11)), 1, 1])


def test_a_constant_rate_without_warm_up_is_constant():
    assert rates(10, 0.0, "constant") == [1.0] * 11


def test_the_cosine_ends_at_zero_and_is_half_way_in_the_middle():
    found = rates(110, 10 / 110, "cosine")
    assert found[10] == 1 and found[60] == pytest.approx(0.5) and found[110] == pytest.approx(0)
    assert found[35] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_steps_beyond_the_plan_stay_at_zero():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = rate_schedule(optimizer, steps=3, warmup=0.0, schedule="cosine")
    for _ in range(10):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0


@pytest.mark.parametrize("train", [["head"], ["projector", "llm", "head"], ["vision", "projector", "llm", "head"]])
@pytest.mark.parametrize("r", [0, 4])
def test_groups_hold_each_trainable_weight_once_and_no_frozen_one(tiny_model, train, r):
    model = tiny_model(r=r, frames=2, train=train)
    grouped = [id(p) for group in parameter_groups(model) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def settings_of(model, numbers_lr=None):
    """Rate and decay of each parameter, by name."""
    optimizer = torch.optim.AdamW(parameter_groups(model, numbers_lr), lr=1e-3, weight_decay=0.1)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    return {name: found[id(parameter)] for name, parameter in model.named_parameters()}


@pytest.fixture
def looking_back(tiny_model, data_facts):
    facts = data_facts()
    return tiny_model(frames=2, facts=replace(facts, history=(3, facts.history[1])))


def test_matrices_decay_and_vectors_scalars_and_biases_do_not(looking_back):
    decays = {name: decay for name, (_, decay) in settings_of(looking_back).items()}
    free = {"metadata.hidden.bias", "head.linear.bias", "head.log_sigma", "head.gate.weight"}
    assert free <= decays.keys() and {decays[name] for name in free} == {0.0}
    for name, parameter in looking_back.named_parameters():
        if name not in free and not name.endswith(".bias"):
            assert decays[name] == (0.1 if parameter.ndim >= 2 else 0.0), name


def test_what_reads_numbers_has_a_rate_of_its_own(looking_back):
    found = settings_of(looking_back, numbers_lr=5e-3)
    rates = {name: rate for name, (rate, _) in found.items()}
    for name, rate in rates.items():
        numbers = name.split(".")[0] in ("metadata", "history", "head") and name != "head.gate.weight"
        assert rate == (5e-3 if numbers else 1e-3), name
    assert set(rates.values()) == {1e-3, 5e-3}
    assert {name: decay for name, (_, decay) in found.items()} == {
        name: decay for name, (_, decay) in settings_of(looking_back).items()
    }


def test_without_a_rate_of_their_own_numbers_have_that_of_the_rest(looking_back):
    assert {rate for rate, _ in settings_of(looking_back).values()} == {1e-3}
