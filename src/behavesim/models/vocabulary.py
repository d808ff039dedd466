"""Tokens of their own for strings that a language model knows in pieces."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


@torch.no_grad()
def grow_vocabulary(llm: PreTrainedModel, pieces: Mapping[int, Sequence[int]]) -> None:
    """Let each token of `pieces` begin as the mean of the tokens that it was written in before, in place.

    Its row is made where the vocabulary has none, and some families have rows to spare. A mean keeps what the pieces
    meant and stays near the other embeddings, so that frozen weights can read and write the token too.
    """
    if not pieces:
        return
    if max(pieces) >= llm.get_input_embeddings().num_embeddings:
        llm.resize_token_embeddings(max(pieces) + 1, mean_resizing=False)
    for weight in vocabulary_weights(llm):
        for token, parts in pieces.items():
            weight[token] = weight[list(parts)].mean(dim=0)


def vocabulary_weights(llm: PreTrainedModel) -> list[Tensor]:
    """Weights with a row for each token."""
    layers = (llm.get_input_embeddings(), llm.get_output_embeddings())
    found = (getattr(layer, name, None) for layer in layers for name in ("weight", "bias"))
    return [weight for weight in found if weight is not None]
