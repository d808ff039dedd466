"""A table of tweets on disk (.xlsx, .csv, .parquet), read into usable rows and a list of the others."""

import difflib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from behavesim.data.cells import as_text, is_blank, parse_dates, parse_ids, parse_likes, parse_paths, picture_fault
from behavesim.errors import UserError
from behavesim.log import log

PUBLISHED_COLUMNS = ("id", "date", "likes", "content", "username", "media", "inferred company")
_SHORT_COMPANY = "company"  # accepted for "inferred company", and the name of the column that `read_table` gives
_NO_LIKES = "no likes"
_REJECTED = {"row": pl.Int64, "id": pl.String, "column": pl.String, "found": pl.String, "reason": pl.String}
_ACCEPTED = {
    "likes": "accepted: a whole number, 0 or more",
    "date": "accepted: a date such as 2018-07-17 22:04:26, 2018-07-17T22:04:26+00:00 or 2018-07-17",
    "username": "accepted: an account name",
}


@dataclass(frozen=True)
class TweetTable:
    """The tweets of one file.

    `frame`: usable rows in source order. Columns: row (Int64, the line a spreadsheet shows: the header is row 1), id
    (as given), date (Datetime in us, naive UTC), likes (Int64, null where unlabelled), content, username, company,
    media (text, '' for null), images (List[String] of absolute paths, empty without pictures).
    `rejected`: row, id (text), column, found, reason; one line a problem, so a row may have several.
    `rows`: data rows in the file; rows without any value are none.
    """

    frame: pl.DataFrame
    rejected: pl.DataFrame
    source: Path
    rows: int


class BadRows(UserError):  # noqa: N818  # what the user has, not a failure of the code
    """Some rows cannot be used; `rejected` lists them as in `TweetTable`."""

    def __init__(self, message: str, rejected: pl.DataFrame) -> None:
        super().__init__(message)
        self.rejected = rejected


def read_table(
    path: Path,
    *,
    image_column: str | None = None,
    image_optional: bool = False,
    labelled: bool,
    on_bad_row: Literal["error", "skip"] = "error",
) -> TweetTable:
    """Read and check a table; `image_column` names paths of pictures, relative to the table's folder.

    With `image_optional` a table without that column is read without pictures, which the log says. A row without
    likes is left out of a labelled table, never an error. Any other problem of a row that has them raises with
    on_bad_row='error'.

    Raises:
        UserError: the file cannot be read, is empty or lacks columns.
        BadRows: rows cannot be used.
    """
    path = Path(path)
    raw = _load(path)
    if image_optional and image_column is not None and image_column not in raw.columns:
        log.info("%s has no column %s: read without pictures", path, image_column)
        image_column = None
    raw = _choose_columns(raw, path, image_column, labelled)
    if raw.is_empty():
        raise UserError(f"{path}: holds no rows; accepted: a header and at least one tweet")
    frame, rejected = _check(raw, path.absolute().parent, image_column, labelled)
    unlabelled = rejected.filter(reason=_NO_LIKES)["row"]
    bad = rejected.filter(~pl.col("row").is_in(unlabelled.implode()))
    if on_bad_row == "error" and not bad.is_empty():
        raise BadRows(_first_problem(path, bad), rejected)
    usable = frame.filter(~pl.col("row").is_in(rejected["row"].implode()))
    return TweetTable(frame=usable, rejected=rejected, source=path, rows=frame.height)


def _load(path: Path) -> pl.DataFrame:
    """The file as it is, with `row` in front and without rows that hold nothing."""
    readers: Mapping[str, Callable[[io.BytesIO], pl.DataFrame]] = {
        ".xlsx": _read_xlsx,
        ".csv": lambda file: pl.read_csv(file, infer_schema=False),  # one bad cell must not fail the file
        ".parquet": pl.read_parquet,
    }
    if path.is_dir():
        raise UserError(f"{path}: found a folder; accepted: a file ending in {', '.join(readers)}")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: found {path.suffix or 'no extension'}; accepted: {', '.join(readers)}")
    try:
        # Bytes, not the path: polars takes `*` and `[` in a path for a pattern.
        file = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; accepted: a table ending in {', '.join(readers)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        frame = reader(file)
    except pl.exceptions.NoDataError:
        raise UserError(f"{path}: the file is empty; accepted: a header and at least one tweet") from None
    except (Exception, pl.exceptions.PanicException) as error:  # every engine has its own, on any damage
        raise UserError(f"{path}: cannot be read as {path.suffix.lower()}: {_one_line(error)}") from None
    return _number_rows(frame)


def _read_xlsx(file: io.BytesIO) -> pl.DataFrame:
    """The first sheet; a column of mixed types comes as text, whole numbers (doubles in the file) as integers."""
    # Not pl.read_excel: its own step to integers fails the whole file over one cell such as 1e30.
    import fastexcel

    logging.getLogger("fastexcel").setLevel(logging.ERROR)  # it would warn of every column without values
    frame = pl.DataFrame(fastexcel.read_excel(file.getvalue()).load_sheet(0, schema_sample_rows=None))
    for column in frame.select(pl.col(pl.Float64)):
        whole = column.cast(pl.Int64, strict=False)
        if whole.cast(pl.Float64).eq_missing(column).all():
            frame = frame.with_columns(whole)
    return frame


def _number_rows(frame: pl.DataFrame) -> pl.DataFrame:
    if not frame.width:
        return frame
    blank = [
        pl.col(name).str.strip_chars().fill_null("") == "" if dtype == pl.String else pl.col(name).is_null()
        for name, dtype in frame.schema.items()
    ]
    numbers = pl.int_range(2, frame.height + 2, dtype=pl.Int64, eager=True)
    keep = ~frame.select(pl.all_horizontal(blank)).to_series()
    return frame.drop("row", strict=False).insert_column(0, numbers.alias("row")).filter(keep)


def _one_line(error: BaseException) -> str:
    # polars puts paragraphs of advice before the cause.
    lines = str(error).rpartition("Original error:")[2].replace("`", " ").split("\n")
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)[:160]


