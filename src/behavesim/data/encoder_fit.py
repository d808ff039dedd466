"""From training rows to an encoder: tokenizer, features, summary of texts, Gaussian process."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from behavesim.data.content_task import ContentTask
from behavesim.data.encode import TweetEncoder
from behavesim.data.features import GROUPS, Features
from behavesim.data.gp.files import fitted_once
from behavesim.data.gp.kernel import Points
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History
from behavesim.data.prepared import TweetRows
from behavesim.data.task import BehaviourTask, Task
from behavesim.data.text_summary import TextSummary
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.tweets import tweets

# A tokenizer is learned from this many training prompts at most, evenly spread: the words of more would fill the
# memory and change few merges.
TOKENIZER_ROWS = 50_000


@dataclass(frozen=True)
class WriterSettings:
    """How requests to write a tweet become token ids."""

    max_length: int  # of request and text
    text_tokens: int  # longest text
    names: bool = True  # whether the request says account and company
    shows: tuple[str, ...] = ("time", "media")
    examples: int = 0  # earlier tweets of the account that stand before it
    conditioned: bool = False  # whether it says which level of likes is aimed at
    level: str | None = None  # see `TweetEncoder`
    looks_back: bool = False  # likewise


@dataclass(frozen=True)
class EncoderSettings:
    """How questions on likes become token ids."""

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
    asks_likes: bool = True  # False: of all these only the tokenizer counts, and `writer`
    writer: WriterSettings | None = None  # of a model that writes tweets, too or alone


def fit_encoder(train: TweetRows, settings: EncoderSettings, file: Path, *, remembers: bool) -> TweetEncoder:
    """An encoder of training rows, fitted on them and on nothing else: for questions on likes, where these are asked.

    Args:
        train: the rows.
        settings: how tweets become token ids.
        file: where the Gaussian process is kept, so that the processes of a run fit it once.
        remembers: whether the encoder carries the rows as the memory of what was posted.
    """
    if not settings.asks_likes:
        return _fit_writer(train, settings, remembers=remembers)
    writer = settings.writer
    features = Features.fit(train.chunks, settings.shows)
    task = BehaviourTask(settings.style, features.first, features.last, settings.names, features.shows)
    tasks: list[Task] = [task] if writer is None else [task, _content_task(features, writer)]
    encoder = TweetEncoder(
        settings.tokenizer or _learned(train, tasks, settings.vocab_size),
        task,
        features,
        settings.max_length,
        settings.answer_tokens,
        history=settings.history,
        history_text=settings.history_text,
        examples=0 if writer is None else writer.examples,
    )
    encoder = _with_summary(encoder, train, settings.text_summary)
    return _with_process(encoder, train, file, remembers=remembers)


def _fit_writer(train: TweetRows, settings: EncoderSettings, *, remembers: bool) -> TweetEncoder:
    """One for requests to write alone."""
    writer = settings.writer
    features = Features.fit(train.chunks, writer.shows)
    tokenizer = settings.tokenizer or _learned(train, [_content_task(features, writer)], settings.vocab_size)
    encoder = TweetEncoder(tokenizer, BehaviourTask(), features, writer.max_length, examples=writer.examples)
    encoder = writer_beside(encoder, writer)
    return replace(encoder, memory=encoder.posts(train.chunks())) if remembers else encoder


def writer_of(encoder: TweetEncoder, settings: WriterSettings | None) -> TweetEncoder | None:
    """The encoder of a model's requests to write, beside its `encoder` or that itself; None where it writes nothing."""
    if settings is None:
        return None
    return encoder if encoder.writes else writer_beside(encoder, settings)


def writer_beside(encoder: TweetEncoder, settings: WriterSettings) -> TweetEncoder:
    """The encoder of requests to write, for a model that also answers the questions of `encoder`."""
    return replace(
        encoder,
        task=_content_task(encoder.features, settings),
        max_length=settings.max_length,
        answer_tokens=settings.text_tokens,
        conditioned=settings.conditioned,
        level=settings.level,
        looks_back=settings.looks_back,
    )


def _content_task(features: Features, settings: WriterSettings) -> ContentTask:
    return ContentTask(features.first, features.last, settings.names, settings.shows)


def _learned(train: TweetRows, tasks: Sequence[Task], vocab_size: int) -> PreTrainedTokenizerBase:
    """A tokenizer of what rows are asked and answer."""
    some = train[:: 1 + len(train) // TOKENIZER_ROWS]
    rows = (tweet for chunk in some.chunks() for tweet in tweets(chunk))
    nobody = float("nan")  # answers in digits need no merges
    texts = (text for row in rows for task in tasks for text in (task.prompt(row).text, task.target(row, nobody)))
    return train_tokenizer((text for text in texts if text), vocab_size)


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
