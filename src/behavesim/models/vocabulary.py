"""Tokens of their own for strings that a language model knows in pieces."""

from collections.abc import Mapping, Sequence

import torch
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
    for layer in (llm.get_input_embeddings(), llm.get_output_embeddings()):
        for weight in (getattr(layer, "weight", None), getattr(layer, "bias", None)):
            if weight is not None:
                for token, parts in pieces.items():
                    weight[token] = weight[list(parts)].mean(dim=0)
