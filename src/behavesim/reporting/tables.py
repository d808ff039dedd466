"""The tables of the report, as rows of text and numbers that the template only has to set."""

import math
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from behavesim.metrics.breakdown import SIZES, account_sizes, by_group
from behavesim.metrics.distribution import HIGH, LOW
from behavesim.metrics.likes import row_errors
from behavesim.reporting.evaluation import Evaluation

BREAKDOWN = "breakdown.csv"
BY_COMPANY, BY_KNOWN = "company", "earlier known tweets"  # kinds of groups
NAMELESS = "without a company"
# Which posts a baseline is made of: what a model is told may be more, or newer.
MADE_OF = MappingProxyType(
    {
        "constant": "likes of all training tweets",
        "account mean": "training tweets of the account alone, later ones too; newer tweets that the model is told of "
        "do not count",
        "rolling mean": "the account’s last five tweets before each tweet, of those that the model may look back on; "
        "where there are none, the constant",
        "lightgbm": "training tweets alone, their texts too; newer tweets that the model is told of do not count",
    }
)
COMPANIES, MISSES = 20, 20
LOWER, HIGHER, NOMINAL = "lower", "higher", "0.8"


@dataclass(frozen=True)
class Metric:
    """A row of the table of scores: what it says, and which side is better (None where neither is)."""

    name: str
    says: str
    better: str | None


METRICS = (
    Metric("rmsle", "error of log(1 + likes): 0.7 is wrong by a factor of two", LOWER),
    Metric("crps_log", "error of the whole distribution, of log(1 + likes)", LOWER),
    Metric("spearman", "are tweets ranked right? 1 is perfect, 0 is chance", HIGHER),
    Metric("spearman_within", "the same among the tweets of one account", HIGHER),
    Metric("r2_log", "share of the variance of log(1 + likes) that is explained", HIGHER),
    Metric("mae", "mean error in likes", LOWER),
    Metric("medae", "median error in likes: half of the tweets are nearer", LOWER),
    Metric("crps", "error of the whole distribution, in likes", LOWER),
    Metric("rmse", "root mean square error in likes; a few tweets rule it", LOWER),
    Metric("rmse_winsorised", "the same, all above the 99th percentile of likes cut to it", LOWER),
    Metric("r2", "share of the variance of likes that is explained", HIGHER),
    Metric("top_1_share", "share of the squared error that 1 % of the tweets have", None),
    Metric("coverage_80", "share of tweets inside their 80 % interval; it should be 0.8", NOMINAL),
    Metric("interval_80", "mean width of that interval, of log(1 + likes)", None),
    Metric("distinct", "different whole numbers among the predictions", None),
    Metric("parse_failures", "share of written answers without a number", LOWER),
)


