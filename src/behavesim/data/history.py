"""Labelled posts of the past, and what those strictly before a tweet say of its account."""

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
    "effect": pl.Float64,  # of what the post shows, in log1p likes; see `Features.effect`
    "media_kind": pl.String,
}
LEVELS = ("username", "company")
# Latest posts of which trends are computed; means are of all.
WINDOW = 64
DAY = 86_400_000_000  # microseconds
UNIT = 2.0**-32  # of sums


@dataclass(frozen=True)
class Earlier:
    """For N tweets the posts of one level, account or company, that are strictly earlier."""

    count: np.ndarray  # [N] int64
    total: np.ndarray  # [N], sum of their values
    recent: np.ndarray  # [N, W] int64, places of the latest in `History.posts`, the latest first; -1: there is none


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
        frames = [frame.select(*SCHEMA).cast(SCHEMA) for frame in frames]
        posts = pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)
        return cls(posts.unique("identity", keep="last", maintain_order=True))

    def extended(self, newer: "History") -> "History":
        """With more posts; where both have a tweet, the newer likes count."""
        return History.of([self.posts, newer.posts])

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
    def deviations(self) -> np.ndarray:
        """log1p likes of each post less the effect of what it shows: [P]."""
        return self.logs - self.posts["effect"].to_numpy()

    @cached_property
    def media(self) -> np.ndarray:
        """Places of the posts' kinds in `MEDIA_KINDS`: [P]."""
        numbers = {kind: number for number, kind in enumerate(MEDIA_KINDS)}
        return np.array([numbers.get(kind, 0) for kind in self.posts["media_kind"]], dtype=np.int64)

    @cached_property
    def _times(self) -> np.ndarray:
        return self._time_of(self.posts)

    def _time_of(self, frame: pl.DataFrame) -> np.ndarray:
        times = frame["date"].dt.epoch("us").to_numpy()
        return -times if self.mirrored else times

    @cached_property
    def _indices(self) -> dict[str, "_Index"]:
        return {level: _Index(self.posts[level].to_list(), self._times, self.deviations) for level in LEVELS}

    def earlier(self, frame: pl.DataFrame, level: str, window: int = WINDOW) -> Earlier:
        """Posts of the same account or company, as `level` says, strictly before each row of `frame`."""
        return self._indices[level].before(frame[level].to_list(), self._time_of(frame), window)

    def latest(self, frame: pl.DataFrame, count: int) -> list[np.ndarray]:
        """log1p likes of the last `count` posts of each row's account that are strictly earlier: N arrays."""
        places = self.earlier(frame, "username", count).recent
        return [self.logs[row[row >= 0]] for row in places]

    def age(self, frame: pl.DataFrame, places: np.ndarray) -> np.ndarray:
        """Days from posts at `places` [N, W] to the rows of `frame`: [N, W]; 0 where a place is -1."""
        if not len(self):
            return np.zeros(places.shape)
        days = (self._time_of(frame)[:, None] - self._times[places]) / DAY
        return np.where(places >= 0, days, 0.0)


class _Index:
    """Posts by name, then by time.

    Args:
        names: of each post, [P].
        times: of each post, [P] int64.
        values: of each post, [P], which are added up.
    """

    def __init__(self, names: list[str], times: np.ndarray, values: np.ndarray) -> None:
        self.codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
        self.moments = np.unique(times)
        moment = np.searchsorted(self.moments, times)
        keys = self._key(np.array([self.codes[name] for name in names], dtype=np.int64), moment)
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]
        # Whole numbers: the last bits of running sums of floats would tell of other accounts' posts, later ones too.
        units = np.rint(values[self.order] / UNIT).astype(np.int64)
        self.sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(units)])

    def _key(self, codes: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """One number that sorts by name and then by time."""
        return codes * (len(self.moments) + 1) + moments

    def before(self, names: list[str], times: np.ndarray, window: int) -> Earlier:
        codes = np.array([self.codes.get(name, -1) for name in names], dtype=np.int64)
        # The number of moments before a tweet is the moment of the first post that is not earlier.
        end = np.searchsorted(self.keys, self._key(codes, np.searchsorted(self.moments, times)))
        start = np.searchsorted(self.keys, self._key(codes, np.zeros_like(codes)))
        start, end = np.where(codes < 0, 0, start), np.where(codes < 0, 0, end)
        places = end[:, None] - 1 - np.arange(window)
        found = places >= start[:, None]
        recent = np.full(places.shape, -1, dtype=np.int64)
        recent[found] = self.order[places[found]]
        return Earlier(end - start, (self.sums[end] - self.sums[start]) * UNIT, recent)
