"""From training rows to an encoder: tokenizer, features, summary of texts, Gaussian process."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from behavesim.data.encode import TweetEncoder
from behavesim.data.features import GROUPS, Features
from behavesim.data.gp.files import fitted_once
from behavesim.data.gp.kernel import Points
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History
from behavesim.data.prepared import TweetRows
from behavesim.data.task import BehaviourTask
from behavesim.data.text_summary import TextSummary
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.tweets import tweets

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


def fit_encoder(train: TweetRows, settings: EncoderSettings, file: Path, *, remembers: bool) -> TweetEncoder:
    """An encoder of training rows, and of them alone.

    Args:
        train: the rows.
        settings: how tweets become token ids.
        file: where the Gaussian process is kept, so that the processes of a run fit it once.
        remembers: whether the encoder carries the rows as the memory of what was posted.
    """
    features = Features.fit(train.chunks, settings.shows)
    task = BehaviourTask(settings.style, features.first, features.last, settings.names, features.shows)
    tokenizer = settings.tokenizer
    if tokenizer is None:
        some = train[:: 1 + len(train) // TOKENIZER_ROWS]
        prompts = (task.prompt(tweet).text for chunk in some.chunks() for tweet in tweets(chunk))
        tokenizer = train_tokenizer(prompts, settings.vocab_size)
    encoder = TweetEncoder(
        tokenizer,
        task,
        features,
        settings.max_length,
        settings.answer_tokens,
        history=settings.history,
        history_text=settings.history_text,
    )
    encoder = _with_summary(encoder, train, settings.text_summary)
    return _with_process(encoder, train, file, remembers=remembers)


def _with_summary(encoder: TweetEncoder, train: TweetRows, width: int) -> TweetEncoder:
    if not width:
        return encoder

    def texts() -> Iterator[list[np.ndarray]]:
        return map(encoder.content_ids, train.chunks("content"))

    return replace(encoder, summary=TextSummary.fit(texts, len(encoder.tokenizer), width))


def _with_process(encoder: TweetEncoder, train: TweetRows, file: Path, *, remembers: bool) -> TweetEncoder:
    posts = encoder.posts(train.chunks())
    points = Points.of(posts.posts, posts.numbers, encoder.features.count)
    key = hashlib.blake2b(repr(encoder.facts()).encode(), digest_size=16)
    key.update(posts.posts["identity"].to_numpy().tobytes() + posts.logs.tobytes())
    drifts = "time" in encoder.features.shows
    process = fitted_once(file, key.hexdigest(), lambda: GaussianProcess.fit(points, posts.logs, drifts=drifts))
    return replace(encoder, process=process, memory=posts if remembers else History.of([]))
