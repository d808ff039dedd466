"""Pictures of likes predictions, drawn without a display and without pyplot's global state."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator

from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics

# From a pale tint, still visible on white, to navy: one tweet shows, thousands do not drown it.
DENSITY = LinearSegmentedColormap.from_list("density", ["#cfe1f2", "#6baed6", "#2171b5", "#08306b"])
MEDIAN_COLOUR = "#d95f02"
INK = "#333333"


def predicted_against_actual(actual: np.ndarray, estimates: LikesEstimates, title: str) -> Figure:
    """Density of N tweets over predicted likes (`logmean`, across) and actual likes (up), both on log1p axes.

    Beside it the diagonal of a perfect prediction and the median of actual likes in each tenth of the predictions:
    below the diagonal the model promises too much. RMSLE, Spearman and N stand under `title`.
    ValueError for whatever `likes_metrics` refuses.
    """
    scores = likes_metrics(actual, estimates)
    predicted_log, actual_log = np.log1p(estimates.logmean), np.log1p(np.asarray(actual, dtype=np.float64))
    top = max(predicted_log.max(), actual_log.max(), np.log1p(10.0))
    low, high = -0.04 * top, 1.04 * top  # the points at zero stay clear of the frame

    figure = Figure(figsize=(7.4, 6.9), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    cells = _draw_density(axes, predicted_log, actual_log, low, high)
    _draw_lines(axes, predicted_log, actual_log, high)
    _style_axes(axes, low, high)
    _draw_bar(figure, axes, cells)
    figure.legend(loc="outside lower center", ncols=2, fontsize=11, frameon=False, labelcolor=INK)
    summary = f"RMSLE {scores['rmsle']:.3f}  ·  Spearman {scores['spearman']:.3f}  ·  n = {scores['n']:,}"
    # A run name may hold a dollar sign, which is not mathematics.
    figure.suptitle(textwrap.fill(title, 56), fontsize=14, fontweight="bold", color=INK, parse_math=False)
    axes.set_title(summary, fontsize=11.5, color=INK, pad=8)
    return figure


def likes_label(likes: float) -> str:
    """A short tick label: 0, 10, 1k, 100k, 1M."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if likes >= unit:
            return f"{likes / unit:g}{suffix}"
    return f"{likes:g}"


def decile_medians(predicted: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median prediction and median outcome in each tenth of the predictions, [K] each; inputs [N], K at most 10.

    Equal predictions share a tenth, so K is smaller where many are equal.
    """
    tenth = tenth_of(predicted)
    groups = [tenth == k for k in np.unique(tenth)]
    return np.array([np.median(predicted[g]) for g in groups]), np.array([np.median(actual[g]) for g in groups])


def tenth_of(predicted: np.ndarray) -> np.ndarray:
    """The tenth [N] of each of the predictions [N], from 0; equal ones share one."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, 11)))
    return np.searchsorted(edges[1:-1], predicted, side="right")


def _draw_density(axes: Axes, x: np.ndarray, y: np.ndarray, low: float, high: float) -> PolyCollection:
    cells = axes.hexbin(x, y, gridsize=44, extent=(low, high, low, high), mincnt=1, cmap=DENSITY, linewidths=0.2)
    # At least a decade on the colour bar, or a single tweet would leave it without a scale.
    cells.set_norm(LogNorm(vmin=1, vmax=max(10.0, float(cells.get_array().max()))))
    return cells


def _draw_lines(axes: Axes, x: np.ndarray, y: np.ndarray, high: float) -> None:
    axes.plot([0, high], [0, high], color=INK, linestyle=(0, (5, 4)), linewidth=1.3, label="perfect prediction")
    medians = decile_medians(x, y)
    axes.plot(*medians, color="white", linewidth=4.5)  # a halo, so that the line stands out from dark cells
    label = "median actual likes, by tenth of predictions"
    axes.plot(
        *medians, color=MEDIAN_COLOUR, linewidth=2.2, marker="o", markersize=8, markeredgecolor="white", label=label
    )


def _draw_bar(figure: Figure, axes: Axes, cells: PolyCollection) -> None:
    counts = LogLocator(subs=(1, 2, 5))
    bar = figure.colorbar(cells, ax=axes, shrink=0.75, pad=0.03, ticks=counts, format=lambda count, _: f"{count:,.0f}")
    bar.set_label("tweets per cell", fontsize=11, color=INK, labelpad=8)
    bar.ax.tick_params(labelsize=10, labelcolor=INK)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)


def _style_axes(axes: Axes, low: float, high: float) -> None:
    likes = np.concatenate([[0.0], 10.0 ** np.arange(0, 1 + int(np.log10(np.expm1(high))))])
    labels = [likes_label(value) for value in likes]
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xticks(np.log1p(likes), labels, fontsize=11, color=INK)
    axes.set_yticks(np.log1p(likes), labels, fontsize=11, color=INK)
    axes.set_xlabel("predicted likes", fontsize=12, color=INK)
    axes.set_ylabel("actual likes", fontsize=12, color=INK)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
