"""Bins of deviations, the smoothed target, and what the members' mixture is worth in likes."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.metrics import estimates as metrics
from behavesim.models.binning import LikesBins
from behavesim.models.head import LEVELS, Targets
from behavesim.models.histogram_head import HistogramHead

WIDE = np.geomspace(1, 100_001, 5000) - 1
LIKES = st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60)
LIMIT = LikesBins.fit(WIDE, 40).limit


def head_of(likes=WIDE, count=40, hidden_size=8, **settings):
    return HistogramHead(hidden_size, LikesBins.fit(np.asarray(likes, dtype=np.float64), count), **settings)


def random_logits(rows=20, members=2, count=40, spread=3.0):
    return torch.randn(rows, members, count) * spread


def priors(rows, value=4.0):
    return torch.full((rows,), value)


def places(head, logits, prior, likes):
    """Of likes in the members' mixture, of rows about which nothing is in doubt."""
    return head.places(logits.softmax(dim=2).mean(dim=1), prior, torch.zeros(len(prior)), likes)


def test_the_levels_are_those_that_metrics_expect():
    assert LEVELS == metrics.LEVELS


@settings(deadline=None)
@given(LIKES, st.integers(3, 60))
@example([0, 0, 0], 40)
@example([0, 1, 2, 10**12], 40)
def test_bins_are_equal_and_hold_every_deviation_from_the_mean(likes, count):
    bins = LikesBins.fit(np.array(likes), count)
    edges, logs = np.array(bins.edges), np.log1p(likes)
    assert len(edges) == count + 1 and bins.rows == len(likes)
    assert np.diff(edges) == pytest.approx(np.full(count, np.diff(edges)[0])) and np.diff(edges)[0] > 0
    assert edges == pytest.approx(-edges[::-1], abs=1e-9)
    assert np.abs(logs - logs.mean()).max() < edges[-1]
    assert bins.limit > logs.max()


@given(LIKES)
def test_bins_come_back_from_json(likes):
    bins = LikesBins.fit(np.array(likes), 10)
    assert LikesBins.from_dict(json.loads(json.dumps(bins.to_dict()))) == bins


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30))
def test_the_target_sums_to_one(deviations):
    target = head_of().target(torch.tensor(deviations))
    assert_close(target.sum(dim=1), torch.ones(len(deviations)))
    assert (target >= 0).all()


def test_the_target_is_centred_on_the_deviation():
    head = head_of()
    deviations = torch.linspace(-5, 5, 50)
    assert_close(head.target(deviations) @ head.centres, deviations, atol=1e-3, rtol=0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(5, 5.5), st.floats(-0.5, 0.5)), min_size=1, max_size=5),
    st.floats(0, 1),
    st.integers(0, 100),
)
def test_prior_and_likes_may_move_together(rows, shift, seed):
    """Where neither zero nor the limit is touched, only the deviation counts."""
    head = head_of(np.expm1([3.0, 4.5]), squared=0.5)
    head.limit = 20.0
    prior, deviation = torch.tensor(rows, dtype=torch.float64).T
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(rows), 2, 40))).float()
    losses = [head.loss(logits, torch.expm1(prior + by + deviation), prior + by) for by in (0.0, shift)]
    assert_close(*losses, atol=1e-3, rtol=1e-3)
    targets = [head.target(deviation + by) for by in (0.0, 0.5)]
    assert (targets[0] - targets[1]).abs().amax(dim=1).min() > 1e-2  # the deviation does


def test_the_squared_error_is_that_of_each_members_mean():
    plain, squared = head_of(squared=0.0), head_of(squared=2.0)
    logits, likes, prior = random_logits(6), torch.tensor([0.0, 5, 40, 300, 3000, 80_000]), priors(6)
    probabilities = logits.double().softmax(dim=2).numpy()
    support = (4.0 + plain.centres.double().numpy()).clip(0, LIMIT)
    errors = (probabilities @ support - np.log1p(likes.numpy())[:, None]) ** 2
    difference = squared.loss(logits, likes, prior) - plain.loss(logits, likes, prior)
    assert difference.item() == pytest.approx(2 * errors.mean(), rel=1e-4)


def test_likes_far_from_every_bin_still_cost():
    head = head_of(squared=0.0)
    middle = torch.zeros(1, 1, 40)
    middle[0, 0, 20] = 20
    for likes, prior in ((1e9, 0.0), (1e12, 0.0), (0.0, 30.0)):
        assert head.loss(middle, torch.tensor([likes]), torch.tensor([prior])).item() > 5


