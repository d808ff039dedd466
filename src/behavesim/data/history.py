"""Labelled posts, and which of an account's are strictly earlier than a tweet."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

HistoryMode = Literal["none", "train", "rolling"]
MEDIA_KINDS = ("none", "photo", "photos", "video", "gif", "mixed")
SCHEMA = {
    "identity": pl.Int64,
    "username": pl.String,
    "company": pl.String,
    "date": pl.Datetime("us", "UTC"),
    "likes": pl.Float64,
    "media_kind": pl.String,
    "numbers": pl.List(pl.Float32),  # what the post shows and says, see `TweetEncoder.numbers`
    "content": pl.String,  # null where texts are not told
}
DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Earlier:
    """Of N tweets the posts of their accounts that are strictly earlier."""

    count: np.ndarray  # [N] int64
    recent: np.ndarray  # [N, K] int64, places of the latest in `History.posts`, the latest first; -1: there is none


@dataclass(frozen=True)
class History:
    """Labelled posts: a frame of `SCHEMA`, one row for each identity.

    `mirrored` turns time around: later posts become the earlier ones. Training looks at its rows both ways.
    """

    posts: pl.DataFrame
    mirrored: bool = False

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame]) -> "History":
        """Of frames with the columns of `SCHEMA`; of posts with one identity the last one counts."""
        silent = pl.lit(None, pl.String).alias("content")  # as in artifacts of before texts were told
        frames = [frame if "content" in frame.columns else frame.with_columns(silent) for frame in frames]
        frames = [frame.select(*SCHEMA).cast(SCHEMA) for frame in frames]
        posts = pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)
        return cls(posts.unique("identity", keep="last", maintain_order=True))

    def extended(self, newer: "History") -> "History":
        """With more posts; where both have a tweet, the newer likes count."""
        return History.of([self.posts, newer.posts])

    def without(self, other: "History") -> "History":
        """The posts that `other` does not have with these likes."""
        return History(self.posts.join(other.posts, on=["identity", "likes"], how="anti"), self.mirrored)

    def mirror(self) -> "History":
        """The same posts with time turned around."""
        return History(self.posts, not self.mirrored)

    def __len__(self) -> int:
        return self.posts.height

    @cached_property
    def logs(self) -> np.ndarray:
        """log1p likes of each post: [P]."""
        return np.log1p(self.posts["likes"].to_numpy())

    @cached_property
    def numbers(self) -> np.ndarray:
        """What each post shows and says: [P, W] float32."""
        return self.posts["numbers"].explode().to_numpy().reshape(len(self), -1) if len(self) else np.zeros((0, 0))

    @cached_property
    def media(self) -> np.ndarray:
        """Places of the posts' kinds in `MEDIA_KINDS`: [P]."""
        numbers = {kind: number for number, kind in enumerate(MEDIA_KINDS)}
        return np.array([numbers.get(kind, 0) for kind in self.posts["media_kind"]], dtype=np.int64)

    @cached_property
    def times(self) -> np.ndarray:
        """Microseconds, earlier ones first as the history sees them: [P] int64."""
        return self.time_of(self.posts)

    def time_of(self, frame: pl.DataFrame) -> np.ndarray:
        """The same of other tweets: [N] int64."""
        times = frame["date"].dt.epoch("us").to_numpy()
        return -times if self.mirrored else times

    @cached_property
    def _index(self) -> "_Index":
        return _Index(self.posts["username"].to_list(), self.times)

    def earlier(self, frame: pl.DataFrame, count: int) -> Earlier:
        """Posts of the same account strictly before each row of `frame`, of which the latest `count` are found."""
        return self._index.before(frame["username"].to_list(), self.time_of(frame), count)

    def latest(self, frame: pl.DataFrame, count: int) -> list[np.ndarray]:
        """log1p likes of the last `count` posts of each row's account that are strictly earlier: N arrays."""
        return [self.logs[row[row >= 0]] for row in self.earlier(frame, count).recent]

    def age(self, frame: pl.DataFrame, places: np.ndarray) -> np.ndarray:
        """Days from posts at `places` [N, K] to the rows of `frame`: [N, K]; 0 where a place is -1."""
        if not len(self):
            return np.zeros(places.shape)
        days = (self.time_of(frame)[:, None] - self.times[places]) / DAY
        return np.where(places >= 0, days, 0.0)


class _Index:
    """Posts by name, then by time.

    Args:
        names: of each post, [P].
        times: of each post, [P] int64.
    """

    def __init__(self, names: list[str], times: np.ndarray) -> None:
        self.codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
        self.moments = np.unique(times)
        moment = np.searchsorted(self.moments, times)
        keys = self._key(np.array([self.codes[name] for name in names], dtype=np.int64), moment)
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]

    def _key(self, codes: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """One number that sorts by name and then by time."""
        return codes * (len(self.moments) + 1) + moments

    def before(self, names: list[str], times: np.ndarray, count: int) -> Earlier:
        codes = np.array([self.codes.get(name, -1) for name in names], dtype=np.int64)
        # The number of moments before a tweet is the moment of the first post that is not earlier.
        end = np.searchsorted(self.keys, self._key(codes, np.searchsorted(self.moments, times)))
        start = np.searchsorted(self.keys, self._key(codes, np.zeros_like(codes)))
        start, end = np.where(codes < 0, 0, start), np.where(codes < 0, 0, end)
        places = end[:, None] - 1 - np.arange(count)
        found = places >= start[:, None]
        recent = np.full(places.shape, -1, dtype=np.int64)
        recent[found] = self.order[places[found]]
        return Earlier(end - start, recent)
