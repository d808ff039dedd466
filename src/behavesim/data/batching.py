"""Which rows form which batch: a pure function of seed and epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

# Rows are sorted by length inside windows of this many average batches: long enough to make batches even, short
# enough that the order of an epoch stays random.
WINDOW = 20


def plan_batches(
    lengths: np.ndarray,
    tokens_per_batch: int,
    *,
    rows_per_batch: int | None = None,
    shuffle: bool,
    seed: int = 0,
    epoch: int = 0,
) -> list[np.ndarray]:
    """Row positions of each batch: every row once, no batch over the budget unless one row alone is.

    Args:
        lengths: [N] tokens of each row.
        tokens_per_batch: the budget, rows × longest row.
        rows_per_batch: most rows of a batch, if that is to count too.
        shuffle: a new order each epoch; otherwise rows are sorted by length.
        seed, epoch: fix the order.
    """
    order = np.argsort(lengths, kind="stable")
    generator = np.random.default_rng([seed, epoch])
    if shuffle:
        window = max(1, int(WINDOW * tokens_per_batch / max(1.0, float(lengths.mean()))))
        order = generator.permutation(len(lengths))
        order = np.concatenate(
            [
                chunk[np.argsort(lengths[chunk], kind="stable")]
                for chunk in np.split(order, range(window, len(order), window))
            ]
        )
    batches = _fill(order, lengths, tokens_per_batch, rows_per_batch or len(lengths))
    if shuffle:
        batches = [batches[index] for index in generator.permutation(len(batches))]
    return batches


def _fill(order: np.ndarray, lengths: np.ndarray, budget: int, rows: int) -> list[np.ndarray]:
    """Cut `order` into runs of at most `rows` rows and `budget` positions once padded to the longest."""
    batches, start, longest = [], 0, 0
    for index, row in enumerate(order):
        longest = max(longest, int(lengths[row]))
        count = index - start + 1
        if index > start and (longest * count > budget or count > rows):
            batches.append(order[start:index])
            start, longest = index, int(lengths[row])
    batches.append(order[start:])
    return batches


class PlannedSampler(Sampler[list[int]]):
    """The batches of one epoch's plan; a new epoch is a new sampler."""

    def __init__(self, batches: list[np.ndarray]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)
