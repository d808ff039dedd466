"""A table as the user has it (.xlsx, .csv, .parquet), read in chunks of raw rows."""

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow.parquet

from behavesim.errors import UserError

CHUNK = 8192  # rows that are in memory at a time, but for .xlsx, which can only be read whole


def read_source(path: Path, rows: int = CHUNK) -> Iterator[pl.DataFrame]:
    """The file's rows as they are, in chunks of `rows` (the last may be shorter), at least one chunk.

    `row` stands in front: the line that a spreadsheet shows, the header being row 1. Columns of a csv file are text.

    Raises:
        UserError: the file cannot be read, or holds no rows.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: found a folder; accepted: a file ending in {', '.join(_READERS)}")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: found {path.suffix or 'no extension'}; accepted: {', '.join(_READERS)}")
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; accepted: a table ending in {', '.join(_READERS)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    at = 2
    for chunk in _rechunked(_read(reader, path, rows), rows):
        numbers = pl.int_range(at, at + chunk.height, dtype=pl.Int64, eager=True)
        yield chunk.drop("row", strict=False).insert_column(0, numbers.alias("row"))
        at += chunk.height
    if at == 2:
        raise UserError(f"{path}: holds no rows; accepted: a header and at least one tweet")


def blank_rows(chunk: pl.DataFrame) -> pl.Series:
    """True where a raw row holds nothing but its number."""
    blank = [
        pl.col(name).str.strip_chars().fill_null("") == "" if dtype == pl.String else pl.col(name).is_null()
        for name, dtype in chunk.drop("row").schema.items()
    ]
    return chunk.select(pl.all_horizontal(blank).alias("blank"))["blank"]


def _read(reader: Callable[[Path, int], Iterator[pl.DataFrame]], path: Path, rows: int) -> Iterator[pl.DataFrame]:
    try:
        yield from reader(path, rows)
    except pl.exceptions.NoDataError:
        raise UserError(f"{path}: the file is empty; accepted: a header and at least one tweet") from None
    except (Exception, pl.exceptions.PanicException) as error:  # every engine has its own, on any damage
        odd = _odd_row(path) if path.suffix.lower() == ".csv" else ""
        raise UserError(f"{path}: cannot be read as {path.suffix.lower()}: {odd or _one_line(error)}") from None


def _rechunked(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows, cut every `rows`, wherever the engine cut them."""
    left: pl.DataFrame | None = None
    for frame in frames:
        left = frame if left is None else pl.concat([left, frame])
        while left.height >= rows:
            yield left[:rows]
            left = left[rows:]
    if left is not None and left.height:
        yield left


def _read_xlsx(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    """The first sheet; a column of mixed types comes as text, whole numbers (doubles in the file) as integers."""
    # Not pl.read_excel: its own step to integers fails the whole file over one cell such as 1e30.
    import fastexcel

    logging.getLogger("fastexcel").setLevel(logging.ERROR)  # it would warn of every column without values
    frame = pl.DataFrame(fastexcel.read_excel(path).load_sheet(0, schema_sample_rows=None))
    for column in frame.select(pl.col(pl.Float64)):
        whole = column.cast(pl.Int64, strict=False)
        if whole.cast(pl.Float64).eq_missing(column).all():
            frame = frame.with_columns(whole)
    yield from frame.iter_slices(rows)


def _read_csv(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    # All text: one bad cell must not fail the file. No glob: `*` and `[` in a path mean themselves.
    yield from pl.scan_csv(path, infer_schema=False, glob=False).collect_batches(chunk_size=rows)


def _read_parquet(path: Path, rows: int) -> Iterator[pl.DataFrame]:
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=rows):
            yield pl.DataFrame(pl.from_arrow(batch))


_READERS: Mapping[str, Callable[[Path, int], Iterator[pl.DataFrame]]] = {
    ".xlsx": _read_xlsx,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _odd_row(path: Path) -> str:
    """What is wrong with the first row of a csv file that has another number of cells than the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            columns = len(next(rows))
            # Fewer cells are no fault: the others are missing ones.
            for number, row in enumerate(rows, 2):
                if len(row) > columns:
                    return f"row {number}: found {len(row)} cells; accepted: {columns}, as in the header"
    except (OSError, ValueError, csv.Error, StopIteration):
        pass
    return ""


def _one_line(error: BaseException) -> str:
    # polars puts paragraphs of advice before the cause.
    lines = str(error).rpartition("Original error:")[2].replace("`", " ").split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)[:160]
