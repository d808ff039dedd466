"""The LightningDataModule: a prepared table of tweets, split, encoded and batched."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import lightning
import numpy as np
from transformers import PreTrainedTokenizerBase

from behavesim.data.encode import TweetEncoder
from behavesim.data.encoded import EncodedTweets, encoded_once
from behavesim.data.features import GROUPS, Features
from behavesim.data.gp.files import fitted_once
from behavesim.data.gp.kernel import Points
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History, HistoryMode
from behavesim.data.loader import LoaderSettings, TweetLoader, tweet_loader
from behavesim.data.pictures.readers import PictureReader
from behavesim.data.prepared import TweetRows, split_of
from behavesim.data.split import SplitSettings
from behavesim.data.task import BehaviourTask
from behavesim.data.text_summary import TextSummary
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.tweets import tweets
from behavesim.data.view import TRAINING_VIEWS, TrainingView, View, training_views
from behavesim.processes.ranks import is_main

# Validation and test need no gradients: larger batches run faster.
EVALUATION_FACTOR = 8
# A tokenizer is learned from this many training prompts at most, evenly spread: the words of more would fill the
# memory and change few merges.
TOKENIZER_ROWS = 50_000


@dataclass(frozen=True)
class EncoderSettings:
    """How tweets become token ids."""

    style: Literal["ours", "reference"]  # of the prompt
    max_length: int
    answer_tokens: int  # see `TweetEncoder`
    tokenizer: PreTrainedTokenizerBase | None  # None: one is learned from the training prompts
    vocab_size: int  # of the learned one
    names: bool = False  # whether the prompt holds account and company
    history: int = 0  # earlier posts that become tokens
    history_text: bool = False  # whether those tokens hold what the post says
    text_summary: int = 0  # numbers that sum a text up
    shows: tuple[str, ...] = GROUPS  # what of the tweet is told as numbers and in words


class TweetDataModule(lightning.LightningDataModule):
    """Splits a prepared table and fits tokenizer and features on its training rows.

    Args:
        rows: labelled rows.
        reader: their pictures.
        settings: of the training batches.
        encoding: how tweets become token ids.
        split: how rows are parted.
        seed: order of the batches.
        folder: where encoded rows are written and mapped from, in a folder for each part.
        history: what held-out rows may look back on: nothing, training rows, or every labelled row.
    """

    def __init__(
        self,
        rows: TweetRows,
        reader: PictureReader,
        settings: LoaderSettings,
        encoding: EncoderSettings,
        *,
        split: SplitSettings,
        seed: int,
        folder: Path,
        history: HistoryMode = "train",
    ) -> None:
        super().__init__()
        self.reader = reader
        self.settings = settings
        self.encoding = encoding
        self.seed = seed
        self.folder = folder
        self.rows = rows
        self.history_mode = history
        self.split = split_of(rows, split)
        self.parts = {part: rows[positions] for part, positions in self.split.rows.items()}

    @cached_property
    def encoder(self) -> TweetEncoder:
        """Fitted on the training rows alone."""
        train = self.parts["train"]
        features = Features.fit(train.chunks, self.encoding.shows)
        task = BehaviourTask(self.encoding.style, features.first, features.last, self.encoding.names, features.shows)
        tokenizer = self.encoding.tokenizer
        if tokenizer is None:
            some = train[:: 1 + len(train) // TOKENIZER_ROWS]
            prompts = (task.prompt(tweet).text for chunk in some.chunks() for tweet in tweets(chunk))
            tokenizer = train_tokenizer(prompts, self.encoding.vocab_size)
        encoder = TweetEncoder(
            tokenizer,
            task,
            features,
            self.encoding.max_length,
            self.encoding.answer_tokens,
            history=self.encoding.history,
            history_text=self.encoding.history_text,
        )
        return self._with_process(self._with_summary(encoder))

    def _with_summary(self, encoder: TweetEncoder) -> TweetEncoder:
        if not self.encoding.text_summary:
            return encoder

        def texts() -> Iterator[list[np.ndarray]]:
            return map(encoder.content_ids, self.parts["train"].chunks("content"))

        summary = TextSummary.fit(texts, len(encoder.tokenizer), self.encoding.text_summary)
        return replace(encoder, summary=summary)

    def _with_process(self, encoder: TweetEncoder) -> TweetEncoder:
        posts = encoder.posts(self.parts["train"].chunks())
        points = Points.of(posts.posts, posts.numbers, encoder.features.count)
        key = hashlib.blake2b(repr(encoder.facts()).encode(), digest_size=16)
        key.update(posts.posts["identity"].to_numpy().tobytes() + posts.logs.tobytes())
        drifts = "time" in encoder.features.shows
        process = fitted_once(
            self.folder / "process.safetensors",
            key.hexdigest(),
            lambda: GaussianProcess.fit(points, posts.logs, drifts=drifts),
        )
        return replace(encoder, process=process, memory=posts if self.history_mode != "none" else History.of([]))

    @cached_property
    def history(self) -> History:
        """The posts that an artifact of this training carries: its training rows; none where it knows no history."""
        return self.encoder.posts([] if self.history_mode == "none" else self.parts["train"].chunks())

    def views(self, part: str) -> Sequence[View | TrainingView]:
        """What rows of a part may look back on."""
        if part == "train":
            return self._training_views
        if self.history_mode == "rolling":
            return [self.encoder.view(self.encoder.posts(self.rows.chunks()))]
        return [self.encoder.view(self.history)]

    @cached_property
    def _training_views(self) -> Sequence[View | TrainingView]:
        if self.history_mode == "none":
            rows = self.encoder.posts(self.parts["train"].chunks())
            return training_views(self.encoder.process, rows)[-1:] * TRAINING_VIEWS
        return training_views(self.encoder.process, self.history)

    @cached_property
    def encoded(self) -> dict[str, EncodedTweets]:
        """Each part, encoded once for all epochs and mapped from files."""
        # Pictures and likes may change under the same tweets, beyond the first chunk too.
        table = self.parts["train"].table.manifest
        facts = f"{self.digest} {self.encoder.facts()} {table.counts} {self.reader.facts}".encode()
        return {part: encoded_once(self._encode(part), self.folder / part, facts) for part in self.parts}

    def _encode(self, part: str) -> Iterator[EncodedTweets]:
        views = self.views(part)
        for chunk in self.parts[part].chunks():
            yield self.encoder.encode(chunk.with_columns(images=self.reader.lists(chunk)), views)

    def remove_encoded(self) -> None:
        """Delete the files of `encoded`, once nothing will be read from them or continued; the main process does."""
        if is_main():
            shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def digest(self) -> str:
        """Tells splits apart: equal for the same rows in each part, under the same tokenizer and mode of history."""
        digest = hashlib.blake2b(self.encoder.tokenizer.backend_tokenizer.to_str().encode(), digest_size=16)
        digest.update(self.history_mode.encode())
        for rows in self.parts.values():
            digest.update(rows.identities().tobytes() + b"|")
        return digest.hexdigest()

    @property
    def held_out(self) -> str:
        """Equal for the same validation and test rows, under whatever tokenizer and training rows."""
        digest = hashlib.blake2b(digest_size=16)
        for part in ("validation", "test"):
            digest.update(self.parts[part].identities().tobytes() + b"|")
        return digest.hexdigest()

    @property
    def batch_plan(self) -> str:
        """The settings that decide which rows form which batch of an epoch."""
        tokens, rows = self.settings.tokens_per_batch, self.settings.rows_per_batch
        return f"data.tokens_per_batch={tokens} data.rows_per_batch={rows or 'null'} seed={self.seed}"

    @property
    def train_likes(self) -> np.ndarray:
        """Likes of the training rows: [N]."""
        return self.parts["train"].frame("likes")["likes"].to_numpy()

    def train_dataloader(self) -> TweetLoader:
        """Batches of the trainer's current epoch, from the first that it has not done."""
        return tweet_loader(
            self.encoded["train"],
            self.encoder,
            self.reader,
            self.settings,
            shuffle=True,
            seed=self.seed,
            epoch=self._epoch,
            start=self._done,
            **self._place(),
        )

    def _place(self) -> dict[str, int]:
        """Among the processes that share each epoch's rows."""
        if self.trainer is None:
            return {}
        return {"world_size": self.trainer.world_size, "rank": self.trainer.global_rank}

    def _epoch(self) -> int:
        """The same each time where a few batches are to be learned by heart."""
        return 0 if self.trainer is None or self.trainer.overfit_batches else self.trainer.current_epoch

    def _done(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready if self.trainer else 0

    def val_dataloader(self) -> TweetLoader:
        """Validation rows, by length."""
        return self._held_out("validation")

    def test_dataloader(self) -> TweetLoader:
        """Test rows, by length."""
        return self._held_out("test")

    def _held_out(self, part: str) -> TweetLoader:
        rows = self.settings.rows_per_batch
        settings = replace(
            self.settings,
            tokens_per_batch=self.settings.tokens_per_batch * EVALUATION_FACTOR,
            rows_per_batch=rows and rows * EVALUATION_FACTOR,
        )
        return tweet_loader(self.encoded[part], self.encoder, self.reader, settings, **self._place())
