"""Tweets to token ids and numbers: the fitted preprocessing that an artifact carries."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from transformers import PreTrainedTokenizerBase

from behavesim.data.content_task import LEVELS, ContentTask, levels
from behavesim.data.earlier_texts import EarlierTexts
from behavesim.data.encoded import EncodedTweets, offsets_of
from behavesim.data.features import Features
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History
from behavesim.data.task import NOTHING, BehaviourTask, Told
from behavesim.data.text_summary import TextSummary
from behavesim.data.token_rows import TokenRows
from behavesim.data.tokenizer import decoded, markers
from behavesim.data.tweets import tweets
from behavesim.data.view import STATISTICS, TOKEN_NAMES, TrainingView, View, latest_posts

LOOKED_AT = 16  # earlier texts


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
        process: what the past of an account says of its next tweet; None where models are told no numbers, or write.
        memory: the training posts.
        examples: earlier posts of the account whose texts stand before a request to write.
        conditioned: whether such a request says which level of likes is aimed at.
        level: the one that is, whatever likes a row has; None: that of its likes, or the highest where it has none.
        looks_back: whether decoding looks at the account's `LOOKED_AT` latest earlier texts.
    """

    tokenizer: PreTrainedTokenizerBase | None
    task: BehaviourTask | ContentTask
    features: Features | None
    max_length: int
    answer_tokens: int = 0
    summary: TextSummary | None = None
    history: int = 0
    history_text: bool = False
    process: GaussianProcess | None = None
    memory: History = field(default_factory=lambda: History.of([]))
    examples: int = 0
    conditioned: bool = False
    level: str | None = None
    looks_back: bool = False

    @property
    def writes(self) -> bool:
        """Whether a tweet's own text is the answer, which nothing that is told may hold."""
        return isinstance(self.task, ContentTask)

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
        tokens = (self.max_length, self.answer_tokens, self.history, self.history_text, self.examples, self.conditioned)
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
                texts = pl.col("content") if self.examples else pl.lit(None, pl.String)
                yield chunk.with_columns(texts.alias("content"), numbers=numbers.arr.to_list())

        return History.of(told())

    @property
    def width(self) -> int:
        """Numbers of a tweet itself, W."""
        return (self.features.count if self.features else 0) + (self.summary.width if self.summary else 0)

    def view(self, history: History, *, remembers: bool = True) -> View:
        """What tweets may look back on that training did not have."""
        return View(self.process, history, self.memory if remembers else History.of([]))

    def encode(
        self, frame: pl.DataFrame, views: Sequence[View | TrainingView] = (), *, answered: bool = True
    ) -> EncodedTweets:
        """Encode rows of a prepared table.

        Args:
            frame: the rows.
            views: V views of what the rows may look back on; none is one without a past. A row's own likes are never
                among what it is told, but for the level of likes that a text is conditioned on.
            answered: whether answers that are known, and are to be written, follow the prompts.
        """
        likes = frame["likes"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        views = views or [self.view(History.of([]), remembers=False)]
        rows, answer_length = self._token_rows(frame, likes, views[0].history, answered=answered)
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
            return self._no_numbers(frame.height, len(views))
        numbers = self.numbers(frame)
        posts = [latest_posts(view.history, frame, self.history, self.process, self._told_of_posts) for view in views]
        found = {
            "features": numbers,
            "history": np.stack([tokens for tokens, _ in posts], axis=1),
            "history_valid": np.stack([valid for _, valid in posts], axis=1),
        }
        if self.writes:
            # What is expected of a tweet hangs on its text too.
            nothing = {name: self._no_numbers(frame.height, len(views))[name] for name in ("statistics", "prior")}
            return found | nothing | {"features": np.where(self._of_text, 0, numbers).astype(np.float32)}
        told = [view.told(frame, numbers) for view in views]
        return found | {
            "statistics": np.stack([each.statistics for each in told], axis=1),
            "prior": np.stack([each.prior for each in told], axis=1),
        }

    @property
    def _of_text(self) -> np.ndarray:
        """Which of a tweet's numbers are made of its text: [W] bool."""
        wording = self.features.of_wording()
        return np.concatenate([wording, np.ones(self.width - len(wording), dtype=bool)])

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

    def read_texts(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Written tweets: N sequences of ids, each up to its end, → N texts."""
        special = set(self.tokenizer.all_special_ids) - markers(self.tokenizer)
        texts = decoded(self.tokenizer, [[number for number in row if number not in special] for row in ids])
        return [self.task.parse(text) for text in texts]

    def earlier_texts(self, frame: pl.DataFrame, past: History) -> EarlierTexts | None:
        """What the accounts of N tweets posted before; None where decoding does not look at it."""
        return EarlierTexts.of(frame, past, LOOKED_AT, self.tokenizer) if self.looks_back else None

    def _token_rows(
        self, frame: pl.DataFrame, likes: np.ndarray, past: History, *, answered: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows of ids and the length of the answer in each: [N]."""
        rows = list(zip(tweets(frame), self._told(frame, past), likes, strict=True))
        prompts = [self.task.prompt(tweet, told) for tweet, told, _ in rows]
        answered = answered and self.answer_tokens > 0
        answers = [self.task.target(tweet, count) if answered else "" for tweet, _, count in rows]
        made = TokenRows(self.tokenizer, self.max_length, self.answer_tokens)
        return made.apart(prompts, answers) if self.writes else made.joined(prompts, answers)

    def _told(self, frame: pl.DataFrame, past: History) -> list[Told]:
        """What prompts hold beside the tweets themselves."""
        if not self.writes or not (self.examples or self.conditioned):
            return [NOTHING] * frame.height
        texts = past.posts["content"].to_list()
        places = past.earlier(frame, self.examples).recent
        shown = [tuple(texts[place] for place in row if place >= 0) for row in places]
        aims: list[str | None] = [None] * frame.height
        if self.conditioned:
            found = levels(frame, (self.memory if len(self.memory) else past).posts)
            aims = [self.level or level or LEVELS[-1] for level in found]
        return [Told(tuple(text for text in row if text), aim) for row, aim in zip(shown, aims, strict=True)]
