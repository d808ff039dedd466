"""Guesses of what test rows of a split say, and what a model writes in their place."""

from pathlib import Path

import polars as pl
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from behavesim import scoring, text_record, text_results, writing
from behavesim.artifact import Artifact
from behavesim.data.kept import with_text
from behavesim.data.prepared import TweetRows
from behavesim.errors import UserError
from behavesim.metrics import text_baselines

READ = (*text_results.READ, "company", "media_kind", "media_count")


def text_scores(
    cfg: DictConfig, parts: dict[str, TweetRows], artifact: Artifact | None, logger: Logger | None
) -> dict[str, dict[str, float]]:
    """Metrics of each guess, and first of the artifact's texts if there is one; written, logged and printed.

    Raises:
        UserError: no test row has a text, or no training row.
    """
    parts = with_text(parts)
    for part in ("train", "test"):
        if not len(parts[part]):
            raise UserError(f"{cfg.data.path}: found no {part} row with a text; accepted: at least one")
    train, test = parts["train"].frame(*READ), parts["test"].frame(*READ)
    written = []
    if artifact is not None:
        written = writing.write(cfg, artifact, parts["test"], scoring.history_of(cfg, artifact, parts["test"]))
    found = text_results.scored(test, written, guesses(train, test, cfg.seed), train, Path(cfg.paths.output))
    source = Path(cfg.data.path or cfg.data.sample.folder).name
    text_record.record(cfg, logger, found, f"{source}, {cfg.data.split}: test, {test.height:,} rows")
    return found


def guesses(train: pl.DataFrame, test: pl.DataFrame, seed: int) -> dict[str, list[str]]:
    """By name, the training tweet that each guess puts in the place of every test row; frames with `READ`."""
    return {
        **text_results.guesses(train, test, seed),
        "most typical": text_baselines.most_typical(train, test),
        "nearest by metadata": text_baselines.nearest_by_metadata(train, test),
    }
