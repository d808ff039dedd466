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
from behavesim.training.calibration import FEWEST, calibrate, calibrated_levels, mean_scale

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


def test_few_rows_and_heads_without_places_say_nothing():
    likes, centres = rows_of(FEWEST)
    table = table_of(likes, centres, 1.0)
    assert calibrated_levels(table) is not None
    assert calibrated_levels({name: values[:-1] for name, values in table.items()}) is None
    assert calibrated_levels({"mean": likes}) is None


@pytest.mark.parametrize(("rows", "moves"), [(FEWEST, True), (FEWEST - 1, False)])
def test_a_head_is_read_at_the_levels_of_the_validation(rows, moves):
    head = HistogramHead(4, LikesBins.fit(np.arange(100), 10))
    likes, centres = rows_of(rows)
    table = table_of(likes, centres, 0.5) | {"actual": likes, "mean": likes * 1.25}
    module = SimpleNamespace(model=SimpleNamespace(head=head), validation_table={})
    logger, seen = object(), []

    def validate(given, _data, verbose):
        seen.append(trainer.logger)
        given.validation_table = table

    trainer = SimpleNamespace(logger=logger, validate=validate, callback_metrics={"val/loss": 1.0})
    assert calibrate(trainer, module, None) == {"val/loss": 1.0}
    assert seen == [None] and trainer.logger is logger  # the scores of this epoch are not logged twice
    expected = calibrated_levels(table) if moves else LEVELS
    torch.testing.assert_close(head.levels, torch.tensor(np.asarray(expected), dtype=torch.float32))
    assert head.mean_scale.item() == pytest.approx(0.8 if moves else 1.0)


def test_means_are_scaled_by_half_or_twice_at_most():
    likes = np.array([10.0, 30.0])
    assert mean_scale({"actual": likes, "mean": likes / 10}) == 2.0
    assert mean_scale({"actual": likes, "mean": likes * 10}) == 0.5
    assert mean_scale({"actual": likes * 0, "mean": likes * 0}) == 1.0