def scores(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row for each metric that somebody has: the metric, and a cell for each name with value, interval and mark."""
    rows = []
    for metric in METRICS:
        values = {name: found.get(metric.name) for name, found in evaluation.scores.items()}
        if all(value is None for value in values.values()):
            continue
        best = _best(metric, values)
        cells = [
            {
                "value": number(value),
                "interval": interval(evaluation.intervals[name].get(metric.name)),
                "best": name in best,
            }
            for name, value in values.items()
        ]
        rows.append({"metric": metric, "cells": cells})
    return rows


def differences(evaluation: Evaluation) -> list[dict[str, str]]:
    """A row for each baseline: what the model has less or more, with interval and p."""
    return [
        {
            "baseline": name,
            "made_of": MADE_OF.get(name, ""),
            "difference": signed(found.difference),
            "interval": f"{signed(found.low)} to {signed(found.high)}",
            "p": f"{found.p_value:.3f}" if found.p_value >= 0.001 else "below 0.001",
            "verdict": _verdict(found.low, found.high),
        }
        for name, found in evaluation.differences.items()
    ]


def companies(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Scores of the largest companies, and last of all others together."""
    names = _companies(evaluation)
    counts = names.value_counts(name="rows").sort(["rows", names.name], descending=[True, False])
    largest = counts[names.name].head(COMPANIES)
    rest = f"the rest ({counts.height - len(largest):,} companies)"
    groups = np.where(names.is_in(largest.implode()).to_numpy(), names.to_numpy(), rest)
    found = by_group(evaluation.actual, evaluation.model, groups)
    return [_group(row) for row in sorted(found, key=lambda row: row["group"] == rest)]


def sizes(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Scores by how many earlier tweets of an account were known; empty where that is not known."""
    return [_group(row) for row in _by_known(evaluation)]


def write_breakdown(evaluation: Evaluation, folder: Path) -> Path:
    """`breakdown.csv` in `folder`, which is there; returns its path.

    A row for each company, and one for each number of earlier known tweets: `kind`, `group`, `n` and the scores of the
    page's groups, in their units, as `by_group` has them.
    """
    found = {BY_COMPANY: by_group(evaluation.actual, evaluation.model, _companies(evaluation).to_numpy())}
    found[BY_KNOWN] = _by_known(evaluation)
    rows = [{"kind": kind, **row} for kind, groups in found.items() for row in groups]
    pl.from_dicts(rows, infer_schema_length=None).write_csv(folder / BREAKDOWN)
    return folder / BREAKDOWN


def _companies(evaluation: Evaluation) -> pl.Series:
    return evaluation.frame["company"].fill_null("").replace("", NAMELESS)


def _by_known(evaluation: Evaluation) -> list[dict[str, Any]]:
    if evaluation.known is None:
        return []
    found = by_group(evaluation.actual, evaluation.model, account_sizes(evaluation.known))
    return sorted(found, key=lambda row: SIZES.index(row["group"]))


def misses(evaluation: Evaluation) -> list[dict[str, str]]:
    """The tweets with the largest errors of log(1 + likes), the worst first."""
    errors = row_errors(evaluation.actual, evaluation.model, "rmsle")
    worst = np.argsort(-np.abs(errors), kind="stable")[:MISSES]
    model = evaluation.model.take(worst)
    dates = evaluation.frame["date"][worst].dt.strftime("%Y-%m-%d %H:%M")
    tweets = evaluation.frame[worst].select("username", "company", "content", "likes").cast(pl.String).fill_null("")
    rows = []
    for place, (date, tweet) in enumerate(zip(dates, tweets.iter_rows(named=True), strict=True)):
        reach = ""
        if model.quantiles is not None:
            reach = f"{likes(model.at(LOW)[place])} to {likes(model.at(HIGH)[place])}"
        found = {"actual": likes(float(tweet["likes"])), "predicted": likes(model.median[place]), "interval": reach}
        rows.append({"date": date or "", **tweet, **found, "error": signed(errors[worst[place]], 1)})
    return rows


def number(value: float | None) -> str:
    """Three digits behind the point of small numbers, none of large ones; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value) or abs(value) >= 1e9:
        return f"{value:.2e}".replace("-", "−")
    digits = 3 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0.0: no minus before nothing


def signed(value: float, digits: int = 3) -> str:
    """With its sign, and with a minus that is as wide as the plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def likes(value: float) -> str:
    """A number of likes, whole from ten on."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def interval(bounds: tuple[float, float] | None) -> str:
    """Both bounds; empty for None."""
    return "" if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def _best(metric: Metric, values: dict[str, float | None]) -> list[str]:
    """The names with the best value, equal ones together; nobody where there is nothing to choose."""
    distance = {
        LOWER: lambda value: value,
        HIGHER: lambda value: -value,
        NOMINAL: lambda value: abs(value - float(NOMINAL)),
    }
    given = {name: value for name, value in values.items() if value is not None}
    if metric.better is None or len(given) < 2:
        return []
    key = distance[metric.better]
    least = min(map(key, given.values()))
    return [name for name, value in given.items() if key(value) == least]


def _verdict(low: float, high: float) -> str:
    if low < 0 < high or low == high == 0:
        return "no difference that these tweets can tell"
    return "the model is better" if high <= 0 else "the baseline is better"


def _group(row: dict[str, Any]) -> dict[str, Any]:
    cells = {name: number(row.get(name)) for name in ("n", "rmsle", "rmse", "mae", "spearman")}
    coverage = "" if "coverage_80" not in row else f"{row['coverage_80']:.0%}"
    return {"group": row["group"], **cells, "bias": signed(row["bias"], 2), "coverage": coverage}
