"""Published weights, from folders and files that the test writes itself."""

import json

import open_clip
import pytest
import torch
from open_clip import factory
from torch.testing import assert_close

from behavesim.errors import UserError
from behavesim.models.llm import llm_config, random_llm
from behavesim.models.pretrained import pretrained_llm, shape_of
from behavesim.models.vision import pretrained_tower

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
NAME = "tiny-test-vit"
CLIP = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 4, "vocab_size": 20, "width": 8, "heads": 1, "layers": 1},
}


def published(folder, family, family_shape, lively_weights, *, safe=True):
    """A model as it lies on the hub."""
    llm = lively_weights(random_llm(llm_config(family_shape(family))))
    llm.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(llm.state_dict(), folder / "pytorch_model.bin")
    return llm


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A small CLIP that open_clip knows by name for this test: the model and its weights' file."""
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    (tmp_path / f"{NAME}.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(tmp_path / f"{NAME}.json")
    model = open_clip.create_model(NAME).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    return model, str(tmp_path / "clip.pt")


@torch.no_grad()
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_weights_of_a_folder_are_loaded(family, family_shape, lively_weights, tmp_path, safe):
    saved = published(tmp_path, family, family_shape, lively_weights, safe=safe).state_dict()
    loaded = pretrained_llm(str(tmp_path), dtype="float32", quantization="none").state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_kept_in_the_dtype_asked_for(family_shape, lively_weights, tmp_path, dtype):
    saved = published(tmp_path, "llama", family_shape, lively_weights)
    loaded = pretrained_llm(str(tmp_path), dtype=dtype, quantization="none")
    assert {p.dtype for p in loaded.parameters()} == {getattr(torch, dtype)}
    assert torch.equal(loaded.lm_head.weight, saved.lm_head.weight.to(getattr(torch, dtype)))


def test_the_shape_is_the_folders_config(family_shape, lively_weights, tmp_path):
    published(tmp_path, "opt", family_shape, lively_weights)
    found = llm_config(shape_of(str(tmp_path)))
    assert found.model_type == "opt"
    assert {key: getattr(found, key) for key in family_shape("opt")} == family_shape("opt")


def test_a_folder_without_a_causal_language_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.llm: found model_type clip; accepted: "):
        pretrained_llm(str(tmp_path), dtype="float32", quantization="none")


@torch.no_grad()
def test_a_towers_weights_and_activation_are_those_of_the_file(clip):
    model, file = clip
    tower, pixels = pretrained_tower(NAME, file).eval(), torch.randn(2, 3, 16, 16)
    caught = []
    hook = model.visual.transformer.resblocks[-1].register_forward_hook(lambda *args: caught.append(args[2]))
    model.encode_image(pixels)
    hook.remove()
    assert_close(tower(pixels), caught[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "opt", "mpt"])
@torch.no_grad()
def test_the_builder_puts_published_parts_together(
    family, family_shape, lively_weights, family_model, model_inputs, clip, tmp_path
):
    saved, (visual, file) = published(tmp_path / "llm", family, family_shape, lively_weights), clip
    where = {"llm": str(tmp_path / "llm"), "llm_shape": None, "vision": {"name": NAME, "weights": file, "shape": None}}
    model = family_model(family, r=4, pretrained=True, **where)  # with r > 0 the fixture leaves weights alone
    tower = model.vision.transformer.state_dict()
    assert all(torch.equal(weight, visual.visual.state_dict()[name]) for name, weight in tower.items())
    found = {name.replace(".base_layer", ""): p for name, p in model.llm.state_dict().items() if "lora_" not in name}
    assert all(torch.equal(found[name], weight) for name, weight in saved.state_dict().items())
    # Random weights of the same shapes take the published ones: what an export stores is what a later load builds.
    shapes = family_model(family, r=4, pretrained=False, **where)
    shapes.load_state_dict(model.state_dict())
    inputs = model_inputs(TEXTS, {0: 1})
    assert_close(shapes(**inputs).logits, model(**inputs).logits, atol=1e-6, rtol=1e-6)


def test_random_weights_need_no_files_but_the_config(family_shape, lively_weights, family_model, clip, tmp_path):
    published(tmp_path / "llm", "qwen2", family_shape, lively_weights)
    (tmp_path / "llm" / "model.safetensors").unlink()
    vision = {"name": NAME, "weights": "nothing", "shape": None}
    model = family_model("qwen2", llm=str(tmp_path / "llm"), llm_shape=None, vision=vision)
    assert model.llm.config.model_type == "qwen2" and model.vision.width == 32
    with pytest.raises(UserError, match=r"lacks model\.safetensors"):
        family_model(
            "qwen2", llm=str(tmp_path / "llm"), llm_shape=None, vision=vision | {"weights": clip[1]}, pretrained=True
        )
