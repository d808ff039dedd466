import sys

import numpy as np
import pytest
from PIL import Image

from behavesim.metrics.likes import LikesEstimates
from behavesim.metrics.plots import decile_medians, likes_label, predicted_against_actual


def draw(actual, guess, path, title="a run"):
    figure = predicted_against_actual(np.array(actual), LikesEstimates.point(np.array(guess)), title)
    figure.savefig(path / "plot.png")
    with Image.open(path / "plot.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
        assert np.asarray(picture.convert("L")).std() > 5  # more than an empty sheet
    return figure


def test_writes_a_labelled_picture(tmp_path):
    rng = np.random.default_rng(0)
    level = rng.normal(5, 2, 500).clip(0)
    actual = np.expm1(level + rng.normal(0, 0.3, 500)).clip(0)
    figure = draw(actual, np.expm1(level), tmp_path, title="costs $5, not $6")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted likes", "actual likes")
    assert figure.get_suptitle() == "costs $5, not $6"
    summary = axes.get_title()
    assert "RMSLE 0." in summary
    assert "Spearman 0.9" in summary
    assert "n = 500" in summary
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks[:5] == ["0", "1", "10", "100", "1k"]
    assert axes.get_xticks()[:3] == pytest.approx(np.log1p([0, 1, 10]))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["perfect prediction", "median actual likes, by tenth of predictions"]


@pytest.mark.parametrize(
    ("actual", "guess", "last_tick"),
    [
        ([7], [3.0], "10"),
        ([0], [0.0], "10"),
        ([0] * 30, [0.0] * 30, "10"),
        ([0, 5, 10**6], [1.0, 4.0, 2e5], "1M"),
        ([0, 5, 100], [9.0, 9.0, 9.0], "100"),
    ],
)
def test_extremes_are_drawn(tmp_path, actual, guess, last_tick):
    axes = draw(actual, guess, tmp_path).axes[0]
    assert axes.get_xticklabels()[-1].get_text() == last_tick
    top = np.log1p(max(*actual, *guess, 10))
    assert axes.get_xlim()[0] < 0 < top < axes.get_xlim()[1]
    assert axes.get_xlim() == axes.get_ylim()


def test_long_title_wraps(tmp_path):
    figure = draw([1, 2], [1.0, 2.0], tmp_path, title="model " * 30)
    assert max(map(len, figure.get_suptitle().splitlines())) <= 56


def test_decile_medians():
    predicted = np.arange(100.0)
    across, up = decile_medians(predicted, predicted * 2)
    assert len(across) == 10
    assert up == pytest.approx(2 * across)
    assert across[0] == pytest.approx(4.5)
    one_group = decile_medians(np.full(30, 3.0), np.arange(30.0))
    assert [values.tolist() for values in one_group] == [[3.0], [14.5]]


def test_decile_medians_do_not_depend_on_order():
    rng = np.random.default_rng(0)
    predicted, actual = rng.integers(0, 20, 200).astype(float), rng.integers(0, 50, 200).astype(float)
    order = rng.permutation(200)
    straight, shuffled = decile_medians(predicted, actual), decile_medians(predicted[order], actual[order])
    assert np.array_equal(straight, shuffled)


def test_likes_label():
    assert [likes_label(v) for v in (0, 1, 10, 1e3, 1e5, 1e6, 2.5e6)] == ["0", "1", "10", "1k", "100k", "1M", "2.5M"]


def test_negative_likes_are_refused():
    with pytest.raises(ValueError, match="actual"):
        predicted_against_actual(np.array([-1]), LikesEstimates.point(np.array([1.0])), "title")


def test_pyplot_keeps_no_figure(tmp_path):
    draw([1, 2], [1.0, 2.0], tmp_path)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
