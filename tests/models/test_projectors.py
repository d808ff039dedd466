"""Pictures and numbers become prefix tokens: shapes, gradients, and the place of each picture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from behavesim.models.git import GitModel
from behavesim.models.projector import LinearProjector, MlpProjector, Resampler

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
TOKENS = {"linear": 5, "mlp": 5, "resampler": 3}  # of a picture of 2 × 2 patches and its class token


def missed(module):
    return [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


@pytest.mark.parametrize("kind", [LinearProjector, MlpProjector])
def test_a_token_by_token_projector_keeps_the_number_of_tokens(kind):
    projector, states = kind(12, 20), torch.randn(2, 7, 12)
    tokens = projector(states)
    assert tokens.shape == (2, 7, 20)
    assert_close(projector(states[:, 3:4]), tokens[:, 3:4])


def test_the_linear_projector_is_the_references():
    projector, states = LinearProjector(12, 20), torch.randn(2, 7, 12)
    expected = nn.functional.linear(states, projector.linear.weight, projector.linear.bias)
    expected = (expected - expected.mean(dim=-1, keepdim=True)) / (
        expected.var(dim=-1, correction=0, keepdim=True) + 1e-5
    ).sqrt()
    assert_close(projector(states), expected, atol=1e-5, rtol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 6))
def test_the_resampler_gives_its_number_of_tokens_whatever_the_number_of_patches(pictures, patches, tokens):
    resampler = Resampler(12, 16, tokens, heads=4)
    states = torch.randn(pictures, patches, 12)
    found = resampler(states)
    assert found.shape == (pictures, tokens, 16)
    # A picture is read alone, and without regard to the order of its states.
    assert_close(resampler(states[-1:].flip(1)), found[-1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_resampler_is_attention_of_its_queries_over_the_states():
    resampler, states = Resampler(12, 16, 3, heads=4), torch.randn(2, 7, 12)
    attention = nn.MultiheadAttention(16, 4, batch_first=True, kdim=12, vdim=12)
    for part in ("q", "k", "v"):
        source = {"q": resampler.query, "k": resampler.key, "v": resampler.value}[part]
        getattr(attention, f"{part}_proj_weight").copy_(source.weight)
    attention.in_proj_bias.copy_(torch.cat([resampler.query.bias, resampler.key.bias, resampler.value.bias]))
    attention.out_proj.load_state_dict(resampler.out.state_dict())
    seen = resampler.norm_states(states)
    queries = resampler.norm_queries(resampler.queries).expand(2, -1, -1)
    expected = resampler.norm(resampler.queries + attention(queries, seen, seen)[0])
    assert_close(resampler(states), expected, atol=1e-5, rtol=1e-5)
    assert (expected[:, 0] - expected[:, 1]).abs().max() > 1e-2  # queries differ from the start


@pytest.mark.parametrize("projector", TOKENS)
def test_a_picture_fills_as_many_slots_as_its_projector_gives(tiny_model, model_inputs, projector):
    model = tiny_model(projector=projector, frames=2)
    hidden = model.hidden(**model_inputs(TEXTS, {0: 1, 3: 2}))
    assert hidden.prefix_slots == 2 * TOKENS[projector] + 1
    assert model.hidden(**model_inputs(TEXTS)).prefix_slots == 1
    assert model.hidden(**model_inputs(TEXTS, features=False)).prefix_slots == 0


def test_image_tokens_sets_the_resamplers_number(tiny_model, model_inputs):
    model = tiny_model(projector="resampler", image_tokens=7, metadata=False)
    assert model.hidden(**model_inputs(TEXTS, {0: 1})).prefix_slots == 7


@pytest.mark.parametrize("projector", TOKENS)
def test_gradients_reach_every_weight_before_the_language_model(tiny_model, model_inputs, projector):
    model = tiny_model(projector=projector, frames=2)
    states = model.hidden(**model_inputs(TEXTS, {0: 1, 1: 2, 2: 3})).states
    (states * torch.randn_like(states)).sum().backward()
    assert missed(model.projector) == missed(model.vision) == []
    assert (model.frame_embedding.grad.abs().amax(dim=(1, 2)) > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("projector", TOKENS)
def test_the_order_of_pictures_matters(tiny_model, model_inputs, projector):
    model = tiny_model(projector=projector, frames=2)
    one = model(**model_inputs(TEXTS, {0: 1, 1: 2})).logits
    other = model(**model_inputs(TEXTS, {0: 2, 1: 1})).logits
    assert (one[0] - other[0]).abs().max() > 1e-3
    assert_close(one[1], other[1])


@torch.no_grad()
def test_each_place_has_its_own_embedding_in_the_towers_space(tiny_model, model_inputs):
    model = tiny_model(frames=2, vision={"image_size": 16, "patch_size": 8, "width": 48, "layers": 1, "heads": 2})
    assert model.frame_embedding.shape == (2, 1, 48)
    inputs = model_inputs(TEXTS, {0: 1, 1: 2, 3: 4})
    tokens, valid = model.image_tokens(inputs["pixel_values"], inputs["image_slot"], rows=2)
    states = model.vision(inputs["pixel_values"])
    for picture, (row, frame) in enumerate([(0, 0), (0, 1), (1, 1)]):
        expected = model.projector(states[picture] + model.frame_embedding[frame])
        assert_close(tokens[row, 5 * frame : 5 * frame + 5], expected)
    assert valid.tolist() == [[True] * 10, [False] * 5 + [True] * 5]
    assert tokens[1, :5].abs().max() == 0


def test_fresh_frame_embeddings_are_zero_and_one_picture_needs_none(family_model):
    assert family_model("llama").frame_embedding is None
    model = family_model("llama")
    pieces = {name: getattr(model, name) for name in ("vision", "projector", "llm", "head")}
    assert GitModel(**pieces, frames=3).frame_embedding.abs().max() == 0
