"""What an evaluation found: estimates beside baselines, their scores, and how far these can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl

from behavesim.metrics import bootstrap
from behavesim.metrics.bootstrap import BootstrapResult, confidence_interval, mean_interval, paired_bootstrap
from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics

MODEL = "model"
FAILURES = "parse_failures"  # share of written answers that held no number, a score that no estimate holds
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
    """[N], how many earlier labelled posts of each row's account were known; None where nobody can tell.

    Of training, a model also remembers later posts, and those of other accounts: 0 is no account unknown to it.
    """

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
        """Bounds of 95 % of each name's metrics, of all that have some; whole accounts are drawn."""
        return {name: self._intervals(name) for name in self.estimates}

    @cached_property
    def past(self) -> Self | None:
        """The rows whose account had an earlier post that was known; None where there are none."""
        rows = np.flatnonzero(self.known) if self.known is not None else ()
        return replace(self, **self._rows(rows)) if len(rows) else None

    @property
    def samples(self) -> int:
        """How many resamples an interval is read from."""
        return max(FEWEST_SAMPLES, min(SAMPLES, RESAMPLED_ROWS // self.frame.height))

    def metrics_of(self, name: str) -> dict[str, Any]:
        """The metrics of a name and, under `INTERVALS`, their bounds: what `metrics.json` holds.

        Under `WITH_PAST` are both of `past`, if there are such rows.
        """
        found = self._bounded(name)
        return found if self.past is None else found | {WITH_PAST: self.past._bounded(name)}

    def _bounded(self, name: str) -> dict[str, Any]:
        return self.scores[name] | {INTERVALS: {metric: list(found) for metric, found in self.intervals[name].items()}}

    def _metrics(self, name: str) -> dict[str, float]:
        return likes_metrics(self.actual, self.estimates[name], self.accounts)

    def _intervals(self, name: str) -> dict[str, tuple[float, float]]:
        given = (self.actual, self.estimates[name])
        metrics = [metric for metric in bootstrap.METRICS if metric in self.scores[name]]
        return {metric: confidence_interval(*given, metric=metric, **self._drawing()) for metric in metrics}

    def _drawing(self) -> dict[str, Any]:
        """What intervals are drawn from, and how often."""
        return {"clusters": self.accounts, "samples": self.samples}

    def _rows(self, rows: np.ndarray) -> dict[str, Any]:
        """The fields of some rows, by indices [K]."""
        estimates = {name: each.take(rows) for name, each in self.estimates.items()}
        return {"frame": self.frame[rows], "estimates": estimates, "known": self.known[rows]}

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
    failures: np.ndarray | None = None
    """[N], share of each row's written answers that held no number; None of a model that writes none."""
    missing: str = ""
    """What the page says of baselines that are not there."""

    def __post_init__(self) -> None:
        if next(iter(self.estimates), None) != MODEL:
            raise ValueError(f"estimates: found {', '.join(self.estimates)}; accepted: {MODEL} and then the baselines")
        super().__post_init__()
        if self.failures is not None:
            self._check_rows("failures", len(self.failures))

    @property
    def model(self) -> LikesEstimates:
        """The model's estimates."""
        return self.estimates[MODEL]

    @cached_property
    def differences(self) -> dict[str, BootstrapResult]:
        """The model's `COMPARED` minus that of each baseline: negative where the model is better."""
        return {
            name: paired_bootstrap(self.actual, self.model, each, metric=COMPARED, **self._drawing())
            for name, each in self.estimates.items()
            if name != MODEL
        }

    def metrics(self) -> dict[str, Any]:
        """Those of the model, see `metrics_of`, and under `BASELINES` those of each other name."""
        others = {key_of(name): self.metrics_of(name) for name in self.estimates if name != MODEL}
        return self.metrics_of(MODEL) | {BASELINES: others}

    def _metrics(self, name: str) -> dict[str, float]:
        found = super()._metrics(name)
        return found | {FAILURES: float(self.failures.mean())} if self._writes(name) else found

    def _intervals(self, name: str) -> dict[str, tuple[float, float]]:
        found = super()._intervals(name)
        return found | {FAILURES: mean_interval(self.failures, **self._drawing())} if self._writes(name) else found

    def _rows(self, rows: np.ndarray) -> dict[str, Any]:
        return super()._rows(rows) | {"failures": None if self.failures is None else self.failures[rows]}

    def _writes(self, name: str) -> bool:
        return name == MODEL and self.failures is not None
