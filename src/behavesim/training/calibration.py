"""Predictions that hold on validation rows: as far from the prior as these bear out, and with intervals that cover."""

from typing import Any

import lightning
import numpy as np
import torch

from behavesim.models.head import LEVELS
from behavesim.training.module import LikesModule

# Fewer rows say little of a level of 5 %.
FEWEST = 50
SCALES = (0.5, 2.0)  # a few very popular rows rule a mean
MARGIN = 1e-3  # levels stay this far from 0 and 1, where a distribution ends


def calibrate(trainer: lightning.Trainer, module: LikesModule, data: lightning.LightningDataModule) -> dict[str, Any]:
    """Set a head by validation rows: how far it may deviate from the prior, and where it reads its quantiles.

    A level becomes the quantile of the rows' own places in their distributions (Kuleshov, Fenner & Ermon 2018). Likes
    are whole numbers; a place is drawn inside the step of the distribution at the row's number (Czado, Gneiting & Held
    2009). Heads that give no such places stay as they are, and all do where validation rows are few.

    Returns:
        Validation metrics of the weights as they are, which are those that will be exported.
    """
    metrics = _validated(trainer, module, data)
    head, table = module.model.head, module.validation_table
    if "below" not in table or len(table["below"]) < FEWEST:
        return metrics
    head.believe(trust(table))
    metrics = _validated(trainer, module, data)
    table = module.validation_table
    head.calibrate(torch.from_numpy(calibrated_levels(table)).float(), mean_scale(table))
    return metrics


def _validated(trainer: lightning.Trainer, module: LikesModule, data: lightning.LightningDataModule) -> dict[str, Any]:
    logger, trainer.logger = trainer.logger, None  # scores of this epoch are logged already
    trainer.validate(module, data, verbose=False)
    trainer.logger = logger
    return dict(trainer.callback_metrics)


def trust(table: dict[str, np.ndarray]) -> float:
    """Share of the predictions' distance from the prior that a table with `prior`, `logmean`, `actual` bears out.

    The slope of a regression through the origin. Where tweets are of a later time or of other companies, what was
    learned of deviations may be chance, and the prior is the better prediction.
    """
    away = np.log1p(table["logmean"]) - table["prior"]
    needed = np.log1p(table["actual"]) - table["prior"]
    total = float(away @ away)
    return min(max(float(away @ needed) / total, 0.0), 1.0) if total > 0 else 1.0


def mean_scale(table: dict[str, np.ndarray]) -> float:
    """By what predicted means have to be multiplied to be right on average over a table with `mean` and `actual`."""
    predicted = table["mean"].sum()
    return float((table["actual"].sum() / predicted).clip(*SCALES)) if predicted > 0 else 1.0


def calibrated_levels(table: dict[str, np.ndarray]) -> np.ndarray:
    """Levels [Q] in the place of `LEVELS`, of a table with `below` and `up_to` [N]."""
    drawn = np.random.default_rng(0).random(len(table["below"]))
    places = table["below"] + drawn * (table["up_to"] - table["below"])
    return np.quantile(places, LEVELS).clip(MARGIN, 1 - MARGIN)
