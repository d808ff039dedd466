"""What a module makes of the rows of a table that a trained model scores."""

import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from omegaconf import DictConfig

from behavesim import build
from behavesim.artifact import Artifact
from behavesim.data.encode import TweetEncoder
from behavesim.data.encoded import open_encoded, write_encoded
from behavesim.data.history import History
from behavesim.data.loader import tweet_loader
from behavesim.data.pictures.readers import Blind, PictureReader
from behavesim.data.prepared import PreparedTable, TweetRows
from behavesim.errors import UserError
from behavesim.inputs import encoded_folder, loader_settings, picture_reader
from behavesim.log import log
from behavesim.training.module import TweetModule


def no_optimizer(_groups: object) -> None:
    """That of a module which only predicts."""
    raise RuntimeError("prediction trains nothing")


def outcomes(
    cfg: DictConfig,
    artifact: Artifact,
    encoder: TweetEncoder,
    rows: TweetRows,
    history: History,
    module: TweetModule,
    *,
    texts: Sequence[str] | None = None,
) -> list[dict[str, np.ndarray]]:
    """What a module makes of each batch of some rows, which look back on `history`; `texts` as in `predict`."""
    folder, reader = encoded_folder(cfg), reader_of(cfg, artifact, rows.table)
    try:
        chunks = (chunk.with_columns(images=reader.lists(chunk)) for chunk in _chunks(rows, texts))
        view = encoder.view(history, remembers=cfg.data.history != "none")
        write_encoded((encoder.encode(chunk, [view], answered=False) for chunk in chunks), folder)
        settings = loader_settings(cfg.data, artifact.config["model"], reader, encoder.history)
        earlier = encoder.earlier_texts(rows.frame("username", "date"), history)
        loader = tweet_loader(open_encoded(folder), encoder, reader, settings, earlier=earlier)
        return build.trainer(cfg).predict(module, loader)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chunks(rows: TweetRows, texts: Sequence[str] | None) -> Iterator[pl.DataFrame]:
    start = 0
    for chunk in rows.chunks():
        here = slice(start, start + chunk.height)
        yield chunk if texts is None else chunk.with_columns(content=pl.Series(texts[here], dtype=pl.String))
        start += chunk.height


def reader_of(cfg: DictConfig, artifact: Artifact, table: PreparedTable) -> PictureReader:
    """The table's pictures, in the form that the model was trained with.

    Raises:
        UserError: features are given to a model that has its tower, or have another shape than those of training.
    """
    states, given = artifact.config.get("image_states"), cfg.data.image_features
    if given is not None and states is None:
        raise UserError(f"data.image_features: found {given}; accepted: null, {cfg.ckpt} was trained without a store")
    if states is not None and given is None:
        log.info("%s was trained with data.image_features; without such a file it reads text alone", cfg.ckpt)
        return Blind()
    if states is None and not artifact.config["data"]["use_images"]:
        return Blind()
    reader = picture_reader(cfg, table, artifact.model.vision.image_size)
    if states is not None and reader.states != tuple(states):
        found, wanted = (" tokens of width ".join(map(str, shape)) for shape in (reader.states, states))
        raise UserError(
            f"data.image_features: {given} holds {found}; accepted: {wanted}, as {cfg.ckpt} was trained with"
        )
    return reader
