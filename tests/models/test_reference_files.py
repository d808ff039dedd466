"""Reference checkpoints as training runs leave them: prefixes, shards, old buffers, and what is wrong with them."""

import json

import pytest
import torch
from torch.testing import assert_close

from behavesim.errors import UserError
from behavesim.models.reference import load_reference_checkpoint

VISION = "model.image_encoder.vision_model."
LAYER = VISION + "encoder.layers.1."
PROJECTION = "model.visual_projection.visual_projection.0.weight"


@pytest.fixture
def made(reference):
    return reference("llama")


@pytest.fixture
def assert_loads(reference_inputs, naive_mask, tmp_path):
    """The folder of a reference gives that reference's logits."""

    @torch.no_grad()
    def check(made, folder=None):
        inputs = reference_inputs(max(1, len(made.frames)))
        valid = inputs["attention_mask"].bool()
        model = load_reference_checkpoint(folder or made.save(tmp_path))
        found, expected = model(**inputs).logits[:, -6:], made.logits(inputs, naive_mask)[:, -6:]
        assert_close(found[valid], expected[valid], atol=2e-5, rtol=1e-5)
        return model

    return check


@pytest.mark.parametrize("prefix", ["", "module.", "module.module.", "base_model.model.", "module.base_model.model."])
def test_prefixes_of_wrappers_are_taken_off(made, assert_loads, prefix):
    made.state = {prefix + name: weight for name, weight in made.state.items()}
    assert_loads(made)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_what_newer_code_computes_is_ignored(reference, assert_loads, family):
    made = reference(family)
    made.state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    made.state[VISION + "embeddings.position_ids"] = torch.arange(10)[None]
    assert_loads(made)


def test_a_vision_tower_without_its_inner_name_and_final_norm(made, assert_loads):
    made.state = {
        name.replace("vision_model.", ""): weight for name, weight in made.state.items() if "post_layernorm" not in name
    }
    assert_loads(made)


def test_opts_parts_may_lie_in_its_decoder(reference, assert_loads):
    made = reference("opt", frames=2)
    inside = ("model.image_encoder", "model.visual_projection", "model.img_temporal")
    made.state = {
        name.replace("model.", "model.decoder.", 1) if name.startswith(inside) else name: weight
        for name, weight in made.state.items()
    }
    assert_loads(made)


def test_frames_are_sorted_by_their_number(reference, assert_loads):
    made = reference("mpt", frames=11)  # 10 comes after 9, not after 1
    made.state = dict(sorted(made.state.items()))
    model = assert_loads(made)
    assert_close(model.frame_embedding.data, torch.cat(made.frames))


@pytest.mark.parametrize("kind", ["git_llama", "git_opt", "git_mpt"])
def test_a_flat_config_with_a_model_type(reference, assert_loads, kind):
    made = reference(kind.removeprefix("git_"))
    del made.config["family"]
    made.config |= {**made.config.pop("llm"), "model_type": kind, "num_image_with_embedding": 4, "torch_dtype": "x"}
    assert_loads(made)


def test_without_an_output_layer_it_is_the_embeddings(reference, assert_loads):
    made = reference("llama", shape={"tie_word_embeddings": True})
    made.config["llm"] = {key: value for key, value in made.config["llm"].items() if key != "tie_word_embeddings"}
    del made.state["lm_head.weight"]
    model = assert_loads(made)
    assert model.llm.lm_head.weight is model.llm.get_input_embeddings().weight


def test_an_output_layer_of_its_own_is_kept_whatever_the_config_says(made, assert_loads):
    made.config["llm"]["tie_word_embeddings"] = True
    model = assert_loads(made)
    assert not torch.equal(model.llm.lm_head.weight, model.llm.get_input_embeddings().weight)


def test_a_grown_vocabulary_is_that_of_the_weights(made, assert_loads):
    made.config["llm"]["vocab_size"] = 299
    assert assert_loads(made).llm.config.vocab_size == 300


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
def test_shards(made, assert_loads, tmp_path, indexed):
    made.save(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    names, shards = list(made.state), [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    halves = dict(zip(shards, (names[:30], names[30:]), strict=True))
    for shard, part in halves.items():
        torch.save({name: made.state[name] for name in part}, tmp_path / shard)
    if indexed:
        weight_map = {name: shard for shard, part in halves.items() for name in part}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_loads(made, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_loaded_in_fp32(made, tmp_path, dtype):
    made.state = {name: weight.to(dtype) for name, weight in made.state.items()}
    model = load_reference_checkpoint(made.save(tmp_path))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.llm.lm_head.weight, made.state["lm_head.weight"].float())


def test_generation_ends_where_the_config_says(made, tmp_path, reference_inputs):
    inputs = {name: value[:1] for name, value in reference_inputs().items()}
    free = load_reference_checkpoint(made.save(tmp_path)).generate(max_new_tokens=4, **inputs)[0].tolist()
    made.config["llm"]["eos_token_id"] = free[0]
    model = load_reference_checkpoint(made.save(tmp_path))
    assert len(free) == 4 and model.generate(max_new_tokens=4, **inputs).tolist() == [free[:1]]


def refused(folder):
    with pytest.raises(UserError) as error:
        load_reference_checkpoint(folder)
    line = str(error.value)
    assert "; accepted: " in line and "\n" not in line
    return line


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.1.mlp.up_proj.weight",
        "model.norm.weight",
        PROJECTION,
        VISION + "pre_layrnorm.bias",
        LAYER + "mlp.fc2.bias",
        LAYER + "self_attn.q_proj.weight",
        LAYER + "self_attn.k_proj.weight",
        VISION + "embeddings.patch_embedding.weight",
        "model.embed_tokens.weight",
    ],
)
def test_a_missing_weight_is_named(made, tmp_path, name):
    del made.state[name]
    line = refused(made.save(tmp_path))
    assert any(part in line for part in ("without a weight for", name.rsplit(".", 2)[-2]))


@pytest.mark.parametrize("part", ["image_encoder", "visual_projection"])
def test_a_missing_part_is_named(made, tmp_path, part):
    made.state = {name: weight for name, weight in made.state.items() if part not in name}
    expected = {"image_encoder": "no weights of vision;", "visual_projection": "no weights of projector;"}[part]
    assert expected in refused(made.save(tmp_path))


def test_a_missing_frame_is_named(reference, tmp_path):
    made = reference("llama", frames=3)
    del made.state["model.img_temporal_embedding.1"]
    assert "1" in refused(made.save(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["model.layers.1.mlp.up_proj.weight", PROJECTION, VISION + "embeddings.class_embedding", LAYER + "mlp.fc2.weight"],
)
def test_a_weight_of_the_wrong_size_is_named(made, tmp_path, name):
    made.state[name] = torch.zeros(*made.state[name].shape[:-1], 7)
    assert "size mismatch" in refused(made.save(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.1.mlp.extra.weight",
        "model.visual_projection.visual_projection.2.weight",
        VISION + "extra.weight",
        LAYER + "extra.weight",
        LAYER + "self_attn.q_proj.lora_A.default.weight",
        "model.img_temporal_embedding.0.weight",
    ],
)
def test_an_unknown_weight_is_named(made, tmp_path, name):
    made.state[name] = torch.zeros(4, 4)
    assert name.split(".")[-2] in refused(made.save(tmp_path))


@pytest.mark.parametrize("family", ["gpt2", None, "git_bloom"])
def test_an_unknown_family_is_refused(made, tmp_path, family):
    made.config["family"] = family
    assert f"config: family is {family}; accepted: llama, opt, mpt" in refused(made.save(tmp_path))


@pytest.mark.parametrize("content", [None, "{", "[1]", "3"])
def test_a_missing_or_broken_config_is_refused(made, tmp_path, content):
    file = made.save(tmp_path) / "config.json"
    file.unlink() if content is None else file.write_text(content)
    assert refused(tmp_path).startswith(f"config={file}: ")


def test_no_weights_at_all(made, tmp_path):
    (made.save(tmp_path) / "pytorch_model.bin").unlink()
    assert "holds no weights" in refused(tmp_path)
