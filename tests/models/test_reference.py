"""Checkpoints of the reference give the reference's own numbers: recorded ones, and those of stock parts."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.testing import assert_close

from behavesim.models.reference import load_reference_checkpoint

GOLDEN = ["llama", "llama_frames", "opt", "mpt"]
CLOSE = {"atol": 2e-5, "rtol": 1e-5}


@pytest.fixture
def golden(shared):
    """A recorded model and what it gave: name → (model, inputs, recorded)."""

    def read(name):
        folder = shared / "golden" / name
        if not folder.is_dir():
            pytest.skip(f"{folder}: no such folder")
        recorded = load_file(folder / "io.safetensors")
        inputs = {key: recorded[key] for key in ("input_ids", "attention_mask", "pixel_values")}
        return load_reference_checkpoint(folder), inputs, recorded

    return read


@torch.no_grad()
@pytest.mark.parametrize("name", GOLDEN)
def test_logits_and_loss_are_the_recorded_ones(golden, name):
    model, inputs, recorded = golden(name)
    logits, ids = model(**inputs).logits, inputs["input_ids"]
    images = logits.shape[1] - ids.shape[1]
    assert logits.shape == recorded["logits"].shape
    assert_close(logits[:, :images], recorded["logits"][:, :images], atol=1e-4, rtol=0)
    valid = inputs["attention_mask"].bool()
    assert_close(logits[:, images:][valid], recorded["logits"][:, images:][valid], atol=1e-4, rtol=0)
    # As the reference computes it, padding included.
    loss = F.cross_entropy(logits[:, images:-1].flatten(0, 1), ids[:, 1:].flatten())
    assert_close(loss[None], recorded["loss"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", GOLDEN)
def test_greedy_tokens_are_the_recorded_ones(golden, name):
    model, inputs, recorded = golden(name)
    first = {key: value[:1] for key, value in inputs.items()}
    assert model.generate(max_new_tokens=8, **first)[0].tolist() == recorded["greedy"].tolist()
    assert model.generate(max_new_tokens=8, **inputs)[0].tolist() == recorded["greedy"].tolist()


def assert_same(model, made, inputs, naive_mask):
    logits, expected = model(**inputs).logits, made.logits(inputs, naive_mask)
    images = logits.shape[1] - inputs["input_ids"].shape[1]
    assert logits.shape == expected.shape
    assert_close(logits[:, :images], expected[:, :images], **CLOSE)
    valid = inputs["attention_mask"].bool()
    assert_close(logits[:, images:][valid], expected[:, images:][valid], **CLOSE)
    assert expected.std() > 0.3


@torch.no_grad()
@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("family", ["llama", "opt", "mpt"])
def test_logits_are_those_of_stock_parts(reference, reference_inputs, naive_mask, tmp_path, family, frames):
    made = reference(family, frames=frames)
    model = load_reference_checkpoint(made.save(tmp_path))
    inputs = reference_inputs(frames or 1)
    assert not model.training and {p.dtype for p in model.parameters()} == {torch.float32}
    assert_same(model, made, inputs, naive_mask)
    if not frames:
        flat = model(**inputs | {"pixel_values": inputs["pixel_values"].squeeze(1)}).logits
        assert_close(flat, model(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"image_size": 20, "patch_size": 4},
        {"num_attention_heads": 2},
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 0.1},
        {"num_hidden_layers": 1, "intermediate_size": 64},
    ],
    ids=str,
)
def test_vision_states_are_those_of_the_stock_tower(reference, reference_inputs, tmp_path, vision):
    made = reference("llama", **vision)
    pixels = reference_inputs(1, made.vision.config.image_size)["pixel_values"][:, 0]
    model = load_reference_checkpoint(made.save(tmp_path))
    assert_close(model.vision(pixels), made.vision(pixels).last_hidden_state, atol=5e-5, rtol=1e-5)


@torch.no_grad()
def test_heads_are_64_wide_where_the_config_tells_nothing_of_vision(reference, reference_inputs, tmp_path):
    made = reference("llama", hidden_size=128, num_attention_heads=2)
    del made.config["vision"]
    pixels = reference_inputs()["pixel_values"][:, 0]
    model = load_reference_checkpoint(made.save(tmp_path))
    assert_close(model.vision(pixels), made.vision(pixels).last_hidden_state, atol=5e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("alpha", [16, None], ids=["alpha told", "alpha of the published model"])
@pytest.mark.parametrize("style", ["plain", "peft", "adapter file"])
def test_adapters_are_loaded(reference, reference_inputs, naive_mask, tmp_path, family, alpha, style):
    made, merged = reference(family), reference(family)
    targets = [name for name in made.state if name.endswith(("q_proj.weight", "v_proj.weight")) and "image" not in name]
    for name in targets:
        stem = name.removesuffix(".weight")
        weight = made.state.pop(name)
        a, b = torch.randn(4, 32) * 0.2, torch.randn(len(weight), 4) * 0.2
        base, adapter = {
            "plain": ("", ".default.weight"),
            "peft": (".base_layer", ".default.weight"),
            "adapter file": ("", ".weight"),
        }[style]
        made.state |= {f"{stem}{base}.weight": weight, f"{stem}.lora_A{adapter}": a, f"{stem}.lora_B{adapter}": b}
        merged.llm.get_parameter(name).add_((alpha or 32) / 4 * b @ a)
    made.config["lora"] = alpha and {"r": 4, "lora_alpha": alpha, "target_modules": ["q_proj", "v_proj"]}
    if style != "plain":
        made.state = {f"base_model.model.{name}": weight for name, weight in made.state.items()}
    model = load_reference_checkpoint(made.save(tmp_path))
    assert len([name for name, _ in model.named_parameters() if "lora_" in name]) == 2 * len(targets) == 8
    assert_same(model, merged, reference_inputs(), naive_mask)
    assert (made.logits(reference_inputs(), naive_mask) - merged.logits(reference_inputs(), naive_mask)).std() > 0.1
