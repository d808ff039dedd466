"""Tweets to token ids: the fitted preprocessing that an artifact carries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from transformers import PreTrainedTokenizerBase

from behavesim.data.features import Features
from behavesim.data.task import BehaviourTask
from behavesim.data.tweets import tweets


@dataclass(frozen=True)
class EncodedTweets:
    """Everything a batch needs, made once; row i of each field describes the same tweet."""

    tokens: np.ndarray  # [all tokens] int32, rows one after another
    offsets: np.ndarray  # [N + 1] int64
    features: np.ndarray  # [N, F] float32
    prior: np.ndarray  # [N] float32, log1p likes
    likes: np.ndarray  # [N] float64, nan where unlabelled
    images: Sequence[Sequence[str]]  # paths

    def __len__(self) -> int:
        return len(self.likes)

    @property
    def lengths(self) -> np.ndarray:
        """Text tokens of each row: [N]."""
        return np.diff(self.offsets)

    def text(self, row: int) -> np.ndarray:
        """Token ids of one row."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class TweetEncoder:
    """Tokenizer, task and features, fitted on training rows and used alike ever after."""

    tokenizer: PreTrainedTokenizerBase
    task: BehaviourTask
    features: Features
    max_length: int

    def encode(self, frame: pl.DataFrame, *, training_seed: int | None = None) -> EncodedTweets:
        """Encode rows of a table with media columns; `training_seed` as in `Features.transform`."""
        rows = self._token_rows(frame)
        features, prior = self.features.transform(frame, training_seed=training_seed)
        likes = frame["likes"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return EncodedTweets(
            tokens=np.concatenate(rows) if rows else np.zeros(0, np.int32),
            offsets=np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
            features=features,
            prior=prior,
            likes=likes,
            images=frame["images"].to_list(),
        )

    def _token_rows(self, frame: pl.DataFrame) -> list[np.ndarray]:
        """Prompts as ids, the content cut where a prompt would exceed `max_length`."""
        prompts = [self.task.prompt(tweet) for tweet in tweets(frame)]
        before, content, after = (
            self._ids([getattr(prompt, part) for prompt in prompts]) for part in ("before", "content", "after")
        )
        start = [self.tokenizer.bos_token_id]
        rows = []
        for head, body, tail in zip(before, content, after, strict=True):
            # The end of the prompt is where the head reads: it is never cut.
            room = max(0, self.max_length - 1 - len(head) - len(tail))
            rows.append(np.array(start + head + body[:room] + tail, dtype=np.int32))
        return rows

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
