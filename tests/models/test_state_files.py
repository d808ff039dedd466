"""Weights are read from whatever files a training run left, and code in them is not run."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from behavesim.errors import UserError
from behavesim.models.state_files import read_state_dict

STATE = {"llm.a": torch.arange(6.0).view(2, 3), "llm.b": torch.ones(4, dtype=torch.bfloat16), "head.c": torch.zeros(1)}
FIRST, SECOND = (f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2))


class Code:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def same(found, expected=STATE):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def save_shards(folder, save=torch.save, names=(FIRST, SECOND)):
    folder.mkdir(parents=True, exist_ok=True)
    parts = ({"llm.a": STATE["llm.a"]}, {"llm.b": STATE["llm.b"], "head.c": STATE["head.c"]})
    for name, part in zip(names, parts, strict=True):
        save(part, folder / name)
    return {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}


def refused(path):
    with pytest.raises(UserError) as error:
        read_state_dict(path)
    line = str(error.value)
    assert line.startswith(f"reference={path}") and "; accepted: " in line and "\n" not in line
    return line


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_a_file_of_torch(tmp_path, zipped):
    torch.save(STATE, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_state_dict(tmp_path / "a.pt"))


def test_a_file_of_safetensors(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    assert same(read_state_dict(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_folder_with_one_file(tmp_path, name):
    (save_file if name.endswith("safetensors") else torch.save)(STATE, tmp_path / name)
    torch.save({"args": Code(tmp_path / "ran")}, tmp_path / "training_args.bin")  # beside the weights, never opened
    assert same(read_state_dict(tmp_path))


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
def test_a_folder_of_shards(tmp_path, indexed):
    weight_map = save_shards(tmp_path)
    if indexed:
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same(read_state_dict(tmp_path))


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
def test_a_folder_of_safetensors_shards(tmp_path, indexed):
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weight_map = save_shards(tmp_path, save_file, names)
    if indexed:
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same(read_state_dict(tmp_path))


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
def test_a_missing_shard_is_named(tmp_path, indexed):
    weight_map = save_shards(tmp_path)
    if indexed:
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (tmp_path / FIRST).unlink()
    line = refused(tmp_path)
    assert f"lacks {FIRST};" in line and SECOND not in line


def test_an_index_without_a_list_is_refused(tmp_path):
    index = tmp_path / "pytorch_model.bin.index.json"
    for text in ("{", "[]", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(UserError, match="no list of shards") as error:
            read_state_dict(tmp_path)
        assert str(error.value).startswith(str(index))


def test_of_a_trainer_folder_the_last_checkpoint_by_number(tmp_path):
    save_shards(tmp_path / "checkpoint-9235")
    for other in ("checkpoint-900", "checkpoint-950", "checkpoint-99999-old", "runs"):
        (tmp_path / other).mkdir()
        torch.save({"llm.a": torch.full((2, 3), -1.0)}, tmp_path / other / "pytorch_model.bin")
    assert same(read_state_dict(tmp_path))


def test_weights_of_the_folder_itself_go_before_those_of_its_checkpoints(tmp_path):
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    (tmp_path / "checkpoint-5").mkdir()
    assert same(read_state_dict(tmp_path))


def test_an_empty_last_checkpoint_is_named(tmp_path):
    save_shards(tmp_path / "checkpoint-1")
    (tmp_path / "checkpoint-2").mkdir()
    assert "checkpoint-2: holds no weights" in refused(tmp_path)


@pytest.mark.parametrize("nest", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"module": s, "step": 1}])
def test_wrappers_are_taken_off(tmp_path, nest):
    torch.save(nest(STATE), tmp_path / "a.pt")
    assert same(read_state_dict(tmp_path / "a.pt"))


def test_entries_that_are_no_tensors_are_left_out(tmp_path):
    torch.save({**STATE, "version": 2, "names": ["x"], 7: torch.ones(1)}, tmp_path / "a.pt")
    assert same(read_state_dict(tmp_path / "a.pt"))


@pytest.mark.parametrize("content", [{"step": 3}, {}, [torch.ones(2)], torch.ones(2)])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    assert "holds no tensors" in refused(tmp_path / "a.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_code_is_refused_and_not_run(tmp_path, zipped):
    file = tmp_path / "pytorch_model.bin"
    torch.save({**STATE, "extra": Code(tmp_path / "ran")}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"holds code that is not run") as error:
        read_state_dict(tmp_path)
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    assert ("mkdir" in str(error.value)) == zipped  # the zip format can be looked into
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04" + bytes(99)])
def test_a_broken_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)


def test_the_pointer_of_git_lfs_is_told_as_such(tmp_path):
    (tmp_path / "a.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "git lfs pull" in refused(tmp_path / "a.bin")


def test_nothing_there_is_refused(tmp_path):
    assert "holds no weights" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "nope")
    assert "does not exist" in refused(Path("nope.bin"))
