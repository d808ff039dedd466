"""Optimiser groups and the learning rate's way through training."""

import math
from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

OptimizerFactory = Callable[[Iterable[dict]], Optimizer]


def parameter_groups(model: nn.Module) -> list[dict]:
    """Trainable weights in two groups: matrices, which decay, and vectors and scalars, which do not."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


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
