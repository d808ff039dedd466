"""A checkpoint of the reference implementation as an artifact."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from transformers import PreTrainedTokenizerBase

from behavesim.artifact import Artifact
from behavesim.data.encode import TweetEncoder
from behavesim.data.task import BehaviourTask
from behavesim.data.tokenizer import load_tokenizer
from behavesim.described_model import build_model
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.models.hub import has_tokenizer, llm_folder
from behavesim.models.llm import family_keys
from behavesim.models.reference import ReferenceSettings, ReferenceState, read_config
from behavesim.models.state_files import checkpoint_folder


def shapes(cfg: DictConfig, state: ReferenceState) -> ReferenceSettings:
    """Shapes from `cfg.config`, or from the config.json beside the checkpoint."""
    path = Path(cfg.config) if cfg.config else checkpoint_folder(Path(cfg.reference)) / "config.json"
    return state.settings(read_config(path))


def tokenizer(cfg: DictConfig, settings: ReferenceSettings) -> PreTrainedTokenizerBase | None:
    """The tokenizer of `cfg.tokenizer`, or the one beside the checkpoint; None where there is none.

    Raises:
        UserError: it cannot be had, or has more tokens than the checkpoint.
    """
    beside = checkpoint_folder(Path(cfg.reference))
    if cfg.tokenizer is None and not has_tokenizer(beside):
        log.info("%s holds no tokenizer: tokenizer=FOLDER_OR_ID, so that the artifact can predict from tables", beside)
        return None
    folder = Path(cfg.tokenizer or beside)
    if not folder.is_dir():
        folder = llm_folder(cfg.tokenizer, weights=False, key="tokenizer")
    found = load_tokenizer(folder, key="tokenizer")
    if len(found) > settings.llm["vocab_size"]:
        raise UserError(
            f"tokenizer: found {len(found)} tokens in {folder}; accepted: at most {settings.llm['vocab_size']}, "
            "the checkpoint's vocabulary"
        )
    return found


def artifact(cfg: DictConfig, state: ReferenceState, settings: ReferenceSettings) -> Artifact:
    """The checkpoint with its tokenizer and the published prompt."""
    config = _config(cfg, settings)
    task = config["task"]
    encoder = TweetEncoder(
        tokenizer(cfg, settings), BehaviourTask("reference"), None, task["max_length"], task["answer_tokens"]
    )
    model = build_model(config, encoder, None)
    state.load_into(model)
    nothing_seen = {part: np.zeros(0, np.int64) for part in ("train", "validation")}
    return Artifact(model.eval(), encoder, None, config, nothing_seen)


def _config(cfg: DictConfig, settings: ReferenceSettings) -> dict[str, Any]:
    """The configuration that a training of this model would have had."""
    task = {
        "name": "behaviour",
        "prompt": "reference",
        "names": True,
        "history": 0,
        "history_text": False,
        "max_length": cfg.max_length,
        "supervise": "all",
        "decode": cfg.task.decode,
        "samples": cfg.task.samples,
        "sample_seed": 0,
        "answer_tokens": 12,
    }
    data = {"use_images": True, "image_column": cfg.image_column, "image_size": cfg.image_size}
    return {"converted": True, "data": data, "model": _model(cfg, settings), "task": task}


def _model(cfg: DictConfig, settings: ReferenceSettings) -> dict[str, Any]:
    """Its node `model`."""
    adapters = settings.lora or {"r": 0, "alpha": 1.0, "target_modules": []}
    return {
        "_target_": "behavesim.models.builders.git_hf",
        "train": ["projector", "lora" if settings.lora else "llm"],
        "pretrained": False,
        "llm": Path(cfg.reference).name,
        "llm_shape": family_keys(settings.llm),
        "weights_dtype": "float32",
        "quantization": "none",
        "vision": {"name": None, "weights": None, "shape": dict(settings.vision)},
        "tokens_per_batch": 1024,
        "rows_per_batch": None,
        "projector": "linear",
        "image_tokens": 0,  # as many as the tower gives
        "frames": settings.frames,
        "lora": {"dropout": 0.0, **adapters},
        "gradient_checkpointing": False,
        "head": "text",
        "smoothing": 1.0,  # of a histogram, which there is none of
        "squared": 0.0,
        "metadata": False,
        "readers": {},
        "token_dropout": 0.0,
        "head_dropout": 0.0,
        "text_dropout": 0.0,
    }
