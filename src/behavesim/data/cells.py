"""What one cell of a table of tweets may hold: column-wise casts that say which cells are faulty."""

from datetime import datetime

import polars as pl

_WHOLE = r"^\+?([0-9]+)(?:\.0*)?$"
_ID = r"^(?:0|-?[1-9][0-9]{0,18})$"
_DATE = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>(?:[01][0-9]|2[0-3]):[0-5][0-9])(?P<second>:[0-5][0-9])?(?P<fraction>\.[0-9]{1,6})?[0-9]*"
    r" ?(?:Z|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):?(?P<minutes>[0-5][0-9])?)?)?$"
)


def as_text(column: pl.Series) -> pl.Series:
    """The cells as text, '' for the missing ones."""
    return column.cast(pl.String, strict=False).fill_null("")


def is_blank(column: pl.Series) -> pl.Series:
    """True where a cell is missing or holds white space only."""
    return as_text(column).str.strip_chars() == ""


def parse_ids(column: pl.Series) -> pl.Series:
    """Text ids as Int64 where all of them are whole numbers written plainly: a csv file has no other way to say so."""
    numbers = column.cast(pl.Int64, strict=False)  # null beyond 2^63
    whole = column.str.contains(_ID) & numbers.is_not_null()
    return numbers if whole.any() and whole.filter(column.is_not_null()).all() else column


def parse_likes(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Likes as Int64 (null where none are given, NaN included) and True where a cell is no whole number, 0 or more."""
    if column.dtype.is_float():
        missing = column.is_null() | column.is_nan().fill_null(False)
        values = column.cast(pl.Int64, strict=False)  # null for infinities and beyond 2^63
        values = values.set((values < 0) | (values.cast(pl.Float64) != column.cast(pl.Float64)), None)
    else:
        missing = is_blank(column)
        values = as_text(column).str.strip_chars().str.extract(_WHOLE).cast(pl.Int64, strict=False)
    return values, values.is_null() & ~missing


def parse_dates(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Times in UTC, as naive Datetime of microseconds, and True where a cell is missing or no date.

    Text is `2018-07-17 22:04:26` or ISO 8601 (seconds, fraction, offset optional; a time without offset is UTC) or a
    plain date (midnight). Text and cells that the file itself marks as dates are both read.
    """
    if column.dtype == pl.Datetime and column.dtype.time_zone is not None:  # type: ignore[attr-defined]
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    values = column if column.dtype in (pl.Date, pl.Datetime) else _dates_from_text(as_text(column))
    values = values.cast(pl.Datetime("us"), strict=False)
    # Python's datetime knows the years 1 to 9999 only, and the readers of this table use it.
    known = values.is_between(datetime(1, 1, 1), datetime(9999, 12, 31)).fill_null(False)
    return values.set(~known, None), ~known


def _dates_from_text(column: pl.Series) -> pl.Series:
    part = column.str.strip_chars().str.extract_groups(_DATE).struct.unnest()
    clock = part.select(
        pl.concat_str(
            pl.col("day"),
            pl.lit(" "),
            pl.col("time").fill_null("00:00"),
            pl.col("second").fill_null(":00"),
            pl.col("fraction").fill_null(".0"),
        ).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)  # null for 30 February
        - pl.duration(
            minutes=(pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").cast(pl.Int64).fill_null(0)).fill_null(0)
            * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
        )
    )
    return clock.to_series()


def parse_paths(column: pl.Series) -> pl.Series:
    """Lists of the paths in a cell, which holds one path, several with `;` between, a list of them, or nothing."""
    if column.dtype == pl.List or column.dtype == pl.Array:
        lists = column.cast(pl.List(pl.String), strict=False).fill_null([])
    else:
        lists = as_text(column).str.split(";")
    stripped = pl.element().str.strip_chars()
    return lists.list.eval(stripped.filter((stripped != "").fill_null(False)))
