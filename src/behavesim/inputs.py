"""From a configuration to tables, tokenizers and batches."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedTokenizerBase

from behavesim.data.datamodule import TweetDataModule
from behavesim.data.encoder_fit import EncoderSettings
from behavesim.data.joint_datamodule import JointDataModule
from behavesim.data.loader import LoaderSettings
from behavesim.data.pictures.features import FeatureStore
from behavesim.data.pictures.readers import Blind, PictureReader, StoredFeatures, StoredPictures
from behavesim.data.prepared import PreparedTable, TweetRows
from behavesim.data.sample import ensure_sample
from behavesim.data.split import SplitSettings
from behavesim.data.tokenizer import add_markers, load_tokenizer
from behavesim.described_model import answer_tokens, told_posts, writer_settings
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.machine import cores
from behavesim.models.hub import has_tokenizer, llm_folder, vision_file
from behavesim.models.pretrained import shape_of
from behavesim.models.vision import named_shape
from behavesim.starting import tokenizer_of
from behavesim.tables import prepared, unique_ids, usable


def check_weights(cfg: DictConfig) -> None:
    """Whether published weights that the model asks for are to be had, before anything is read or built.

    Raises:
        UserError: a line for each file or model that is missing.
    """
    model = cfg.model
    if not model.get("pretrained", False) or cfg.dry_run:
        return
    problems = []
    wanted = [(llm_folder, model.llm)]
    if cfg.data.image_features is None:
        wanted.append((vision_file, model.vision.name, model.vision.weights))
    for find, *where in wanted:
        try:
            find(*where)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def labelled_rows(cfg: DictConfig) -> TweetRows:
    """The rows with likes of `cfg.data`: of a prepared table, or of the sample.

    Raises:
        UserError: the table cannot be read, or has no such rows.
    """
    data = cfg.data
    if data.sample is not None:
        path = ensure_sample(Path(data.sample.folder), rows=data.sample.rows, seed=data.sample.seed)
    else:
        path = Path(data.path)
    image_column = data.image_column if data.use_images else None
    table = prepared(cfg, path, image_column=image_column, image_size=data.image_size, labelled=True)
    return usable(cfg, table, path, labelled=True)


def datamodule(cfg: DictConfig) -> TweetDataModule:
    """The labelled rows of `cfg.data`, split."""
    data, rows = cfg.data, labelled_rows(cfg)
    reader = picture_reader(cfg, rows.table, image_size(cfg.model))
    encoding = encoder_settings(cfg)
    joint = {"ratio": cfg.task.ratio} if cfg.task.name == "joint" else {}
    module = (JointDataModule if joint else TweetDataModule)(
        rows,
        reader,
        loader_settings(data, OmegaConf.to_container(cfg.model, resolve=True), reader, encoding.history),
        encoding,
        split=split_settings(data),
        seed=cfg.seed,
        folder=encoded_folder(cfg),
        history=data.history,
        only_pictures=data.only_pictures,
        **joint,
    )
    if module.split.dropped:
        log.info("%s training rows repeat a held-out text and are left out", module.split.dropped)
    return module


def encoded_folder(cfg: DictConfig) -> Path:
    """Where a run keeps its encoded rows while it lasts."""
    # A dry run must not take the place of what an interrupted run left to go on with.
    return Path(cfg.paths.output) / ("encoded_dry_run" if cfg.get("dry_run") else "encoded")


def split_settings(data: DictConfig) -> SplitSettings:
    """How `cfg.data` parts the rows."""
    cuts = {key: data[key] and datetime.fromisoformat(data[key]) for key in ("validation_from", "test_from")}
    return SplitSettings(data.split, data.validation, data.test, data.split_seed, **cuts, fold=data.fold)


def loader_settings(data: DictConfig, model: Mapping[str, Any], reader: PictureReader, posts: int) -> LoaderSettings:
    """How batches are filled and loaded: `data` and `model` as in a configuration, `posts` earlier ones as tokens."""
    decodes = isinstance(reader, StoredPictures) and reader.table.pictures > 0
    return LoaderSettings(
        data.tokens_per_batch or model["tokens_per_batch"],
        _workers(data.num_workers, decodes),
        frames=0 if isinstance(reader, Blind) else model["frames"],
        image_tokens=_image_tokens(model, reader),
        prefix_tokens=int(model["metadata"]) * (1 + posts),
        rows_per_batch=data.get("rows_per_batch") or model.get("rows_per_batch"),
    )


def _workers(given: int | None, decodes: bool) -> int:
    """Processes that load batches: as given, or as many as help. Without pictures a batch costs less than its way."""
    if given is not None or not decodes:
        return given or 0
    return max(1, min(8, cores() - 1))


def _image_tokens(model: Mapping[str, Any], reader: PictureReader) -> int:
    """Places that a picture takes in the language model."""
    if model["projector"] == "resampler":
        return model["image_tokens"]
    if isinstance(reader, StoredFeatures):
        return reader.store.tokens
    shape = vision_shape(model)
    return 1 + (shape["image_size"] // shape["patch_size"]) ** 2


def picture_reader(cfg: DictConfig, table: PreparedTable, size: int) -> PictureReader:
    """What `cfg.data` says of pictures; `size` is the side in pixels of what a tower sees.

    Raises:
        UserError: a file of features has none for this table, or cannot tell its rows apart.
    """
    if cfg.data.image_features is not None:
        store = FeatureStore.open(Path(cfg.data.image_features))
        unique_ids(table, "data.image_features")
        known = sum(np.diff(store.positions(chunk["id"])[0]).astype(bool).sum() for chunk in table.all().chunks("id"))
        if not known:
            raise UserError(
                f"data.image_features: {cfg.data.image_features} holds features of none of the {len(table):,} rows; "
                "accepted: a file whose `id` are those of the table"
            )
        log.info("%s: features of %s of %s rows", cfg.data.image_features, f"{known:,}", f"{len(table):,}")
        return StoredFeatures(store)
    if not cfg.data.get("use_images", True):
        return Blind()
    stored = table.manifest.options.get("size", size)
    if table.pictures and stored < size:
        log.info("%s: pictures of %s pixels, the model's tower sees %s", table.manifest.source, stored, size)
    return StoredPictures(table, size)


def vision_shape(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Shape of the tower of a `model` node."""
    vision = model["vision"]
    return vision if "name" not in vision else vision["shape"] or named_shape(vision["name"])


