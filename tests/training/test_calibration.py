"""Levels at which quantiles are read, by what validation rows say of them."""

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
from behavesim.training.calibration import FEWEST, calibrate, calibrated_levels, mean_scale, trust

OUTER, INNER = LEVELS.index(0.1), LEVELS.index(0.9)


def table_of(likes, centres, sigma):
    """Places of likes in log-normal predictions of this width."""
    logs = {"below": np.log1p((likes - 0.5).clip(0)), "up_to": np.log1p(likes + 0.5)}
    places = {name: norm.cdf((values - centres) / sigma) for name, values in logs.items()}
    return places | {"below": np.where(likes < 0.5, 0.0, places["below"])}


def rows_of(count=4000, sigma=1.0, seed=7, low=1.0):
    """Likes that are drawn around their predictions with this standard deviation of log1p."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(low, 8, count)
    return np.expm1(generator.normal(centres, sigma)).clip(0).round(), centres


def test_a_calibrated_sample_keeps_its_levels():
    likes, centres = rows_of()
    assert calibrated_levels(table_of(likes, centres, 1.0)) == pytest.approx(LEVELS, abs=0.03)


def test_whole_numbers_and_zeros_do_not_shift_levels():
    likes, centres = rows_of(low=0.0)
    centres = centres / 4
    likes = np.expm1(np.random.default_rng(8).normal(centres, 1.0)).clip(0).round()
    assert (likes == 0).mean() > 0.2
    assert calibrated_levels(table_of(likes, centres, 1.0)) == pytest.approx(LEVELS, abs=0.03)


@pytest.mark.parametrize(("claimed", "wider"), [(0.5, True), (2.0, False)])
def test_too_narrow_distributions_are_read_further_out_and_too_wide_ones_further_in(claimed, wider):
    levels = calibrated_levels(table_of(*rows_of(), claimed))
    assert (levels[OUTER] < 0.05 and levels[INNER] > 0.95) == wider
    assert levels[LEVELS.index(0.5)] == pytest.approx(0.5, abs=0.03)
    expected = norm.cdf(norm.ppf(LEVELS) / claimed)
    assert levels == pytest.approx(expected, abs=0.03)


def test_levels_that_are_calibrated_cover_other_rows():
    levels = calibrated_levels(table_of(*rows_of(), 0.5))
    likes, centres = rows_of(seed=5)
    low, high = (np.expm1(centres + 0.5 * norm.ppf(levels[place])) for place in (OUTER, INNER))
    assert np.mean((likes >= low) & (likes <= high)) == pytest.approx(0.8, abs=0.03)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=FEWEST, max_size=3 * FEWEST))
def test_levels_ascend_inside_zero_and_one(places):
    below, up_to = np.sort(np.array(places), axis=1).T
    levels = calibrated_levels({"below": below, "up_to": up_to})
    assert levels.shape == (len(LEVELS),)
    assert (np.diff(levels) >= 0).all() and levels[0] > 0 and levels[-1] < 1


class Validation:
    """A trainer whose validation finds `table`, and notes what the head then was trusted with."""

    def __init__(self, table):
        self.table, self.logger, self.callback_metrics = table, object(), {"val/loss": 1.0}
        self.seen = []

    def validate(self, module, _data, verbose):
        self.seen.append((self.logger, module.model.head.trust.item()))
        module.validation_table = self.table


def calibrated(table):
    """The head and the trainer after a calibration by this table."""
    head = HistogramHead(4, LikesBins.fit(np.arange(100), 10))
    trainer = Validation(table)
    logger = trainer.logger
    assert calibrate(trainer, SimpleNamespace(model=SimpleNamespace(head=head), validation_table={}), None)
    assert trainer.logger is logger and all(seen is None for seen, _ in trainer.seen)  # no score is logged twice
    return head, trainer


def full_table(rows):
    likes, centres = rows_of(rows)
    return table_of(likes, centres, 0.5) | {
        "actual": likes,
        "mean": likes * 1.25,
        "prior": np.zeros(rows),
        "logmean": np.expm1(2 * np.log1p(likes)),
    }


def test_a_head_is_set_by_the_validation_rows_and_validated_again_with_the_trust_it_has():
    table = full_table(FEWEST)
    head, trainer = calibrated(table)
    torch.testing.assert_close(head.levels, torch.tensor(calibrated_levels(table)).float())
    assert head.mean_scale.item() == pytest.approx(0.8) and head.trust.item() == pytest.approx(0.5)
    assert [seen for _, seen in trainer.seen] == pytest.approx([1.0, 0.5])


def test_few_rows_and_heads_without_places_set_nothing():
    few = full_table(FEWEST - 1)
    for table in (few, {name: few[name] for name in ("actual", "mean", "logmean")}):
        head, trainer = calibrated(table)
        assert len(trainer.seen) == 1 and head.trust.item() == head.mean_scale.item() == 1
        torch.testing.assert_close(head.levels, torch.tensor(LEVELS))


def likes_at(logs):
    return np.expm1(np.array(logs))


@pytest.mark.parametrize(("share", "found"), [(1.0, 1.0), (0.4, 0.4), (0.0, 0.0), (-1.0, 0.0), (3.0, 1.0)])
def test_deviations_are_trusted_as_far_as_rows_bear_them_out(share, found):
    prior, away = np.array([3.0, 4.0, 5.0]), np.array([1.0, -0.5, 0.2])
    table = {"prior": prior, "logmean": likes_at(prior + away), "actual": likes_at(prior + share * away)}
    assert trust(table) == pytest.approx(found)


def test_who_never_deviates_is_trusted():
    prior = np.array([3.0, 4.0])
    assert trust({"prior": prior, "logmean": likes_at(prior) * (1 + 0.0), "actual": likes_at([1, 1])}) <= 1
    assert trust({"prior": np.zeros(2), "logmean": np.zeros(2), "actual": likes_at([1, 1])}) == 1


def test_means_are_scaled_by_half_or_twice_at_most():
    likes = np.array([10.0, 30.0])
    assert mean_scale({"actual": likes, "mean": likes / 10}) == 2.0
    assert mean_scale({"actual": likes, "mean": likes * 10}) == 0.5
    assert mean_scale({"actual": likes * 0, "mean": likes * 0}) == 1.0
