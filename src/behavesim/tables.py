"""From a path to rows that can be used: a prepared folder as it is, any other table through the cache."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from omegaconf import DictConfig

from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.origins import ColumnPictures, NoPictures
from behavesim.data.prepare import Job, file_hash, prepare
from behavesim.data.prepared import PreparedTable, TweetRows
from behavesim.data.table import BLANK, SEVERAL
from behavesim.errors import UserError
from behavesim.log import log

LISTED = "rejected_rows.csv"
# Of pictures that a table names, once they are in the cache; `prepare` lets its user choose.
IMAGE_SIZE = 336
QUALITY = 90
MAX_PIXELS = 50_000_000


def prepared(
    cfg: DictConfig,
    path: Path,
    *,
    image_column: str | None,
    image_size: int | None,
    labelled: bool,
    texts: bool = True,
) -> PreparedTable:
    """The prepared table at `path`, or of the file at `path`: the latter lies in a cache by its content.

    Args:
        cfg: its `paths` say where the cache is.
        path: a folder that `prepare` wrote, or a table.
        image_column: of a table, names pictures.
        image_size: of a table's pictures, most pixels of the shorter side; None: `IMAGE_SIZE`.
        labelled: whether likes are needed.
        texts: whether texts are.

    Raises:
        UserError: the table cannot be read, or a folder comes with a column of pictures.
    """
    if path.is_dir():
        if image_column is not None:
            raise UserError(f"data.image_column: found {image_column} with the prepared table {path}; accepted: null")
        if image_size is not None:
            raise UserError(f"data.image_size: found {image_size} with the prepared table {path}; accepted: null")
        return PreparedTable(path)
    origin = ColumnPictures(image_column, path.absolute().parent) if image_column else NoPictures()
    cache = Path(cfg.paths.data) / "cache"
    pictures = PictureSettings(image_size or IMAGE_SIZE, QUALITY, MAX_PIXELS)
    job = Job(path, cache, origin, pictures, labelled=labelled, texts=texts)
    sha256 = file_hash(path)
    facts = [sha256, job.options(), image_column and str(origin.folder)]
    name = hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
    return prepare(replace(job, folder=cache / name, sha256=sha256))


def usable(cfg: DictConfig, table: PreparedTable, source: Path, *, labelled: bool, listed: str = LISTED) -> TweetRows:
    """The rows of a table that a command can use; the others are counted, and `listed` in the run's folder.

    A prepared folder was made by a user who saw what it leaves out; of any other table, `cfg.data.on_bad_row` decides
    whether rows may be left out.

    Raises:
        UserError: rows cannot be used, or none can.
    """
    rejected = table.rejected().filter(pl.col("reason") != BLANK)
    if source.is_dir():
        if not rejected.is_empty():
            log.info("%s: %s rows were left out when it was prepared", source, f"{rejected.height:,}")
        rejected = rejected.clear()
    rows = table.labelled() if labelled else table.all()
    unlabelled = _unlabelled(table) if labelled else rejected.clear()
    if not rejected.is_empty() or not unlabelled.is_empty():
        file = Path(cfg.paths.output) / listed
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.concat([rejected, unlabelled]).sort("row").write_csv(file)
        if not rejected.is_empty() and cfg.data.on_bad_row == "error":
            raise UserError(_first_problem(source, rejected))
        count = rejected.height + unlabelled.height
        log.info("%s: %s of %s rows cannot be used, see %s", source, count, _source_rows(table), file)
    if labelled and len(rows) == 0:
        found = f"found {_source_rows(table)} rows, none that can be used"
        raise UserError(f"{source}: {found}; accepted: at least one with likes")
    return rows


def unique_ids(table: PreparedTable, key: str) -> None:
    """Whether `id` tells the rows that have one apart, as features of pictures need it.

    Raises:
        UserError: it does not; `key` is what asks for it.
    """
    hashes = np.concatenate([chunk["id"].drop_nulls().hash().to_numpy() for chunk in table.all().chunks("id")] or [[]])
    repeated = len(hashes) - len(np.unique(hashes))
    if repeated:
        where = f"{table.manifest.source}, column id: found {repeated:,} ids that stood in an earlier row already"
        raise UserError(f"{key}: {where}; accepted: a table in which each id stands once")


def _source_rows(table: PreparedTable) -> int:
    """Rows of the source that hold something."""
    return table.manifest.counts["source_rows"] - table.rejected()["reason"].eq(BLANK).sum()


def _unlabelled(table: PreparedTable) -> pl.DataFrame:
    frames = [
        chunk.filter(pl.col("likes").is_null()).select(
            "row",
            "id",
            pl.lit("likes").alias("column"),
            pl.lit("nothing").alias("found"),
            pl.lit("no likes").alias("reason"),
        )
        for chunk in table.all().chunks("row", "id", "likes")
    ]
    return pl.concat(frames) if frames else table.rejected().clear()


def _first_problem(path: Path, bad: pl.DataFrame) -> str:
    first, count = bad.row(0, named=True), bad.height
    column, found, reason = (first[key] for key in ("column", "found", "reason"))
    if SEVERAL in column:  # and not what was found: a single cell may hold the same sign
        column, found, reason = (text.split(SEVERAL)[0] for text in (column, found, reason))
    those = "1 such row in all; data.on_bad_row=skip leaves it out"
    if count > 1:
        those = f"{count} such rows in all; data.on_bad_row=skip leaves them out"
    return f"{path}, row {first['row']}, column {column}: found {found}; {reason} ({those})"
