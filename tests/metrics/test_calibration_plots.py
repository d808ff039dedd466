import numpy as np
import pytest
from PIL import Image

from behavesim.metrics.calibration_plots import coverage_by_tenth, reliability
from behavesim.metrics.estimates import LEVELS, LikesEstimates


def world(n=2000, width=1.0):
    rng = np.random.default_rng(0)
    level = rng.normal(6, 1, n)
    spread = np.quantile(rng.normal(size=100_000), LEVELS)
    quantiles = np.exp(level[:, None] + width * spread)
    return np.exp(level + rng.normal(size=n)), LikesEstimates(*3 * [np.exp(level)], quantiles)


def drawn(figure, path):
    figure.savefig(path / "plot.png")
    with Image.open(path / "plot.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5  # more than an empty sheet
    return figure.axes[0]


def test_a_calibrated_model_lies_on_the_lines(tmp_path):
    axes = drawn(reliability(*world()), tmp_path)
    across, up = axes.lines[1].get_data()
    assert across.tolist() == list(LEVELS)
    assert up == pytest.approx(LEVELS, abs=0.04)
    axes = drawn(coverage_by_tenth(*world()), tmp_path)
    shares = axes.collections[1].get_offsets()[:, 1]
    assert len(shares) == 10
    assert np.abs(shares - 0.8).max() < 0.1


def test_a_model_that_is_too_sure_shows(tmp_path):
    up = drawn(reliability(*world(width=0.3)), tmp_path).lines[1].get_ydata()
    assert up[0] > 0.25 and up[-1] < 0.75
    shares = drawn(coverage_by_tenth(*world(width=0.3)), tmp_path).collections[1].get_offsets()[:, 1]
    assert (shares < 0.5).all()


@pytest.mark.parametrize("figure", [reliability, coverage_by_tenth])
def test_extremes_are_drawn(tmp_path, figure):
    drawn(figure(np.zeros(1), LikesEstimates(*3 * [np.zeros(1)], np.zeros((1, 19)))), tmp_path)
    drawn(figure(np.arange(30), LikesEstimates(*3 * [np.full(30, 1e6)], np.full((30, 19), 1e6))), tmp_path)


@pytest.mark.parametrize("figure", [reliability, coverage_by_tenth])
def test_points_have_no_calibration(figure):
    with pytest.raises(ValueError, match="quantile"):
        figure(np.ones(2), LikesEstimates.point(np.ones(2)))
