"""The kernel's numbers: the likelihood they follow, and what they find in data whose structure is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from behavesim.data.gp import fitting
from behavesim.data.gp.fitting import fit_kernel
from behavesim.data.gp.groups import groups_of, rows_of
from behavesim.data.gp.kernel import Kernel


def fitted(points, values):
    values = torch.as_tensor(np.asarray(values)).float()
    return fit_kernel(points, (values - values.mean()) / values.std(), list(rows_of(groups_of(points)).values()))


def shares(kernel, level):
    return float(kernel.log_amplitudes[level].exp().sum())


def levels_of(names, seed=0, spread=1.0):
    """A level for each row, equal for rows of one name."""
    _, codes = np.unique(names.numpy(), return_inverse=True)
    return spread * np.random.default_rng(seed).standard_normal(codes.max() + 1)[codes]


def test_the_likelihood_is_that_of_a_normal_distribution(points_of, exactly, kernel_of):
    points, kernel = exactly(points_of(12)), kernel_of().double()
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(12))
    covariance = (kernel(points, points) + kernel.noise * torch.eye(12)).numpy()
    expected = -stats.multivariate_normal(np.zeros(12), covariance).logpdf(values.numpy()) - 6 * np.log(2 * np.pi)
    assert float(fitting._surprise(kernel, points, values)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sizes", [[1], [3, 3, 3], [50], [2, 40, 9, 1, 1, 7, 30], [1] * 60])
def test_batches_hold_whole_companies_as_far_as_they_fit(monkeypatch, sizes):
    monkeypatch.setattr(fitting, "ROWS", 20)
    ends = np.cumsum(sizes)
    companies = [torch.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    met = set()
    for rows in fitting._batches(companies, 60):
        found = set(rows.tolist())
        assert 0 < len(rows) <= 20 and len(found) == len(rows)
        partly = [company for company in companies if 0 < len(found & set(company.tolist())) < len(company)]
        assert all(len(company) > 20 and found == set(company[:20].tolist()) for company in partly)
        met |= found
    # All of them in turn, but for what is behind the first rows of one that alone is too large.
    assert met == {row for company in companies for row in company[:20].tolist()}


def test_the_same_rows_give_the_same_kernel_to_the_last_bit(points_of):
    points = points_of(40)
    torch.manual_seed(0)
    first = fitted(points, levels_of(points.account))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    second = fitted(points, levels_of(points.account))
    for name, weights in first.state_dict().items():
        assert weights.numpy().tobytes() == second.state_dict()[name].numpy().tobytes()
    assert not any(weights.requires_grad for weights in first.parameters())
    torch.manual_seed(0)
    assert torch.rand(1) == drawn, "a fit draws from the numbers that training draws from"


def test_a_fit_makes_its_values_likelier(points_of):
    points = points_of(100, companies=10)
    values = torch.from_numpy(points.shown[:, 0].numpy() + 0.2 * levels_of(points.company)).float()
    values = (values - values.mean()) / values.std()
    before = fitting._surprise(Kernel(3), points, values)
    assert fitting._surprise(fitted(points, values), points, values) < before - 10


@pytest.mark.parametrize(("name", "level"), [("company", 1), ("account", 2)])
def test_levels_of_who_posts_are_found_where_they_are(points_of, name, level):
    points = points_of(160, companies=16, accounts=3)
    noise = 0.3 * np.random.default_rng(1).standard_normal(160)
    kernel = fitted(points, levels_of(getattr(points, name)) + noise)
    assert shares(kernel, level) > 5 * float(kernel.noise)
    assert shares(kernel, level) > 2 * shares(kernel, 3 - level)


def test_the_column_that_matters_is_found(points_of):
    points = points_of(160, companies=16)
    kernel = fitted(points, np.sin(2 * points.shown[:, 1].numpy()) + levels_of(points.company))
    relevance = kernel.log_relevance.exp()
    assert relevance[1] > 2 * relevance[0] and relevance[1] > 2 * relevance[2]


def test_a_kernel_without_drift_never_finds_one(points_of):
    points = points_of(160, companies=16)
    values = torch.from_numpy(np.sin(3 * points.time.numpy())).float()
    drifting, still = (
        fit_kernel(points, values, list(rows_of(groups_of(points)).values()), drifts=drifts) for drifts in (True, False)
    )
    assert drifting.log_amplitudes[:, 1].exp().sum() > 0.01
    assert (still.log_amplitudes[:, 1].exp() < 1e-11).all()
