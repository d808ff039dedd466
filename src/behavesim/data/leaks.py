"""The check that a split keeps its promises: nothing held out is seen in training."""

from itertools import combinations

import numpy as np
import polars as pl

from behavesim.data.split import PARTS, Split, SplitKind


class LeakError(RuntimeError):
    """A split has rows on two sides that must be apart: a fault of the program, never of the table."""


def check_leaks(columns: pl.DataFrame, split: Split, kind: SplitKind) -> None:
    """Look through a whole split; `columns` has text_key, identity (Int64), date and company.

    Raises:
        LeakError: a row stands twice; a training row shares text or identity with a held-out row; in `random` a text
            is in two parts; in `unseen_time` a part begins before the earlier one ends; in `unseen_company` a company
            is in two parts. The message counts the rows and gives the first of them as positions.
    """
    _check_once(split)
    positions = np.concatenate([split.rows[part] for part in PARTS])
    part = np.repeat(np.arange(len(PARTS), dtype=np.int8), [len(split.rows[part]) for part in PARTS])
    rows = columns[positions].select("text_key", "identity", "date", "company", row=positions, part=part)
    rows = rows.with_columns(held_out=(pl.col("part") > 0).cast(pl.Int8))
    _check_apart(rows, "identity", "held_out", "the same tweet trains and is held out")
    _check_apart(rows, "text_key", "held_out", "near-identical texts train and are held out")
    if kind == "random":
        _check_apart(rows, "text_key", "part", "near-identical texts are in two parts")
    elif kind == "unseen_time":
        _check_order(rows)
    else:
        _check_apart(rows, "company", "part", "one company is in two parts")


def _check_once(split: Split) -> None:
    positions = np.sort(np.concatenate([split.rows[part] for part in PARTS]))
    twice = np.unique(positions[1:][positions[1:] == positions[:-1]])
    if twice.size:
        raise LeakError(f"a row stands in the split twice: {len(twice)} rows, the first at position {twice[0]}")


def _check_apart(rows: pl.DataFrame, value: str, side: str, leak: str) -> None:
    """No value of one column may occur on two sides."""
    sides = rows.lazy().group_by(value).agg(low=pl.col(side).min(), high=pl.col(side).max())
    crossing = sides.filter(pl.col("low") < pl.col("high")).select(value, "low").collect()
    if crossing.is_empty():
        return
    found = rows.join(crossing, on=value).sort("row")
    first = found.row(0, named=True)
    other = found.filter(pl.col(value) == first[value], pl.col(side) != first[side]).row(0, named=True)
    raise LeakError(f"{leak}: {found.height} rows, the first at positions {_places(first, other)}")


def _check_order(rows: pl.DataFrame) -> None:
    """No row of a part may be as late as a row of a later part."""
    for earlier, later in combinations(range(len(PARTS)), 2):
        begins = rows.filter(part=later).sort("date").head(1)
        late = rows.filter(part=earlier).filter(pl.col("date") >= begins["date"].min()).sort("row")
        if late.height:
            places = _places(late.row(0, named=True), begins.row(0, named=True))
            raise LeakError(
                f"{PARTS[earlier]} reaches into the time of {PARTS[later]}: {late.height} rows, "
                f"the first at positions {places}"
            )


def _places(one: dict[str, int], other: dict[str, int]) -> str:
    return f"{one['row']} ({PARTS[one['part']]}) and {other['row']} ({PARTS[other['part']]})"
