"""Tweets drawn at random, kernels with numbers of their own, and processes that need no fit."""

import numpy as np
import pytest
import torch

from behavesim.data.gp.groups import groups_of, rows_of
from behavesim.data.gp.kernel import Kernel, Points
from behavesim.data.gp.process import GaussianProcess


def drawn(rows, *, seed=0, columns=3, text=2, companies=3, accounts=2, years=3.0):
    """Points of `rows` tweets; an account belongs to one company."""
    random = np.random.default_rng(seed)
    company = random.integers(0, companies, rows)
    told = random.standard_normal((rows, columns)), random.standard_normal((rows, text)) / max(1, text) ** 0.5
    numbers = [torch.from_numpy(part).float() for part in (*told, random.uniform(0, years, rows))]
    account = company * accounts + random.integers(0, accounts, rows)
    return Points(*numbers, torch.from_numpy(company), torch.from_numpy(account))


def kernel(columns=3, seed=0):
    """A kernel in float32 whose every number is off where fits start."""
    found = Kernel(columns).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for weights in found.parameters():
        weights += 0.5 * torch.randn(weights.shape, generator=generator)
    return found


def taught(points, values, of=None):
    """A process with all points inducing and a kernel that is given, not fitted."""
    start = GaussianProcess(of or kernel(points.shown.shape[1]), 2.0, 1.5, points, torch.zeros(len(points)).double())
    return start._taught(points, torch.as_tensor(values).double(), list(rows_of(groups_of(points)).values()))


@pytest.fixture(scope="session")
def points_of():
    """See `drawn`."""
    return drawn


@pytest.fixture(scope="session")
def exactly():
    """Points in float64, in which a comparison tells a mistake from rounding."""
    return Points.double


@pytest.fixture(scope="session")
def kernel_of():
    """See `kernel`."""
    return kernel


@pytest.fixture(scope="session")
def process_of():
    """See `taught`."""
    return taught
