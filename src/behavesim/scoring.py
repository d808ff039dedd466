"""An artifact on a table: predictions, in the table's order."""

from pathlib import Path

import numpy as np
import polars as pl
from omegaconf import DictConfig

from behavesim import build, inputs
from behavesim.artifact import Artifact
from behavesim.data.split import identity_hash
from behavesim.data.table import TweetTable
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.metrics.likes import LikesEstimates
from behavesim.training.module import LikesModule, Predictions, estimates_of

# Columns of a prediction file and the estimate that fills each.
COLUMNS = {
    "likes": "mean",
    "likes_logmean": "logmean",
    "likes_median": "median",
    "likes_p10": "p10",
    "likes_p90": "p90",
}


def predict(cfg: DictConfig, artifact: Artifact, frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Estimates of every row of `frame`, each [N], see `Predictions.table`."""
    if frame.is_empty():
        return {name: np.zeros(0) for name in COLUMNS.values()}
    # Prediction needs no optimiser; the module only gives the trainer its steps.
    module = LikesModule(artifact.model, optimizer=_no_optimizer)
    parts = build.trainer(cfg).predict(module, inputs.scored_loader(cfg, artifact, frame))
    table = Predictions(parts).table()
    if table.get("failures", np.zeros(1)).any():
        unread = int((table["failures"] == 1).sum())
        log.info(
            "%.2f %% of the written answers hold no number; %s rows without any take their account's past, or 0",
            100 * table["failures"].mean(),
            f"{unread:,}",
        )
    return table


def _no_optimizer(_groups: object) -> None:
    raise RuntimeError("prediction trains nothing")


def unseen_rows(frame: pl.DataFrame, artifact: Artifact, source: Path) -> pl.DataFrame:
    """Rows that neither trained the artifact nor chose its epoch; the others are counted in the log.

    Raises:
        UserError: no row is left.
    """
    hashes = identity_hash(frame)
    seen = {part: np.isin(hashes, known) for part, known in artifact.seen.items()}
    counts = [f"{rows.sum():,} of its {part} rows" for part, rows in seen.items() if rows.any()]
    if counts:
        log.info("left out: %s, which the artifact was trained with", " and ".join(counts))
    left = frame.filter(~np.logical_or.reduce(list(seen.values())))
    if left.is_empty():
        raise UserError(
            f"{source}: found {frame.height} labelled rows, all of which the artifact was trained with; "
            "accepted: at least one other labelled tweet"
        )
    return left


def labelled_estimates(frame: pl.DataFrame, table: dict[str, np.ndarray]) -> tuple[np.ndarray, LikesEstimates]:
    """Actual likes [N] and their estimates."""
    return frame["likes"].to_numpy(), estimates_of(table)


def prediction_table(table: TweetTable, estimates: dict[str, np.ndarray]) -> pl.DataFrame:
    """`id` and the columns of `COLUMNS` for every row of the file; empty where a row cannot be used."""
    usable = table.frame.select("row", "id").with_columns(
        pl.Series(column, estimates[name]).round(3) for column, name in COLUMNS.items()
    )
    unusable = table.rejected.select("row", pl.col("id").cast(usable["id"].dtype, strict=False)).unique("row")
    return pl.concat([usable, unusable], how="diagonal").sort("row").drop("row")
