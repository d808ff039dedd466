"""The artifact directory: a trained model as plain files, loaded without running any pickled code."""

import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from behavesim.asked import task_of, with_settings
from behavesim.data.encode import TweetEncoder
from behavesim.data.encoder_fit import writer_beside, writer_of
from behavesim.data.features import GROUPS
from behavesim.data.history import History
from behavesim.data.prepared import TweetRows
from behavesim.data.task import BehaviourTask
from behavesim.described_model import BUILDERS, answer_tokens, build_model, told_posts, writer_settings
from behavesim.errors import UserError
from behavesim.fitted_files import ALWAYS, PROCESS, SUMMARY, TOKENIZER, Fitted, read_fitted, write_fitted
from behavesim.folders import take_place
from behavesim.models.binning import LikesBins
from behavesim.models.git import GitModel
from behavesim.models.trainable import once, part_of

CONFIG, WEIGHTS, SEEN, VERSIONS = "config.yaml", "model.safetensors", "seen_rows.safetensors", "versions.json"
FILES = (CONFIG, WEIGHTS, SEEN, VERSIONS)
LIBRARIES = ("behavesim", "torch", "transformers", "open_clip_torch", "peft", "lightning", "tokenizers", "polars")


@dataclass(frozen=True)
class Artifact:
    """A trained model with all that it needs to read a table."""

    model: GitModel
    encoder: TweetEncoder
    bins: LikesBins | None  # None for a converted checkpoint of the reference, as `encoder.features`
    # Nodes `data`, `model`, `task` of the training configuration, resolved; `image_states` as in
    # `DataFacts`; `pictures`, how many of them were seen in training.
    config: Mapping[str, Any]
    seen: Mapping[str, np.ndarray]  # identity hashes of training and validation rows, int64 each
    asked: str = "behaviour"  # or `content`: what it is loaded for

    @cached_property
    def writer(self) -> TweetEncoder | None:
        """The encoder of requests to write tweets; None of a model that only predicts likes."""
        return writer_of(self.encoder, writer_settings(self.config))

    @property
    def history(self) -> History:
        """Labelled posts of training."""
        return self.encoder.memory


def seen_hashes(parts: Mapping[str, TweetRows]) -> dict[str, np.ndarray]:
    """Identity hashes of the rows that chose the weights: training rows and validation rows."""
    return {part: parts[part].identities() for part in ("train", "validation")}


def save_artifact(artifact: Artifact, folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write `folder`, as `replaced_folder` does; `weights` are those of the model, where it holds no whole ones."""
    if weights is None:
        weights = stored_weights(artifact.model, artifact.config["model"])
    with replaced_folder(folder) as temporary:
        _write(artifact, temporary, weights)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` at the block's end; if the block fails nothing has changed.

    A `folder` that exists is replaced as a whole.
    """
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        take_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(artifact: Artifact, folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    OmegaConf.save(OmegaConf.create(dict(artifact.config)), folder / CONFIG)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    encoder = artifact.encoder
    parts = (encoder.tokenizer, artifact.bins, encoder.features, encoder.summary, encoder.process)
    write_fitted(Fitted(*parts, artifact.history), folder)
    save_file({part: torch.from_numpy(hashes) for part, hashes in artifact.seen.items()}, folder / SEEN)
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    (folder / VERSIONS).write_text(json.dumps(versions, indent=1))


def load_artifact(folder: Path, task: Mapping[str, Any] | None = None) -> Artifact:
    """Read an artifact directory.

    Args:
        folder: as training exports it.
        task: settings that replace those of training, such as `decode`, see `asked.py`.

    Raises:
        UserError: the folder is no artifact, or one of its files does not fit.
    """
    check_files(folder, FILES)
    with damage_named(folder):
        return _read(folder, task or {})


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Turn whatever the readers of an artifact's files stumble over into one line.

    Raises:
        UserError: in the place of any other error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"ckpt={folder}: a damaged artifact ({reason}); accepted: one that training exports") from error


def check_files(folder: Path, names: Sequence[str], *, key: str = "ckpt") -> None:
    """Whether an artifact directory, which `key` names, holds these.

    Raises:
        UserError: it does not.
    """
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        found = "no such folder" if not folder.exists() else f"without {', '.join(missing)}"
        raise UserError(f"{key}={folder}: {found}; accepted: an artifact directory as training exports it")


def _read(folder: Path, task_settings: Mapping[str, Any]) -> Artifact:
    config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    asked = task_of(config, task_settings, folder)
    config["task"] = with_settings(config, task_settings, asked, folder)
    target = config["model"]["_target_"]
    if target not in BUILDERS:
        raise UserError(f"{folder / CONFIG}: model._target_ is {target}; accepted: {', '.join(BUILDERS)}")
    check_files(folder, _fitted_files(config))
    fitted = read_fitted(folder)
    encoder = _encoder(fitted, config)
    model = build_model(config, encoder, fitted.bins)
    _load_weights(model, load_file(folder / WEIGHTS), config["model"])
    seen = {part: hashes.numpy() for part, hashes in load_file(folder / SEEN).items()}
    return Artifact(model.eval(), encoder, fitted.bins, config, seen, asked)


def _fitted_files(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that an artifact of this configuration must have."""
    if config.get("converted", False):
        return ()
    if config["task"]["name"] == "content":
        return (*(name for name in ALWAYS if name != PROCESS), TOKENIZER)
    return (*ALWAYS, TOKENIZER, *([SUMMARY] if config["task"]["text_summary"] else []))


def _encoder(fitted: Fitted, config: Mapping[str, Any]) -> TweetEncoder:
    """The encoder of training."""
    task, features, writer = config["task"], fitted.features, writer_settings(config)
    if task["name"] == "content":
        bare = TweetEncoder(fitted.tokenizer, BehaviourTask(), features, 0, examples=writer.examples)
        return replace(writer_beside(bare, writer), memory=fitted.history)
    period = (features.first, features.last) if features else (None, None)
    shows = features.shows if features else GROUPS
    return TweetEncoder(
        tokenizer=fitted.tokenizer,
        task=BehaviourTask(task["prompt"], *period, task["names"], shows),
        features=features,
        max_length=task["max_length"],
        answer_tokens=answer_tokens(config),
        summary=fitted.summary,
        history=told_posts(config),
        history_text=task["history_text"],
        process=fitted.process,
        memory=fitted.history,
        examples=writer.examples if writer else 0,
    )


def stored_weights(model: GitModel, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Every weight once, a tied matrix under its first name; published weights that stay frozen are left out."""
    published = config.get("pretrained", False)
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    left_out = {name for name in frozen if published and part_of(name) in ("llm", "vision")}
    # Buffers of four-bit weights come with them.
    left_out |= {name for name in model.state_dict() if any(name.startswith(f"{weight}.") for weight in left_out)}
    state = model.state_dict(keep_vars=True)
    return once({name: tensor for name, tensor in state.items() if name not in left_out})


def _load_weights(model: GitModel, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> None:
    wanted = set(stored_weights(model, config))
    if wanted != set(weights):
        odd = sorted(wanted ^ set(weights))
        raise ValueError(f"{WEIGHTS} and {CONFIG} disagree on {len(odd)} weights such as {odd[0]}")
    model.load_state_dict(weights, strict=False)
