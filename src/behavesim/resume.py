"""Going on with an earlier run: which checkpoint, and whether it belongs to what is asked for now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from behavesim.errors import UserError
from behavesim.training.module import LikesModule


def checkpoint_path(cfg: DictConfig) -> Path | None:
    """The checkpoint that training continues from.

    Raises:
        UserError: it does not exist.
    """
    if cfg.ckpt_path is None:
        return None
    folder = Path(cfg.paths.output) / "checkpoints"
    path = folder / "last.ckpt" if cfg.ckpt_path == "last" else Path(cfg.ckpt_path)
    if not path.exists():
        raise UserError(f"ckpt_path={cfg.ckpt_path}: {path} does not exist; accepted: last, or a .ckpt file of a run")
    return path


def check_fits(checkpoint: Path | None, likes_module: LikesModule) -> None:
    """A checkpoint that training continues from against the model, the rows and the batches of this configuration.

    Raises:
        UserError: it is no checkpoint, or one of another model, of other rows or of other batches.
    """
    if checkpoint is None:
        return
    try:  # mapped, not read: the trainer loads it later
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        found = state["state_dict"]
    except Exception as error:
        raise UserError(f"ckpt_path: {checkpoint} is damaged or no checkpoint; accepted: one of a run") from error
    shapes = {name: tensor.shape for name, tensor in found.items()}
    wanted = {name: tensor.shape for name, tensor in likes_module.state_dict().items()}
    odd = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if odd:
        raise UserError(
            f"ckpt_path: {checkpoint} holds another model ({len(odd)} weights differ, such as {odd[0]}); "
            "accepted: the model settings of the run that is continued"
        )
    if state.get("data_digest") != likes_module.data_digest:
        raise UserError(
            f"ckpt_path: {checkpoint} was trained on other rows, which may be test rows now; "
            "accepted: the table and the data settings of the run that is continued"
        )
    if _inside_epoch(state) and state.get("batch_plan") != likes_module.batch_plan:
        raise UserError(
            f"ckpt_path: {checkpoint} stands inside an epoch of other batches, found {likes_module.batch_plan}; "
            f"accepted: {state.get('batch_plan')}, or a checkpoint of an epoch's end"
        )


def _inside_epoch(state: Mapping[str, Any]) -> bool:
    """Whether some batches of an epoch are done and others not."""
    batches = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    return batches["current"]["ready"] > 0 and not batches["is_last_batch"]
