"""Stored token states stand in for a frozen tower: the same model, loss, gradients and training."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from behavesim.errors import UserError
from behavesim.models import builders
from behavesim.models.head import Targets
from behavesim.models.llm import llm_config, random_llm
from behavesim.models.stored import StoredStates
from behavesim.models.trainable import parameter_table
from behavesim.models.vision import shaped_tower

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23], [31, 32]]
PICTURES = {1: {0: 1, 2: 2}, 2: {0: 1, 1: 2, 5: 3}}  # by frames; the rows have two, one or no pictures
TARGETS = Targets(torch.tensor([1.0, 2.0, 0.5]), torch.tensor([2, 1, 1]), torch.tensor([3.0, 40.0, 0.0]))
VISION = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "heads": 2}
FROZEN = ["projector", "llm", "head"]


@pytest.fixture(scope="module")
def pair(tiny_model, data_facts):
    """Builder of a model with a frozen tower and one for that tower's states."""

    def build(train=FROZEN, **pieces):
        facts = replace(data_facts(), image_states=(5, 32))
        return tiny_model(train=train, **pieces), tiny_model(train=train, facts=facts, **pieces)

    return build


@torch.no_grad()
def stored(tower, inputs):
    return inputs | {"pixel_values": tower(inputs["pixel_values"])}


def others(model):
    return {name: p for name, p in model.named_parameters() if not name.startswith("vision.")}


@pytest.mark.parametrize("head", ["histogram", "regression", "text"])
@pytest.mark.parametrize(("frames", "projector"), [(1, "linear"), (2, "mlp"), (2, "resampler")])
def test_training_from_states_is_training_through_the_tower(pair, model_inputs, frames, projector, head):
    settings = {"frames": frames, "projector": projector, "head": head}
    model, fed = pair(token_dropout=0.3, head_dropout=0.2, r=2 if projector == "mlp" else 0, **settings)
    assert others(model).keys() == dict(fed.named_parameters()).keys()
    for name, weight in fed.named_parameters():
        assert torch.equal(weight, others(model)[name]), name
    seen = model_inputs(TEXTS, PICTURES[frames])
    batches = ((model.train(), seen), (fed.train(), stored(model.vision, seen)))
    optimizers = [torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=1e-2) for m, _ in batches]
    for step in range(4):
        losses = []
        for (trained, inputs), optimizer in zip(batches, optimizers, strict=True):
            torch.manual_seed(step)  # dropout hides the same tokens
            losses.append(trained.loss(inputs, TARGETS))
            optimizer.zero_grad()
            losses[-1].backward()
        assert_close(losses[0], losses[1])
        for name, weight in fed.named_parameters():
            assert_close(weight.grad, others(model)[name].grad, msg=name)
        for optimizer in optimizers:
            optimizer.step()
    assert model.projector.state_dict() and all(p.grad is not None for p in fed.projector.parameters())


def test_whatever_is_drawn_after_the_building_is_drawn_without_a_tower_too(pair):
    """The dropout and the shuffles of a run."""
    states = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builders, "set_trainable", lambda model, parts: states.append(torch.get_rng_state()))
        pair()
    assert torch.equal(*states)


