"""Weights in checkpoints of any strategy, and weights that processes hold a share of each.

DeepSpeed writes a folder, all other strategies a file. Both hold what trains and nothing else.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from behavesim.models.trainable import once
from behavesim.training.together import rank

TAG = "checkpoint"  # Lightning's name of the state inside a folder of DeepSpeed


def read_state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds beside shares of weights and of the optimiser's state, mapped rather than read."""
    file = path / TAG / _first_model_file(path) if path.is_dir() else path
    return torch.load(file, map_location="cpu", weights_only=True, mmap=True)


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the weights and buffers of a checkpoint into their places, whole or shared out; all processes call this.

    Raises:
        ValueError: a weight that trains, or a buffer, is not in the checkpoint.
    """
    places = trained_state(module)
    # Of weights that are shared out, what the first process writes is handed to the others.
    reads = rank() == 0 or not any(is_shared(place) for place in places.values())
    weights = _weights(path) if reads else {}
    if reads and (missing := sorted(places.keys() - weights.keys())):
        raise ValueError(f"{path}: {len(missing)} weights are missing, such as {missing[0]}")
    with torch.no_grad():
        for name, place in places.items():
            if isinstance(place, DTensor):
                place.copy_(distribute_tensor(weights[name].to(place), place.device_mesh, place.placements))
            else:
                with _whole(place):
                    if reads:
                        place.copy_(weights[name])


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, whole and on the CPU; all processes call this, the first one gets them."""
    found = {}
    for name, tensor in tensors.items():
        with _whole(tensor):
            values = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if rank() == 0:
                values = values.detach().cpu()
                found[name] = values.clone() if is_shared(tensor) else values  # shares are taken apart again
    return found


def _weights(path: Path) -> Mapping[str, Tensor]:
    """The trained weights of a checkpoint by their names in the LightningModule."""
    state = read_state(path)
    if not path.is_dir():
        return state["state_dict"]
    if state["ds_config"]["zero_optimization"]["stage"] < 3:
        return state["module"]
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it prints what it finds
        return get_fp32_state_dict_from_zero_checkpoint(str(path), TAG, exclude_frozen_parameters=True)


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint of a `LikesModule` holds, in its places: a tied matrix under its first name alone."""
    return once(module.state_dict(keep_vars=True))


@contextmanager
def _whole(tensor: Tensor) -> Iterator[None]:
    """Bring together a parameter that ZeRO-3 shared out; what the first process writes into it is kept.

    All processes have to enter and leave the block.
    """
    context = nullcontext()
    if is_shared(tensor):
        import deepspeed

        context = deepspeed.zero.GatheredParameters([tensor], modifier_rank=0)
    with context:
        yield


def is_shared(parameter: Tensor) -> bool:
    """Whether this process holds a share of a parameter, as ZeRO-3 has it."""
    return hasattr(parameter, "ds_id")


def _first_model_file(path: Path) -> str:
    """ZeRO-3 writes one for each process."""
    return min(file.name for file in (path / TAG).glob("*_model_states.pt"))
