"""The artifact directory: a trained model as plain files, loaded without running any pickled code."""

import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from behavesim.data.encode import TweetEncoder
from behavesim.data.features import Features
from behavesim.data.split import identity_hash
from behavesim.data.task import BehaviourTask
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.models import builders
from behavesim.models.binning import LikesBins
from behavesim.models.git import GitModel

CONFIG, WEIGHTS, BINS, FEATURES, SEEN, VERSIONS, TOKENIZER = (
    "config.yaml",
    "model.safetensors",
    "bins.json",
    "features.json",
    "seen_rows.safetensors",
    "versions.json",
    "tokenizer",
)
FILES = (CONFIG, WEIGHTS, BINS, FEATURES, SEEN, VERSIONS, TOKENIZER)
LIBRARIES = ("behavesim", "torch", "transformers", "open_clip_torch", "peft", "lightning", "tokenizers", "polars")
# An artifact's config names its builder; nothing outside this table is ever called.
BUILDERS = {"behavesim.models.builders.git_tiny": builders.git_tiny}


@dataclass(frozen=True)
class Artifact:
    """A trained model with all that it needs to read a table."""

    model: GitModel
    encoder: TweetEncoder
    bins: LikesBins
    config: Mapping[str, Any]  # nodes `data`, `model`, `task` of the training configuration, resolved
    seen: Mapping[str, np.ndarray]  # identity hashes of training and validation rows, int64 each


def build_model(config: Mapping[str, Any], encoder: TweetEncoder, bins: LikesBins) -> GitModel:
    """The model of a `model` node; `encoder` and `bins` give the sizes that the data decides."""
    settings = {key: value for key, value in config.items() if key not in ("_target_", "bins")}
    return BUILDERS[config["_target_"]](
        **settings, bins=bins, vocab_size=len(encoder.tokenizer), features=encoder.features.count
    )


def seen_hashes(frames: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Identity hashes of the rows that chose the weights: training rows and validation rows."""
    return {part: identity_hash(frames[part]) for part in ("train", "validation")}


def save_artifact(artifact: Artifact, folder: Path) -> None:
    """Write `folder`; one that exists is replaced as a whole, once the new one is complete."""
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    replaced = temporary.with_suffix(".replaced")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(artifact, temporary)
        if folder.exists():
            log.info("%s exists and is replaced", folder)
            folder.rename(replaced)
        temporary.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(artifact: Artifact, folder: Path) -> None:
    OmegaConf.save(OmegaConf.create(dict(artifact.config)), folder / CONFIG)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in _unique_weights(artifact.model).items()}
    save_file(weights, folder / WEIGHTS)
    (folder / BINS).write_text(json.dumps(artifact.bins.to_dict()))
    (folder / FEATURES).write_text(json.dumps(artifact.encoder.features.to_dict(), indent=1))
    save_file({part: torch.from_numpy(hashes) for part, hashes in artifact.seen.items()}, folder / SEEN)
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    (folder / VERSIONS).write_text(json.dumps(versions, indent=1))
    artifact.encoder.tokenizer.save_pretrained(folder / TOKENIZER)


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact directory.

    Raises:
        UserError: the folder is no artifact, or one of its files does not fit.
    """
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        found = "no such folder" if not folder.exists() else f"without {', '.join(missing)}"
        raise UserError(f"ckpt={folder}: {found}; accepted: an artifact directory as training exports it")
    try:
        return _read(folder)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"ckpt={folder}: a damaged artifact ({reason}); accepted: one that training exports") from error


def _read(folder: Path) -> Artifact:
    config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    target = config["model"]["_target_"]
    if target not in BUILDERS:
        raise UserError(f"{folder / CONFIG}: model._target_ is {target}; accepted: {', '.join(BUILDERS)}")
    bins = LikesBins.from_dict(json.loads((folder / BINS).read_text()))
    features = Features.from_dict(json.loads((folder / FEATURES).read_text()))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / TOKENIZER, local_files_only=True)
    task = BehaviourTask(features.first, features.last)
    encoder = TweetEncoder(tokenizer, task, features, config["task"]["max_length"])
    model = build_model(config["model"], encoder, bins)
    _load_weights(model, load_file(folder / WEIGHTS))
    seen = {part: hashes.numpy() for part, hashes in load_file(folder / SEEN).items()}
    return Artifact(model.eval(), encoder, bins, config, seen)


def _unique_weights(model: GitModel) -> dict[str, torch.Tensor]:
    """All weights once: a tied matrix is stored under its first name alone."""
    first: dict[int, str] = {}
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if first.setdefault(tensor.data_ptr(), name) == name}


def _load_weights(model: GitModel, weights: Mapping[str, torch.Tensor]) -> None:
    wanted = set(_unique_weights(model))
    if wanted != set(weights):
        odd = sorted(wanted ^ set(weights))
        raise ValueError(f"{WEIGHTS} and {CONFIG} disagree on {len(odd)} weights such as {odd[0]}")
    model.load_state_dict(weights, strict=False)
