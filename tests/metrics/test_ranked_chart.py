import numpy as np
import pytest
from PIL import Image

from behavesim.metrics.ranked_chart import Entry, ranked_chart


def draw(values, path, lower=True, name="run"):
    entries = [Entry(f"{name} {place}", value, f"lr=$1 seed={place}") for place, value in enumerate(values)]
    figure = ranked_chart(entries, title="costs $5, not $6", metric="val/rmsle", lower=lower)
    figure.savefig(path / "chart.png")
    with Image.open(path / "chart.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5  # more than an empty sheet
        return figure, picture.size


def test_the_best_run_stands_on_top_with_name_score_and_settings(tmp_path):
    figure, _ = draw([0.51, 0.62, 0.7], tmp_path)
    names, notes = figure.axes
    assert [tick.get_text() for tick in names.get_yticklabels()] == ["run 0", "run 1", "run 2"]
    assert notes.get_yticklabels()[0].get_text() == "0.5100   lr=$1 seed=0"
    assert names.get_ylim()[0] > names.get_ylim()[1]
    assert names.get_ylim() == notes.get_ylim()
    [dots] = [collection for collection in names.collections if len(collection.get_offsets()) == 3]
    assert dots.get_offsets()[:, 0].tolist() == [0.51, 0.62, 0.7]
    assert names.get_xlabel() == "val/rmsle (lower is better)"
    assert figure.get_suptitle() == "costs $5, not $6"


def test_every_run_gets_the_same_room(tmp_path):
    (_, few), (_, many) = draw([0.5] * 5, tmp_path), draw([0.5] * 40, tmp_path)
    assert many[0] == few[0]
    assert many[1] > 4 * few[1]


@pytest.mark.parametrize("values", [[0.0], [3.0], [-0.5, -0.7], [0.9, 0.2, 0.0], [1e-8, 2e-8], [0.7] * 3])
def test_extremes_are_drawn(tmp_path, values):
    figure, _ = draw(values, tmp_path, lower=values == sorted(values))
    low, high = figure.axes[0].get_xlim()
    assert low < min(values) <= max(values) < high


def test_a_run_that_went_astray_does_not_press_the_others_together(tmp_path):
    figure, _ = draw([0.5, 0.6, 1e6], tmp_path)
    assert figure.axes[0].get_xscale() == "log"
    places = figure.axes[0].transAxes.inverted().transform(figure.axes[0].transData.transform([(0.5, 0), (0.6, 0)]))
    assert places[1, 0] - places[0, 0] > 0.01
