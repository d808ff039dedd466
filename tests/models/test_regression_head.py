"""The regression head starts at the prior and turns logarithms back into likes by the spread of its residuals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.head import LEVELS, Targets
from behavesim.models.regression_head import REMEMBERED, RegressionHead

LIMIT = 1e9


def head_with(residuals, **settings):
    """A head that has seen these residuals of log1p likes in training."""
    head = RegressionHead(8, **{"limit": LIMIT} | settings).train()
    remember(head, residuals)
    return head.eval()


def remember(head, residuals):
    residuals = torch.tensor(residuals, dtype=torch.float64)
    head.loss(-residuals.float()[:, None, None], torch.zeros(len(residuals)))  # log1p(0) - (-residual)


def kept(head):
    return sorted(head.residuals[: min(int(head.seen), REMEMBERED)].tolist())


def test_an_untrained_head_predicts_its_prior():
    head, prior = RegressionHead(8, limit=LIMIT), torch.tensor([0.0, 2.0, 6.5])
    logits = head(torch.randn(3, 1, 8), prior)
    assert_close(logits[:, 0, 0], prior)
    for name, estimate in head.estimates(logits).items():
        expected = torch.expm1(prior)
        assert_close(estimate, expected[:, None].expand(-1, len(LEVELS)) if name == "quantiles" else expected)
    assert head(torch.randn(3, 1, 8)).tolist() == [[[0.0]]] * 3


def test_members_are_trained_apart_and_predict_their_mean():
    head = RegressionHead(8, limit=LIMIT, members=3)
    torch.nn.init.normal_(head.linear.weight)
    logits, likes = head(torch.randn(5, 3, 8), torch.full((5,), 6.0)), torch.randint(0, 1000, (5,))
    assert logits.shape == (5, 3, 1)
    errors = [head.eval().loss(logits[:, member : member + 1], likes) for member in range(3)]
    assert_close(head.loss(logits, likes), torch.stack(errors).mean())
    assert_close(head.estimates(logits)["logmean"], torch.expm1(logits.mean(dim=1)[:, 0].clamp(min=0)))
    head.train().loss(logits, likes)
    assert_close(head.residuals[:5], torch.log1p(likes.float()) - logits.mean(dim=1)[:, 0])


def test_the_loss_is_the_squared_error_of_log1p_likes():
    head, logits = RegressionHead(8, limit=LIMIT), torch.randn(50, 1, 1) + 3
    likes = torch.randint(0, 10_000, (50,))
    expected = np.square(np.log1p(likes.numpy()) - logits[:, 0, 0].numpy()).mean()
    assert head.loss(logits, likes).item() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.floats(-2, 2), min_size=1, max_size=40),
    st.lists(st.floats(3, 8), min_size=1, max_size=5),
)
def test_smearing_is_the_mean_over_the_residuals(residuals, logits):
    logs = np.array(logits)[:, None] + np.array(residuals)[None]
    found = head_with(residuals).estimates(torch.tensor(logits)[:, None, None])
    expected = {
        "mean": np.expm1(logs).mean(axis=1),
        "logmean": np.expm1(logs.mean(axis=1)),
        "quantiles": np.quantile(np.expm1(logs), LEVELS, axis=1).T,
        "p10": np.quantile(np.expm1(logs), 0.1, axis=1),
        "median": np.quantile(np.expm1(logs), 0.5, axis=1),
        "p90": np.quantile(np.expm1(logs), 0.9, axis=1),
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].numpy(), values, rtol=1e-3, err_msg=name)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(-3, 10))
def test_estimates_are_ordered_and_never_negative(residuals, logit):
    estimates = head_with(residuals).estimates(torch.tensor([[[logit]]]))
    quantiles = estimates.pop("quantiles")
    assert (quantiles.diff(dim=1) >= -1e-6 * (1 + quantiles[:, 1:])).all()
    found = {name: value.item() for name, value in estimates.items()}
    assert found["mean"] >= found["logmean"] * (1 - 1e-5) - 1e-5
    assert 0 <= found["p10"] <= found["median"] * (1 + 1e-6) and found["median"] <= found["p90"] * (1 + 1e-6)


def test_the_mean_lies_well_above_the_logmean_where_residuals_spread():
    found = head_with(np.random.default_rng(0).normal(0, 1.5, 500)).estimates(torch.tensor([[[5.0]]]))
    assert found["mean"] > 2 * found["logmean"]


def test_likes_count_with_the_limit_at_most():
    found = head_with([-1.0, 0.0, 20.0], limit=1000).estimates(torch.tensor([[[3.0]], [[300.0]]]))
    expected = np.minimum(np.expm1(3 + np.array([-1.0, 0.0, 20.0])), 1000).mean()
    assert found["mean"][0].item() == pytest.approx(expected, rel=1e-5)
    for name in ("mean", "p10", "median", "p90"):
        assert found[name][1] == 1000


def test_no_estimate_is_above_the_limit():
    found = head_with([0.0], limit=1000).estimates(torch.tensor([[[100.0]]]))
    assert all((value <= 1000).all() for value in found.values())


def test_the_most_recent_residuals_are_remembered():
    head = RegressionHead(8, limit=LIMIT).train()
    history = []
    for count in (3, 500, 500, 200, 1, REMEMBERED, 40, REMEMBERED + 300, 7):
        new = np.random.default_rng(len(history)).normal(size=count).astype(np.float32).tolist()
        history += new
        remember(head, new)
        assert kept(head) == pytest.approx(sorted(history[-REMEMBERED:]), abs=1e-6)


def test_nothing_is_remembered_outside_training():
    head = head_with([1.0, 2.0])
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.loss(torch.randn(5, 1, 1), torch.ones(5))
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())


def test_residuals_come_back_with_the_weights():
    head, other = head_with([0.5, -1.5, 2.0]), RegressionHead(8, limit=LIMIT)
    logits = torch.tensor([[[2.0]], [[5.0]]])
    assert (other.estimates(logits)["mean"] - head.estimates(logits)["mean"]).abs().min() > 1
    other.load_state_dict(head.state_dict())
    for name, estimate in head.estimates(logits).items():
        assert torch.equal(other.estimates(logits)[name], estimate)
    remember(other.train(), [3.0])
    assert kept(other) == [-1.5, 0.5, 2.0, 3.0]  # it goes on where it was


def test_logits_are_fp32_whatever_the_state_is():
    head = head_with([0.1, -0.1]).to(torch.bfloat16)
    logits = head(torch.randn(2, 1, 8, dtype=torch.bfloat16), torch.tensor([1.0, 2.0]))
    assert logits.dtype == torch.float32
    assert all(torch.isfinite(value).all() for value in head.estimates(logits).values())


def test_gradient_descent_fits_a_toy_and_its_mean_is_that_of_the_likes():
    head = RegressionHead(8, limit=LIMIT).train()
    state = torch.randn(512, 1, 8)
    likes = torch.expm1((4 + state[:, 0, 0] - state[:, 0, 1] + 0.8 * torch.randn(512)).clamp(min=0))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(head(state), likes).backward()
        optimizer.step()
    estimates = head.eval().estimates(head(state))
    assert torch.corrcoef(torch.stack([torch.log1p(estimates["mean"]), torch.log1p(likes)]))[0, 1] > 0.8
    assert estimates["mean"].mean().item() == pytest.approx(likes.mean().item(), rel=0.15)
    assert estimates["logmean"].mean() < 0.85 * likes.mean()  # what a mean logarithm alone would say


def test_the_model_trains_and_scores_with_it(tiny_model, model_inputs):
    model = tiny_model(head="regression")
    torch.nn.init.zeros_(model.head.linear.weight)
    targets = Targets(torch.tensor([1.0, 4.0]), torch.tensor([0, 0]), torch.tensor([3.0, 50.0]))
    inputs = model_inputs([[11, 12], [21, 22, 23]], {0: 1})
    loss, estimates = model.score(inputs, targets)
    assert_close(estimates["mean"], torch.expm1(targets.prior))
    assert_close(loss, (torch.log1p(targets.likes) - targets.prior).square().mean())
    assert_close(model.loss(inputs, targets), loss)
    assert int(model.head.seen) == 0
    model.train().loss(inputs, targets).backward()
    assert int(model.head.seen) == 2 and model.head.linear.weight.grad.abs().max() > 0