def _choose_columns(raw: pl.DataFrame, path: Path, image_column: str | None, labelled: bool) -> pl.DataFrame:
    """The columns in use under the names of `TweetTable.frame`, `images` still as given."""
    found = [name for name in raw.columns if name != "row"]
    names = {name: name for name in PUBLISHED_COLUMNS[:-1] if name in found or name != "likes" or labelled}
    names[_SHORT_COMPANY] = PUBLISHED_COLUMNS[-1] if PUBLISHED_COLUMNS[-1] in found else _SHORT_COMPANY
    if missing := [name for name in names.values() if name not in found]:
        wanted = ", ".join(_with_suggestion(name, found) for name in missing)
        accepted = ", ".join(PUBLISHED_COLUMNS) + f" (or {_SHORT_COMPANY})" + ("" if labelled else "; likes optional")
        raise UserError(f"{path}: no column {wanted}; found: {_listed(found)}; accepted: {accepted}")
    for name in names.values():
        if raw[name].dtype.is_nested() or raw[name].dtype == pl.Binary:
            raise UserError(f"{path}, column {name}: found {raw[name].dtype}; accepted: text, numbers or dates")
    if image_column is not None:
        if image_column not in found:
            hint = _with_suggestion(image_column, found)
            raise UserError(f"{path}: no column {hint} (data.image_column); found: {_listed(found)}")
        names["images"] = image_column
    chosen = raw.select("row", **names)
    return chosen if "likes" in names else chosen.with_columns(likes=pl.lit(None, dtype=pl.Int64))


def _with_suggestion(name: str, found: list[str]) -> str:
    shown = "inferred company or company" if name == _SHORT_COMPANY else name
    folded = {other.strip().casefold(): other for other in found}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.7)
    return f"{shown} (close: {folded[close[0]]!r})" if close else shown


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _check(
    raw: pl.DataFrame, folder: Path, image_column: str | None, labelled: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All rows under their final types, and the problems."""
    likes, bad_likes = parse_likes(raw["likes"])
    dates, bad_dates = parse_dates(raw["date"])
    problems = [
        _problems(raw, "likes", bad_likes, _ACCEPTED["likes"]),
        _problems(raw, "date", bad_dates, _ACCEPTED["date"]),
        _problems(raw, "username", is_blank(raw["username"]), _ACCEPTED["username"]),
    ]
    if labelled:
        problems.append(_problems(raw, "likes", likes.is_null() & ~bad_likes, _NO_LIKES))
    frame = raw.select(
        "row",
        parse_ids(raw["id"]) if raw["id"].dtype == pl.String else raw["id"],
        dates.alias("date"),
        likes.alias("likes"),
        *(as_text(raw[name]).alias(name) for name in ("content", "username", "company", "media")),
        pl.lit([], dtype=pl.List(pl.String)).alias("images"),
    )
    if image_column is not None:
        images, bad_images = _check_images(raw, folder, image_column)
        frame = frame.with_columns(images)
        problems.append(bad_images)
    return frame, pl.concat(problems).sort("row", maintain_order=True)


def _problems(
    rows: pl.DataFrame, column: str, faulty: pl.Series, reason: str | pl.Expr, name: str = ""
) -> pl.DataFrame:
    """One line for each faulty cell of `column`, which the file calls `name`."""
    shown = pl.col(column).cast(pl.String, strict=False).str.strip_chars().str.replace_all(r"\s+", " ").str.head(80)
    return (
        rows.filter(faulty)
        .select(
            "row",
            pl.col("id").cast(pl.String),
            pl.lit(name or column).alias("column"),
            pl.when(shown.fill_null("") == "").then(pl.lit("nothing")).otherwise(shown).alias("found"),
            (pl.lit(reason) if isinstance(reason, str) else reason).alias("reason"),
        )
        .cast(_REJECTED)
    )


def _check_images(raw: pl.DataFrame, folder: Path, image_column: str) -> tuple[pl.Series, pl.DataFrame]:
    """Absolute paths of every row's pictures, List[String], and the problems; each file is opened once."""
    each = raw.select("row", "id", given=parse_paths(raw["images"])).explode("given").drop_nulls("given")
    given = each["given"].unique(maintain_order=True)
    paths = [folder / name for name in given]
    faults = {path: picture_fault(path) for path in dict.fromkeys(paths)}
    facts = pl.DataFrame(
        {"given": given, "path": [str(path) for path in paths], "fault": [faults[path] for path in paths]},
        schema={"given": pl.String, "path": pl.String, "fault": pl.String},
    )
    each = each.join(facts, on="given", how="left", maintain_order="left")
    reason = pl.format("{}; accepted: a picture that exists and opens", "fault")
    lists = each.group_by("row", maintain_order=True).agg(images="path")
    images = raw.select("row").join(lists, on="row", how="left", maintain_order="left")["images"].fill_null([])
    return images, _problems(each, "given", each["fault"].is_not_null(), reason, image_column)


def _first_problem(path: Path, bad: pl.DataFrame) -> str:
    first, count = bad.row(0, named=True), bad["row"].n_unique()
    those = "1 such row in all; data.on_bad_row=skip leaves it out"
    if count > 1:
        those = f"{count} such rows in all; data.on_bad_row=skip leaves them out"
    return f"{path}, row {first['row']}, column {first['column']}: found {first['found']}; {first['reason']} ({those})"
