"""The kernel's numbers, from the likes of training rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from behavesim.data.gp.kernel import Kernel, Points

STEPS = 80
ROWS = 1000  # of whole groups in a step, whose covariance is factorised
RATE = 0.05
# Standard deviation of a logarithm around where it starts: small tables say little of it.
TRUST = 1.5


def fit_kernel(points: Points, values: Tensor, groups: Sequence[Tensor], *, drifts: bool = True) -> Kernel:
    """The kernel under which standardised `values` [N] are likely, as rows of each group know each other.

    The marginal likelihood (Rasmussen & Williams 2006, eq. 5.8) of a few groups at a time, by Adam. The same rows
    give the same kernel.

    Args:
        points: training rows.
        values: standardised log1p likes.
        groups: rows of each, see `groups_of`.
        drifts: whether anything drifts in time.
    """
    kernel = Kernel(points.shown.shape[1], drifts=drifts)
    start = [weights.detach().clone() for weights in kernel.parameters()]
    optimizer = torch.optim.Adam(kernel.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for rows in _batches(groups, STEPS):
        drawn = sum(((now - was) / TRUST).square().sum() for now, was in zip(kernel.parameters(), start, strict=True))
        loss = _surprise(kernel, points[rows], values[rows]) / len(rows) + drawn / (2 * len(points))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return kernel.requires_grad_(False)


def _surprise(kernel: Kernel, points: Points, values: Tensor) -> Tensor:
    """Negative logarithm of the marginal likelihood but for a constant, a scalar."""
    covariance = (kernel(points, points) + kernel.noise * torch.eye(len(points))).double()
    lower = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(lower, values.double()[:, None], upper=False)
    return white.square().sum() / 2 + lower.diagonal().log().sum()


def _batches(groups: Sequence[Tensor], count: int) -> Iterator[Tensor]:
    """Rows of groups drawn at random, as many as fit; of a group that alone is too large, its first."""
    random = np.random.default_rng(0)
    for _ in range(count):
        taken, total = [], 0
        for place in random.permutation(len(groups)):
            rows = groups[place]
            if not taken or total + len(rows) <= ROWS:
                taken.append(rows[: ROWS - total])
                total += len(taken[-1])
        yield torch.cat(taken)
