"""Optimiser groups and the learning rate's way through training."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

OptimizerFactory = Callable[[Iterable[dict]], Optimizer]


# What reads numbers, by the first words of parameters' names: small, from nothing, and far from a language model. The
# gate that lets a text in opens at the language model's pace.
NUMBERS = ("metadata.", "history.", "head.")
TEXTS = ("head.gate.weight", "head.likes.gate.weight")


def parameter_groups(model: nn.Module, numbers_lr: float | None = None) -> list[dict]:
    """Trainable weights by what becomes of them: matrices decay, vectors and scalars do not.

    Each kind of number has groups of its own, since ZeRO lays a group out as one flat array. No group is empty.

    Args:
        model: a `GitModel`.
        numbers_lr: rate of what reads numbers; None: that of the other weights.
    """
    groups: dict[tuple[bool, bool, torch.dtype], list[nn.Parameter]] = {}
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for name, parameter in sorted(trainable, key=lambda named: named[1].ndim < 2):
        decays = parameter.ndim >= 2 and name not in TEXTS and not name.endswith(".bias")
        fast = name.startswith(NUMBERS) and name not in TEXTS
        groups.setdefault((fast, decays, parameter.dtype), []).append(parameter)
    return [
        {"params": group}
        | ({} if decays else {"weight_decay": 0.0})
        | ({"lr": numbers_lr} if numbers and numbers_lr is not None else {})
        for (numbers, decays, _), group in groups.items()
    ]


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
