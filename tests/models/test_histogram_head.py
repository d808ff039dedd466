"""Bins, the smoothed target, and what each estimate is worth."""

import json

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.binning import LikesBins
from behavesim.models.histogram_head import HistogramHead

WIDE = np.geomspace(1, 100_001, 5000) - 1
LIKES = st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60)


def head_of(likes=WIDE, count=40, hidden_size=8):
    return HistogramHead(hidden_size, LikesBins.fit(np.asarray(likes, dtype=np.float64), count))


def random_logits(rows=20, count=40, spread=3.0):
    return torch.randn(rows, count) * spread


@settings(deadline=None)
@given(LIKES, st.integers(3, 60))
@example([0, 0, 0], 40)
@example([0, 1, 2, 10**12], 40)
def test_every_training_like_falls_in_its_bin(likes, count):
    likes = np.array(likes)
    bins = LikesBins.fit(likes, count)
    edges, logs = np.array(bins.edges), np.log1p(likes)
    assert len(edges) == count + 1 and len(bins.likes) == len(bins.log_likes) == count
    assert edges[0] < 0 < edges[1] and edges[0] == pytest.approx(-edges[1]) and logs.max() < edges[-1]
    assert np.isfinite(bins.likes).all() and (np.array(bins.likes) >= 0).all()
    assert (edges[:-1] - 1e-9 <= bins.log_likes).all() and (bins.log_likes <= edges[1:] + 1e-9).all()
    index = np.searchsorted(edges, logs, side="right") - 1
    for place in np.unique(index):
        assert bins.likes[place] == pytest.approx(likes[index == place].mean())
        assert bins.log_likes[place] == pytest.approx(logs[index == place].mean(), abs=1e-9)


@given(LIKES)
def test_bins_come_back_from_json(likes):
    bins = LikesBins.fit(np.array(likes), 10)
    assert LikesBins.from_dict(json.loads(json.dumps(bins.to_dict()))) == bins


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_the_target_sums_to_one(likes):
    target = head_of().target(torch.tensor(likes))
    assert_close(target.sum(dim=1), torch.ones(len(likes)))
    assert (target >= 0).all()


def test_the_target_is_centred_on_the_likes():
    head = head_of()
    logs = torch.linspace(1, 10.5, 50)
    assert_close(head.target(torch.expm1(logs)) @ head.centres, logs, atol=1e-3, rtol=0)


def test_likes_above_every_bin_still_cost():
    head = head_of()
    low = torch.zeros(1, 40)
    low[0, 3] = 20
    costs = [head.loss(low, torch.tensor([likes])).item() for likes in (1e5, 1e7, 1e9)]
    assert min(costs) > 5


def test_the_mean_is_a_mean_of_raw_likes():
    likes = np.array([0, 0, 1, 5, 10, 300, 10_000, 10_000, 50_000])
    head = head_of(likes, 6)
    index = np.searchsorted(head.edges.numpy(), np.log1p(likes), side="right") - 1
    shares = np.bincount(index, minlength=6) / len(likes)
    logits = torch.from_numpy(np.log(shares + 1e-30)).float()[None]
    assert head.estimates(logits)["mean"].item() == pytest.approx(likes.mean(), rel=1e-4)
    assert head.estimates(logits)["logmean"].item() == pytest.approx(np.expm1(np.log1p(likes).mean()), rel=1e-4)


def test_the_mean_is_never_below_the_logmean():
    estimates = head_of().estimates(random_logits(200, spread=2))
    assert (estimates["mean"] >= estimates["logmean"] * (1 - 1e-5)).all()
    flat = head_of().estimates(torch.zeros(1, 40))
    assert flat["mean"] > 5 * flat["logmean"]


def test_quantiles_are_ordered():
    estimates = head_of().estimates(random_logits(500, spread=6))
    assert (estimates["p10"] <= estimates["median"]).all() and (estimates["median"] <= estimates["p90"]).all()
    assert (estimates["p10"] >= 0).all()


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_quantile_inverts_the_distribution(level):
    head = head_of()
    probabilities = random_logits(50, spread=1).softmax(dim=1)
    edges = head.edges.double().numpy()
    for found, row in zip(head.quantile(probabilities, level), probabilities.double().numpy(), strict=True):
        cdf = np.concatenate([[0], row.cumsum()])
        assert found.item() == pytest.approx(max(0.0, np.expm1(np.interp(level, cdf, edges))), rel=1e-3, abs=1e-4)


def test_all_mass_in_one_bin_keeps_every_quantile_inside_it():
    head = head_of()
    logits = torch.full((40, 40), -1e4).fill_diagonal_(0)
    for name in ("p10", "median", "p90"):
        logs = torch.log1p(head.estimates(logits)[name])
        assert (logs >= head.edges[:-1] - 1e-4).all() and (logs <= head.edges[1:] + 1e-4).all()


@pytest.mark.parametrize("prior", [2.0, 4.5, 8.0])
def test_an_untrained_head_predicts_its_prior(prior):
    head = head_of()
    logits = head(torch.randn(3, 8), torch.full((3,), prior))
    estimates = head.estimates(logits)
    for name in ("logmean", "median"):
        assert_close(torch.log1p(estimates[name]), torch.full((3,), prior), atol=0.1, rtol=0)


def test_an_untrained_head_without_prior_is_uniform():
    assert_close(head_of()(torch.randn(3, 8)).softmax(dim=1), torch.full((3, 40), 1 / 40))


def test_logits_are_fp32_whatever_the_state_is():
    head = head_of().to(torch.bfloat16)
    logits = head(torch.randn(2, 8, dtype=torch.bfloat16), torch.tensor([1.0, 2.0]))
    assert logits.dtype == torch.float32 and torch.isfinite(logits).all()


@pytest.mark.parametrize("with_prior", [True, False])
def test_gradient_descent_fits_a_toy(with_prior):
    head = head_of()
    state = torch.randn(128, 8)
    logs = (4 + state[:, 0] - state[:, 1]).clamp(min=0)
    likes, prior = torch.expm1(logs), torch.full((128,), 4.0) if with_prior else None
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    losses = []
    for _ in range(150):
        loss = head.loss(head(state, prior), likes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    found = torch.log1p(head.estimates(head(state, prior))["logmean"])
    assert torch.corrcoef(torch.stack([found, logs]))[0, 1] > 0.9
