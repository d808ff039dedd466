"""Checkpoints of the reference implementation through the command, into predictions."""

import json
import re
import shutil

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from behavesim.artifact import load_artifact
from behavesim.cli import compose
from behavesim.convert import convert
from behavesim.data.output import write_table
from behavesim.data.tokenizer import train_tokenizer
from behavesim.models.reference import load_reference_checkpoint
from behavesim.predict import predict

# A row of llama as the reference names its weights.
LAYER = {
    "self_attn.q_proj": (32, 32),
    "self_attn.k_proj": (16, 32),
    "self_attn.v_proj": (16, 32),
    "self_attn.o_proj": (32, 32),
    "mlp.gate_proj": (48, 32),
    "mlp.up_proj": (48, 32),
    "mlp.down_proj": (32, 48),
    "input_layernorm": (32,),
    "post_attention_layernorm": (32,),
}
CLIP_LAYER = {
    "self_attn.q_proj": (24, 24),
    "self_attn.k_proj": (24, 24),
    "self_attn.v_proj": (24, 24),
    "self_attn.out_proj": (24, 24),
    "mlp.fc1": (48, 24),
    "mlp.fc2": (24, 48),
    "layer_norm1": (24,),
    "layer_norm2": (24,),
}


def reference_state(vocab_size):
    """Random weights under the reference's names: a Llama of two layers with grouped queries and LoRA, a ViT of one."""
    state = {
        "model.embed_tokens.weight": (vocab_size, 32),
        "model.norm.weight": (32,),
        "lm_head.weight": (vocab_size, 32),
    }
    for layer in range(2):
        for name, shape in LAYER.items():
            state[f"model.layers.{layer}.{name}.weight"] = shape
        for name, out in (("q_proj", 32), ("v_proj", 16)):
            state[f"model.layers.{layer}.self_attn.{name}.lora_A.default.weight"] = (4, 32)
            state[f"model.layers.{layer}.self_attn.{name}.lora_B.default.weight"] = (out, 4)
    vision = "model.image_encoder.vision_model"
    state |= {
        f"{vision}.embeddings.class_embedding": (24,),
        f"{vision}.embeddings.patch_embedding.weight": (24, 3, 8, 8),
        f"{vision}.embeddings.position_embedding.weight": (10, 24),
    }
    for norm in ("pre_layrnorm", "post_layernorm"):
        state |= {f"{vision}.{norm}.weight": (24,), f"{vision}.{norm}.bias": (24,)}
    for name, shape in CLIP_LAYER.items():
        state |= {
            f"{vision}.encoder.layers.0.{name}.weight": shape,
            f"{vision}.encoder.layers.0.{name}.bias": shape[:1],
        }
    projector = "model.visual_projection.visual_projection"
    state |= {f"{projector}.0.weight": (32, 24), f"{projector}.0.bias": (32,)}
    state |= {f"{projector}.1.weight": (32,), f"{projector}.1.bias": (32,)}
    return {name: torch.randn(shape) * 0.2 for name, shape in state.items()}


