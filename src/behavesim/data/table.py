"""A table of tweets, checked: usable rows under fixed names and types, and what is wrong with the others."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from behavesim.data.cells import as_text, is_blank, parse_dates, parse_ids, parse_likes, parse_paths
from behavesim.data.source import CHUNK, blank_rows, read_source
from behavesim.errors import UserError

PUBLISHED_COLUMNS = ("id", "date", "likes", "content", "username", "media", "inferred company")
_SHORT_COMPANY = "company"  # accepted for "inferred company", and the name of the column that `read_table` gives
BLANK = "a blank row"  # reason
NO_IDS = "Null"  # name of a type
SEVERAL = " | "  # between the problems of one row
PROBLEMS = {"row": pl.Int64, "id": pl.String, "column": pl.String, "found": pl.String, "reason": pl.String}
_ACCEPTED = {
    "likes": "accepted: a whole number, 0 or more",
    "date": "accepted: a date such as 2018-07-17 22:04:26, 2018-07-17T22:04:26+00:00 or 2018-07-17",
    "username": "accepted: an account name",
}


@dataclass(frozen=True)
class TableChunk:
    """Consecutive rows of a file.

    `frame`: usable rows in source order. Columns: row (Int64, the line a spreadsheet shows: the header is row 1), id
    (text), date (Datetime in us, naive UTC), likes (Int64, null where unlabelled), content, username, company, media
    (text, '' for null), paths (List[String] as given in the picture column, empty without one).
    `problems`: row, id, column, found, reason; one line a problem, so a row may have several.
    `id_type`: name of the type that ids had: Int64, Float64 or String; `NO_IDS` where no row has one.
    """

    frame: pl.DataFrame
    problems: pl.DataFrame
    id_type: str


def read_table(
    path: Path,
    *,
    image_column: str | None = None,
    labelled: bool = False,
    texts: bool = True,
    rows: int = CHUNK,
) -> Iterator[TableChunk]:
    """Read and check a table, `rows` at a time.

    Args:
        path: .xlsx, .csv or .parquet.
        image_column: names paths of pictures.
        labelled: whether a column of likes must be there; a row without a value in it is usable either way.
        texts: whether a column of texts must be.
        rows: of a chunk.

    Raises:
        UserError: the file cannot be read, holds no rows or lacks columns.
    """
    for raw in read_source(path, rows):
        blank = blank_rows(raw)
        names = _names(raw, Path(path), image_column, {"likes": labelled, "content": texts})
        chosen = raw.select("row", **names)
        if "likes" not in names:
            chosen = chosen.with_columns(likes=pl.lit(None, dtype=pl.Int64))
        if "content" not in names:
            chosen = chosen.with_columns(content=pl.lit(None, dtype=pl.String))
        frame, problems = _check(chosen.filter(~blank))
        problems = pl.concat([problems, _problems(chosen, "row", blank, BLANK, found="nothing")])
        usable = frame.filter(~pl.col("row").is_in(problems["row"].implode()))
        yield TableChunk(usable, problems.sort("row", maintain_order=True), _id_type(chosen.filter(~blank)["id"]))


def _id_type(ids: pl.Series) -> str:
    if ids.null_count() == len(ids):
        return NO_IDS
    name = str(parse_ids(ids).dtype if ids.dtype == pl.String else ids.dtype)
    if name.startswith(("Int", "UInt")):
        return name if name == "UInt64" else "Int64"
    return "Float64" if name.startswith("Float") else "String"


def _names(raw: pl.DataFrame, path: Path, image_column: str | None, needed: Mapping[str, bool]) -> dict[str, str]:
    """Our name → the file's, of the columns in use; those that `needed` does not ask for may be absent."""
    found = [name for name in raw.columns if name != "row"]
    names = {name: name for name in PUBLISHED_COLUMNS[:-1] if name in found or needed.get(name, True)}
    names[_SHORT_COMPANY] = PUBLISHED_COLUMNS[-1] if PUBLISHED_COLUMNS[-1] in found else _SHORT_COMPANY
    if missing := [name for name in names.values() if name not in found]:
        wanted = ", ".join(_with_suggestion(name, found) for name in missing)
        accepted = ", ".join(PUBLISHED_COLUMNS) + f" (or {_SHORT_COMPANY})"
        accepted += "".join(f"; {name} optional" for name, wanted in needed.items() if not wanted)
        raise UserError(f"{path}: no column {wanted}; found: {_listed(found)}; accepted: {accepted}")
    for name in names.values():
        if raw[name].dtype.is_nested() or raw[name].dtype == pl.Binary:
            raise UserError(f"{path}, column {name}: found {raw[name].dtype}; accepted: text, numbers or dates")
    if image_column is not None:
        if image_column not in found:
            hint = _with_suggestion(image_column, found)
            raise UserError(f"{path}: no column {hint} (image_column); found: {_listed(found)}")
        names["paths"] = image_column
    return names


def _with_suggestion(name: str, found: list[str]) -> str:
    shown = "inferred company or company" if name == _SHORT_COMPANY else name
    folded = {other.strip().casefold(): other for other in found}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.7)
    return f"{shown} (close: {folded[close[0]]!r})" if close else shown


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _check(raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All rows under their final types, and the problems."""
    likes, bad_likes = parse_likes(raw["likes"])
    dates, bad_dates = parse_dates(raw["date"])
    problems = [
        _problems(raw, "likes", bad_likes, _ACCEPTED["likes"]),
        _problems(raw, "date", bad_dates, _ACCEPTED["date"]),
        _problems(raw, "username", is_blank(raw["username"]), _ACCEPTED["username"]),
    ]
    frame = raw.select(
        "row",
        raw["id"].cast(pl.String, strict=False).alias("id"),
        dates.alias("date"),
        likes.alias("likes"),
        *(as_text(raw[name]).alias(name) for name in ("content", "username", "company", "media")),
        parse_paths(raw["paths"]).alias("paths")
        if "paths" in raw.columns
        else pl.lit([], pl.List(pl.String)).alias("paths"),
    )
    return frame, pl.concat(problems)


def _problems(rows: pl.DataFrame, column: str, faulty: pl.Series, reason: str, found: str = "") -> pl.DataFrame:
    """One line for each faulty cell of `column`."""
    shown = pl.col(column).cast(pl.String, strict=False).str.strip_chars().str.replace_all(r"\s+", " ").str.head(80)
    shown = pl.lit(found) if found else shown
    return (
        rows.filter(faulty)
        .select(
            "row",
            pl.col("id").cast(pl.String),
            pl.lit(column).alias("column"),
            pl.when(shown.fill_null("") == "").then(pl.lit("nothing")).otherwise(shown).alias("found"),
            pl.lit(reason).alias("reason"),
        )
        .cast(PROBLEMS)
    )
