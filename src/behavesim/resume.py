"""Going on with an earlier run: which checkpoint, and whether it belongs to what is asked for now."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from omegaconf import DictConfig

from behavesim.errors import UserError
from behavesim.folders import replaced, settle
from behavesim.processes.ranks import is_main
from behavesim.training.likes_module import LikesModule
from behavesim.training.weights import read_state

PATIENCE = 60  # seconds


def checkpoint_path(cfg: DictConfig) -> Path | None:
    """The checkpoint that training continues from.

    Raises:
        UserError: it does not exist.
    """
    if cfg.ckpt_path is None:
        return None
    folder = Path(cfg.paths.output) / "checkpoints"
    path = folder / "last.ckpt" if cfg.ckpt_path == "last" else Path(cfg.ckpt_path)
    _settled(path)
    if cfg.ckpt_path == "last" and cfg.task.stages and not path.exists():
        return None  # an earlier stage was interrupted
    if not path.exists():
        raise UserError(f"ckpt_path={cfg.ckpt_path}: {path} does not exist; accepted: last, or a .ckpt file of a run")
    return path


def _settled(path: Path) -> None:
    """Bring back a checkpoint that a kill left half replaced: the main process does, the others wait for it."""
    if is_main():
        settle(path)
    until = time.monotonic() + PATIENCE
    while replaced(path).exists() and not path.exists() and time.monotonic() < until:
        time.sleep(0.1)


def check_fits(checkpoint: Path | None, module: LikesModule, trainer: lightning.Trainer) -> None:
    """A checkpoint that training continues from against the model, the rows, the batches and the processes of now.

    Raises:
        UserError: it is no checkpoint, or one of another model, of other rows, batches or processes.
    """
    if checkpoint is None:
        return
    wants_folder = isinstance(trainer.strategy, DeepSpeedStrategy)
    if checkpoint.is_dir() != wants_folder:
        kinds = ("of DeepSpeed, a folder", "of another strategy, a file")
        found, accepted = kinds if checkpoint.is_dir() else kinds[::-1]
        raise UserError(f"ckpt_path: {checkpoint} is a checkpoint {found}; accepted: one {accepted}")
    state = _state(checkpoint)
    if odd := _other_weights(state, module):
        raise UserError(
            f"ckpt_path: {checkpoint} holds another model ({len(odd)} weights differ, such as {odd[0]}); "
            "accepted: the model settings of the run that is continued"
        )
    if state.get("frozen_digest") != module.frozen_digest:
        raise UserError(
            f"ckpt_path: {checkpoint} was trained on top of other frozen weights; "
            "accepted: the model settings and the seed of the run that is continued"
        )
    if state.get("data_digest") != module.data_digest:
        raise UserError(
            f"ckpt_path: {checkpoint} was trained on other rows, which may be test rows now; "
            "accepted: the table and the data settings of the run that is continued"
        )
    if _inside_epoch(state) and state.get("batch_plan") != module.batch_plan:
        raise UserError(
            f"ckpt_path: {checkpoint} stands inside an epoch of other batches, found {module.batch_plan}; "
            f"accepted: {state.get('batch_plan')}, or a checkpoint of an epoch's end"
        )
    if (wants_folder or _inside_epoch(state)) and state.get("processes") != trainer.world_size:
        raise UserError(
            f"ckpt_path: {checkpoint} is shared out over {state.get('processes')} processes, found "
            f"{trainer.world_size}; accepted: trainer.devices and trainer.num_nodes of the run that is continued"
        )


def _state(checkpoint: Path) -> Mapping[str, Any]:
    try:  # mapped, not read: the trainer loads it later
        state = read_state(checkpoint)
        _shapes(state)
    except Exception as error:
        raise UserError(f"ckpt_path: {checkpoint} is damaged or no checkpoint; accepted: one of a run") from error
    return state


def _shapes(state: Mapping[str, Any]) -> dict[str, torch.Size]:
    """Of the weights by name; DeepSpeed keeps them beside the weights, of which ZeRO-3 has shares."""
    if "param_shapes" in state:
        return {name: shape for group in state["param_shapes"] for name, shape in group.items()}
    return {name: tensor.shape for name, tensor in state["state_dict"].items()}


def _other_weights(state: Mapping[str, Any], module: LikesModule) -> list[str]:
    """Names of those that are not the same."""
    found, wanted = _shapes(state), {name: tensor.shape for name, tensor in module.state_dict().items()}
    if "param_shapes" in state:  # of parameters alone, a tied one once
        wanted = {name: weight.shape for name, weight in module.named_parameters() if weight.requires_grad}
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def _inside_epoch(state: Mapping[str, Any]) -> bool:
    """Whether some batches of an epoch are done and others not."""
    batches = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return batches["current"]["ready"] > 0 and not batches["is_last_batch"]
