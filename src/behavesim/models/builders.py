"""Named builders: one function a model, each listed in `conf/model`."""

from collections.abc import Mapping, Sequence
from typing import Any

from behavesim.models.binning import LikesBins
from behavesim.models.git import GitModel
from behavesim.models.heads import HistogramHead
from behavesim.models.llm import tiny_llama
from behavesim.models.lora import add_lora
from behavesim.models.projector import LinearProjector, MetadataProjector
from behavesim.models.trainable import set_trainable
from behavesim.models.vision import tiny_tower


def git_tiny(
    *,
    vision: Mapping[str, int],
    projector: str,
    llm: Mapping[str, Any],
    lora: Mapping[str, Any],
    head: str,
    bins: LikesBins,
    frames: int,
    token_dropout: float,
    metadata_dropout: float,
    head_dropout: float,
    train: Sequence[str],
    vocab_size: int,
    features: int,
) -> GitModel:
    """A small GIT-LLM with random weights; settings as in `conf/model/git_tiny.yaml`.

    `bins`, `vocab_size` (of the tokenizer in use) and `features` (numbers of a tweet) are what the data decides.
    """
    hidden_size = llm["hidden_size"]
    tower = tiny_tower(**vision)
    shape = {key: llm[key] for key in ("hidden_size", "layers", "heads")}
    language_model = tiny_llama(vocab_size=vocab_size, **shape)
    if lora["r"] > 0:
        add_lora(language_model, **lora)
    model = GitModel(
        vision=tower,
        projector=LinearProjector(tower.width, hidden_size),
        llm=language_model,
        head=HistogramHead(hidden_size, bins, dropout=head_dropout),
        metadata=MetadataProjector(features, hidden_size, dropout=metadata_dropout),
        frames=frames,
        token_dropout=token_dropout,
    )
    set_trainable(model, train)
    return model
