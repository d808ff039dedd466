"""Tweets to token ids and numbers: the fitted preprocessing that an artifact carries."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from transformers import PreTrainedTokenizerBase

from behavesim.data.encoded import EncodedTweets, offsets_of
from behavesim.data.features import Features
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History
from behavesim.data.task import BehaviourTask, Prompt
from behavesim.data.text_summary import TextSummary
from behavesim.data.tweets import tweets
from behavesim.data.view import STATISTICS, TOKEN_NAMES, TrainingView, View, latest_posts
from behavesim.errors import UserError


@dataclass(frozen=True)
class TweetEncoder:
    """Tokenizer, task and features, fitted on training rows and used alike ever after.

    Args:
        tokenizer: a fast one; None for a converted model that came without, which can encode nothing.
        task: prompt and answer.
        features: None for models that are told no numbers.
        max_length: tokens of a row; longer content is cut at its end.
        answer_tokens: room kept for a written answer, which labelled rows then hold; 0 where no answer is written.
        summary: of texts, as further features; None where models are told no numbers.
        history: earlier posts of the account that become tokens, K.
        history_text: whether these tokens hold the summary of the post's text.
        process: what the past of an account says of its next tweet; None where models are told no numbers.
        memory: the training posts.
    """

    tokenizer: PreTrainedTokenizerBase | None
    task: BehaviourTask
    features: Features | None
    max_length: int
    answer_tokens: int = 0
    summary: TextSummary | None = None
    history: int = 0
    history_text: bool = False
    process: GaussianProcess | None = None
    memory: History = field(default_factory=lambda: History.of([]))

    @property
    def token_width(self) -> int:
        """Numbers of an earlier post, T."""
        told = self._told_of_posts
        return len(TOKEN_NAMES) + told.stop - told.start

    @property
    def _told_of_posts(self) -> slice:
        """Which of a post's numbers its token holds: those of its text, or none."""
        shown = self.features.count if self.features else 0
        return slice(shown, shown + (self.summary.width if self.summary and self.history_text else 0))

    @property
    def pad_id(self) -> int:
        """Fills rows behind their text, where nothing looks; models such as Llama-2 have no token for it."""
        names = ("pad_token_id", "eos_token_id", "bos_token_id")
        found = (getattr(self.tokenizer, name, None) for name in names)
        return next((i for i in found if i is not None), 0)

    def facts(self) -> str:
        """All that decides what `encode` gives, but the tokenizer."""
        features = self.features and self.features.to_dict()
        digest = hashlib.blake2b(self.summary.components.tobytes() if self.summary else b"", digest_size=8)
        digest.update(self.process.weights.numpy().tobytes() if self.process else b"")
        tokens = (self.max_length, self.answer_tokens, self.history, self.history_text)
        return repr((self.task, features, tokens, digest.hexdigest()))

    def content_ids(self, frame: pl.DataFrame) -> list[np.ndarray]:
        """Token ids of the texts alone."""
        if not frame.height:
            return []
        found = self.tokenizer(frame["content"].to_list(), add_special_tokens=False)["input_ids"]
        return [np.array(ids, dtype=np.int64) for ids in found]

    def numbers(self, frame: pl.DataFrame) -> np.ndarray:
        """What tweets show, and the summary of what they say: [N, W] float32."""
        told = [self.features.observed(frame).astype(np.float32)]
        if self.summary is not None:
            told.append(self.summary.transform(self.content_ids(frame)))
        return np.concatenate(told, axis=1)

    def posts(self, chunks: Iterable[pl.DataFrame]) -> History:
        """Labelled rows as posts that others can look back on."""

        def told() -> Iterator[pl.DataFrame]:
            for chunk in chunks:
                numbers = pl.Series(self.numbers(chunk), dtype=pl.Array(pl.Float32, (self.width,)))
                yield chunk.with_columns(numbers=numbers.arr.to_list())

        return History.of(told())

    @property
    def width(self) -> int:
        """Numbers of a tweet itself, W."""
        return (self.features.count if self.features else 0) + (self.summary.width if self.summary else 0)

    def view(self, history: History, *, remembers: bool = True) -> View:
        """What tweets may look back on that training did not have."""
        return View(self.process, history, self.memory if remembers else History.of([]))

    def encode(self, frame: pl.DataFrame, views: Sequence[View | TrainingView] = ()) -> EncodedTweets:
        """Encode rows of a prepared table.

        Args:
            frame: the rows.
            views: V views of what the rows may look back on; none is one without a past. A row's own likes are never
                among what it is told.
        """
        likes = frame["likes"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        rows, answer_length = self._token_rows(frame, likes)
        return EncodedTweets(
            tokens=np.concatenate(rows) if rows else np.zeros(0, np.int32),
            offsets=offsets_of([len(row) for row in rows]),
            answer_length=answer_length,
            **self._numbers(frame, views),
            likes=likes,
            pictures=frame["images"].explode().drop_nulls().to_numpy().astype(np.int64),
            picture_offsets=offsets_of(frame["images"].list.len().to_numpy()),
        )

    def _numbers(self, frame: pl.DataFrame, views: Sequence[View | TrainingView]) -> dict[str, np.ndarray]:
        """What is told as numbers, by the names of `EncodedTweets`."""
        if self.features is None:
            return self._no_numbers(frame.height, max(1, len(views)))
        views = views or [self.view(History.of([]), remembers=False)]
        numbers = self.numbers(frame)
        told = [view.told(frame, numbers) for view in views]
        posts = [latest_posts(view.history, frame, self.history, self.process, self._told_of_posts) for view in views]
        return {
            "features": numbers,
            "statistics": np.stack([each.statistics for each in told], axis=1),
            "prior": np.stack([each.prior for each in told], axis=1),
            "history": np.stack([tokens for tokens, _ in posts], axis=1),
            "history_valid": np.stack([valid for _, valid in posts], axis=1),
        }

    def _no_numbers(self, rows: int, views: int) -> dict[str, np.ndarray]:
        """The same for a model that is told none."""
        shapes = {"features": (0,), "statistics": (views, len(STATISTICS)), "prior": (views,)}
        shapes |= {"history": (views, 0, self.token_width)}
        empty = {name: np.zeros((rows, *shape), np.float32) for name, shape in shapes.items()}
        return empty | {"history_valid": np.zeros((rows, views, 0), bool)}

    def read_answers(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Numbers that written answers begin with: N sequences of ids → [N] float64, nan where there is none."""
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        numbers = [self.task.parse(text) for text in texts]
        return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)

    def _token_rows(self, frame: pl.DataFrame, likes: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows of ids and the length of the answer in each: [N]."""
        prompts = [self.task.prompt(tweet) for tweet in tweets(frame)]
        answers = ["" if np.isnan(count) or not self.answer_tokens else self.task.target(count) for count in likes]
        rows, lengths = [], []
        for prompt, answer, (ids, spans) in zip(prompts, answers, self._ids(prompts, answers), strict=True):
            row, answer_length = self._row(prompt, answer, ids, spans)
            rows.append(row)
            lengths.append(answer_length)
        return rows, np.array(lengths, dtype=np.int64)

    def _ids(self, prompts: list[Prompt], answers: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids [T] of each row and the characters at which each token starts and ends [T, 2]."""
        if not prompts:
            return []
        # Prompt and answer in one piece: tokens at a seam of separately encoded parts would be ones never seen whole.
        texts = [prompt.text + answer for prompt, answer in zip(prompts, answers, strict=True)]
        encoded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        spans = (np.array(offsets, dtype=np.int64).reshape(-1, 2) for offsets in encoded["offset_mapping"])
        return [(np.array(ids, dtype=np.int32), span) for ids, span in zip(encoded["input_ids"], spans, strict=True)]

    def _row(self, prompt: Prompt, answer: str, ids: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, int]:
        """One row with its content cut to fit; the end of the prompt and the answer are never cut."""
        seams = np.cumsum([len(prompt.before), len(prompt.content), len(prompt.after)])
        head, body, tail, written = np.split(ids, np.searchsorted(spans[:, 0], seams))
        # The prompt would end in the answer's first digit; or characters were dropped, and no seam can be found.
        across = (spans[:, 0] < seams[2]) & (spans[:, 1] > seams[2])
        if answer and (across.any() or spans[-1, 1] != seams[2] + len(answer)):
            raise UserError(f"task: the tokenizer joins the answer {answer!r} to the prompt; accepted: another one")
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if answer and eos is None:
            raise UserError("model.head: found text, but the tokenizer has no end-of-text token; accepted: histogram")
        first = [] if bos is None else [bos]
        room = max(0, self.max_length - len(first) - len(head) - len(tail) - self.answer_tokens)
        last = [eos] if answer else []  # supervised: a model that never saw an end would not stop
        row = np.concatenate([first, head, body[:room], tail, written, last]).astype(np.int32)
        return row, len(written) + len(last)
