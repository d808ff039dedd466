"""An artifact on a table: predictions, in the table's order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from omegaconf import DictConfig

from behavesim.artifact import Artifact
from behavesim.data.history import History
from behavesim.data.prepared import PreparedTable, TweetRows
from behavesim.data.source import read_source
from behavesim.data.table import BLANK
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.metrics import baselines
from behavesim.metrics.estimates import LikesEstimates
from behavesim.outcomes import no_optimizer, outcomes
from behavesim.tables import prepared, usable
from behavesim.training.likes_module import LikesModule, Predictions

# Columns of a prediction file and the estimate that fills each.
COLUMNS = {
    "likes": "mean",
    "likes_logmean": "logmean",
    "likes_median": "median",
    "likes_p10": "p10",
    "likes_p90": "p90",
}


def answering(cfg: DictConfig) -> dict[str, Any]:
    """Settings of `cfg.task` that replace those which an artifact was trained with; null keeps the artifact's."""
    return {key: value for key, value in cfg.task.items() if value is not None}


def table_of(cfg: DictConfig, artifact: Artifact, path: Path, *, labelled: bool, texts: bool = True) -> PreparedTable:
    """The table at `path`, with pictures where the model was trained with some."""
    given, trained = cfg.data.image_column, artifact.config["data"]
    seen = trained["use_images"] and artifact.config.get("image_states") is None
    if given not in (None, "artifact") and not seen:
        raise UserError(f"data.image_column: found {given}; accepted: null, {cfg.ckpt} was trained without pictures")
    if given == "artifact":
        given = trained["image_column"] if seen and not path.is_dir() else None
        if given is None and artifact.config.get("pictures") and seen and not path.is_dir():
            log.info("%s: read without pictures; data.image_column=COLUMN or a prepared folder gives them", path)
        if given is not None and given not in next(read_source(path, 1)).columns:
            log.info("%s has no column %s: read without pictures", path, given)
            given = None
    return prepared(
        cfg,
        path,
        image_column=given,
        image_size=None if path.is_dir() else trained["image_size"],
        labelled=labelled,
        texts=texts,
    )


