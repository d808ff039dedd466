"""The LightningDataModule: a table of tweets, split, encoded and batched."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import lightning
import numpy as np
import polars as pl
from torch.utils.data import DataLoader

from behavesim.data.batch import Batch, TweetDataset
from behavesim.data.batching import TokenBudgetSampler
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
    return DataLoader(
        TweetDataset(
            encoded,
            pad_token_id=encoder.tokenizer.pad_token_id,
            frames=settings.frames,
            image_size=settings.image_size,
        ),
        batch_sampler=TokenBudgetSampler(
            encoded.lengths, settings.tokens_per_batch, shuffle=shuffle, seed=seed, epoch=epoch
        ),
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
        split, validation, test, split_seed: see `split_rows`.
        max_length: tokens of a prompt.
        vocab_size: of the tokenizer that is learned.
        seed: order of the batches and folds of the account statistics.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        settings: LoaderSettings,
        *,
        split: SplitKind,
        validation: float,
        test: float,
        split_seed: int,
        max_length: int,
        vocab_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.seed = seed
        self.max_length = max_length
        self.vocab_size = vocab_size
        rows = split_rows(frame, split, validation=validation, test=test, seed=split_seed)
        self.frames = {part: with_media(frame[positions]) for part, positions in rows.items()}
        self.dropped = frame.height - sum(len(positions) for positions in rows.values())

    @cached_property
    def encoder(self) -> TweetEncoder:
        """Fitted on the training rows alone."""
        train = self.frames["train"]
        features = Features.fit(train, self.seed)
        task = BehaviourTask(features.first, features.last)
        prompts = (task.prompt(tweet) for tweet in tweets(train))
        tokenizer = train_tokenizer((p.before + p.content + p.after for p in prompts), self.vocab_size)
        return TweetEncoder(tokenizer, task, features, self.max_length)

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
        budget = self.settings.tokens_per_batch * EVALUATION_FACTOR
        settings = LoaderSettings(budget, self.settings.num_workers, self.settings.frames, self.settings.image_size)
        return tweet_loader(self.encoded[part], self.encoder, settings)
