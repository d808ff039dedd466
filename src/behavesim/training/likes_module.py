"""Likes: the module of models that predict them, and their metrics in validation and test."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from behavesim.data.batch import Batch
from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics
from behavesim.models.git import GitModel
from behavesim.training import together
from behavesim.training.module import TweetModule, targets_of
from behavesim.training.optim import OptimizerFactory


@dataclass
class Predictions:
    """Estimates of some rows, gathered batch by batch."""

    parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def add(self, batch: Batch, estimates: dict[str, Tensor]) -> None:
        """Take a batch's estimates in."""
        columns = {"rows": batch.rows, "actual": batch.likes, **estimates}
        self.parts.append({name: values.double().cpu().numpy() for name, values in columns.items()})

    def table(self) -> dict[str, np.ndarray]:
        """All columns, ascending by row: `rows`, `actual` and the estimates of the head, each [N]."""
        return in_order({name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]})


def in_order(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same, ascending by `rows`, which become integers."""
    order = np.argsort(columns["rows"])
    ordered = {name: values[order] for name, values in columns.items()}
    return ordered | {"rows": ordered["rows"].astype(np.int64)}


def estimates_of(table: dict[str, np.ndarray]) -> LikesEstimates:
    """The estimates that metrics score; quantiles where the head gives them."""
    return LikesEstimates(table["mean"], table["logmean"], table["median"], table.get("quantiles"))


def failures_of(table: dict[str, np.ndarray]) -> dict[str, float]:
    """`parse_failures`, the share of written answers that held no number; empty for heads that write none."""
    return {"parse_failures": float(table["failures"].mean())} if "failures" in table else {}


class LikesModule(TweetModule):
    """Trains a `GitModel` on likes.

    After `trainer.test`, `test_table` holds the predictions (see `Predictions.table`), as `validation_table` does after
    a validation.
    """

    def __init__(self, model: GitModel, optimizer: OptimizerFactory, **settings: Any) -> None:
        super().__init__(model, optimizer, **settings)
        self.validation_table: dict[str, np.ndarray] = {}
        self.test_table: dict[str, np.ndarray] = {}
        self._predictions = Predictions()

    def predict_step(self, batch: Batch, _index: int = 0) -> dict[str, np.ndarray]:
        """Estimates of one batch, see `Predictions.table`."""
        predictions = Predictions()
        _, estimates = self.model.score(batch.inputs(), replace(targets_of(batch), likes=None))
        predictions.add(batch, estimates)
        return predictions.parts[0]

    def forget(self) -> None:
        """See `TweetModule`."""
        self._predictions = Predictions()

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Loss and estimates of one batch."""
        self._score(batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics over all validation rows."""
        self.validation_table = self._log_metrics("val")

    def test_step(self, batch: Batch, _index: int) -> None:
        """Loss and estimates of one batch."""
        self._score(batch)

    def on_test_epoch_end(self) -> None:
        """Metrics over all test rows."""
        self.test_table = self._log_metrics("test")

    def _score(self, batch: Batch) -> None:
        loss, estimates = self.model.score(batch.inputs(), targets_of(batch))
        # Gathered with the rest: the trainer's own mean over processes divides by the rows of one of them.
        self._predictions.add(batch, estimates | {"loss": loss.expand(len(batch.rows))})

    def _log_metrics(self, stage: str) -> dict[str, np.ndarray]:
        table = self._predictions.table()
        if self._several:
            table = in_order(together.table_of_all(table))
        metrics = likes_metrics(table["actual"], estimates_of(table)) | failures_of(table)
        metrics["loss"] = float(table["loss"].mean())
        del metrics["n"]
        for name, value in metrics.items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "rmsle")
        return table
