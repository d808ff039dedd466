"""Intervals that cover: quantiles are read where validation rows say that they lie."""

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
    """Move the levels at which a head reads its quantiles, so that they cover validation rows as they say.

    A level becomes the quantile of the rows' own places in their distributions (Kuleshov, Fenner & Ermon 2018). Likes
    are whole numbers; a place is drawn inside the step of the distribution at the row's number (Czado, Gneiting & Held
    2009). Heads that give no such places stay as they are.

    Returns:
        Validation metrics of the weights as they are, which are those that will be exported.
    """
    logger, trainer.logger = trainer.logger, None  # scores of this epoch are logged already
    trainer.validate(module, data, verbose=False)
    trainer.logger, metrics = logger, dict(trainer.callback_metrics)
    levels = calibrated_levels(module.validation_table)
    if levels is not None:
        module.model.head.calibrate(torch.from_numpy(levels).float(), mean_scale(module.validation_table))
    return metrics


def mean_scale(table: dict[str, np.ndarray]) -> float:
    """By what predicted means have to be multiplied to be right on average over a table with `mean` and `actual`."""
    predicted = table["mean"].sum()
    return float((table["actual"].sum() / predicted).clip(*SCALES)) if predicted > 0 else 1.0


def calibrated_levels(table: dict[str, np.ndarray]) -> np.ndarray | None:
    """Levels [Q] in the place of `LEVELS`, of a table with `below` and `up_to` [N]; None without them or with few."""
    if "below" not in table or len(table["below"]) < FEWEST:
        return None
    drawn = np.random.default_rng(0).random(len(table["below"]))
    places = table["below"] + drawn * (table["up_to"] - table["below"])
    return np.quantile(places, LEVELS).clip(MARGIN, 1 - MARGIN)