def predict(
    cfg: DictConfig,
    artifact: Artifact,
    rows: TweetRows,
    history: History | None = None,
    texts: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Estimates of some rows, each [N], see `Predictions.table`.

    Args:
        cfg: of prediction or evaluation.
        artifact: predicts.
        rows: N of them.
        history: as `history_of` gives it, if it is known.
        texts: N texts in the place of the rows' own.

    Raises:
        UserError: the model was converted without a tokenizer, or the pictures do not fit it.
    """
    if artifact.encoder.tokenizer is None:
        raise UserError(f"ckpt={cfg.ckpt}: converted without a tokenizer; accepted: one converted with tokenizer=…")
    if not len(rows):
        return {name: np.zeros(0) for name in COLUMNS.values()}
    history = history_of(cfg, artifact, rows) if history is None else history
    # Prediction needs no optimiser; the module only gives the trainer its steps.
    module = LikesModule(artifact.model, optimizer=no_optimizer)
    table = Predictions(outcomes(cfg, artifact, artifact.encoder, rows, history, module, texts=texts)).table()
    if table.get("failures", np.zeros(1)).any():
        unread = int((table["failures"] == 1).sum())
        log.info(
            "%.2f %% of the written answers hold no number; %s rows without any take their account's past, or 0",
            100 * table["failures"].mean(),
            f"{unread:,}",
        )
    return table


def history_of(cfg: DictConfig, artifact: Artifact, rows: TweetRows) -> History:
    """Labelled posts that predictions may look back on: those of training, of `history=FILE`, of the table itself.

    Raises:
        UserError: the artifact was trained without history, or the file has no labelled posts.
    """
    trained, mode, file = artifact.config["data"].get("history", "none"), cfg.data.history, cfg.get("history")
    if trained == "none" and mode == "rolling":
        raise UserError(f"data.history: found {mode}; accepted: none, {cfg.ckpt} was trained with data.history=none")
    if file is not None and "none" in (trained, mode):
        why = f"{cfg.ckpt} was trained" if trained == "none" else "it goes"
        raise UserError(f"history: found {file}; accepted: null, {why} with data.history=none")
    if "none" in (trained, mode):
        return History.of([])
    found, encoder = artifact.history, artifact.encoder
    if file is not None:
        newer = _known_rows(cfg, Path(file))
        log.info("history: %s labelled posts of %s", f"{len(newer):,}", file)
        found = found.extended(encoder.posts(newer.chunks()))
    if mode == "rolling":
        found = found.extended(encoder.posts(rows.table.labelled().chunks()))
    return found


def _known_rows(cfg: DictConfig, path: Path) -> TweetRows:
    """The labelled posts of `history=FILE`."""
    try:
        table = prepared(cfg, path, image_column=None, image_size=None, labelled=True)
        return usable(cfg, table, path, labelled=True, listed="rejected_history.csv")
    except UserError as error:
        raise UserError(f"history: {error}") from error


def unseen_rows(rows: TweetRows, artifact: Artifact, source: Path) -> TweetRows:
    """Rows that neither trained the artifact nor chose its epoch; the others are counted in the log.

    Raises:
        UserError: no row is left.
    """
    hashes = rows.identities()
    seen = {part: np.isin(hashes, known) for part, known in artifact.seen.items()}
    counts = [f"{found.sum():,} of its {part} rows" for part, found in seen.items() if found.any()]
    if counts:
        log.info("left out: %s, which the artifact was trained with", " and ".join(counts))
    left = rows[~np.logical_or.reduce(list(seen.values()))]
    if not len(left):
        raise UserError(
            f"{source}: found {len(rows)} labelled rows, all of which the artifact was trained with; "
            "accepted: at least one other labelled tweet"
        )
    return left


def baselines_of(artifact: Artifact, rows: TweetRows, history: History) -> dict[str, LikesEstimates]:
    """What baselines say of some rows, from the training rows that the artifact remembers; empty where it has none.

    Of an artifact that remembers no posts not even the constant can be had: its bins and process tell the mean of log1p
    likes, but neither the mean nor the median of likes. The rolling mean looks back on `history`, as the model does;
    the others know training rows alone, whatever newer posts the model is told.
    """
    posts = artifact.history.posts
    if posts.is_empty():
        return {}
    likes, frame = posts["likes"].to_numpy(), rows.frame("username", "date")
    return {
        "account mean": baselines.account_mean(posts["username"], likes, frame["username"]),
        "rolling mean": baselines.rolling_mean(history.latest(frame, baselines.RECENT), likes),
        "constant": baselines.constant(likes, len(rows)),
    }


def known_counts(artifact: Artifact, rows: TweetRows, history: History) -> np.ndarray | None:
    """How many labelled posts of each row's account are earlier and known: [N] int64; None where none are remembered.

    `history` is what the model looks back on.
    """
    if not len(artifact.history):
        return None
    return history.earlier(rows.frame("username", "date"), 0).count


def prediction_table(rows: TweetRows, estimates: dict[str, np.ndarray]) -> pl.DataFrame:
    """`id` and the columns of `COLUMNS` for every row of the source; empty where a row cannot be used."""
    usable = rows.frame("row", "id").with_columns(
        pl.Series(column, estimates[name]).round(3) for column, name in COLUMNS.items()
    )
    return of_all_rows(rows, usable)


def of_all_rows(rows: TweetRows, told: pl.DataFrame) -> pl.DataFrame:
    """A table of the source's rows in their order, `id` as it was read there: those of `told`, and empty ones.

    Args:
        rows: the usable ones.
        told: one or more rows, in order, for each of them, with `row` and `id`.
    """
    rejected = rows.table.rejected().filter(pl.col("reason") != BLANK).select("row", "id")
    together = pl.concat([told, rejected], how="diagonal").sort("row", maintain_order=True).drop("row")
    return together.cast({"id": getattr(pl, rows.table.manifest.id_type)}, strict=False)
