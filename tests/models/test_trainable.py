"""Which weights train, and how they are counted."""

from itertools import chain, combinations

import pytest

from behavesim.models.trainable import PARTS, parameter_table, part_of, set_trainable

CHOICES = list(chain.from_iterable(combinations(("vision", "projector", "llm", "head"), size) for size in range(1, 5)))


def training_parts(model):
    return {part_of(name) for name, p in model.named_parameters() if p.requires_grad}


def frozen_parts(model):
    return {part_of(name) for name, p in model.named_parameters() if not p.requires_grad}


@pytest.fixture(scope="module")
def plain(tiny_model):
    return tiny_model(frames=2)


@pytest.fixture(scope="module")
def adapted(tiny_model):
    return tiny_model(frames=2, r=4)


def test_every_parameter_belongs_to_a_known_part(plain, adapted):
    assert {part_of(name) for name, _ in adapted.named_parameters()} == set(PARTS)
    assert {part_of(name) for name, _ in plain.named_parameters()} == set(PARTS) - {"lora"}


@pytest.mark.parametrize(
    "name", ["metadata.hidden.weight", "history.layers.0.weight", "frame_embedding", "projector.linear.weight"]
)
def test_whatever_feeds_the_language_model_is_the_projector(name):
    assert part_of(name) == "projector"


@pytest.mark.parametrize("parts", CHOICES, ids="+".join)
def test_exactly_the_chosen_parts_train(plain, parts):
    set_trainable(plain, parts)
    assert training_parts(plain) == set(parts)
    assert frozen_parts(plain) == set(PARTS) - {"lora"} - set(parts)


@pytest.mark.parametrize("parts", [["llm", "head"], ["lora", "head"], ["llm", "lora", "head"]], ids="+".join)
def test_adapters_stand_in_for_the_language_model(adapted, parts):
    set_trainable(adapted, parts)
    assert training_parts(adapted) == {"lora", "head"}
    assert "llm" in frozen_parts(adapted)


def test_adapters_freeze_when_the_language_model_is_not_chosen(adapted):
    set_trainable(adapted, ["vision"])
    assert training_parts(adapted) == {"vision"}


def test_a_later_choice_replaces_the_earlier_one(plain):
    set_trainable(plain, ["vision"])
    set_trainable(plain, ["head"])
    assert training_parts(plain) == {"head"}


def test_the_table_counts_every_weight_once(adapted):
    set_trainable(adapted, ["llm", "head"])
    table = parameter_table(adapted)
    assert [part for part, _, _ in table] == list(PARTS)
    assert sum(total for _, total, _ in table) == sum(p.numel() for p in adapted.parameters())
    assert all(trains == (total if part in ("lora", "head") else 0) for part, total, trains in table)


def test_the_table_leaves_out_parts_that_the_model_lacks(plain):
    assert "lora" not in [part for part, _, _ in parameter_table(plain)]
