"""Batches in the order of a plan, from any place in it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from behavesim.data.batch import Batch, TweetDataset
from behavesim.data.batching import Batches, PlannedSampler, plan_batches
from behavesim.data.earlier_texts import EarlierTexts
from behavesim.data.encode import TweetEncoder
from behavesim.data.encoded import EncodedTweets
from behavesim.data.pictures.readers import PictureReader


@dataclass(frozen=True)
class LoaderSettings:
    """How batches are filled and loaded."""

    tokens_per_batch: int
    num_workers: int
    frames: int  # pictures read of a tweet; 0 reads none
    image_tokens: int = 0  # that the model sees of each picture
    prefix_tokens: int = 0  # that it sees of each tweet besides
    rows_per_batch: int | None = None  # most rows of a batch, if that is to count too

    def positions(self, encoded: EncodedTweets) -> np.ndarray:
        """Places that each row takes in the language model, prefix and text: [N]."""
        pictures = np.minimum(encoded.picture_counts, self.frames)
        return encoded.lengths + self.image_tokens * pictures + self.prefix_tokens


def _zero() -> int:
    return 0


class TweetLoader(Iterable[Batch]):
    """The batches of one rank: those of the epoch that is asked for, from the batch that is asked for.

    The trainer makes loaders and iterators earlier and more often than it reads them, before a checkpoint is restored
    too. So an iterator asks for its place, plans and starts its workers when its first batch is fetched, and batches
    that a resumed run has behind it are never decoded. Nothing is drawn from the global random state.

    Args:
        dataset: gives a whole batch at a time, by `__getitems__`.
        plan: the batches of an epoch.
        num_workers: processes that decode batches; 0 decodes in this one.
        seed: of the workers' random state, with the epoch.
        epoch: asked for whenever a plan is needed.
        start: batches of that epoch that are done, asked for when reading starts.
    """

    def __init__(
        self,
        dataset: TweetDataset,
        plan: Callable[[int], Batches],
        *,
        num_workers: int = 0,
        seed: int = 0,
        epoch: Callable[[], int] = _zero,
        start: Callable[[], int] = _zero,
    ) -> None:
        self.dataset = dataset
        self.num_workers = num_workers
        self.seed = seed
        self.epoch = epoch
        self.start = start
        self._plan = plan
        self._planned: tuple[int, Batches] | None = None

    def batches(self) -> Batches:
        """The whole plan of the current epoch."""
        epoch = self.epoch()
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

    def __len__(self) -> int:
        """Batches of the whole epoch, those that are done included."""
        return len(self.batches())

    def __iter__(self) -> Iterator[Batch]:  # a generator: none of this runs before the first batch is fetched
        seed = np.random.SeedSequence([self.seed, self.epoch()]).generate_state(1)
        yield from DataLoader(
            self.dataset,
            batch_sampler=PlannedSampler(self.batches()[self.start() :]),
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            generator=torch.Generator().manual_seed(int(seed[0])),
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing, since the place is asked for; that there is one tells the trainer that reading can be resumed."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to take up, see `state_dict`."""


def tweet_loader(
    encoded: EncodedTweets,
    encoder: TweetEncoder,
    reader: PictureReader,
    settings: LoaderSettings,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: Callable[[], int] = _zero,
    start: Callable[[], int] = _zero,
    world_size: int = 1,
    rank: int = 0,
    chosen: Callable[[int], np.ndarray] | None = None,
    earlier: EarlierTexts | None = None,
) -> TweetLoader:
    """Batches of encoded tweets: of an epoch each row once, or those that are `chosen` for it; see `plan_batches`."""
    lengths = settings.positions(encoded)

    def plan(epoch: int) -> Batches:
        rows = None if chosen is None else chosen(epoch)
        batches = plan_batches(
            lengths if rows is None else lengths[rows],
            settings.tokens_per_batch,
            rows_per_batch=settings.rows_per_batch,
            shuffle=shuffle,
            seed=seed,
            epoch=epoch,
            world_size=world_size,
            rank=rank,
        )
        return batches if rows is None else replace(batches, order=rows[batches.order])

    return TweetLoader(
        TweetDataset(encoded, pad_id=encoder.pad_id, frames=settings.frames, reader=reader, earlier=earlier),
        plan,
        num_workers=settings.num_workers,
        seed=seed,
        epoch=epoch,
        start=start,
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch
