"""One tweet, and the columns that describe its media."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa

from behavesim.data.encoded import offsets_of
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
    """The table's frame with what its column `media` shows.

    Adds `media_items` (a list of kind, urls and duration, in order), `media_kind`, `media_count` and `duration`
    (seconds, of the first item that has one, or null).
    """
    parsed = [parse_media(text) for text in frame["media"]]
    faults = [media.problem for media in parsed if media.problem]
    if faults:
        log.info(
            "%s media cells are read as far as they follow the published form; the first: %s", len(faults), faults[0]
        )
    return frame.with_columns(
        _items(parsed).alias("media_items"),
        pl.Series("media_kind", [media.kind for media in parsed], dtype=pl.String),
        pl.Series("media_count", [len(media.items) for media in parsed], dtype=pl.Int64),
        pl.Series("duration", [_duration(media) for media in parsed], dtype=pl.Float64),
    )


def _items(parsed: list[Media]) -> pl.Series:
    """List(Struct(kind, urls, duration)), put together from flat columns: polars takes nested lists far slower."""
    items = [item for media in parsed for item in media.items]
    urls = pl.Series([url for item in items for url in item.urls], dtype=pl.String)
    columns = {
        "kind": pl.Series([item.kind.value for item in items], dtype=pl.String),
        "urls": _lists(urls, [len(item.urls) for item in items]),
        "duration": pl.Series([item.duration for item in items], dtype=pl.Float64),
    }
    return _lists(pl.DataFrame(columns).to_struct(), [len(media.items) for media in parsed])


def _lists(values: pl.Series, lengths: list[int]) -> pl.Series:
    """The values cut into lists of these lengths."""
    return pl.Series(pa.LargeListArray.from_arrays(offsets_of(lengths), values.to_arrow()))


def _duration(media: Media) -> float | None:
    return next((item.duration for item in media.items if item.duration is not None), None)


def tweets(frame: pl.DataFrame) -> Iterator[Tweet]:
    """Rows of a frame with media columns as tweets, in order."""
    columns = ("date", "content", "username", "company", "media_kind", "media_count")
    return (Tweet(*row) for row in frame.select(columns).iter_rows())