@settings(deadline=None)
@given(st.lists(st.floats(0, 30), min_size=1, max_size=8), st.floats(0.1, 20), st.integers(0, 1000))
@example([0.0], 20.0, 0)
@example([30.0], 20.0, 0)
def test_estimates_lie_between_zero_and_the_limit(prior, spread, seed):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(prior), 3, 40)) * spread).float()
    found = head_of().estimates(logits, torch.tensor(prior))
    most = math.expm1(LIMIT) * (1 + 1e-5)
    assert all(((values >= 0) & (values <= most)).all() for values in found.values())
    quantiles = found["quantiles"]
    assert quantiles.shape == (len(prior), len(LEVELS))
    assert (quantiles.diff(dim=1) >= -metrics.SLACK * (1 + quantiles[:, :-1])).all()
    assert (found["mean"] >= found["logmean"] * (1 - 1e-4) - 1e-4).all()
    for name, level in (("p10", 0.1), ("median", 0.5), ("p90", 0.9)):
        assert torch.equal(found[name], quantiles[:, LEVELS.index(level)])


def test_the_mean_is_a_mean_of_likes():
    """Of mass in two bins, at their centres."""
    head, prior = head_of(), torch.tensor([5.0])
    logits = torch.full((1, 1, 40), -1e4)
    logits[0, 0, [18, 24]] = torch.tensor([0.75, 0.25]).log()
    logs = 5.0 + head.centres[[18, 24]].double().numpy()
    found = head.estimates(logits, prior)
    assert found["mean"].item() == pytest.approx(np.average(np.expm1(logs), weights=[3, 1]), rel=1e-4)
    assert found["logmean"].item() == pytest.approx(np.expm1(np.average(logs, weights=[3, 1])), rel=1e-4)


def test_a_mixture_is_the_mean_of_the_members_probabilities():
    head, logits, prior = head_of(), random_logits(30, members=3), torch.linspace(1, 8, 30)
    mixed = logits.softmax(dim=2).mean(dim=1, keepdim=True).log()
    expected = head.estimates(mixed, prior)
    for name, values in head.estimates(logits, prior).items():
        assert_close(values, expected[name], rtol=1e-4, atol=1e-3, msg=name)
    alone = head.estimates(logits[:, :1], prior)
    assert (alone["mean"] / expected["mean"] - 1).abs().max() > 0.1
    parts = torch.stack([head.estimates(logits[:, m : m + 1], prior)["mean"] for m in range(3)])
    assert_close(parts.mean(dim=0), expected["mean"], rtol=1e-4, atol=1e-3)


def test_the_loss_is_the_mean_of_the_members_losses():
    head, logits = head_of(), random_logits(9, members=3)
    likes, prior = torch.randint(0, 5000, (9,)), priors(9)
    alone = [head.loss(logits[:, m : m + 1], likes, prior) for m in range(3)]
    assert_close(head.loss(logits, likes, prior), torch.stack(alone).mean())


def test_a_quantile_inverts_the_distribution():
    head = head_of()
    probabilities = random_logits(50, spread=1)[:, 0].softmax(dim=1)
    edges = head.edges.double().numpy()
    levels = torch.tensor(LEVELS).repeat(50, 1)
    for found, row in zip(head.quantiles(probabilities, levels), probabilities.double().numpy(), strict=True):
        cdf = np.concatenate([[0], row.cumsum()])
        np.testing.assert_allclose(found.numpy(), np.interp(LEVELS, cdf, edges), atol=1e-3)


@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("prior", [2.0, 4.5, 8.0])
def test_an_untrained_head_predicts_its_prior(prior, members):
    head = head_of(members=members, prior_sigma=0.3)
    found = head.estimates(head(torch.randn(3, members, 8), priors(3, prior)), priors(3, prior))
    for name in ("logmean", "median"):
        assert_close(torch.log1p(found[name]), priors(3, prior), atol=0.02, rtol=0)
    width = torch.log1p(found["p90"]) - torch.log1p(found["p10"])
    assert_close(width, torch.full((3,), 2 * 1.2816 * 0.3), atol=0.15, rtol=0)


def test_logits_are_fp32_whatever_the_state_is():
    head = head_of().to(torch.bfloat16)
    logits = head(torch.randn(2, 1, 8, dtype=torch.bfloat16), torch.tensor([1.0, 2.0]))
    assert logits.dtype == torch.float32 and torch.isfinite(logits).all()


@settings(deadline=None)
@given(st.floats(0, 12), st.floats(0.1, 10), st.integers(0, 1000))
@example(0.0, 0.1, 0)
@example(30.0, 1.0, 0)
def test_places_are_shares_that_grow_with_likes(prior, spread, seed):
    likes = torch.cat([torch.arange(20.0), torch.logspace(1.4, 9, 60).round()])
    row = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 2, 40)) * spread).float()
    below, up_to = places(head_of(), row.expand(80, -1, -1), priors(80, prior), likes)
    for shares in (below, up_to):
        assert (shares >= 0).all() and (shares <= 1 + 1e-5).all()
        assert (shares.diff() >= -1e-5).all()
    assert (up_to >= below - 1e-6).all() and below[0] == 0  # nothing is below zero likes
    assert_close(below[1:20], up_to[:19], atol=1e-5, rtol=0)  # between whole numbers nothing is left out


