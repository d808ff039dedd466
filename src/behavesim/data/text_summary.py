"""A text as a few numbers: latent semantic analysis of its tokens, fitted once and then frozen."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# Larger vocabularies are folded into this many columns.
COLUMNS = 1024
LIMIT = 5.0  # standard deviations at which a number is cut
LEAST = 1e-6  # variance of rows of length 1 that counts as one


@dataclass(frozen=True)
class TextSummary:
    """Tf-idf of tokens, projected on the directions in which training texts differ most (Deerwester et al. 1990).

    Frozen, so that it cannot learn a training text by heart, as weights over words do at this size of table.
    """

    idf: np.ndarray  # [V]
    mean: np.ndarray  # [V] of the weighted and normalised rows
    components: np.ndarray  # [V, D], scaled so that each number has variance 1 over training texts

    @classmethod
    def fit(cls, texts: Callable[[], Iterable[Sequence[np.ndarray]]], vocab_size: int, width: int) -> "TextSummary":
        """From token ids of training texts, in chunks that are read twice; `width` is D."""
        columns = min(vocab_size, COLUMNS)
        rows, seen = 0, np.zeros(columns)
        for chunk in texts():
            rows, seen = rows + len(chunk), seen + (_counts(chunk, columns) > 0).sum(axis=0)
        idf = np.log((1 + rows) / (1 + seen)).astype(np.float32)
        total, products = np.zeros(columns), np.zeros((columns, columns))
        for chunk in texts():
            weighted = _weighted(_counts(chunk, columns), idf)
            total += weighted.sum(axis=0)
            products += weighted.T @ weighted
        mean = total / rows
        values, vectors = np.linalg.eigh(products / rows - np.outer(mean, mean))
        width = min(width, columns)
        values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
        # A sign is free: the largest entry is made positive, so that machines agree.
        vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(width)])
        # Directions in which training texts do not differ say nothing: scaled up they would be noise at the limit.
        components = vectors * np.where(values > LEAST, values.clip(LEAST) ** -0.5, 0.0)
        return cls(idf, mean.astype(np.float32), components.astype(np.float32))

    @property
    def width(self) -> int:
        """Numbers of a text, D."""
        return self.components.shape[1]

    def transform(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Token ids of N texts → [N, D] float32."""
        weighted = _weighted(_counts(texts, len(self.idf)), self.idf) - self.mean
        return (weighted @ self.components).clip(-LIMIT, LIMIT)


def _counts(texts: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """log1p of how often each column's tokens stand in a text: [N, columns] float32."""
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    ids = np.concatenate([*texts, np.zeros(0, np.int64)]).astype(np.int64) % columns
    counts = np.bincount(rows * columns + ids, minlength=len(texts) * columns)
    return np.log1p(counts.reshape(len(texts), columns)).astype(np.float32)


def _weighted(counts: np.ndarray, idf: np.ndarray) -> np.ndarray:
    """Rows of length 1: [N, V]."""
    weighted = counts * idf
    return weighted / np.linalg.norm(weighted, axis=1, keepdims=True).clip(1e-6)
