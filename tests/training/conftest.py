"""Batches of a small model, without tables."""

import pytest
import torch

from behavesim.data.batch import Batch

VIEWS = 4


@pytest.fixture(scope="session")
def batch_of(model_inputs):
    """Builder of a `Batch` of texts of these lengths; pictures as {slot: seed}.

    Four views as in training: the others hold the numbers of the first plus 10, 20 and 30.
    """

    def build(lengths, pictures=None, *, answer=0, history=2):
        texts = [[3 + (row + place) % 200 for place in range(length)] for row, length in enumerate(lengths)]
        inputs = model_inputs(texts, pictures, history=history)
        seen = {name: inputs.pop(name) for name in ("statistics", "history", "history_valid")}
        valid = seen.pop("history_valid")[:, None]
        return Batch(
            rows=torch.arange(len(texts)),
            answer_length=torch.full((len(texts),), answer),
            prior=_views(torch.ones(len(texts))),
            likes=torch.arange(1.0, len(texts) + 1),
            history_valid=torch.cat([valid, valid, ~valid, torch.zeros_like(valid)], dim=1),
            **{name: _views(values) for name, values in seen.items()},
            **inputs,
        )

    return build


def _views(values):
    """[B, ...] → [B, V, ...]."""
    return torch.stack([values + 10 * view for view in range(VIEWS)], dim=1)
