"""A prepared table: rows and pictures, mapped from disk and read where they are needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from behavesim.data.leaks import check_leaks
from behavesim.data.manifest import Manifest
from behavesim.data.source import CHUNK
from behavesim.data.split import Split, SplitSettings, split_rows
from behavesim.errors import UserError

ROWS, IMAGES, REJECTED, MISSING = "rows", "images", "rejected", "missing_pictures"
# What the tower of a model saw in these pictures, and which one it was.
FEATURES, FEATURE_FACTS = "image_features.npz", "image_features.json"
SPLIT_COLUMNS = ("text_key", "identity", "date", "company")


class PreparedTable:
    """A folder that `prepare` wrote. Nothing is read before it is asked for, and maps are opened by each process.

    Columns: row (Int64, the source's line), id (String), date (Datetime in us, UTC), likes (Int64, null where
    unlabelled), content, username, company, media (List of kind, urls, duration), media_kind, media_count, duration,
    images (List[Int64], places in the table of pictures), identity, text_key (Int64).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest}  # maps do not travel to another process

    def __len__(self) -> int:
        return self._rows.num_rows

    @cached_property
    def _rows(self) -> pa.Table:
        return _mapped(self.folder / ROWS, self.manifest.counts.get("rows"))

    @cached_property
    def _jpeg(self) -> pa.ChunkedArray:
        return _mapped(self.folder / IMAGES, self.manifest.counts.get("pictures"))["jpeg"]

    @property
    def pictures(self) -> int:
        """How many pictures are stored."""
        return len(self._jpeg)

    def jpeg(self, index: int) -> memoryview:
        """Bytes of one picture, not copied."""
        return memoryview(self._jpeg[index].as_buffer())

    def column(self, name: str) -> np.ndarray:
        """A column of numbers as an array: [rows]; integers with nulls as floats."""
        return self._rows[name].to_numpy()

    def check(self) -> None:
        """Whether all parts are there.

        Raises:
            UserError: files are damaged or missing.
        """
        len(self), self.pictures, self.rejected()

    def rejected(self) -> pl.DataFrame:
        """Source rows that cannot be used: row, id, column, found, reason.

        Raises:
            UserError: the file is damaged or missing.
        """
        path = self.folder / f"{REJECTED}.parquet"
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); accepted: what prepare wrote") from error

    def all(self) -> "TweetRows":
        """Every row."""
        return TweetRows(self, np.arange(len(self)))

    def labelled(self) -> "TweetRows":
        """The rows that have likes."""
        return TweetRows(self, np.flatnonzero(self._rows["likes"].is_valid().to_numpy()))


def _mapped(folder: Path, height: int | None) -> pa.Table:
    """The parts of a folder as one table whose buffers are the files' own pages; it must have `height` rows, if given.

    Raises:
        UserError: files are damaged or missing.
    """
    try:
        parts = sorted(folder.glob("*.arrow"))
        table = pa.concat_tables([pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in parts])
    except (OSError, pa.ArrowInvalid) as error:  # ArrowInvalid: no parts at all, too
        raise UserError(f"{folder}: damaged ({error}); accepted: what prepare wrote") from error
    if height is not None and table.num_rows != height:
        raise UserError(
            f"{folder}: damaged (found {table.num_rows:,} rows of {height:,}); accepted: what prepare wrote"
        )
    return table


@dataclass(frozen=True)
class TweetRows:
    """Some rows of a prepared table, in its order."""

    table: PreparedTable
    positions: np.ndarray  # [N] int64, ascending

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: np.ndarray | slice) -> "TweetRows":
        """Those at some places among these rows, by indices, mask or slice."""
        return replace(self, positions=self.positions[chosen])

    def identities(self) -> np.ndarray:
        """Hashes of the tweets' identities, see `identity_hash`: [N] int64."""
        return self.table.column("identity")[self.positions]

    def frame(self, *columns: str) -> pl.DataFrame:
        """These columns (none: all) of every row, in memory."""
        frames = list(self.chunks(*columns))
        return pl.concat(frames) if frames else _frame(self.table._rows.slice(0, 0), columns)

    def chunks(self, *columns: str) -> Iterator[pl.DataFrame]:
        """The same in pieces of up to `CHUNK` rows, so that memory does not grow with the table."""
        for start in range(0, len(self.positions), CHUNK):
            positions = self.positions[start : start + CHUNK]
            first, last = int(positions[0]), int(positions[-1])
            yield _frame(self.table._rows.slice(first, last - first + 1), columns)[positions - first]


def _frame(rows: pa.Table, columns: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows.select(list(columns)) if columns else rows))


def split_of(rows: TweetRows, settings: SplitSettings) -> Split:
    """Split labelled rows as `settings` say, at the cut dates that the manifest holds for such a split.

    The result's positions are places among `rows`.

    Raises:
        UserError: a part would be empty.
        LeakError: the split leaks; a defect of ours.
    """
    if settings.validation_from is None and settings.test_from is None:
        settings = replace(settings, **rows.table.manifest.cuts(settings))
    columns = rows.frame(*SPLIT_COLUMNS)
    split = split_rows(columns, settings)
    check_leaks(columns, split, settings.kind)
    return split
