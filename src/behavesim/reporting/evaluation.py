"""What an evaluation found: estimates beside baselines, their scores, and how far these can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from behavesim.metrics import bootstrap
from behavesim.metrics.bootstrap import BootstrapResult, confidence_interval, paired_bootstrap
from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics

MODEL = "model"
COMPARED = "rmsle"  # the metric in which the model is compared with each baseline
INTERVALS, WITH_PAST, BASELINES = "intervals", "with_past", "baselines"  # keys of metrics.json
# Resampled rows of one interval: 2,000 resamples of up to 10,000 rows, and fewer of a larger table, whose intervals
# are narrow anyhow.
SAMPLES, FEWEST_SAMPLES, RESAMPLED_ROWS = 2000, 200, 20_000_000


def key_of(name: str) -> str:
    """A name as files and MLflow hold it."""
    return name.replace(" ", "_")


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Estimates of N tweets whose likes are known. Scores are computed once, when they are first asked for.

    ValueError where lengths differ.
    """

    title: str
    frame: pl.DataFrame
    """The tweets: id, date, username, company, content, likes."""
    estimates: Mapping[str, LikesEstimates]
    """By name."""
    known: np.ndarray | None = None
    """[N], how many earlier labelled posts of each row's account were known; None where nobody can tell."""

    def __post_init__(self) -> None:
        for name, each in self.estimates.items():
            self._check_rows(name, len(each))
        if self.known is not None:
            self._check_rows("known", len(self.known))

    @cached_property
    def actual(self) -> np.ndarray:
        """The likes [N]."""
        return self.frame["likes"].to_numpy().astype(np.float64)

    @cached_property
    def accounts(self) -> np.ndarray:
        """The number of each row's account [N]."""
        return self.frame["username"].rank("dense").to_numpy()

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """All metrics of each name."""
        return {name: self._metrics(name) for name in self.estimates}

    @cached_property
    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Bounds of 95 % of each name's metrics, those of `bootstrap.METRICS`; whole accounts are drawn."""
        return {
            name: {metric: self._interval(each, metric) for metric in bootstrap.METRICS if metric in self.scores[name]}
            for name, each in self.estimates.items()
        }

    @property
    def samples(self) -> int:
        """How many resamples an interval is read from."""
        return max(FEWEST_SAMPLES, min(SAMPLES, RESAMPLED_ROWS // self.frame.height))

    def metrics_of(self, name: str) -> dict[str, Any]:
        """The metrics of a name and, under `INTERVALS`, their bounds: what `metrics.json` holds.

        Under `WITH_PAST` are those of the rows whose account had an earlier post that was known, if there are any.
        """
        bounds = {metric: list(found) for metric, found in self.intervals[name].items()}
        found = {**self.scores[name], INTERVALS: bounds}
        past = np.flatnonzero(self.known) if self.known is not None else np.zeros(0, np.int64)
        if len(past):
            found[WITH_PAST] = likes_metrics(self.actual[past], self.estimates[name].take(past), self.accounts[past])
        return found

    def _metrics(self, name: str) -> dict[str, float]:
        return likes_metrics(self.actual, self.estimates[name], self.accounts)

    def _interval(self, estimates: LikesEstimates, metric: str) -> tuple[float, float]:
        settings = {"metric": metric, "clusters": self.accounts, "samples": self.samples}
        return confidence_interval(self.actual, estimates, **settings)

    def _check_rows(self, name: str, rows: int) -> None:
        if rows != self.frame.height:
            raise ValueError(f"{name} has {rows} rows, the frame has {self.frame.height}")


@dataclass(frozen=True, eq=False)
class Evaluation(Forecasts):
    """Those of a model, `MODEL` first, and then of baselines.

    ValueError without estimates of the model in the first place, or where lengths differ.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    """What the page says of the evaluation beside its rows: artifact, table, date, versions."""
    failures: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the model that no estimate holds, such as `parse_failures`."""

    def __post_init__(self) -> None:
        if next(iter(self.estimates), None) != MODEL:
            raise ValueError(f"estimates: found {', '.join(self.estimates)}; accepted: {MODEL} and then the baselines")
        super().__post_init__()

    @property
    def model(self) -> LikesEstimates:
        """The model's estimates."""
        return self.estimates[MODEL]

    @cached_property
    def differences(self) -> dict[str, BootstrapResult]:
        """The model's `COMPARED` minus that of each baseline: negative where the model is better."""
        settings = {"metric": COMPARED, "clusters": self.accounts, "samples": self.samples}
        return {
            name: paired_bootstrap(self.actual, self.model, each, **settings)
            for name, each in self.estimates.items()
            if name != MODEL
        }

    def metrics(self) -> dict[str, Any]:
        """Those of the model, see `metrics_of`, and under `BASELINES` those of each other name."""
        others = {key_of(name): self.metrics_of(name) for name in self.estimates if name != MODEL}
        return self.metrics_of(MODEL) | {BASELINES: others}

    def _metrics(self, name: str) -> dict[str, float]:
        return super()._metrics(name) | (self.failures if name == MODEL else {})
