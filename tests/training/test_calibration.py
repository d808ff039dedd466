"""What validation rows say of known accounts and of strangers: trust, levels of quantiles, a factor of means."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from behavesim.models.binning import LikesBins
from behavesim.models.head import LEVELS
from behavesim.models.histogram_head import HistogramHead
from behavesim.training.calibration import FEWEST, calibrate, calibrated_levels, fit, mean_scale, trust

OUTER, INNER = LEVELS.index(0.1), LEVELS.index(0.9)


def places_of(likes, centres, sigma):
    """Of likes in log-normal predictions of this width: below them and up to them."""
    below, up_to = np.log1p((likes - 0.5).clip(0)), np.log1p(likes + 0.5)
    below, up_to = (norm.cdf((values - centres) / sigma) for values in (below, up_to))
    return np.where(likes < 0.5, 0.0, below), up_to


def levels_of(likes, centres, sigma):
    """The levels that such rows give, each weighing alike."""
    return calibrated_levels(*places_of(likes, centres, sigma), np.ones(len(likes)))


def rows_of(count=4000, sigma=1.0, seed=7, low=1.0):
    """Likes that are drawn around their predictions with this standard deviation of log1p."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(low, 8, count)
    return np.expm1(generator.normal(centres, sigma)).clip(0).round(), centres


def test_a_calibrated_sample_keeps_its_levels():
    likes, centres = rows_of()
    assert levels_of(likes, centres, 1.0) == pytest.approx(LEVELS, abs=0.03)


def test_whole_numbers_and_zeros_do_not_shift_levels():
    likes, centres = rows_of(low=0.0)
    centres = centres / 4
    likes = np.expm1(np.random.default_rng(8).normal(centres, 1.0)).clip(0).round()
    assert (likes == 0).mean() > 0.2
    assert levels_of(likes, centres, 1.0) == pytest.approx(LEVELS, abs=0.03)


@pytest.mark.parametrize(("claimed", "wider"), [(0.5, True), (2.0, False)])
def test_too_narrow_distributions_are_read_further_out_and_too_wide_ones_further_in(claimed, wider):
    levels = levels_of(*rows_of(), claimed)
    assert (levels[OUTER] < 0.05 and levels[INNER] > 0.95) == wider
    assert levels[LEVELS.index(0.5)] == pytest.approx(0.5, abs=0.03)
    expected = norm.cdf(norm.ppf(LEVELS) / claimed)
    assert levels == pytest.approx(expected, abs=0.03)


def test_levels_that_are_calibrated_cover_other_rows():
    levels = levels_of(*rows_of(), 0.5)
    likes, centres = rows_of(seed=5)
    low, high = (np.expm1(centres + 0.5 * norm.ppf(levels[place])) for place in (OUTER, INNER))
    assert np.mean((likes >= low) & (likes <= high)) == pytest.approx(0.8, abs=0.03)


ROWS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1)), min_size=FEWEST, max_size=3 * FEWEST)


@settings(deadline=None)
@given(ROWS)
def test_levels_ascend_inside_zero_and_one(rows):
    places = np.sort(np.array(rows)[:, :2], axis=1)
    levels = calibrated_levels(*places.T, np.array(rows)[:, 2])
    assert levels.shape == (len(LEVELS),)
    assert (np.diff(levels) >= 0).all() and levels[0] > 0 and levels[-1] < 1


def test_a_row_counts_in_levels_by_its_weight():
    places = np.random.default_rng(0).random(400)
    doubled = np.r_[places, places[:100]]
    weights = np.ones(400) + (np.arange(400) < 100)
    found = calibrated_levels(places, places, weights)
    assert found == pytest.approx(calibrated_levels(doubled, doubled, np.ones(500)), abs=5e-3)


@pytest.mark.parametrize(("share", "found"), [(1.0, 1.0), (0.4, 0.4), (0.0, 0.0), (-1.0, 0.0), (3.0, 1.0)])
def test_deviations_are_trusted_as_far_as_rows_bear_them_out(share, found):
    away = np.array([1.0, -0.5, 0.2])
    assert trust(away, share * away, np.array([0.3, 1.0, 0.5])) == pytest.approx(found)


def test_a_row_without_weight_says_nothing_of_trust():
    assert trust(np.array([1.0, 1.0]), np.array([0.5, 9.0]), np.array([1.0, 0.0])) == pytest.approx(0.5)


def test_who_never_deviates_is_trusted():
    assert trust(np.zeros(2), np.ones(2), np.ones(2)) == 1


def test_means_are_scaled_by_half_or_twice_at_most():
    likes, alike = np.array([10.0, 30.0]), np.ones(2)
    assert mean_scale(likes / 10, likes, alike) == 2.0
    assert mean_scale(likes * 10, likes, alike) == 0.5
    assert mean_scale(likes * 0, likes * 0, alike) == 1.0
    assert mean_scale(likes, likes * np.array([1.5, 1.0]), np.array([1.0, 0.0])) == pytest.approx(1.5)


def head_of():
    return HistogramHead(4, LikesBins.fit(np.geomspace(1, 100_001, 5000) - 1, 60))


def told(rows, doubt, sigma, away=1.0, needed=1.0, seed=0):
    """Rows whose predictions deviate by `away`, with a spread of 1; likes by `needed` of that, with one of `sigma`."""
    random, head = np.random.default_rng(seed), head_of()
    prior, deviation = random.uniform(4, 7, rows), away * random.choice([-1, 1], rows)
    centres = head.centres.double().numpy()
    mass = norm.pdf(centres - deviation[:, None])
    likes = np.expm1(random.normal(prior + needed * deviation, sigma)).clip(0).round()
    probabilities = mass / mass.sum(axis=1, keepdims=True)
    return {"probabilities": probabilities, "prior": prior, "doubt": np.full(rows, doubt), "actual": likes}


