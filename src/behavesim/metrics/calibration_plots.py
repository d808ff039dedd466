"""Pictures of how far predicted distributions can be believed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from behavesim.metrics.distribution import inside, observed_shares
from behavesim.metrics.estimates import LEVELS, LikesEstimates, check_likes
from behavesim.metrics.plots import INK, MEDIAN_COLOUR, likes_label, tenth_of

LINE = "#2171b5"
NOMINAL = 0.8


def reliability(actual: np.ndarray, estimates: LikesEstimates) -> Figure:
    """Observed share of tweets below their quantile (up) at each of `LEVELS` (across), beside the diagonal.

    Below the diagonal, too few tweets stay under the quantile: it is too low. ValueError for whatever `likes_metrics`
    refuses, and for estimates without quantiles.
    """
    actual = check_likes(actual, estimates)
    figure, axes = _sheet()
    axes.plot([0, 1], [0, 1], color=INK, linestyle=(0, (5, 4)), linewidth=1.3, label="calibrated")
    axes.plot(LEVELS, observed_shares(actual, estimates), color=LINE, linewidth=2, marker="o", label="this model")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _label(axes, "predicted level of the quantile", "tweets below it")
    return figure


def coverage_by_tenth(actual: np.ndarray, estimates: LikesEstimates) -> Figure:
    """Share of tweets inside their 80 % interval (up), in each tenth of the predictions, `logmean` (across).

    Errors as of `reliability`.
    """
    actual = check_likes(actual, estimates)
    hit, tenth = inside(actual, estimates), tenth_of(estimates.logmean)
    groups = [tenth == k for k in np.unique(tenth)]
    figure, axes = _sheet()
    places = np.arange(len(groups))
    axes.axhline(NOMINAL, color=INK, linestyle=(0, (5, 4)), linewidth=1.3, label="calibrated: 80 %")
    shares = [hit[group].mean() for group in groups]
    axes.vlines(places, NOMINAL, shares, color="#c9d7e6", linewidth=2)
    axes.scatter(places, shares, s=60, color=MEDIAN_COLOUR, zorder=3, label="this model")
    axes.set(xlim=(-0.6, len(groups) - 0.4), ylim=(0, 1.04))
    medians = [np.median(estimates.logmean[group]) for group in groups]
    axes.set_xticks(places, [likes_label(float(f"{value:.2g}")) for value in medians])
    _label(axes, "tenths of the predictions, by their median likes", "tweets inside the 80 % interval")
    return figure


def _sheet() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.2, 5.6), dpi=130, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _label(axes: Axes, across: str, up: str) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(across, fontsize=12, color=INK)
    axes.set_ylabel(up, fontsize=12, color=INK)
    axes.tick_params(labelsize=11, labelcolor=INK)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.legend(fontsize=11, frameon=False, labelcolor=INK)
