"""Stages of training: recipes that run by themselves, or before a training that starts from their weights."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from safetensors.numpy import load_file

from behavesim.cli import compose
from behavesim.stages import command

SHORT = ("task.content.text_tokens=8", "task.content.max_length=60", "logger=none")


def shapes(sizes):
    """Sizes that every task has: a stage has a task of its own."""
    return [text for text in sizes if not text.startswith("task.")]


def test_a_stage_is_the_same_command_with_its_own_recipe(here):
    cfg = compose("train", ["task=joint", "task.stages=[align,instruct]", "run_name=whole", "seed=4", "init_from=null"])
    given = ["task=joint", "task.stages=[align,instruct]", "task.ratio=0.2", "model.train=[llm,head]", "run_name=whole"]
    given += ["data.path=t.csv", "+trainer.limit_train_batches=2", "optim.lr=1e-3", "ckpt_path=last", "hydra.verbose=x"]
    found = command(cfg, "align", given)
    assert found[:4] == ["+experiment=align", "data.path=t.csv", "+trainer.limit_train_batches=2", "optim.lr=1e-3"]
    where = ["export_dir=checkpoints/whole_align", "paths.output=outputs/whole_align", "run_name=whole_align", "seed=4"]
    assert sorted(found[4:]) == where
    cfg.init_from = "checkpoints/whole_align"
    assert "init_from=checkpoints/whole_align" in command(cfg, "instruct", given)


@pytest.mark.slow
def test_a_training_starts_from_its_stage(here, main, sizes, sample_overrides):
    still = ("optim.lr=1e-12", "optim.numbers_lr=1e-12")
    run = main(
        "train", "task=joint", "task.stages=[align]", *shapes(sizes), *sample_overrides, *SHORT, *still, "run_name=w"
    )
    assert run.code == 0, run.err
    stage, after = (load_file(Path("checkpoints") / name / "model.safetensors") for name in ("w_align", "w"))
    config = OmegaConf.load("checkpoints/w_align/config.yaml")
    assert config.task.name == "content" and config.model.train == ["projector"] and config.data.only_pictures
    assert abs(stage["projector.linear.weight"] - after["projector.linear.weight"]).max() < 1e-6
    assert OmegaConf.load("checkpoints/w/config.yaml").task.name == "joint"
    texts = json.loads(Path("outputs/w_align/metrics.json").read_text())["texts"]
    assert 10 < texts < json.loads(Path("outputs/w/metrics.json").read_text())["texts"]  # tweets with a picture alone


@pytest.mark.slow
def test_stages_follow_each_other_and_go_on(here, main, sizes, sample_overrides):
    given = ("task=joint", "task.stages=[align,instruct]", *shapes(sizes), *sample_overrides, *SHORT, "run_name=w")
    assert main("train", *given).code == 0
    stages = ("w_align", "w_instruct")
    first = {name: Path("checkpoints", name, "model.safetensors").read_bytes() for name in (*stages, "w")}
    times = {name: Path("checkpoints", name).stat().st_mtime for name in stages}
    for path in Path("checkpoints/w").iterdir():
        if path.is_file():
            path.unlink()
    Path("outputs/w/checkpoints/last.ckpt").unlink()
    assert main("train", *given, "ckpt_path=last").code == 0  # as if it had been ended after its stages
    assert {name: Path("checkpoints", name).stat().st_mtime for name in times} == times
    assert {name: Path("checkpoints", name, "model.safetensors").read_bytes() for name in first} == first


def test_a_stage_that_fails_is_one_line(here, main, sizes, sample_overrides):
    given = ("task=joint", "task.stages=[align]", *shapes(sizes), *sample_overrides, *SHORT, "run_name=w")
    run = main("train", *given, "data.image_column=null")
    assert run.code == 2 and "Traceback" not in run.err
    assert any(line.startswith("error: task.stages: align ended with code 2") for line in run.lines), run.err
