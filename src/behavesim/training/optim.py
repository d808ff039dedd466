"""Optimiser groups and the learning rate's way through training."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

OptimizerFactory = Callable[[Iterable[dict]], Optimizer]


def parameter_groups(model: nn.Module) -> list[dict]:
    """Trainable weights by what becomes of them: matrices decay, vectors and scalars do not.

    Each kind of number has groups of its own, since ZeRO lays a group out as one flat array. No group is empty.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: dict[tuple[bool, torch.dtype], list[nn.Parameter]] = {}
    for parameter in sorted(trainable, key=lambda parameter: parameter.ndim < 2):
        groups.setdefault((parameter.ndim >= 2, parameter.dtype), []).append(parameter)
    return [{"params": group} | ({} if decays else {"weight_decay": 0.0}) for (decays, _), group in groups.items()]


def rate_schedule(optimizer: Optimizer, *, steps: int, warmup: float, schedule: str) -> LambdaLR:
    """Linear warm-up over the share `warmup` of `steps`, then a half cosine or a line to zero, or a constant rate."""
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        if schedule == "constant":
            return 1.0
        progress = min(1.0, (step - rise) / max(1, steps - rise))
        if schedule == "linear":
            return 1 - progress
        return 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
