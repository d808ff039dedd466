"""The model that a configuration describes, once tokenizer, features and training rows are known."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from behavesim.data.encode import TweetEncoder
from behavesim.data.encoder_fit import WriterSettings
from behavesim.data.tokenizer import load_tokenizer, marker_pieces, markers, unwritten
from behavesim.data.view import STATISTICS
from behavesim.models import builders
from behavesim.models.binning import LikesBins
from behavesim.models.decoding import Decoding
from behavesim.models.git import GitModel
from behavesim.models.hub import has_tokenizer, llm_folder
from behavesim.models.llm import ids_of
from behavesim.models.metadata import MetadataShape
from behavesim.models.text_head import Answering

# An artifact's config names its builder; nothing outside this table is ever called.
BUILDERS = {
    "behavesim.models.builders.git_tiny": builders.git_tiny,
    "behavesim.models.builders.git_hf": builders.git_hf,
}


def build_model(config: Mapping[str, Any], encoder: TweetEncoder, bins: LikesBins | None) -> GitModel:
    """The model of a configuration's `model` and `task`; `encoder` and `bins` give what the data decides."""
    node = config["model"]
    settings = {
        key: value
        for key, value in node.items()
        if key not in ("_target_", "bins", "tokens_per_batch", "rows_per_batch")
    }
    return BUILDERS[node["_target_"]](**settings, facts=data_facts(config, encoder, bins))


def data_facts(config: Mapping[str, Any], encoder: TweetEncoder, bins: LikesBins | None) -> builders.DataFacts:
    """What tokenizer, features, training rows and stored states of pictures decide about a model."""
    task, states = config["task"], config.get("image_states")
    return builders.DataFacts(
        bins=bins,
        vocab_size=len(encoder.tokenizer or ()),
        metadata=metadata_shape(encoder),
        history=(encoder.history, encoder.token_width),
        eos_ids=None if encoder.tokenizer is None else ids_of(encoder.tokenizer.eos_token_id),
        pad_id=encoder.pad_id,
        answering=None if task["name"] == "content" else _answering(task, encoder, bins),
        image_states=states and tuple(states),
        task=task["name"],
        markers=new_markers(config["model"], encoder.tokenizer),
    )


def new_markers(node: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase | None) -> dict[int, list[int]]:
    """The markers, see `marker_pieces`, but for those that are tokens of the published language model already."""
    pieces = marker_pieces(tokenizer) if tokenizer is not None else {}
    if not pieces or not node.get("pretrained", False):
        return pieces
    folder = llm_folder(node["llm"])
    known = markers(load_tokenizer(folder)) if has_tokenizer(folder) else set()
    return {token: parts for token, parts in pieces.items() if token not in known}


def _answering(task: Mapping[str, Any], encoder: TweetEncoder, bins: LikesBins | None) -> Answering:
    return Answering(
        read=lambda ids: torch.from_numpy(encoder.read_answers(ids)),
        decode=task["decode"],
        samples=task["samples"],
        max_new_tokens=task["answer_tokens"],
        supervise=task["supervise"],
        seed=task["sample_seed"],
        limit=math.expm1(bins.limit) if bins else math.inf,
    )


def metadata_shape(encoder: TweetEncoder) -> MetadataShape:
    """How many numbers of each kind an encoder tells; none, where nothing was fitted."""
    if encoder.features is None:
        return MetadataShape(0, 0, 0)
    return MetadataShape(encoder.features.count, encoder.width - encoder.features.count, len(STATISTICS))


def writing(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Settings of a model that writes tweets, from the node `task`; None of one that only predicts likes."""
    task = config["task"]
    return {"behaviour": None, "content": task, "joint": task.get("content")}[task["name"]]


def writer_settings(config: Mapping[str, Any]) -> WriterSettings | None:
    """How such a model is asked to write."""
    task = writing(config)
    if task is None:
        return None
    told = config["data"].get("history", "none") != "none"
    return WriterSettings(
        max_length=task["max_length"],
        text_tokens=task["text_tokens"],
        names=task["names"],
        shows=tuple(task["shows"]),
        examples=task["examples"] if told else 0,
        conditioned=task["condition_on_likes"],
        level=task.get("level"),  # of prediction alone
        looks_back=task["decode"] == "consensus" or task["copying"] > 0,
    )


def decoding(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Decoding:
    """How such a model decodes its texts."""
    task = writing(config)
    never, not_first = unwritten(tokenizer)
    names = ("alternatives", "draws", "beams", "length_penalty", "temperature", "top_p")
    names += ("copying", "repetition_penalty")
    return Decoding(
        how=task["decode"],
        **{name: task[name] for name in names},
        max_new_tokens=task["text_tokens"],
        seed=task["sample_seed"],
        never=never,
        not_first=not_first,
    )


def told_posts(config: Mapping[str, Any]) -> int:
    """Earlier posts of the account that become tokens."""
    told = config["data"].get("history", "none") != "none" and config["task"]["name"] != "content"
    return config["task"]["history"] if told else 0


def answer_tokens(config: Mapping[str, Any]) -> int:
    """Room for a written answer; 0 where the model's head reads likes directly."""
    written = config["model"]["head"] == "text" and config["task"]["name"] != "content"
    return config["task"]["answer_tokens"] if written else 0