@pytest.mark.parametrize("count", [40, 5000])
def test_all_mass_is_up_to_likes_beyond_the_last_bin(count):
    head = head_of(count=count)
    for side in places(head, random_logits(2, count=count), torch.tensor([1.0, 4.0]), torch.tensor([1e12, 1e15])):
        assert_close(side, torch.ones(2), atol=1e-4, rtol=0)


def test_places_say_at_which_level_a_quantile_lies():
    head, logits, prior = head_of(), random_logits(40, spread=1), priors(40, 7.0)
    quantiles = head.estimates(logits, prior)["quantiles"]
    for place, level in enumerate(LEVELS):
        below, up_to = places(head, logits, prior, quantiles[:, place])
        touched = (quantiles[:, place] > 1) & (quantiles[:, place] < 0.99 * math.expm1(LIMIT))
        assert touched.any()
        assert (below - 1e-4 <= level)[touched].all() and (up_to + 1e-4 >= level)[touched].all()


def test_calibration_moves_coverage_and_stays_with_the_weights():
    head, other = head_of(), head_of()
    logits, prior = random_logits(300, spread=0.3) - head.centres.square() / 2, priors(300, 6.0)
    before = head.estimates(logits, prior)
    outer = torch.tensor(LEVELS) * 1.2 - 0.1
    head.levels.copy_(outer.clamp(0.01, 0.99))
    head.mean_scale.fill_(0.5)
    after = head.estimates(logits, prior)
    assert (after["p10"] < before["p10"]).all() and (after["p90"] > before["p90"]).all()
    assert_close(after["median"], before["median"])
    assert torch.equal(after["mean"], before["mean"] / 2) and torch.equal(after["logmean"], before["logmean"])
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.estimates(logits, prior)["quantiles"], after["quantiles"])


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000))
def test_a_distribution_keeps_the_trusted_share_of_its_distance_from_the_prior(trust, seed):
    """All of it moves: quantiles and places by as much as the mean, far from the ends of what can be liked."""
    head, prior = head_of(), priors(5, 7.0)
    row = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 2, 40))).float() - head.centres.square()
    whole = head.estimates(row, prior)
    head.trust.fill_(trust)
    moved = head.estimates(row, prior)
    away = torch.log1p(whole["logmean"]) - prior
    assert_close(torch.log1p(moved["logmean"]), prior + trust * away, atol=1e-3, rtol=0)
    shift = torch.log1p(moved["quantiles"]) - torch.log1p(whole["quantiles"])
    assert_close(shift, (trust - 1) * away[:, None].expand_as(shift), atol=1e-3, rtol=0)
    below, up_to = places(head, row, prior, moved["median"])
    assert (below <= 0.5 + 1e-3).all() and (up_to >= 0.5 - 1e-3).all()


@pytest.mark.parametrize("setting", ["trust", "levels", "mean_scale"])
def test_a_row_s_doubt_lies_between_known_accounts_and_strangers(setting):
    head, logits, prior = head_of(), random_logits(6, spread=1), priors(6, 7.0)
    values = torch.stack([getattr(head, setting)[0] * share for share in (0.9, 0.4)])

    def estimates(value, doubt):
        getattr(head, setting).copy_(value)
        return head.estimates(logits, prior, None if doubt is None else torch.full((6,), doubt))

    for doubt, share in ((None, 0.0), (0.0, 0.0), (0.5, 0.25), (1.0, 1.0)):
        alike = values[0] + share * (values[1] - values[0])
        for name, expected in estimates(alike.expand_as(values), None).items():
            assert_close(estimates(values, doubt)[name], expected, rtol=1e-4, atol=1e-3)
    one, other = estimates(values, 0.0), estimates(values, 1.0)
    assert any((one[name] != other[name]).any() for name in one)


def test_whole_distributions_come_with_scores_only_while_a_calibration_asks_for_them():
    head, logits = head_of(), random_logits(5)
    targets = Targets(priors(5), torch.zeros(5).long(), torch.ones(5), torch.rand(5))
    assert head.to_calibrate(logits, targets) == {}
    head.calibrating = True
    found = head.to_calibrate(logits, targets)
    assert_close(found["probabilities"], logits.softmax(dim=2).mean(dim=1))
    assert found["prior"] is targets.prior and found["doubt"] is targets.doubt
    read = head.read(*(found[name] for name in ("probabilities", "prior", "doubt")))
    for name, values in head.estimates(logits, targets.prior, targets.doubt).items():
        assert torch.equal(read[name], values)


@pytest.mark.parametrize("with_prior", [True, False])
def test_gradient_descent_fits_a_toy(with_prior):
    head = head_of(members=2)
    state = torch.randn(128, 2, 8)
    state[:, 1] = state[:, 0]
    logs = (4 + state[:, 0, 0] - state[:, 0, 1]).clamp(min=0)
    likes, prior = torch.expm1(logs), priors(128) if with_prior else None
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    losses = []
    for _ in range(150):
        loss = head.loss(head(state, prior), likes, prior)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    found = torch.log1p(head.estimates(head(state, prior), prior)["logmean"])
    assert torch.corrcoef(torch.stack([found, logs]))[0, 1] > 0.9
