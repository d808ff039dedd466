"""A tweet as numbers: time, media, wording and what its account's past suggests."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from behavesim.data import accounts
from behavesim.data.accounts import AccountStatistics, FoldStatistics

MEDIA_KINDS = ("none", "photo", "photos", "video", "gif", "mixed")
TWO_PI = 2 * np.pi


def clamp_dates(dates: pl.Expr | pl.Series, first: datetime, last: datetime) -> pl.Expr | pl.Series:
    """Dates held inside the training period, so that a trend is never extrapolated."""
    return dates.clip(first, last)


def observed_columns(first: datetime, last: datetime) -> list[pl.Expr]:
    """What a tweet itself shows, as float expressions over a frame with media columns (`data/tweets.py`).

    `views` of a video is counted after posting: an outcome, absent here.
    """
    date, text = pl.col("date"), pl.col("content")
    hour = (date.dt.hour() + date.dt.minute() / 60) / 24 * TWO_PI
    weekday = (date.dt.weekday() - 1) / 7 * TWO_PI
    season = date.dt.ordinal_day() / 365.25 * TWO_PI
    years = (clamp_dates(date, first, last) - first).dt.total_seconds() / (365.25 * 86400)
    length = text.str.len_chars()
    columns = {
        "hour_sin": hour.sin(),
        "hour_cos": hour.cos(),
        "hour_sin2": (2 * hour).sin(),
        "hour_cos2": (2 * hour).cos(),
        "weekday_sin": weekday.sin(),
        "weekday_cos": weekday.cos(),
        "weekend": date.dt.weekday() >= 6,
        "season_sin": season.sin(),
        "season_cos": season.cos(),
        "trend": years,
        "media_count": pl.col("media_count"),
        "duration": pl.col("duration").fill_null(0).log1p(),
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
    columns |= {f"media_{kind}": pl.col("media_kind") == kind for kind in MEDIA_KINDS}
    return [value.cast(pl.Float64).alias(name) for name, value in columns.items()]


@dataclass(frozen=True)
class Features:
    """Fitted on training rows: period, account statistics, mean and scale of every column."""

    first: datetime
    last: datetime
    statistics: AccountStatistics
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, chunks: Callable[[], Iterable[pl.DataFrame]], statistics: FoldStatistics) -> "Features":
        """From labelled training rows, read twice in chunks, and their statistics."""
        dates = pl.concat([chunk.select(first=pl.col("date").min(), last=pl.col("date").max()) for chunk in chunks()])
        first, last = dates["first"].min(), dates["last"].max()
        moments, start = Moments(), 0
        for chunk in chunks():
            moments.add(_raw(chunk, first, last, statistics.out_of_fold(chunk, start)))
            start += chunk.height
        scale = moments.deviation()
        # A column that never varied in training says nothing: scale 1 keeps it at its distance from the mean.
        scale[scale < 1e-6] = 1.0
        overall = statistics.overall_statistics()
        return cls(first, last, overall, tuple(moments.mean.tolist()), tuple(scale.tolist()))

    @property
    def count(self) -> int:
        """Number of columns, F."""
        return len(self.mean)

    def transform(self, frame: pl.DataFrame, statistics: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Standardised numbers [N, F] float32 and priors [N] float32 in log1p likes.

        Args:
            frame: rows to describe.
            statistics: [N, 4] of training rows, which must come from the other folds; None looks them up.
        """
        if statistics is None:
            statistics = self.statistics.lookup(frame)
        raw = _raw(frame, self.first, self.last, statistics)
        standard = (raw - np.array(self.mean)) / np.array(self.scale)
        # Eight standard deviations: beyond, a number is an oddity of one row, not a signal.
        return standard.clip(-8, 8).astype(np.float32), statistics[:, 0].astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self)
        return values | {"first": self.first.isoformat(), "last": self.last.isoformat()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Features":
        """The inverse of `to_dict`."""
        statistics = values["statistics"]
        tables = ({k: tuple(v) for k, v in statistics[name].items()} for name in ("accounts", "companies"))
        return cls(
            datetime.fromisoformat(values["first"]),
            datetime.fromisoformat(values["last"]),
            AccountStatistics(statistics["overall"], *tables),
            tuple(values["mean"]),
            tuple(values["scale"]),
        )


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


def _raw(frame: pl.DataFrame, first: datetime, last: datetime, statistics: np.ndarray) -> np.ndarray:
    observed = frame.select(observed_columns(first, last)).to_numpy()
    return np.concatenate([observed, statistics], axis=1)


def names(first: datetime, last: datetime) -> list[str]:
    """Column names in the order of `transform`."""
    return [expression.meta.output_name() for expression in observed_columns(first, last)] + list(accounts.NAMES)
