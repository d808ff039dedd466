"""The artifact directory as a thing that is copied around and may be hostile."""

import json
import os
import shutil

import pytest
from omegaconf import OmegaConf
from polars.testing import assert_frame_equal
from safetensors.torch import load_file, save_file

from behavesim import artifact
from behavesim.errors import UserError


@pytest.fixture
def copy(tmp_path, trained):
    return shutil.copytree(trained.artifact, tmp_path / "copied artifact")


def test_it_is_self_contained(predict, tweets, copy):
    assert_frame_equal(predict(tweets, f"ckpt='{copy}'"), predict(tweets))


def test_it_names_no_file_of_the_machine_that_its_weights_need(copy, trained):
    for path in copy.rglob("*.json"):
        assert str(trained.artifact.parent) not in path.read_text(), path.name


def test_it_holds_plain_files_alone(trained):
    files = [path for path in trained.artifact.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".yaml", ".json", ".safetensors", ".parquet"}
    for path in files:
        start = path.read_bytes()[:4]
        assert not start.startswith((b"\x80", b"PK"))  # pickle, and torch's zip of pickles


def test_versions_are_kept(trained):
    versions = json.loads((trained.artifact / "versions.json").read_text())
    assert {"torch", "transformers", "behavesim"} <= set(versions)


@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "behavesim.models.builders.git_tiny.__call__"])
def test_a_configuration_that_calls_something_else_is_refused(predict, tweets, copy, target, monkeypatch):
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("executed"))
    config = OmegaConf.load(copy / "config.yaml")
    config.model._target_ = target
    OmegaConf.save(config, copy / "config.yaml")
    with pytest.raises(UserError, match=rf"config.yaml: model._target_ is {target}; accepted: behavesim"):
        predict(tweets, f"ckpt='{copy}'")


def test_a_yaml_tag_runs_nothing(predict, tweets, copy, tmp_path):
    flag = tmp_path / "executed"
    with (copy / "config.yaml").open("a") as file:
        file.write(f"extra: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{flag}']]\n")
    with pytest.raises(UserError, match="damaged artifact"):
        predict(tweets, f"ckpt='{copy}'")
    assert not flag.exists()


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "model.safetensors",
        "bins.json",
        "features.json",
        "text_summary.safetensors",
        "gaussian_process.safetensors",
        "history.parquet",
        "seen_rows.safetensors",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ],
)
def test_a_damaged_file_is_one_line(predict, tweets, copy, name):
    (copy / name).write_bytes(b"\x00 not what it was")
    with pytest.raises(UserError, match=r"ckpt=.*damaged artifact") as caught:
        predict(tweets, f"ckpt='{copy}'")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "model.safetensors",
        "history.parquet",
        "text_summary.safetensors",
        "gaussian_process.safetensors",
        "tokenizer",
    ],
)
def test_a_missing_file_is_named(predict, tweets, copy, name):
    shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
    with pytest.raises(UserError, match=f"without {name}"):
        predict(tweets, f"ckpt='{copy}'")


def test_a_missing_weight_is_no_random_one(predict, tweets, copy):
    weights = load_file(copy / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"damaged artifact .*disagree on 1 weights"):
        predict(tweets, f"ckpt='{copy}'")


def test_a_run_that_fails_leaves_the_artifact_of_before(here, train_tiny, monkeypatch):
    (here / "mine").mkdir()
    (here / "mine" / "old").write_text("old")
    monkeypatch.setattr(artifact, "save_file", lambda *_: (_ for _ in ()).throw(OSError("no space left on device")))
    with pytest.raises(OSError, match="no space"):
        train_tiny("export_dir=mine", "debug=limit")
    assert [path.name for path in (here / "mine").iterdir()] == ["old"]
    assert not [path for path in here.iterdir() if "partial" in path.name]