def together(*tables):
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def read(head, table):
    return head.read(*(torch.from_numpy(table[name]).float() for name in ("probabilities", "prior", "doubt")))


def coverage(head, table):
    found = {name: values.numpy() for name, values in read(head, table).items()}
    return np.mean((table["actual"] >= found["p10"]) & (table["actual"] <= found["p90"]))


def test_known_accounts_and_strangers_are_set_apart():
    """Predictions claim a spread of 1: too much for the known, too little for strangers; and so with deviations."""
    head = head_of()
    known, stranger = {"doubt": 0.0, "sigma": 0.4, "needed": 0.8}, {"doubt": 1.0, "sigma": 2.0, "needed": 0.1}
    fit(head, together(told(3000, **known), told(3000, **stranger)))
    assert head.trust.tolist() == pytest.approx([0.8, 0.1], abs=0.05)
    for settings_ in (known, stranger):
        fresh = told(3000, **settings_, seed=1)
        assert coverage(head, fresh) == pytest.approx(0.8, abs=0.03)
        mean = read(head, fresh)["mean"].double().numpy()
        factor = head.mean_scale[int(settings_["doubt"])].item()
        assert mean.sum() == pytest.approx(fresh["actual"].sum(), rel=0.25) or factor in (0.5, 2.0)


def test_rows_of_typical_doubt_are_set_by_themselves_alone():
    """Even a known account is in doubt for a part; strangers lend it nothing."""
    head, alone = head_of(), head_of()
    known, strangers = told(800, 0.5, 0.4, needed=0.7), told(800, 0.95, 2.0, needed=0.0)
    fit(head, together(known, strangers))
    fit(alone, known)
    assert head.anchors.tolist() == pytest.approx([0.5**2, 0.95**2])
    for table, setting in ((known, alone), (strangers, head)):
        assert coverage(head, table) == pytest.approx(coverage(setting, table), abs=1e-3)
    assert head.trust.tolist() == pytest.approx([alone.trust[0].item(), 0.0], abs=0.1)


@pytest.mark.parametrize("doubt", [0.0, 1.0])
def test_who_has_few_rows_takes_what_the_other_has(doubt):
    head = head_of()
    fit(head, together(told(500, doubt, 0.5, needed=0.6), told(FEWEST - 1, 1 - doubt, 3.0, needed=0.0)))
    for setting in (head.trust, head.levels, head.mean_scale):
        assert torch.equal(setting[0], setting[1])
    assert head.trust[0].item() == pytest.approx(0.6, abs=0.1)


def test_another_calibration_starts_anew():
    head, table = head_of(), together(told(300, 0.0, 0.4), told(300, 1.0, 2.0))
    fit(head, table)
    first = [setting.clone() for setting in (head.trust, head.levels, head.mean_scale)]
    fit(head, table)
    assert all(
        torch.equal(now, was) for now, was in zip((head.trust, head.levels, head.mean_scale), first, strict=True)
    )


class Validation:
    """A trainer whose validation finds a table for each mode, as far as the head brings it."""

    def __init__(self, tables):
        self.tables, self.logger, self.seen = tables, object(), []
        self.callback_metrics = {"val/loss": 1.0, "val/rmsle": 9.0}

    def validate(self, module, verbose, datamodule=None, dataloaders=None):
        mode = dataloaders or "own"
        self.seen.append((mode, self.logger))
        table = dict(self.tables[mode])
        if not getattr(module.model.head, "calibrating", False):
            table.pop("probabilities", None)
        module.validation_table = table


class Modes:
    """Validation rows that are told of in two other ways."""

    other_modes = ("none", "rolling")

    def validation_told(self, mode):
        return mode


def calibrated(head, **tables):
    trainer = Validation(tables)
    logger, module = trainer.logger, SimpleNamespace(model=SimpleNamespace(head=head), validation_table={})
    found = calibrate(trainer, module, Modes())
    assert trainer.logger is logger and all(seen is None for _, seen in trainer.seen)  # no score is logged twice
    assert not getattr(head, "calibrating", False)
    return found, [mode for mode, _ in trainer.seen]


def test_a_head_is_set_by_validation_rows_told_in_every_mode():
    tables = {"own": told(200, 0.1, 0.4), "none": told(200, 1.0, 2.0, seed=1), "rolling": told(200, 0.0, 0.3, seed=2)}
    head, alike = head_of(), head_of()
    metrics, modes = calibrated(head, **tables)
    assert modes == ["own", "none", "rolling"]
    fit(alike, together(*tables.values()))
    assert torch.equal(head.levels, alike.levels) and torch.equal(head.trust, alike.trust)
    logs = np.log1p(read(alike, tables["own"])["logmean"].double().numpy())
    rmsle = np.sqrt(np.square(logs - np.log1p(tables["own"]["actual"])).mean())
    assert metrics == {"val/loss": 1.0, "val/rmsle": pytest.approx(rmsle)}  # of the head as it is exported


@pytest.mark.parametrize("rows", [FEWEST - 1, 200])
def test_few_rows_and_other_heads_set_nothing(rows):
    table = told(rows, 0.0, 0.4)
    head = head_of() if rows < FEWEST else torch.nn.Linear(1, 1)
    metrics, modes = calibrated(head, own=table)
    assert modes == ["own"] and metrics["val/rmsle"] == 9.0
    if rows < FEWEST:
        assert torch.equal(head.levels, head_of().levels) and torch.equal(head.anchors, torch.tensor([0.0, 1.0]))
