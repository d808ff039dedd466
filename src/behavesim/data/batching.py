"""Which rows form which batch: a pure function of seed and epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from behavesim.errors import UserError

# Rows are sorted by length inside windows of this many average batches: long enough to make batches even, short
# enough that the order of an epoch stays random. A batch of one length is a biased sample of the table, so of a small
# table a window holds a part at most.
WINDOW = 20
PARTS = 6


@dataclass(frozen=True)
class Batches(Sequence[np.ndarray]):
    """Runs of one array, the row positions of a batch each: a list of small arrays would be larger than the rows."""

    order: np.ndarray  # [N] row positions, of all ranks
    starts: np.ndarray  # [batches] places in `order`
    ends: np.ndarray  # [batches]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int | slice) -> "np.ndarray | Batches":
        if isinstance(index, slice):
            return Batches(self.order, self.starts[index], self.ends[index])
        return self.order[self.starts[index] : self.ends[index]]


def plan_batches(
    lengths: np.ndarray,
    tokens_per_batch: int,
    *,
    rows_per_batch: int | None = None,
    shuffle: bool,
    seed: int = 0,
    epoch: int = 0,
    world_size: int = 1,
    rank: int = 0,
) -> Batches:
    """Row positions of each batch of a rank: over all ranks every row once, no batch over the budget unless one row is.

    All ranks have equally many batches. Where single rows cannot be dealt evenly, the shortest are joined.

    Args:
        lengths: [N] tokens of each row.
        tokens_per_batch: the budget, rows × longest row.
        rows_per_batch: most rows of a batch, if that is to count too.
        shuffle: a new order each epoch; otherwise rows are sorted by length.
        seed, epoch: fix the order.
        world_size, rank: how many processes share the rows, and which of them this is.

    Raises:
        UserError: there are fewer rows than ranks.
    """
    if world_size > max(1, len(lengths)):
        raise UserError(f"trainer.devices: found {world_size} for {len(lengths)} rows; accepted: at most one a row")
    generator = np.random.default_rng([seed, epoch])
    order = _shuffled(lengths, tokens_per_batch, generator) if shuffle else np.argsort(lengths, kind="stable")
    order = order.astype(np.int32 if len(order) < 2**31 else np.int64)
    in_order = lengths[order]
    bounds = _bounds(in_order, tokens_per_batch, rows_per_batch or len(lengths))
    starts, ends = _dealt(bounds, in_order, world_size, rank)
    if shuffle:  # drawn alike on all ranks, so that neighbours stay in one step
        step = generator.permutation(len(starts))
        starts, ends = starts[step], ends[step]
    return Batches(order, starts, ends)


def _shuffled(lengths: np.ndarray, budget: int, generator: np.random.Generator) -> np.ndarray:
    """A random order of rows, sorted by length inside windows."""
    if not len(lengths):
        return np.zeros(0, np.int64)
    batch = budget / max(1.0, float(lengths.mean()))  # rows
    window = min(len(lengths), max(1, int(min(WINDOW * batch, max(batch, len(lengths) / PARTS)))))
    order = generator.permutation(len(lengths))
    whole = len(order) // window * window
    for rows in (order[:whole].reshape(-1, window), order[whole:].reshape(1, -1)):
        rows[:] = np.take_along_axis(rows, np.argsort(lengths[rows], axis=1, kind="stable"), axis=1)
    return order


def _bounds(lengths: np.ndarray, budget: int, rows: int) -> np.ndarray:
    """Cut rows in order into runs of at most `rows` rows and `budget` positions once padded: [runs + 1] places."""
    bounds, start, counts = [0], 0, np.arange(1, max(1, min(rows, budget)) + 1)
    while start < len(lengths):
        # No run is longer than one whose rows all have the first row's length, or shorter than a row.
        room = max(1, min(rows, budget // max(1, int(lengths[start]))))
        longest = np.maximum.accumulate(lengths[start : start + room])
        start += max(1, int((longest * counts[: len(longest)]).searchsorted(budget, side="right")))
        bounds.append(start)
    return np.array(bounds, dtype=np.int64)


def _dealt(bounds: np.ndarray, lengths: np.ndarray, ranks: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the runs of one rank, [steps] each; the runs of a step are neighbours in length."""
    if ranks == 1:
        return bounds[:-1], bounds[1:]
    bounds = _divisible(bounds, lengths, ranks)
    mine = np.argsort(_longest(bounds, lengths), kind="stable")[rank::ranks]
    return bounds[:-1][mine], bounds[1:][mine]


def _longest(bounds: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Tokens of the longest row of each run."""
    return np.maximum.reduceat(lengths, bounds[:-1])


def _divisible(bounds: np.ndarray, lengths: np.ndarray, ranks: int) -> np.ndarray:
    """Halve the largest runs until ranks can share them evenly; where rows are too few for that, join the smallest."""
    runs = len(bounds) - 1
    halves = -runs % ranks
    for _ in range(halves if runs + halves <= len(lengths) else 0):
        sizes = np.diff(bounds)
        largest = int(np.argmax(np.where(sizes > 1, sizes * _longest(bounds, lengths), 0)))
        bounds = np.insert(bounds, largest + 1, bounds[largest] + sizes[largest] // 2)
    for _ in range((len(bounds) - 1) % ranks):
        pairs = np.maximum(*(_longest(bounds, lengths)[side] for side in (slice(None, -1), slice(1, None))))
        smallest = int(np.argmin(pairs * (bounds[2:] - bounds[:-2])))
        bounds = np.delete(bounds, smallest + 1)
    return bounds


class PlannedSampler(Sampler[list[int]]):
    """The batches of one plan."""

    def __init__(self, batches: Sequence[np.ndarray]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)