def image_size(model: Mapping[str, Any]) -> int:
    """Side in pixels of what the model's tower sees."""
    return vision_shape(model)["image_size"]


def encoder_settings(cfg: DictConfig) -> EncoderSettings:
    """How tweets become the ids of the model's own tokenizer, or of one that is learned."""
    config = OmegaConf.to_container(cfg, resolve=True)
    tokenizer, writer = _tokenizer(cfg), writer_settings(config)
    if tokenizer is not None and writer is not None:
        add_markers(tokenizer)
    own = {"tokenizer": tokenizer, "vocab_size": _vocab_size(config["model"]) if tokenizer is None else len(tokenizer)}
    if cfg.task.name == "content":
        return EncoderSettings("ours", cfg.task.max_length, 0, **own, asks_likes=False, writer=writer)
    return EncoderSettings(
        style=cfg.task.prompt,
        max_length=cfg.task.max_length,
        answer_tokens=answer_tokens(config),
        **own,
        names=cfg.task.names,
        shows=tuple(cfg.task.shows),
        history=told_posts(config),
        history_text=cfg.task.history_text,
        text_summary=cfg.task.text_summary,
        writer=writer,
    )


def _tokenizer(cfg: DictConfig) -> PreTrainedTokenizerBase | None:
    """That of `init_from`, or the language model's own; None where random weights come without one."""
    if cfg.get("init_from"):
        return tokenizer_of(Path(cfg.init_from))
    model = cfg.model
    if "pretrained" not in model:
        return None
    if model.pretrained and not cfg.dry_run:
        return load_tokenizer(llm_folder(model.llm))
    folder = Path(model.llm)
    return load_tokenizer(folder) if folder.is_dir() and has_tokenizer(folder) else None


def _vocab_size(model: dict[str, Any]) -> int:
    if isinstance(model["llm"], dict):
        return model["llm"]["vocab_size"]
    return (model["llm_shape"] or shape_of(model["llm"]))["vocab_size"]
