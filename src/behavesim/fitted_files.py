"""What an artifact holds of its training rows: tokenizer, bins, features, text summary, Gaussian process, posts."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from behavesim.data.features import Features
from behavesim.data.gp.files import read_process, write_process
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History
from behavesim.data.text_summary import TextSummary
from behavesim.models.binning import LikesBins

BINS, FEATURES, SUMMARY, PROCESS, HISTORY, TOKENIZER = (
    "bins.json",
    "features.json",
    "text_summary.safetensors",
    "gaussian_process.safetensors",
    "history.parquet",
    "tokenizer",
)
ALWAYS = (BINS, FEATURES, PROCESS, HISTORY)  # a converted checkpoint of the reference has none
FITTED = (*ALWAYS, SUMMARY)


@dataclass(frozen=True)
class Fitted:
    """None where there is none."""

    tokenizer: PreTrainedTokenizerBase | None
    bins: LikesBins | None
    features: Features | None
    summary: TextSummary | None
    process: GaussianProcess | None
    history: History = field(default_factory=lambda: History.of([]))


def write_fitted(fitted: Fitted, folder: Path) -> None:
    """One file for each that there is; the history goes with the features."""
    if fitted.bins is not None:
        (folder / BINS).write_text(json.dumps(fitted.bins.to_dict()))
    if fitted.features is not None:
        (folder / FEATURES).write_text(json.dumps(fitted.features.to_dict(), indent=1))
        fitted.history.posts.write_parquet(folder / HISTORY)
    if fitted.summary is not None:
        arrays = vars(fitted.summary)
        save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / SUMMARY)
    if fitted.process is not None:
        write_process(fitted.process, folder / PROCESS)
    if fitted.tokenizer is not None:
        fitted.tokenizer.save_pretrained(folder / TOKENIZER)


def read_fitted(folder: Path) -> Fitted:
    """What `write_fitted` wrote."""
    bins, features, history = folder / BINS, folder / FEATURES, folder / HISTORY
    return Fitted(
        tokenizer=_tokenizer(folder / TOKENIZER),
        bins=LikesBins.from_dict(json.loads(bins.read_text())) if bins.exists() else None,
        features=Features.from_dict(json.loads(features.read_text())) if features.exists() else None,
        summary=_summary(folder / SUMMARY),
        process=read_process(folder / PROCESS) if (folder / PROCESS).exists() else None,
        history=History.of([pl.read_parquet(history)] if history.exists() else []),
    )


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True) if folder.exists() else None


def _summary(file: Path) -> TextSummary | None:
    if not file.exists():
        return None
    return TextSummary(**{name: array.numpy() for name, array in load_file(file).items()})
