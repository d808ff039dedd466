"""An artifact that writes the tweets of a table."""

from pathlib import Path

import numpy as np
import polars as pl
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from behavesim import scoring, text_record, text_results
from behavesim.artifact import Artifact
from behavesim.data.history import History
from behavesim.data.kept import with_text
from behavesim.data.prepared import TweetRows
from behavesim.described_model import decoding
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.outcomes import no_optimizer, outcomes
from behavesim.training.content_module import ContentModule


def write(cfg: DictConfig, artifact: Artifact, rows: TweetRows, history: History) -> list[list[str]]:
    """As many texts of each of N rows as are wanted, asked for by everything but their own: so many lists of N."""
    encoder = artifact.writer
    how = decoding(artifact.config, encoder.tokenizer)
    if not len(rows):
        return [[] for _ in range(how.alternatives)]
    module = ContentModule(artifact.model, no_optimizer, decoding=how, read=encoder.read_texts)
    batches = outcomes(cfg, artifact, encoder, rows, history, module)
    order = np.argsort(np.concatenate([batch["rows"] for batch in batches]))
    ids = np.concatenate([batch["ids"] for batch in batches])[order]
    return [encoder.read_texts(each) for each in ids.swapaxes(0, 1)]


def predicted_likes(
    cfg: DictConfig, artifact: Artifact, rows: TweetRows, texts: list[list[str]], history: History
) -> np.ndarray | None:
    """Likes [A, N] that the same model expects of each text; None where it was not trained to predict any."""
    if artifact.config["task"]["name"] != "joint":
        return None
    return np.stack([scoring.predict(cfg, artifact, rows, history, texts=each)["mean"] for each in texts])


def content_table(cfg: DictConfig, artifact: Artifact, rows: TweetRows) -> pl.DataFrame:
    """`id` and `content` for every row of the source; of several alternatives a row each, with their `rank`.

    Where likes can be predicted they stand in `likes`, and rank the alternatives. Rows that cannot be used are empty.
    """
    history = scoring.history_of(cfg, artifact, rows)
    texts = write(cfg, artifact, rows, history)
    likes = predicted_likes(cfg, artifact, rows, texts, history) if len(rows) else None
    columns = {"content": pl.Series([text for each in texts for text in each], dtype=pl.String)}
    if likes is not None:
        columns["likes"] = pl.Series(likes.ravel()).round(3)
    frames = [rows.frame("row", "id").with_columns(place=pl.lit(place)) for place in range(len(texts))]
    table = pl.concat(frames).with_columns(**columns)
    best = ["row", "likes", "place"] if likes is not None else ["row", "place"]
    table = table.sort(best, descending=[name == "likes" for name in best])
    table = table.with_columns(rank=pl.int_range(1, pl.len() + 1).over("row")).drop("place")
    chosen = ["id", *(["rank"] if len(texts) > 1 else []), "content", *(["likes"] if likes is not None else [])]
    log.info("texts: %s of each of %s tweets", len(texts), f"{len(rows):,}")
    return scoring.of_all_rows(rows, table).select(chosen)


def evaluated(cfg: DictConfig, artifact: Artifact, rows: TweetRows, logger: Logger | None) -> dict[str, float]:
    """Score what the model writes for rows of which the texts are known; write, log and print what was found.

    Raises:
        UserError: no row has a text.
    """
    rows = with_text({"": rows})[""]
    if not len(rows):
        raise UserError(f"{cfg.data.path}: found no row with a text; accepted: at least one")
    written = write(cfg, artifact, rows, scoring.history_of(cfg, artifact, rows))
    posted = rows.frame(*text_results.READ)
    known = artifact.history.posts
    found = text_results.scored(posted, written, text_results.guesses(known, posted, 0), known, Path(cfg.paths.output))
    text_record.record(cfg, logger, found, f"{Path(cfg.ckpt).name} on {Path(cfg.data.path).name}, {len(rows):,} rows")
    return found["model"]
