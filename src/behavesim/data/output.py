"""Writing tables: a whole file under its final name, or none."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import polars as pl
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from behavesim.errors import UserError

# Limits of the format. Excel's own numbers are doubles: whole numbers beyond 2^53, such as tweet ids, lose digits.
_XLSX_ROWS = 1_048_575
_XLSX_CHARACTERS = 32_767
_XLSX_WHOLE = 2**53


def check_output(path: Path) -> None:
    """Raise UserError when a table could not be written to `path`; touches nothing."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: found a folder; accepted: a file ending in {', '.join(_WRITERS)}")
    if path.suffix.lower() not in _WRITERS:
        raise UserError(f"{path}: found {path.suffix or 'no extension'}; accepted: {', '.join(_WRITERS)}")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: {folder} is no folder that can be written to; accepted: a path in one that can")


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write .parquet, .csv or .xlsx, replacing an existing file only once the new one is complete.

    Lists become text with `;` between their elements in .csv and .xlsx.

    Raises:
        UserError: the extension is unknown, the place cannot be written to, or the table does not fit the format.
    """
    path = Path(path)
    check_output(path)
    # A sibling, because os.replace is atomic on one file system only; not tempfile, whose files only the owner reads.
    temporary = path.with_name(f".{uuid4().hex}{path.suffix.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[path.suffix.lower()](frame, temporary)
        temporary.replace(path)
    except (OSError, FileCreateError) as error:
        raise UserError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_xlsx(frame: pl.DataFrame, path: Path) -> None:
    frame = _without_lists(frame)
    _check_xlsx(frame)
    largest = _maxima(frame, pl.selectors.integer().cast(pl.Float64).abs())
    frame = frame.with_columns(pl.col(name).cast(pl.String) for name, most in largest.items() if most > _XLSX_WHOLE)
    # Text stays text: without these a tweet that opens with "=" is a formula and one that is a link loses its tail.
    plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    # "0": ids and likes without thousands separators. General: floats with all their digits.
    formats = {dtype: "0" if dtype.is_integer() else "General" for dtype in frame.dtypes if dtype.is_numeric()}
    with xlsxwriter.Workbook(path, {**plain, "nan_inf_to_errors": True}) as workbook:
        frame.write_excel(workbook, dtype_formats=formats)


def _check_xlsx(frame: pl.DataFrame) -> None:
    """Raise where the format would drop something without a word."""
    if frame.height > _XLSX_ROWS:
        raise UserError(f"found {frame.height} rows; an .xlsx holds {_XLSX_ROWS}; accepted: .csv or .parquet")
    if len({name.casefold() for name in frame.columns}) < frame.width:
        raise UserError(f"found columns that differ in case only: {frame.columns}; accepted: .csv or .parquet")
    for name, length in _maxima(frame, pl.selectors.string().str.len_chars()).items():
        if length > _XLSX_CHARACTERS:
            raise UserError(
                f"column {name}: found a text of {length} characters; a cell of an .xlsx holds {_XLSX_CHARACTERS}; "
                "accepted: .csv or .parquet"
            )


def _maxima(frame: pl.DataFrame, values: pl.Expr) -> dict[str, float]:
    """The largest of `values` by column; 0 where there is none."""
    return next(iter(frame.select(values.max().fill_null(0)).to_dicts()), {})


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    _without_lists(frame).write_csv(path)


def _without_lists(frame: pl.DataFrame) -> pl.DataFrame:
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List]
    return frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(";") for name in lists)


_WRITERS: Mapping[str, Callable[[pl.DataFrame, Path], None]] = {
    ".xlsx": _write_xlsx,
    ".csv": _write_csv,
    ".parquet": lambda frame, path: frame.write_parquet(path),
}
