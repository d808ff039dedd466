"""The vision tower gives the token states that GIT-LLM reads."""

import open_clip
import pytest
import torch
from open_clip.model import _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch.testing import assert_close

from behavesim.errors import UserError
from behavesim.models.vision import MEAN, STD, VisionTower, named_shape, shaped_tower

SHAPE = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "heads": 2}


def pictures(count=2):
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8)


@pytest.mark.parametrize(("image_size", "patch_size", "tokens"), [(16, 8, 5), (24, 8, 10), (32, 4, 65)])
def test_one_token_a_patch_and_the_class_token(image_size, patch_size, tokens):
    tower = shaped_tower(**SHAPE | {"image_size": image_size, "patch_size": patch_size})
    assert (tower.tokens, tower.width, tower.image_size) == (tokens, 32, image_size)
    assert tower(torch.zeros(3, 3, image_size, image_size, dtype=torch.uint8)).shape == (3, tokens, 32)


@torch.no_grad()
def test_states_are_the_last_block_before_the_final_norm():
    transformer = VisionTransformer(**SHAPE, mlp_ratio=4.0).eval()
    caught = []
    hook = transformer.transformer.resblocks[-1].register_forward_hook(lambda *args: caught.append(args[2]))
    pixels = pictures()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    transformer((pixels / 255 - mean) / std)  # open_clip's own forward, pooled head and all
    hook.remove()
    states = VisionTower(transformer)(pixels)
    assert_close(states, caught[0], atol=1e-5, rtol=1e-5)
    assert (states - torch.nn.functional.layer_norm(states, (32,))).abs().max() > 0.1  # so the norm would show


@torch.no_grad()
def test_the_class_token_comes_first_and_has_seen_the_picture():
    transformer = VisionTransformer(**SHAPE | {"layers": 1}, mlp_ratio=4.0).eval()
    tower = VisionTower(transformer)
    one, other = tower(pictures(2))
    assert (one[0] - other[0]).abs().max() > 1e-4
    transformer.class_embedding += 1
    # The class embedding enters through the residual stream of its own token, and only through attention elsewhere.
    grey = torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)
    moved = tower(grey)[0]
    transformer.class_embedding -= 1
    change = (moved - tower(grey)[0]).norm(dim=1)
    assert change.argmax() == 0


@torch.no_grad()
def test_bytes_are_normalised_and_floats_taken_as_they_are():
    tower, pixels = shaped_tower(**SHAPE), pictures()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    assert_close(tower(pixels), tower((pixels / 255 - mean) / std), atol=1e-5, rtol=1e-5)
    assert (tower(pixels) - tower(pixels.float())).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("pixels", [pictures(), torch.randn(2, 3, 16, 16)], ids=["bytes", "floats"])
def test_a_tower_in_bfloat16_takes_both(pixels):
    tower = shaped_tower(**SHAPE)
    expected = tower(pixels)
    found = tower.to(torch.bfloat16)(pixels)
    assert found.dtype == torch.bfloat16
    assert (found - expected).abs().mean() < 0.05


def products(step):
    """Names of the matrix products that a step makes."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    return {event.key for event in profile.key_averages()} & {"aten::addmm", "aten::mm", "aten::bmm"}


def test_a_frozen_tower_under_autocast_copies_no_weight_for_each_token():
    tower, pixels = shaped_tower(**SHAPE).eval().requires_grad_(False), pictures()
    with torch.inference_mode():
        plain = tower(pixels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert products(lambda: tower(pixels)) == {"aten::addmm"}
            assert_close(tower(pixels).float(), plain, atol=0.05, rtol=0.05)
        assert torch.equal(tower(pixels), plain)  # and is back in its order


def test_the_order_of_layers_changes_no_number():
    tower, pixels = shaped_tower(**SHAPE).eval(), pictures(3)
    found = []
    for batch_first in (True, False):
        tower._order(batch_first=batch_first)
        with torch.no_grad():
            found.append(tower.transformer.transformer(torch.ones(3, 5, 32) * pixels[:, :1, 0, :1] / 256))
    assert_close(*found)


def test_gradients_reach_every_parameter():
    tower = shaped_tower(**SHAPE)
    states = tower(pictures())
    (states * torch.randn_like(states)).sum().backward()
    missed = [name for name, p in tower.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert missed == []


@pytest.mark.parametrize("shape", [{"mlp_width": 48}, {"quick_gelu": True}, {"norm_eps": 0.5}], ids=str)
@torch.no_grad()
def test_each_part_of_a_shape_counts(shape):
    plain, other = shaped_tower(**SHAPE), shaped_tower(**SHAPE | shape)
    block = other.transformer.transformer.resblocks[0]
    assert block.mlp.c_fc.out_features == shape.get("mlp_width", 128)
    if "mlp_width" not in shape:
        other.load_state_dict(plain.state_dict())
        pixels = pictures()
        assert (other(pixels) - plain(pixels)).abs().max() > 1e-3


def on_meta(build):
    """The tower that `build` makes, without memory for its weights: its text and its weights' sizes."""
    with torch.device("meta"):
        tower = build()
    return str(tower), {name: weight.shape for name, weight in tower.state_dict().items()}


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32",
        "ViT-B-16-quickgelu",
        "ViT-B-16-plus-240",
        "ViT-L-14-336-quickgelu",
        "ViT-H-14",
        "ViT-L-14-CLIPA",  # without ln_pre
        "ViT-M-16-alt",  # with layer scale
        "coca_ViT-B-32",  # with an attention pool that gets no gradient
    ],
)
def test_a_named_shape_is_the_tower_of_open_clip_or_refused(name):
    config = open_clip.get_model_config(name)
    try:
        shape = named_shape(name)
    except UserError:
        return
    found = on_meta(lambda: shaped_tower(**shape))
    sizes = config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False)
    assert found == on_meta(lambda: VisionTower(_build_vision_tower(*sizes)))


@pytest.mark.parametrize("name", ["ViT-B-17", "RN50", "ViT-B-16-SigLIP", "convnext_base"])
def test_a_name_that_is_no_vision_transformer_of_open_clip_is_refused(name):
    with pytest.raises(UserError, match=f"model.vision.name: found {name}.*; accepted: ") as error:
        named_shape(name)
    assert "\n" not in str(error.value)
