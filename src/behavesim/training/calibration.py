"""Predictions that hold on validation rows: as far from the prior as these bear out, and with intervals that cover."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from behavesim.data.datamodule import TweetDataModule
from behavesim.metrics.likes import likes_metrics
from behavesim.models.head import LEVELS
from behavesim.models.histogram_head import HistogramHead
from behavesim.models.written_head import likes_head
from behavesim.training.likes_module import estimates_of
from behavesim.training.module import TweetModule

# Fewer rows say little of a level of 5 %.
FEWEST = 50
SCALES = (0.5, 2.0)  # a few very popular rows rule a mean
MARGIN = 1e-3  # levels stay this far from 0 and 1, where a distribution ends
TOLD = ("probabilities", "prior", "doubt")  # see `HistogramHead.to_calibrate`

Table = Mapping[str, np.ndarray]


def calibrate(trainer: lightning.Trainer, module: TweetModule, data: TweetDataModule) -> dict[str, Any]:
    """Set a head by validation rows: how far it may deviate from the prior, and where it reads its quantiles.

    Rows are told of their accounts in every way that the model may be asked later on, from nothing to all earlier
    posts, and a head is set for accounts that are known and for strangers apart. Heads other than the histogram stay
    as they are, and all do where validation rows are few.

    Returns:
        Validation metrics of the weights and the settings that will be exported.
    """
    head = likes_head(module.model.head)
    if not isinstance(head, HistogramHead):
        return _validated(trainer, module, datamodule=data)
    with _distributions(head):
        metrics = _validated(trainer, module, datamodule=data)
        table = module.validation_table
        if len(table["actual"]) < FEWEST:
            return metrics
        tables = [table]
        for mode in data.other_modes:
            _validated(trainer, module, dataloaders=data.validation_told(mode))
            tables.append(module.validation_table)
    fit(head, {name: np.concatenate([each[name] for each in tables]) for name in ("actual", *TOLD)})
    estimates = {name: values.double().cpu().numpy() for name, values in head.read(*_told(head, table)).items()}
    scores = likes_metrics(table["actual"], estimates_of(estimates))
    return metrics | {f"val/{name}": score for name, score in scores.items() if f"val/{name}" in metrics}


@contextmanager
def _distributions(head: HistogramHead) -> Iterator[None]:
    """Scores bring whole distributions."""
    head.calibrating = True
    try:
        yield
    finally:
        head.calibrating = False


def _validated(trainer: lightning.Trainer, module: TweetModule, **rows: Any) -> dict[str, Any]:
    logger, trainer.logger = trainer.logger, None  # scores of this epoch are logged already
    trainer.validate(module, verbose=False, **rows)
    trainer.logger = logger
    return dict(trainer.callback_metrics)


def _told(head: HistogramHead, table: Table) -> list[Tensor]:
    return [torch.from_numpy(table[name]).to(head.edges) for name in TOLD]


def fit(head: HistogramHead, table: Table) -> None:
    """Set trust, levels and the factor of means by N rows with `actual` and what `to_calibrate` gives.

    Each row counts for strangers by its strangeness, and for known accounts by the rest. Where either has few rows, it
    takes what the other has.
    """
    head.mean_scale.fill_(1)
    head.anchors.copy_(torch.from_numpy(anchors(np.square(table["doubt"]))))
    probabilities, prior, doubt = told = _told(head, table)
    stranger = head.strangeness(doubt).double().cpu().numpy()
    weights = [1 - stranger, stranger]
    away = (probabilities @ head.centres).cpu().numpy()
    needed = np.log1p(table["actual"]) - table["prior"]
    head.trust.copy_(_both(lambda weight: trust(away, needed, weight), weights))
    below, up_to = (
        side.double().cpu().numpy() for side in head.places(*told, torch.from_numpy(table["actual"]).to(prior))
    )
    head.levels.copy_(_both(lambda weight: calibrated_levels(below, up_to, weight), weights))
    mean = head.read(*told)["mean"].double().cpu().numpy()
    head.mean_scale.copy_(_both(lambda weight: mean_scale(mean, table["actual"], weight), weights))


def anchors(doubted: np.ndarray) -> np.ndarray:
    """What is typical of known accounts and of strangers: shares [N] of the account's variance in doubt → [2]."""
    strange = doubted >= 0.5
    sides = zip((doubted[~strange], doubted[strange]), (0.0, 1.0), strict=True)
    return np.array([side.mean() if len(side) else otherwise for side, otherwise in sides])


def _both(of: Callable[[np.ndarray], float | np.ndarray], weights: list[np.ndarray]) -> Tensor:
    """What is found with the weights of known accounts and with those of strangers: [2, …]."""
    found = [of(weight) if weight.sum() >= FEWEST else None for weight in weights]
    known, stranger = found
    known, stranger = (stranger if known is None else known), (known if stranger is None else stranger)
    return torch.from_numpy(np.stack([known, stranger]))


def trust(away: np.ndarray, needed: np.ndarray, weights: np.ndarray) -> float:
    """Share of the predictions' distance from the prior, [N] in log1p likes, that rows bear out.

    The slope of a weighted regression through the origin. Where tweets are of a later time or of other companies, what
    was learned of deviations may be chance, and the prior is the better prediction.
    """
    total = float((weights * away) @ away)
    return min(max(float((weights * away) @ needed) / total, 0.0), 1.0) if total > 0 else 1.0


def mean_scale(mean: np.ndarray, actual: np.ndarray, weights: np.ndarray) -> float:
    """By what predicted means [N] have to be multiplied to be right on average."""
    predicted = float(weights @ mean)
    return float(np.clip(float(weights @ actual) / predicted, *SCALES)) if predicted > 0 else 1.0


def calibrated_levels(below: np.ndarray, up_to: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Levels [Q] in the place of `LEVELS`, of N rows' places in their distributions, below their likes and up to them.

    A level becomes the quantile of the rows' own places (Kuleshov, Fenner & Ermon 2018). Likes are whole numbers; a
    place is drawn inside the step of the distribution at the row's number (Czado, Gneiting & Held 2009).
    """
    places = below + np.random.default_rng(0).random(len(below)) * (up_to - below)
    order = np.argsort(places)
    heavy = weights[order]
    reached = (np.cumsum(heavy) - heavy / 2) / heavy.sum()
    return np.interp(LEVELS, reached, places[order]).clip(MARGIN, 1 - MARGIN)
