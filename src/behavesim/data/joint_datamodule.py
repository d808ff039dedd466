"""Rows of which likes are asked and rows that are to be written, in the batches of one model."""

import itertools
from functools import cached_property
from typing import Any

import numpy as np

from behavesim.data.datamodule import TweetDataModule
from behavesim.data.encode import TweetEncoder
from behavesim.data.encoded import EncodedTweets
from behavesim.data.loader import TweetLoader
from behavesim.data.prepared import TweetRows


class JointDataModule(TweetDataModule):
    """A `TweetDataModule` whose rows of each part are met twice, as a question on likes and as a request to write.

    `encoded["train"]` holds the questions first and then the requests. Validation and test give two loaders: of
    questions, which `encoded` holds, and of requests, which `written` does.

    Args:
        ratio: share of requests among the rows of an epoch. All questions are asked in each; requests take turns.
        settings: of `TweetDataModule`.
    """

    def __init__(self, *args: Any, ratio: float, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.ratio = ratio

    def _rows(self, encoder: TweetEncoder, part: str) -> TweetRows:
        return self.texts[part] if encoder.writes else self.parts[part]

    @cached_property
    def encoded(self) -> dict[str, EncodedTweets]:
        """See the class."""
        both = (self._chunks(encoder, "train") for encoder in (self.encoder, self.writer))
        train = self._encoded_once("train", itertools.chain.from_iterable(both))
        parts = ("validation", "test")
        return {"train": train} | {part: self._encoded_once(part, self._chunks(self.encoder, part)) for part in parts}

    @cached_property
    def written(self) -> dict[str, EncodedTweets]:
        """See `TweetDataModule`."""
        parts = ("validation", "test")
        return {part: self._encoded_once(f"{part}_written", self._chunks(self.writer, part)) for part in parts}

    def _chosen(self, epoch: int) -> np.ndarray:
        """Rows of an epoch's batches: every question, and the requests whose turn it is."""
        questions, requests = len(self.parts["train"]), len(self.texts["train"])
        count = round(questions * self.ratio / (1 - self.ratio))
        turns = np.arange(epoch * count, (epoch + 1) * count)
        order = np.random.default_rng(self.seed).permutation(requests)
        return np.concatenate([np.arange(questions), questions + order[turns % max(1, requests)]])

    @property
    def batch_plan(self) -> str:
        """See `TweetDataModule`."""
        return f"{super().batch_plan} task.ratio={self.ratio}"

    def val_dataloader(self) -> list[TweetLoader]:
        """Validation rows as questions, then as requests."""
        return [super().val_dataloader(), self._held_out(self.written["validation"])]

    def test_dataloader(self) -> list[TweetLoader]:
        """Test rows as questions, then as requests."""
        return [super().test_dataloader(), self.requests("test")]