@pytest.fixture(scope="module")
def tokenizer(sample_table):
    return train_tokenizer(sample_table.frame["content"], 400)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer):
    """A folder as the reference's own files are laid out, with the tokenizer beside them."""
    folder = tmp_path_factory.mktemp("reference")
    torch.manual_seed(1)
    torch.save(reference_state(len(tokenizer)), folder / "pytorch_model.bin")
    llm = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {
        "family": "llama",
        "llm": {**llm, "num_key_value_heads": 2, "vocab_size": len(tokenizer), "not_of_llama": 3},
        "vision": {"num_attention_heads": 2, "hidden_act": "quick_gelu"},
        "lora": {"r": 4, "lora_alpha": 16},
        "not_of_ours": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


def converted(*overrides):
    convert(compose("convert", list(map(str, overrides))))


def logits_of(model):
    generator = torch.Generator().manual_seed(3)
    inputs = {
        "input_ids": torch.randint(5, 300, (2, 9), generator=generator),
        "attention_mask": torch.tensor([[1] * 9, [1] * 6 + [0] * 3]),
        "pixel_values": torch.randn(2, 3, 24, 24, generator=generator),
    }
    with torch.no_grad():
        return model(**inputs).logits


def test_the_artifact_computes_what_the_checkpoint_does(here, checkpoint, tokenizer):
    converted(f"reference={checkpoint}", "output=artifact")
    artifact = load_artifact(here / "artifact")
    torch.testing.assert_close(logits_of(artifact.model), logits_of(load_reference_checkpoint(checkpoint)))
    stored = load_file(here / "artifact" / "model.safetensors")
    assert sum(name.endswith("lora_B.default.weight") for name in stored) == 4
    assert isinstance(artifact.encoder.tokenizer, PreTrainedTokenizerFast)
    assert artifact.encoder.tokenizer.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("decode", ["greedy", "expected"])
def test_the_artifact_predicts_every_row_of_a_table(here, checkpoint, tweets, decode):
    converted(f"reference={checkpoint}", "output=artifact")
    table = tweets.head(12).drop("likes")
    write_table(table, here / "in.parquet")
    shown = [f"task.decode={decode}", "task.samples=4"]
    predict(compose("predict", ["ckpt=artifact", "input=in.parquet", "output=out.parquet", *shown]))
    found = pl.read_parquet("out.parquet")
    assert found["id"].to_list() == table["id"].to_list()
    assert found.null_count().row(0) == (0,) * found.width and (found["likes"] >= 0).all()


def test_a_trainer_folder_of_shards_is_read_at_its_last_checkpoint(here, checkpoint, tokenizer):
    state = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    # As peft names what it wraps, and data parallelism on top of it.
    inner = {name: re.sub(r"layers(.+)([qv]_proj)\.weight", r"layers\1\2.base_layer.weight", name) for name in state}
    wrapped = {f"module.base_model.model.{inner[name]}": weight for name, weight in state.items()}
    for step, scale in ((500, 2.0), (9235, 1.0)):
        folder = here / "run" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        names = sorted(wrapped)
        for part, chunk in enumerate((names[:20], names[20:]), start=1):
            torch.save(
                {name: wrapped[name] * scale for name in chunk}, folder / f"pytorch_model-0000{part}-of-00002.bin"
            )
        shutil.copy(checkpoint / "config.json", folder)
    converted("reference=run", f"tokenizer={checkpoint}", "output=artifact")
    artifact = load_artifact(here / "artifact")
    torch.testing.assert_close(logits_of(artifact.model), logits_of(load_reference_checkpoint(checkpoint)))


def test_a_file_with_its_config_elsewhere(here, checkpoint):
    shutil.copy(checkpoint / "pytorch_model.bin", here / "weights.bin")
    places = [f"config={checkpoint / 'config.json'}", f"tokenizer={checkpoint}"]
    converted("reference=weights.bin", *places, "output=artifact")
    assert load_artifact(here / "artifact").config["model"]["lora"]["alpha"] == 16


@pytest.mark.parametrize(
    ("overrides", "piece"),
    [
        (["reference=gone"], "reference=gone: does not exist; accepted: "),
        (["reference={checkpoint}", "tokenizer=no-such-folder/"], "tokenizer: found no-such-folder/"),
        (["reference={checkpoint}", "config=gone.json"], "config=gone.json: "),
        (["reference={checkpoint}", "decode=greedy"], "decode: no such key"),
        (["reference={checkpoint}", "output=."], "output: found ., which holds other things"),
    ],
)
def test_what_is_wrong_is_one_line(here, main, checkpoint, overrides, piece):
    run = main("convert", "output=artifact", *(text.format(checkpoint=checkpoint) for text in overrides))
    assert run.code == 2 and "Traceback" not in run.err
    errors = [line for line in run.lines if line.startswith("error: ")]
    assert len(errors) == 1 and piece in errors[0], run.err


def test_pickled_code_is_not_run(here, main, checkpoint):
    class Evil:
        def __reduce__(self):
            return (open, ("ran", "w"))

    shutil.copytree(checkpoint, here / "evil")
    torch.save({"model.norm.weight": Evil()}, here / "evil" / "pytorch_model.bin")
    run = main("convert", "reference=evil", "output=artifact")
    assert run.code == 2 and "holds code that is not run" in run.err
    assert not (here / "ran").exists() and not (here / "artifact").exists()
