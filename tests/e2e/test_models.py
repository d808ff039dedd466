"""Every `model=` choice, projector, head and recipe: trained for three steps, saved, read back, and the same again."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from behavesim import build, inputs, scoring
from behavesim.artifact import Artifact, load_artifact, save_artifact, seen_hashes
from behavesim.cli import compose
from behavesim.data.output import write_table
from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.origins import ColumnPictures, NoPictures
from behavesim.data.prepare import Job, prepare
from behavesim.models.trainable import part_of

MODELS = ["git_tiny", "git_llama2", "git_opt", "git_mpt", "git_hf"]


@pytest.fixture
def trained_steps(here, sample_overrides):
    """Three steps with these overrides; returns the artifact as it left training and the weights it began with."""

    def run(*overrides):
        settings = ["trainer.max_steps=3", "optim.lr=0.01", "logger=none", "task.samples=4"]
        cfg = compose("train", [*sample_overrides, *settings, *overrides])
        build.check_targets(cfg)
        data = inputs.datamodule(cfg)
        model, bins = build.model(cfg, data)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        build.trainer(cfg).fit(build.module(cfg, model, data), data)
        seen = seen_hashes(data.parts)
        return Artifact(model.eval(), data.encoder, bins, build.plain(cfg), seen), before

    return run


@pytest.fixture(scope="module")
def rows(sample_table):
    return sample_table.all()[:40]


@pytest.fixture
def changed_rows(here, tweets):
    """The same rows after a change of the source, with pictures unless there is no column of them."""

    def prepared(**columns):
        source = here / "changed.csv"
        write_table(tweets.head(40).with_columns(**columns), source)
        origin = ColumnPictures("local_path", here) if "local_path" not in columns else NoPictures()
        return prepare(Job(source, here / "changed", origin, PictureSettings(64, 90, 1_000_000))).all()

    return prepared


def predicted(artifact, rows):
    given = ["ckpt=.", "input=in.parquet", "output=out.parquet"]
    Path("in.parquet").touch()
    return scoring.predict(compose("predict", given), artifact, rows)


def same_again(artifact, rows):
    """The artifact saved and read back predicts the same numbers; returns them."""
    save_artifact(artifact, Path("artifact"))
    fresh, back = (predicted(one, rows) for one in (artifact, load_artifact(Path("artifact"))))
    assert fresh.keys() == back.keys()
    for name, values in fresh.items():
        np.testing.assert_array_equal(back[name], values, err_msg=name)
    assert all(np.isfinite(fresh[name]).all() for name in ("mean", "logmean", "median", "p10", "p90"))
    return fresh


@pytest.mark.parametrize("head", ["histogram", "text"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_saves_and_predicts_the_same(trained_steps, tiny_shapes, rows, model, head):
    artifact, before = trained_steps(*tiny_shapes(model), f"model.head={head}")
    weights = dict(artifact.model.named_parameters())
    moved = {name for name, weight in weights.items() if not torch.equal(weight, before[name])}
    trainable = {name for name, weight in weights.items() if weight.requires_grad}
    assert moved <= trainable
    # An attention layer over one image token more or less may leave a key's bias where it was, nothing else.
    assert len(moved) > 0.9 * len(trainable) and {part_of(name) for name in moved} == {part_of(n) for n in trainable}
    adapters = [name for name in weights if part_of(name) == "lora"]
    assert all(name.startswith("llm.") for name in adapters) and bool(adapters) == (model != "git_tiny")
    assert all(not torch.equal(weights[name], before[name]) for name in adapters if "lora_B" in name)
    same_again(artifact, rows)


@pytest.mark.parametrize("head", ["histogram", "text"])
@pytest.mark.parametrize(
    ("dtype", "precision"), [("bfloat16", "32-true"), ("half", "bf16-mixed"), ("float16", "bf16-mixed")]
)
def test_a_language_model_kept_in_halves_trains(trained_steps, tiny_shapes, rows, dtype, precision, head):
    shapes = [text for text in tiny_shapes("git_llama2") if "weights_dtype" not in text]
    settings = [f"model.weights_dtype={dtype}", f"trainer.precision={precision}", f"model.head={head}"]
    artifact, before = trained_steps(*shapes, *settings)
    for name, weight in artifact.model.named_parameters():
        assert torch.equal(weight, before[name]) == (not weight.requires_grad), name
        assert weight.dtype == torch.float32 or not weight.requires_grad
    same_again(artifact, rows)


@pytest.mark.parametrize("projector", ["linear", "mlp", "resampler"])
def test_every_projector(trained_steps, tiny_shapes, rows, changed_rows, projector):
    settings = [f"model.projector={projector}", "model.image_tokens=2", "model.frames=2"]
    artifact, before = trained_steps(*tiny_shapes("git_llama2"), *settings)
    moved = [name for name, w in artifact.model.named_parameters() if not torch.equal(w, before[name])]
    assert any(name.startswith("projector.") for name in moved) and "frame_embedding" in moved
    same_again(artifact, rows)
    blind = predicted(artifact, changed_rows(local_path=pl.lit(None)))
    assert (blind["mean"] != predicted(artifact, rows)["mean"]).any()


@pytest.mark.parametrize("head", ["histogram", "regression", "text"])
def test_every_head_gives_every_estimate(trained_steps, rows, head):
    artifact, _ = trained_steps("model.llm.hidden_size=32", "model.llm.vocab_size=400", f"model.head={head}")
    found = same_again(artifact, rows)
    assert (found["p10"] <= found["median"]).all() and (found["median"] <= found["p90"]).all()
    assert ("failures" in found) == (head == "text")


def test_a_model_that_is_shown_no_text_reads_none(trained_steps, rows, changed_rows):
    unread = ["task.shows=[time,media]", "task.text_summary=0", "task.max_length=8"]
    blind, _ = trained_steps("model.llm.hidden_size=32", "model.llm.vocab_size=400", *unread)
    seeing, _ = trained_steps("model.llm.hidden_size=32", "model.llm.vocab_size=400")
    changed = changed_rows(content=pl.lit("quite other words"))
    np.testing.assert_array_equal(predicted(blind, changed)["mean"], same_again(blind, rows)["mean"])
    assert (predicted(seeing, changed)["mean"] != predicted(seeing, rows)["mean"]).any()


def test_a_written_answer_never_reads_the_label(trained_steps, tiny_shapes, rows, changed_rows):
    artifact, _ = trained_steps(*tiny_shapes("git_llama2"), "model.head=text")
    fresh = predicted(artifact, rows)
    for likes in (98_765, None):
        changed = changed_rows(likes=pl.lit(likes, dtype=pl.Int64))
        assert set(changed.frame("likes")["likes"]) == {likes}
        np.testing.assert_array_equal(predicted(artifact, changed)["mean"], fresh["mean"])


def test_the_published_recipe_at_tiny_size(trained_steps, tiny_shapes, rows):
    recipe = ["+experiment=reference", "trainer=cpu", *tiny_shapes("git_llama2")[1:]]
    artifact, before = trained_steps(*recipe)
    task, model = artifact.config["task"], artifact.config["model"]
    assert (task["prompt"], task["max_length"], task["decode"]) == ("reference", 512, "greedy")
    assert model["lora"] == {"r": 8, "alpha": 32, "dropout": 0.01, "target_modules": ["q_proj", "v_proj"]}
    moved = {part_of(name) for name, w in artifact.model.named_parameters() if not torch.equal(w, before[name])}
    assert moved == {"projector", "lora"}
    same_again(artifact, rows)


def test_published_weights_are_left_out_of_the_artifact_and_found_again(
    trained_steps, tiny_shapes, tiny_checkpoint, rows
):
    shapes = [text for text in tiny_shapes("git_llama2") if text.startswith("model.weights_dtype")]
    published = ["model=git_hf", f"model.llm={tiny_checkpoint.llm}", *tiny_checkpoint.vision, *shapes]
    artifact, before = trained_steps(*published, "model.gradient_checkpointing=true")
    moved = {part_of(name) for name, w in artifact.model.named_parameters() if not torch.equal(w, before[name])}
    assert moved == {"projector", "lora", "head"}
    same_again(artifact, rows)
    stored = {part_of(name) for name in load_file("artifact/model.safetensors")}
    assert stored == {"projector", "lora", "head"}
    assert artifact.encoder.tokenizer.get_vocab() == tiny_checkpoint.tokenizer.get_vocab()


def test_published_weights_start_in_training_mode(tiny_checkpoint, sample_overrides, here):
    published = ["model=git_hf", f"model.llm={tiny_checkpoint.llm}", *tiny_checkpoint.vision, "logger=none"]
    cfg = compose("train", [*sample_overrides, *published])
    model, _ = build.model(cfg, inputs.datamodule(cfg))
    assert all(module.training for module in model.modules())
