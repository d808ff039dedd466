"""Batches of a small model, without tables."""

import pytest
import torch

from behavesim.data.batch import Batch


@pytest.fixture(scope="session")
def batch_of(model_inputs):
    """Builder of a `Batch` of texts of these lengths; pictures as {slot: seed}."""

    def build(lengths, pictures=None, *, answer=0):
        texts = [[3 + (row + place) % 200 for place in range(length)] for row, length in enumerate(lengths)]
        return Batch(
            rows=torch.arange(len(texts)),
            answer_length=torch.full((len(texts),), answer),
            prior=torch.ones(len(texts)),
            likes=torch.arange(1.0, len(texts) + 1),
            **model_inputs(texts, pictures),
        )

    return build
