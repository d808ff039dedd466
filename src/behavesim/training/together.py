"""What the processes of one training tell each other."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """Of this process; 0 where it is alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def mean_of_all(loss: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of a batch that is shared out over processes, each of which holds the mean over its own `answers`.

    Processes average their gradients. Their batches differ in size, so an average of means is not the mean over all.

    Returns:
        What this process has to differentiate, for the average to be the gradient of the mean over all answers; and
        that mean, without a gradient.
    """
    sums = torch.stack([loss.detach().float() * answers, answers])
    dist.all_reduce(sums)
    total, count = sums
    return loss * (answers * dist.get_world_size() / count), total / count


def table_of_all(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of all processes, each [N], in every process."""
    tables: list[Mapping[str, np.ndarray]] = [{}] * dist.get_world_size()
    dist.all_gather_object(tables, dict(table))
    return {name: np.concatenate([part[name] for part in tables]) for name in table}


def same_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers; DDP does so at every step, and ZeRO never."""
    for buffer in module.buffers():
        dist.broadcast(buffer, 0)
