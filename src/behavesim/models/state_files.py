"""Weights from whatever files a training run left behind, without running the code that some of them hold."""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from behavesim.errors import UserError
from behavesim.models.hub import WEIGHTS, weight_files

FILE = "a *.bin, *.pt or *.safetensors file of tensors alone"
ACCEPTED = (
    f"{FILE}, or a folder with pytorch_model.bin or model.safetensors, whole or in shards, or with checkpoint-N "
    "folders that hold them"
)
WRAPPERS = ("state_dict", "module")  # under which Lightning and DeepSpeed keep the weights


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU and mapped from disk where the format allows it.

    Of a folder without weights of its own the `checkpoint-N` with the largest N is read, as Trainer leaves them.
    Entries that are no tensors are left out.

    Raises:
        UserError: nothing there, shards that are missing, or a file that cannot be read without running code.
    """
    folder = checkpoint_folder(path)
    state: dict[str, Tensor] = {}
    for file in [path] if path.is_file() else _files_of(folder):
        state |= _read_file(file)
    return state


def checkpoint_folder(path: Path) -> Path:
    """The folder that `read_state_dict` reads: that of a file, itself, or the `checkpoint-N` with the largest N."""
    if path.is_file():
        return path.parent
    if not path.is_dir():
        raise UserError(f"reference={path}: does not exist; accepted: {ACCEPTED}")
    checkpoints = {
        int(child.name.removeprefix("checkpoint-")): child
        for child in path.iterdir()
        if child.is_dir() and re.fullmatch(r"checkpoint-\d+", child.name)
    }
    return checkpoints[max(checkpoints)] if checkpoints and not any(_shards(path)) else path


def _files_of(folder: Path) -> list[Path]:
    files, missing = _shards(folder)
    if missing:
        raise UserError(f"reference={folder}: lacks {', '.join(missing)}; accepted: all shards together")
    if not files:
        raise UserError(f"reference={folder}: holds no weights; accepted: {ACCEPTED}")
    return files


def _shards(folder: Path) -> tuple[list[Path], list[str]]:
    """Files of weights that are there and the names of those that are missing."""
    files, missing = weight_files(folder)
    return (files, missing) if files or missing else _numbered_shards(folder)


def _numbered_shards(folder: Path) -> tuple[list[Path], list[str]]:
    """As `weight_files`, of shards without an index: their own names say how many there are."""
    for name in WEIGHTS:
        stem, suffix = name.split(".")
        totals = {
            match[1]
            for child in folder.iterdir()
            if (match := re.fullmatch(rf"{stem}-\d{{5}}-of-(\d{{5}})\.{suffix}", child.name))
        }
        shards = [f"{stem}-{i:05d}-of-{total}.{suffix}" for total in sorted(totals) for i in range(1, int(total) + 1)]
        if shards:
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            return [folder / shard for shard in shards if shard not in missing], missing
    return [], []


def _read_file(file: Path) -> dict[str, Tensor]:
    try:
        # Only the zip format of torch.save can be mapped; files of old versions of torch are read whole.
        state = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
        )
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        raise UserError(f"reference={file}: {_fault(file, error)}; accepted: {FILE}") from error
    tensors = _tensors(state)
    if not tensors:
        raise UserError(f"reference={file}: holds no tensors by name; accepted: {FILE}")
    return tensors


def _fault(file: Path, error: Exception) -> str:
    if file.stat().st_size < 1024 and file.read_bytes().startswith(b"version https://git-lfs"):
        return "is the Git LFS pointer to a file that was not fetched (run `git lfs pull`)"
    try:
        code = get_unsafe_globals_in_checkpoint(file)
    except Exception:  # not the format whose pickle can be looked into
        code = []
    if code:
        return f"holds code that is not run ({', '.join(sorted(code))})"
    if isinstance(error, pickle.UnpicklingError):
        return "holds code that is not run, or is no checkpoint at all"
    first_sentence = " ".join(f"{type(error).__name__}: {error}".split()).split(". ")[0]
    return f"cannot be read ({first_sentence.rstrip(':')})"


def _tensors(state: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        return {}
    return {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
