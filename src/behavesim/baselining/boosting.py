"""LightGBM on the columns of a tweet: gradient-boosted trees, the strongest guess that needs no pictures."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from behavesim.baselining.columns import TweetColumns, frame_of
from behavesim.data.prepared import TweetRows
from behavesim.errors import UserError
from behavesim.metrics.estimates import LEVELS, LikesEstimates

if TYPE_CHECKING:
    from lightgbm import Booster

FIXED = MappingProxyType(
    {
        "objective": "regression",  # squared error of log1p likes, which is what rmsle measures
        "metric": "rmse",
        "subsample_freq": 1,
        # Equal seeds, equal trees: else LightGBM tries at each start which of its two ways is faster here.
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
)
FEW_ROWS = 2000  # so few grow faster on one thread: on a busy machine several wait for each other at each split


@dataclass(frozen=True, eq=False)
class Boosted:
    """What trees say of the test rows, and what they took."""

    estimates: LikesEstimates
    trees: int
    seconds_to_train: float
    """With the columns of training and validation rows."""
    seconds_to_predict: float
    """With the columns of the test rows."""


def check_libraries() -> None:
    """Whether the extra's libraries are installed and load.

    Raises:
        UserError: one of them does not.
    """
    for module, name in (("lightgbm", "lightgbm"), ("sklearn", "scikit-learn")):
        try:
            __import__(module)
        except (ImportError, OSError) as error:  # OSError: without the system's OpenMP, LightGBM does not load
            reason = str(error).split("\n")[0]
            accepted = "pip install 'behavesim[baselines]'"
            raise UserError(f"behavesim.baselines: needs {name} ({reason}); accepted: {accepted}") from error


def boosted(parts: Mapping[str, TweetRows], settings: Mapping[str, Any], seed: int) -> Boosted:
    """Trees of the training rows, as many as are best on the validation rows, on the test rows.

    `settings` are LightGBM's own, with `trees` and `patience`.
    """
    start = time.perf_counter()
    train, validation = frame_of(parts["train"]), frame_of(parts["validation"])
    columns = TweetColumns.fit(train, seed)
    targets = [np.log1p(frame["likes"].to_numpy().astype(np.float64)) for frame in (train, validation)]
    inputs = columns.training(train), columns.held_out(validation)
    booster = _trained(inputs, targets, settings, seed)
    residuals = targets[1] - booster.predict(inputs[1])
    trained = time.perf_counter()
    estimates = smeared(booster.predict(columns.held_out(frame_of(parts["test"]))), residuals)
    return Boosted(estimates, booster.best_iteration, trained - start, time.perf_counter() - trained)


def _trained(inputs: tuple, targets: list[np.ndarray], settings: Mapping[str, Any], seed: int) -> "Booster":
    """Of training and validation rows, [N, columns] and [N] each."""
    import lightgbm

    train = lightgbm.Dataset(inputs[0], targets[0])
    threads = 1 if len(targets[0]) < FEW_ROWS else 0  # 0: as many as OpenMP takes
    own = {key: value for key, value in settings.items() if key not in ("trees", "patience")}
    return lightgbm.train(
        {**FIXED, **own, "seed": seed % 2**31, "num_threads": threads},  # LightGBM reads a seed as an int32
        train,
        settings["trees"],
        valid_sets=[train.create_valid(inputs[1], targets[1])],
        callbacks=[lightgbm.early_stopping(settings["patience"], verbose=False)],
    )


def smeared(predicted: np.ndarray, residuals: np.ndarray) -> LikesEstimates:
    """Likes from predictions [N] of log1p likes and residuals [M] of other rows, actual minus predicted.

    Duan, Smearing Estimate: A Nonparametric Retransformation Method (1983): what other rows deviate is added to a
    prediction before it becomes likes, so that the mean is one of likes and not of logarithms. Nothing is below zero.
    `logmean` is the prediction itself.
    """
    ordered = np.sort(residuals)
    # Mean over residuals r of max(exp(predicted + r) - 1, 0): only those above -predicted count.
    above = np.append(np.cumsum(np.exp(ordered)[::-1])[::-1], 0.0)  # [M + 1]: sum of exp(r) from each place on
    first = np.searchsorted(ordered, -predicted, side="right")
    mean = (np.exp(predicted) * above[first] - (len(ordered) - first)) / len(ordered)

    def likes(shift: float | np.ndarray) -> np.ndarray:
        return np.expm1(np.maximum(np.add.outer(predicted, shift), 0.0))

    quantiles = likes(np.quantile(residuals, LEVELS))
    return LikesEstimates(np.maximum(mean, 0.0), likes(0.0), likes(np.median(residuals)), quantiles)
