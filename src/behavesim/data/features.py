"""A tweet as numbers: time, media, wording."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from behavesim.data.history import MEDIA_KINDS

TWO_PI = 2 * np.pi
GROUPS = ("time", "media", "wording")  # of columns, see `task.shows`


def clamp_dates(dates: pl.Expr | pl.Series, first: datetime, last: datetime) -> pl.Expr | pl.Series:
    """Dates held inside the training period, so that a trend is never extrapolated."""
    return dates.clip(first, last)


def observed_columns(first: datetime, last: datetime, shows: Collection[str] = GROUPS) -> list[pl.Expr]:
    """What a tweet itself shows, as float expressions over a frame with media columns (`data/tweets.py`).

    Args:
        first, last: the training period.
        shows: which of `GROUPS`; their order is the same in any.

    `views` of a video is counted after posting: an outcome, absent here.
    """
    shown = [columns for group, columns in _groups(first, last) if group in shows]
    return [value.cast(pl.Float64).alias(name) for columns in shown for name, value in columns.items()]


def _groups(first: datetime, last: datetime) -> list[tuple[str, dict[str, pl.Expr]]]:
    return [("time", _time(first, last)), ("media", _media()), ("wording", _wording()), ("media", _media_kind())]


def _time(first: datetime, last: datetime) -> dict[str, pl.Expr]:
    date = pl.col("date")
    hour = (date.dt.hour() + date.dt.minute() / 60) / 24 * TWO_PI
    weekday = (date.dt.weekday() - 1) / 7 * TWO_PI
    season = date.dt.ordinal_day() / 365.25 * TWO_PI
    return {
        "hour_sin": hour.sin(),
        "hour_cos": hour.cos(),
        "hour_sin2": (2 * hour).sin(),
        "hour_cos2": (2 * hour).cos(),
        "weekday_sin": weekday.sin(),
        "weekday_cos": weekday.cos(),
        "weekend": date.dt.weekday() >= 6,
        "season_sin": season.sin(),
        "season_cos": season.cos(),
        "trend": (clamp_dates(date, first, last) - first).dt.total_seconds() / (365.25 * 86400),
    }


def _media() -> dict[str, pl.Expr]:
    return {"media_count": pl.col("media_count"), "duration": pl.col("duration").fill_null(0).log1p()}


def _media_kind() -> dict[str, pl.Expr]:
    return {f"media_{kind}": pl.col("media_kind") == kind for kind in MEDIA_KINDS}


def _wording() -> dict[str, pl.Expr]:
    text = pl.col("content")
    length = text.str.len_chars()
    return {
        "length": length.log1p(),
        "words": (text.str.count_matches(r"\S+")).log1p(),
        "links": text.str.count_matches("<hyperlink>", literal=True).log1p(),
        "mentions": text.str.count_matches("<mention>", literal=True).log1p(),
        "reply": text.str.starts_with("<mention>"),
        "hashtags": text.str.count_matches(r"#\w").log1p(),
        "questions": text.str.count_matches("?", literal=True).log1p(),
        "exclamations": text.str.count_matches("!", literal=True).log1p(),
        "digits": text.str.count_matches(r"\d").log1p(),
        "lines": text.str.count_matches("\n", literal=True).log1p(),
        "capitals": text.str.count_matches(r"\p{Lu}") / length.clip(1),
        "beyond_ascii": text.str.count_matches(r"[^\x00-\x7F]") / length.clip(1),
    }


@dataclass(frozen=True)
class Features:
    """Fitted on training rows: the period, and mean and scale of every column."""

    first: datetime
    last: datetime
    mean: tuple[float, ...]  # [F]
    scale: tuple[float, ...]  # [F]
    shows: tuple[str, ...] = GROUPS

    @classmethod
    def fit(cls, chunks: Callable[[], Iterable[pl.DataFrame]], shows: Collection[str] = GROUPS) -> "Features":
        """From training rows, read several times in chunks; `shows` says which of `GROUPS` are told."""
        dates = pl.concat([chunk.select(first=pl.col("date").min(), last=pl.col("date").max()) for chunk in chunks()])
        first, last = dates["first"].min(), dates["last"].max()
        moments = Moments()
        for chunk in chunks():
            moments.add(_raw(chunk, first, last, shows))
        scale = moments.deviation()
        # A column that never varied in training says nothing: scale 1 keeps it at its distance from the mean.
        scale[scale < 1e-6] = 1.0
        shown = tuple(group for group in GROUPS if group in shows)
        return cls(first, last, tuple(moments.mean.tolist()), tuple(scale.tolist()), shown)

    @property
    def count(self) -> int:
        """Number of columns, F."""
        return len(self.mean)

    def observed(self, frame: pl.DataFrame) -> np.ndarray:
        """What tweets show, standardised: [N, F] float64."""
        standard = (_raw(frame, self.first, self.last, self.shows) - np.array(self.mean)) / np.array(self.scale)
        # Eight standard deviations: beyond, a number is an oddity of one row, not a signal.
        return standard.clip(-8, 8)

    def of_wording(self) -> np.ndarray:
        """Which columns are counted in the text: [F] bool."""
        shown = [(group, columns) for group, columns in _groups(self.first, self.last) if group in self.shows]
        return np.array([group == "wording" for group, columns in shown for _ in columns], dtype=bool)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"first": self.first.isoformat(), "last": self.last.isoformat()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Features":
        """The inverse of `to_dict`."""
        dates = {name: datetime.fromisoformat(values[name]) for name in ("first", "last")}
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists, **dates})


class Moments:
    """Mean and variance of columns that arrive in chunks (Chan, Golub & LeVeque 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(1)
        self.squares = np.zeros(1)  # summed squared distances from the mean

    def add(self, values: np.ndarray) -> None:
        """Take in [N, columns]."""
        count, mean = len(values), values.mean(axis=0)
        total, shift = self.count + count, mean - self.mean
        self.squares = self.squares + ((values - mean) ** 2).sum(axis=0) + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = total

    def deviation(self) -> np.ndarray:
        """Standard deviation of each column: [columns]."""
        return np.sqrt(self.squares / self.count)


def _raw(frame: pl.DataFrame, first: datetime, last: datetime, shows: Collection[str]) -> np.ndarray:
    return frame.select(observed_columns(first, last, shows)).to_numpy()


def names(features: Features) -> list[str]:
    """Column names in the order of `Features.observed`."""
    columns = observed_columns(features.first, features.last, features.shows)
    return [expression.meta.output_name() for expression in columns]