def test_towers_follow_the_seed_and_share_no_numbers_with_the_rest(tiny_model):
    one, same, other = (tiny_model(seed=seed).vision.transformer.conv1.weight for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    torch.manual_seed(3)  # the first numbers after it are those of the language model
    assert not torch.equal(one, shaped_tower(**VISION).transformer.conv1.weight)


def test_a_tower_is_built_without_weights_too(tiny_model, data_facts):
    with torch.device("meta"):
        model = tiny_model(frames=2)
        fed = tiny_model(train=FROZEN, facts=replace(data_facts(), image_states=(5, 32)))
    assert {p.device.type for m in (model, fed) for p in m.parameters()} == {"meta"}


@pytest.mark.parametrize("width", [8, 512])
def test_the_states_set_the_projectors_width(tiny_model, data_facts, model_inputs, width):
    model = tiny_model(train=FROZEN, frames=2, facts=replace(data_facts(), image_states=(1, width)))
    assert model.projector.linear.in_features == model.frame_embedding.shape[-1] == width
    inputs = model_inputs(TEXTS) | {"pixel_values": torch.randn(2, 1, width), "image_slot": torch.tensor([1, 4])}
    tokens, valid = model.image_tokens(inputs["pixel_values"], inputs["image_slot"], rows=3)
    assert tokens.shape == (3, 2, 32) and valid.tolist() == [[False, True], [False, False], [True, False]]
    plain = model(**model_inputs(TEXTS)).logits
    change = (model(**inputs).logits - plain).abs().amax(dim=(1, 2))
    assert change[0] > 1e-3 and change[1] < 1e-5 and change[2] > 1e-3


def test_states_of_another_shape_are_refused():
    stand_in = StoredStates(5, 32)
    states = torch.randn(2, 5, 32)
    assert stand_in(states) is states
    assert (stand_in.tokens, stand_in.width, stand_in.image_size) == (5, 32, 0)
    assert not list(stand_in.parameters()) and not stand_in.state_dict()
    for wrong in (states[:, :4], states[:, :, :31], states[0], states[None], torch.zeros(2, 3, 16, 16)):
        with pytest.raises(ValueError, match=r"states have the shape \[.*, not \[N, 5, 32\]"):
            stand_in(wrong)


def test_states_need_their_slots(pair, model_inputs):
    model, fed = pair(frames=2)
    inputs = stored(model.vision, model_inputs(TEXTS, {0: 1, 2: 2, 4: 3})) | {"image_slot": None}
    with pytest.raises(ValueError, match=r"\[3, 5, 32\] are no pictures and need image_slot"):
        fed(**inputs)
    with pytest.raises(ValueError, match=r"not \[N, 5, 32\]"):
        fed(**inputs | {"pixel_values": torch.zeros(3, 3, 16, 16)})


@torch.no_grad()
def test_batches_without_states(pair, model_inputs):
    model, fed = pair()
    inputs = model_inputs(TEXTS)
    none = {"pixel_values": torch.zeros(0, 5, 32), "image_slot": torch.zeros(0).long()}
    assert torch.equal(fed(**inputs).logits, model(**inputs).logits)
    assert torch.equal(fed(**inputs | none).logits, model(**inputs).logits)


@torch.no_grad()
def test_written_answers_are_the_same(pair, model_inputs):
    model, fed = pair(head="text", frames=2)
    seen = model_inputs(TEXTS, PICTURES[2])
    (_, expected), (_, found) = model.score(seen, TARGETS), fed.score(stored(model.vision, seen), TARGETS)
    for name in expected:
        assert_close(found[name], expected[name], equal_nan=True)


def test_a_tower_that_is_not_there_cannot_train(pair):
    with pytest.raises(
        UserError, match=r"^model\.train: found vision with data\.image_features; accepted: projector, "
    ):
        pair(train=["vision", "head"])


def test_no_row_of_weights_for_a_tower_that_is_not_there(pair):
    model, fed = pair()
    table = parameter_table(model)
    assert table[0][0] == "vision" and parameter_table(fed) == table[1:]


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_tower_in_whose_place_states_stand_is_never_looked_for(
    family_model, family_shape, data_facts, tmp_path, pretrained
):
    folder = tmp_path / "llm"
    random_llm(llm_config(family_shape("llama"))).save_pretrained(folder)
    vision = {"name": "no such tower", "weights": str(tmp_path / "no such file.pt"), "shape": None}
    pieces = {"llm": str(folder), "llm_shape": None, "pretrained": pretrained, "vision": vision, "r": 2}
    with pytest.raises(UserError, match="no such tower"):
        family_model("llama", **pieces)
    facts = replace(data_facts(), image_states=(7, 48))
    model = family_model("llama", facts=facts, train=["projector", "lora", "head"], **pieces)
    assert isinstance(model.vision, StoredStates)
    assert model.projector.linear.in_features == 48
