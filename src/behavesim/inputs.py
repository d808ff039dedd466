"""From a configuration to tables, tokenizers and batches."""

from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from behavesim.artifact import Artifact, answer_tokens
from behavesim.data.batch import Batch
from behavesim.data.datamodule import EncoderSettings, LoaderSettings, TweetDataModule, tweet_loader
from behavesim.data.sample import ensure_sample
from behavesim.data.table import BadRows, TweetTable, read_table
from behavesim.data.tokenizer import load_tokenizer
from behavesim.data.tweets import with_media
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.models.hub import has_tokenizer, llm_folder, vision_file
from behavesim.models.pretrained import shape_of
from behavesim.models.vision import named_shape

REJECTED = "rejected_rows.csv"


def check_weights(cfg: DictConfig) -> None:
    """Whether published weights that the model asks for are to be had, before anything is read or built.

    Raises:
        UserError: a line for each file or model that is missing.
    """
    model = cfg.model
    if not model.get("pretrained", False) or cfg.dry_run:
        return
    problems = []
    for find, *where in ((llm_folder, model.llm), (vision_file, model.vision.name, model.vision.weights)):
        try:
            find(*where)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def read_tweets(path: Path, output: Path, **settings: Any) -> TweetTable:
    """`read_table` with these settings; unusable rows are counted and listed in the run's folder either way."""
    try:
        table = read_table(path, **settings)
    except BadRows as error:
        _list_rejected(error.rejected, output)
        raise
    if not table.rejected.is_empty():
        count = table.rejected["row"].n_unique()
        log.info("%s: %s of %s rows cannot be used, see %s", path, count, table.rows, output / REJECTED)
        _list_rejected(table.rejected, output)
    if settings["labelled"] and table.frame.is_empty():
        raise UserError(f"{path}: found {table.rows} rows, none that can be used; accepted: at least one with likes")
    return table


def _list_rejected(rejected: pl.DataFrame, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    rejected.write_csv(output / REJECTED)


def scored_tweets(cfg: DictConfig, artifact: Artifact, path: Path, *, labelled: bool) -> TweetTable:
    """A table read as `cfg.data` says for a trained model, with pictures where the model was trained with some."""
    given, trained = cfg.data.image_column, artifact.config["data"]
    automatic = given == "artifact"
    if given is not None and not automatic and not (trained["use_images"] and trained["image_column"]):
        raise UserError(f"data.image_column: found {given}; accepted: null, {cfg.ckpt} was trained without pictures")
    if automatic:
        given = trained["image_column"] if trained["use_images"] else None
    return read_tweets(
        path,
        Path(cfg.paths.output),
        image_column=given,
        image_optional=automatic,
        labelled=labelled,
        on_bad_row=cfg.data.on_bad_row,
    )


def answering(cfg: DictConfig) -> dict[str, Any]:
    """Settings of `cfg.task` that replace those which an artifact was trained with; null keeps the artifact's."""
    return {key: value for key, value in cfg.task.items() if value is not None}


def scored_loader(cfg: DictConfig, artifact: Artifact, frame: pl.DataFrame) -> DataLoader[Batch]:
    """Batches of a table's rows for a trained model.

    Raises:
        UserError: the model was converted without a tokenizer.
    """
    if artifact.encoder.tokenizer is None:
        raise UserError(f"ckpt={cfg.ckpt}: converted without a tokenizer; accepted: one converted with tokenizer=…")
    model = artifact.model
    settings = LoaderSettings(cfg.data.tokens_per_batch, cfg.data.num_workers, model.frames, model.vision.image_size)
    return tweet_loader(artifact.encoder.encode(with_media(frame)), artifact.encoder, settings)


def datamodule(cfg: DictConfig) -> TweetDataModule:
    """Read the table of `cfg.data`, or make the sample, and split it."""
    data = cfg.data
    if data.sample is not None:
        path = ensure_sample(Path(data.sample.folder), rows=data.sample.rows, seed=data.sample.seed)
    else:
        path = Path(data.path)
    image_column = data.image_column if data.use_images else None
    table = read_tweets(
        path, Path(cfg.paths.output), image_column=image_column, labelled=True, on_bad_row=data.on_bad_row
    )
    frames = cfg.model.frames if image_column else 0
    module = TweetDataModule(
        table.frame,
        LoaderSettings(data.tokens_per_batch, data.num_workers, frames, image_size(cfg), data.rows_per_batch),
        encoder_settings(cfg),
        split=data.split,
        validation=data.validation,
        test=data.test,
        split_seed=data.split_seed,
        seed=cfg.seed,
    )
    if module.dropped:
        log.info("%s training rows repeat a held-out text and are left out", module.dropped)
    return module


def image_size(cfg: DictConfig) -> int:
    """Side in pixels of what the model's tower sees."""
    vision = cfg.model.vision
    if "name" not in vision:
        return vision.image_size
    return (vision.shape or named_shape(vision.name))["image_size"]


def encoder_settings(cfg: DictConfig) -> EncoderSettings:
    """How tweets become the ids of the model's own tokenizer, or of one that is learned."""
    config = OmegaConf.to_container(cfg, resolve=True)
    tokenizer = _tokenizer(cfg)
    return EncoderSettings(
        style=cfg.task.prompt,
        max_length=cfg.task.max_length,
        answer_tokens=answer_tokens(config),
        tokenizer=tokenizer,
        vocab_size=_vocab_size(config["model"]) if tokenizer is None else len(tokenizer),
    )


def _tokenizer(cfg: DictConfig) -> PreTrainedTokenizerBase | None:
    """The language model's own tokenizer; None where random weights come without one."""
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
