"""One tweet, and the columns that describe its media."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from behavesim.data.media import Media, parse_media
from behavesim.log import log


@dataclass(frozen=True)
class Tweet:
    """A usable row of the table, as a task reads it. What is unknown when the tweet is posted is absent."""

    date: datetime
    content: str
    username: str
    company: str
    media_kind: str  # none, photo, photos, video, gif, mixed
    media_count: int


def with_media(frame: pl.DataFrame) -> pl.DataFrame:
    """The table's frame with `media_kind`, `media_count` and `duration` (seconds, null without a video)."""
    parsed = [parse_media(text) for text in frame["media"]]
    faults = [media.problem for media in parsed if media.problem]
    if faults:
        log.info(
            "%s media cells are read as far as they follow the published form; the first: %s", len(faults), faults[0]
        )
    return frame.with_columns(
        pl.Series("media_kind", [media.kind for media in parsed], dtype=pl.String),
        pl.Series("media_count", [len(media.items) for media in parsed], dtype=pl.Int64),
        pl.Series("duration", [_duration(media) for media in parsed], dtype=pl.Float64),
    )


def _duration(media: Media) -> float | None:
    return next((item.duration for item in media.items if item.duration is not None), None)


def tweets(frame: pl.DataFrame) -> Iterator[Tweet]:
    """Rows of a frame with media columns as tweets, in order."""
    columns = ("date", "content", "username", "company", "media_kind", "media_count")
    return (Tweet(*row) for row in frame.select(columns).iter_rows())
