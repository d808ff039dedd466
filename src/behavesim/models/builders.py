"""Named builders: one function a model, each listed in `conf/model`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from behavesim.errors import UserError
from behavesim.models.binning import LikesBins
from behavesim.models.family_check import check_family
from behavesim.models.git import GitModel
from behavesim.models.head import Head, LikesHead
from behavesim.models.histogram_head import HistogramHead
from behavesim.models.llm import ids_of, llm_config, random_llm
from behavesim.models.lora import add_lora
from behavesim.models.metadata import HistoryProjector, MetadataReaders, MetadataShape
from behavesim.models.pretrained import pretrained_llm, shape_of
from behavesim.models.projector import LinearProjector, MlpProjector, Resampler
from behavesim.models.regression_head import RegressionHead
from behavesim.models.stored import StoredStates
from behavesim.models.text_head import Answering, TextHead
from behavesim.models.trainable import PARTS, set_trainable
from behavesim.models.vision import VisionTower, named_shape, pretrained_tower, shaped_tower
from behavesim.models.vocabulary import grow_vocabulary
from behavesim.models.written_head import JointHead, WrittenHead, likes_head


@dataclass(frozen=True)
class DataFacts:
    """What the data decides about a model."""

    bins: LikesBins | None  # None for a converted model, which writes its answers
    vocab_size: int  # of the tokenizer in use
    metadata: MetadataShape  # numbers of a tweet and its account
    history: tuple[int, int]  # earlier posts that are told, and numbers of each
    eos_ids: Sequence[int] | None  # None: those of the language model's configuration
    pad_id: int
    answering: Answering | None  # None: likes are not asked
    # Tokens and width of states that are stored for each picture; None: pictures go through a tower.
    image_states: tuple[int, int] | None = None
    task: Literal["behaviour", "content", "joint"] = "behaviour"
    # Tokens that stand for several of the language model's own, see `grow_vocabulary`.
    markers: Mapping[int, Sequence[int]] = field(default_factory=dict)


def git_tiny(*, vision: Mapping[str, int], llm: Mapping[str, Any], facts: DataFacts, **settings: Any) -> GitModel:
    """A small GIT-LLM with random weights; settings as in `conf/model/git_tiny.yaml`.

    Raises:
        UserError: see `_tower`.
    """
    tower = _tower({"vision": vision}, facts, settings["train"])
    shape = {
        "model_type": "llama",
        "vocab_size": facts.vocab_size,
        "hidden_size": llm["hidden_size"],
        "intermediate_size": 3 * llm["hidden_size"],
        "num_hidden_layers": llm["layers"],
        "num_attention_heads": llm["heads"],
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }
    return _composed(tower, random_llm(llm_config(shape)), facts, **settings)


def git_hf(
    *,
    llm: str,
    llm_shape: Mapping[str, Any] | None,
    vision: Mapping[str, Any],
    pretrained: bool,
    weights_dtype: str,
    quantization: str,
    facts: DataFacts,
    **settings: Any,
) -> GitModel:
    """Any causal language model of transformers behind a vision tower of open_clip; see `conf/model/git_hf.yaml`.

    Args:
        llm: a Hugging Face id or a folder.
        llm_shape: `config.json` of random weights, `model_type` included; None reads that of `llm`.
        vision: `name` of open_clip, `weights` (tag or file), and for random weights `shape` (of `shaped_tower`);
            unread where `facts` has stored states.
        pretrained: with the published weights; otherwise the same shapes with random ones.
        weights_dtype: in which the language model's weights are kept.
        quantization: `none`, or `nf4` for four bits.
        facts: what the data decides.
        settings: of `_composed`.

    Raises:
        UserError: see `_tower`, `pretrained_tower`, `pretrained_llm` and `check_family`.
    """
    tower = _tower({"vision": vision, "pretrained": pretrained}, facts, settings["train"])
    if pretrained:
        language_model = pretrained_llm(llm, dtype=weights_dtype, quantization=quantization)
    else:
        language_model = random_llm(llm_config(llm_shape or shape_of(llm)), dtype=weights_dtype)
    check_family(language_model)
    rows = language_model.get_input_embeddings().num_embeddings
    # A model that does not write only needs rows that are not there, as after `init_from` one that does.
    writes = facts.task != "behaviour"
    grow_vocabulary(language_model, {token: of for token, of in facts.markers.items() if writes or token >= rows})
    return _composed(tower, language_model, facts, **settings)


def vision_tower(model: Mapping[str, Any]) -> VisionTower:
    """The tower of a `model` node, of which `vision` and, for a published one, `pretrained` are read.

    Raises:
        UserError: see `pretrained_tower` and `named_shape`.
    """
    vision = model["vision"]
    # Whoever stores the states of a frozen tower trains the same model without it. So a tower takes nothing from the
    # random numbers that the other parts and dropout draw: it has a generator's state of its own. The default one is
    # seeded alone, since `torch.manual_seed` would seed GPUs too, whose states this block does not bring back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**31, (), device="cpu")))
        if "name" not in vision:
            return shaped_tower(**vision)
        if model["pretrained"]:
            return pretrained_tower(vision["name"], vision["weights"])
        return shaped_tower(**(vision["shape"] or named_shape(vision["name"])))


def _tower(model: Mapping[str, Any], facts: DataFacts, train: Sequence[str]) -> VisionTower | StoredStates:
    """The tower, or what stands in for it where the states of pictures are stored.

    Raises:
        UserError: a tower that is not there is to train.
    """
    if facts.image_states is None:
        return vision_tower(model)
    if "vision" in train:
        others = ", ".join(part for part in PARTS if part != "vision")
        raise UserError(f"model.train: found vision with data.image_features; accepted: {others}")
    return StoredStates(*facts.image_states)


def _composed(
    tower: VisionTower | StoredStates,
    llm: PreTrainedModel,
    facts: DataFacts,
    *,
    projector: str,
    image_tokens: int,
    frames: int,
    lora: Mapping[str, Any],
    head: str,
    metadata: bool,
    readers: Mapping[str, Any],
    token_dropout: float,
    gradient_checkpointing: bool,
    train: Sequence[str],
    **of_head: float,
) -> GitModel:
    """The parts put together, of which those named in `train` train; `of_head` as in `_head`."""
    width = llm.get_input_embeddings().embedding_dim
    _adapt(llm, lora, gradient_checkpointing)
    posts, numbers = facts.history
    model = GitModel(
        vision=tower,
        projector=_projector(projector, tower.width, width, image_tokens, llm.config.num_attention_heads),
        llm=llm,
        head=_head_of(head, width, readers["members"] if metadata else 1, facts, **of_head),
        metadata=MetadataReaders(facts.metadata, width, **readers) if metadata else None,
        history=HistoryProjector(numbers, width) if metadata and posts else None,
        frames=frames,
        token_dropout=token_dropout,
        eos_ids=ids_of(llm.config.eos_token_id) if facts.eos_ids is None else facts.eos_ids,
        pad_id=facts.pad_id,
    )
    _open_gate(model)
    set_trainable(model, train)
    _freeze_unread(model)
    return model.train()  # published weights arrive in eval mode, in which dropout and checkpointing do nothing


def _adapt(llm: PreTrainedModel, lora: Mapping[str, Any], gradient_checkpointing: bool) -> None:
    if lora["r"] > 0:
        add_lora(llm, **lora)
    if gradient_checkpointing:
        # torch's own advice; the reentrant form asks for an input that wants a gradient.
        llm.gradient_checkpointing_enable({"use_reentrant": False})


def _open_gate(model: GitModel) -> None:
    """Let a head without numbers read the text from the start.

    No number is to be learned first. And where no picture is either, gate and layer would wait for each other.
    """
    head = likes_head(model.head)
    if model.metadata is None and isinstance(head, LikesHead):
        nn.init.ones_(head.gate.weight)


def _freeze_unread(model: GitModel) -> None:
    """Freeze a vocabulary layer that no head reads: it would wait for a gradient in vain."""
    words, answers = model.llm.get_input_embeddings(), model.llm.get_output_embeddings()
    if not model.head.writes and answers is not None and answers.weight is not words.weight:
        answers.requires_grad_(False)


def _projector(name: str, width: int, hidden_size: int, tokens: int, heads: int) -> nn.Module:
    if name == "resampler":
        return Resampler(width, hidden_size, tokens, math.gcd(heads, hidden_size))
    return {"linear": LinearProjector, "mlp": MlpProjector}[name](width, hidden_size)


def _head_of(name: str, width: int, members: int, facts: DataFacts, **settings: float) -> Head:
    """The head for the task: one over likes, one that writes, or both."""
    if facts.task == "content":
        return WrittenHead()
    head = _head(name, width, members, facts, **settings)
    # Of a model that writes its answers as digits, texts are answers too.
    return JointHead(head) if facts.task == "joint" and isinstance(head, LikesHead) else head


def _head(
    name: str,
    width: int,
    members: int,
    facts: DataFacts,
    *,
    smoothing: float,
    squared: float,
    head_dropout: float,
    text_dropout: float,
) -> Head:
    if name == "text":
        return TextHead(facts.answering)
    settings = {"members": members, "dropout": head_dropout, "text_dropout": text_dropout}
    if name == "regression":
        return RegressionHead(width, limit=facts.answering.limit, **settings)
    return HistogramHead(width, facts.bins, smoothing=smoothing, squared=squared, **settings)
