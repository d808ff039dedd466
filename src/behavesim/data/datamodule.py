"""The LightningDataModule: a table of tweets, split, encoded and batched."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import lightning
import numpy as np
import polars as pl
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from behavesim.data.batch import Batch, TweetDataset
from behavesim.data.batching import PlannedSampler, plan_batches
from behavesim.data.encode import EncodedTweets, TweetEncoder
from behavesim.data.features import Features
from behavesim.data.split import SplitKind, identity_hash, split_rows
from behavesim.data.task import BehaviourTask
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.tweets import tweets, with_media

# Validation and test need no gradients: larger batches run faster.
EVALUATION_FACTOR = 8


@dataclass(frozen=True)
class LoaderSettings:
    """How batches are filled and loaded."""

    tokens_per_batch: int
    num_workers: int
    frames: int  # pictures read of a tweet; 0 reads none
    image_size: int
    rows_per_batch: int | None = None  # most rows of a batch, if that is to count too


@dataclass(frozen=True)
class EncoderSettings:
    """How tweets become token ids."""

    style: Literal["ours", "reference"]  # of the prompt
    max_length: int
    answer_tokens: int  # see `TweetEncoder`
    tokenizer: PreTrainedTokenizerBase | None  # None: one is learned from the training prompts
    vocab_size: int  # of the learned one


def tweet_loader(
    encoded: EncodedTweets,
    encoder: TweetEncoder,
    settings: LoaderSettings,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
) -> DataLoader[Batch]:
    """Batches of encoded tweets, each row once."""
    batches = plan_batches(
        encoded.lengths,
        settings.tokens_per_batch,
        rows_per_batch=settings.rows_per_batch,
        shuffle=shuffle,
        seed=seed,
        epoch=epoch,
    )
    return DataLoader(
        TweetDataset(encoded, pad_id=encoder.pad_id, frames=settings.frames, image_size=settings.image_size),
        batch_sampler=PlannedSampler(batches),
        collate_fn=_as_it_is,
        num_workers=settings.num_workers,
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch


class TweetDataModule(lightning.LightningDataModule):
    """Splits a labelled table and fits tokenizer and features on its training rows.

    Args:
        frame: usable rows as `read_table` gives them, all labelled.
        settings: of the training batches.
        encoding: how tweets become token ids.
        split, validation, test, split_seed: see `split_rows`.
        seed: order of the batches and folds of the account statistics.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        settings: LoaderSettings,
        encoding: EncoderSettings,
        *,
        split: SplitKind,
        validation: float,
        test: float,
        split_seed: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.encoding = encoding
        rows = split_rows(frame, split, validation=validation, test=test, seed=split_seed)
        self.frames = {part: with_media(frame[positions]) for part, positions in rows.items()}
        self.dropped = frame.height - sum(len(positions) for positions in rows.values())

    @cached_property
    def encoder(self) -> TweetEncoder:
        """Fitted on the training rows alone."""
        train = self.frames["train"]
        features = Features.fit(train, self.seed)
        task = BehaviourTask(self.encoding.style, features.first, features.last)
        tokenizer = self.encoding.tokenizer
        if tokenizer is None:
            prompts = (task.prompt(tweet).text for tweet in tweets(train))
            tokenizer = train_tokenizer(prompts, self.encoding.vocab_size)
        return TweetEncoder(tokenizer, task, features, self.encoding.max_length, self.encoding.answer_tokens)

    @cached_property
    def encoded(self) -> dict[str, EncodedTweets]:
        """Each part, encoded once for all epochs."""
        return {
            part: self.encoder.encode(frame, training_seed=self.seed if part == "train" else None)
            for part, frame in self.frames.items()
        }

    @cached_property
    def digest(self) -> str:
        """Tells splits apart: equal for the same training, validation and test rows under the same tokenizer."""
        digest = hashlib.blake2b(self.encoder.tokenizer.backend_tokenizer.to_str().encode(), digest_size=16)
        for frame in self.frames.values():
            digest.update(identity_hash(frame).tobytes() + b"|")
        return digest.hexdigest()

    @property
    def train_likes(self) -> np.ndarray:
        """Likes of the training rows: [N]."""
        return self.frames["train"]["likes"].to_numpy()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the trainer's current epoch; the same ones each epoch where it is to learn a few by heart."""
        moves_on = self.trainer and not self.trainer.overfit_batches
        epoch = self.trainer.current_epoch if moves_on else 0
        return tweet_loader(
            self.encoded["train"], self.encoder, self.settings, shuffle=True, seed=self.seed, epoch=epoch
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation rows, by length."""
        return self._held_out("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test rows, by length."""
        return self._held_out("test")

    def _held_out(self, part: str) -> DataLoader[Batch]:
        rows = self.settings.rows_per_batch
        settings = replace(
            self.settings,
            tokens_per_batch=self.settings.tokens_per_batch * EVALUATION_FACTOR,
            rows_per_batch=rows and rows * EVALUATION_FACTOR,
        )
        return tweet_loader(self.encoded[part], self.encoder, settings)
