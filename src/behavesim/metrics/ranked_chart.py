"""Picture of ranked runs: a dot a run, the best on top."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from behavesim.metrics.plots import INK, MEDIAN_COLOUR

DOT = "#2171b5"
FAINT = "#777777"
# Worst over best beyond which a linear axis would press all good runs together.
LOG_FROM = 20


@dataclass(frozen=True)
class Entry:
    """One run: its name, its score, and what tells it from the others."""

    name: str
    value: float
    note: str


def ranked_chart(entries: Sequence[Entry], *, title: str, metric: str, lower: bool) -> Figure:
    """Scores of N > 0 runs, given best first; lines show how far each lies behind the best one."""
    figure = Figure(figsize=(11, 1.7 + 0.34 * len(entries)), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.15))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values, places = [entry.value for entry in entries], range(len(entries))
    axes.hlines(places, values[0], values, color="#c9d7e6", linewidth=2)
    axes.scatter(values, places, s=60, color=[MEDIAN_COLOUR, *[DOT] * (len(values) - 1)], zorder=3)
    axes.axvline(values[0], color=MEDIAN_COLOUR, linewidth=1, linestyle=(0, (4, 4)), zorder=1)
    _scale(axes, values)
    _label(axes, entries)
    axes.set_xlabel(f"{metric} ({'lower' if lower else 'higher'} is better)", fontsize=11, color=INK)
    # A name may hold a dollar sign, which is not mathematics.
    figure.suptitle(title, fontsize=13, fontweight="bold", color=INK, parse_math=False)
    return figure


def _scale(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    if low > 0 and high > LOG_FROM * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.3, high * 1.3)
        return
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05  # a single run has no range
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _label(axes: Axes, entries: Sequence[Entry]) -> None:
    """Names on the left, scores and notes on the right, where a table would have them."""
    places = range(len(entries))
    beside = axes.twinx()
    for side in (axes, beside):
        side.set_ylim(len(entries) - 0.4, -0.6)  # the best on top
        side.spines[["top", "right", "left"]].set_visible(False)
        side.spines["bottom"].set_color("#999999")
        side.tick_params(axis="y", length=0)
    axes.set_yticks(places, [entry.name for entry in entries], fontsize=10, color=INK, parse_math=False)
    notes = [f"{entry.value:#.4g}   {entry.note}" for entry in entries]
    beside.set_yticks(places, notes, fontsize=9, color=FAINT, parse_math=False)
    axes.tick_params(axis="x", labelsize=10, labelcolor=INK)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
