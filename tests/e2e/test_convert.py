"""Checkpoints of the reference implementation through the command, into predictions."""

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
from behavesim.models.reference import load_reference_checkpoint
from behavesim.predict import predict


@pytest.fixture(scope="session")
def checkpoint(reference_checkpoint):
    return reference_checkpoint


@pytest.fixture(scope="session")
def tokenizer(checkpoint):
    return PreTrainedTokenizerFast.from_pretrained(checkpoint)


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
        (["reference=gone"], "reference: found gone, which does not exist; accepted: "),
        (["reference={checkpoint}", "tokenizer=no-such-folder/"], "tokenizer: found no-such-folder/"),
        (["reference={checkpoint}", "config=gone.json"], "config: found gone.json, which does not exist"),
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


def test_without_a_tokenizer_the_model_is_whole_and_says_why_it_reads_no_table(
    here, main, reference_checkpoint, tweets
):
    shutil.copy(reference_checkpoint / "pytorch_model.bin", here)
    shutil.copy(reference_checkpoint / "config.json", here)
    converted("reference=pytorch_model.bin", "config=config.json", "output=artifact")
    artifact = load_artifact(here / "artifact")
    torch.testing.assert_close(logits_of(artifact.model), logits_of(load_reference_checkpoint(reference_checkpoint)))
    write_table(tweets.head(3), here / "in.csv")
    run = main("predict", "ckpt=artifact", "input=in.csv", "output=out.csv")
    assert run.code == 2
    assert [line for line in run.lines if line.startswith("error: ")] == [
        "error: ckpt=artifact: converted without a tokenizer; accepted: one converted with tokenizer=…"
    ]
