"""Deterministic splits: which rows train, validate and test."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from unicodedata import normalize

import numpy as np
import polars as pl

from behavesim.errors import UserError

SplitKind = Literal["random", "unseen_time", "unseen_company"]
PARTS = ("train", "validation", "test")
_TRAIN, _VALIDATION, _TEST = range(3)
_DROPPED = r"<hyperlink>|<mention>|[^\p{L}\p{M}\p{S}]+"


@dataclass(frozen=True)
class SplitSettings:
    """How rows are parted.

    `validation` and `test` are shares of the rows (of the companies in `unseen_company`). The cuts, naive UTC, are of
    `unseen_time` alone: validation and test begin there, inclusive; None leaves a cut to the shares. `fold` is of the
    other two: which of the disjoint test parts is held out, from 0 to the last that fits, 1 / `test` - 1.
    """

    kind: SplitKind
    validation: float
    test: float
    seed: int
    validation_from: datetime | None = None
    test_from: datetime | None = None
    fold: int = 0


@dataclass(frozen=True)
class Split:
    """Which rows are in which part.

    `rows`: ascending positions, int64, of `train`, `validation`, `test`. `dropped`: rows that would train, had they no
    near-identical copy in another part. The cuts are those that were used, None where time does not decide.
    """

    rows: Mapping[str, np.ndarray]
    dropped: int
    validation_from: datetime | None
    test_from: datetime | None


def text_keys(frame: pl.DataFrame) -> np.ndarray:
    """A stable 63-bit hash of each text's near-identical key: int64 [N], of the columns content, username, date.

    Nearly identical: equal after NFKC, lower-casing and dropping markers, digits, punctuation and spaces; symbols and
    emoji stay. A text of which nothing remains is told apart by account and date.
    """
    folded = pl.Series([normalize("NFKC", text).lower() for text in frame["content"]], dtype=pl.String)
    bare = folded.str.replace_all(_DROPPED, "")
    # Lower-casing, and dropping what stood between a letter and its accent, undo NFKC: ẖ has one letter, H̱ two.
    text = pl.Series([normalize("NFKC", text) for text in bare], dtype=pl.String)
    account = pl.concat_str("username", _instant(), separator="\n")  # no text key holds a line break
    keys = frame.select(pl.when(text == "").then(account).otherwise(text)).to_series()
    return _hash(keys, "text")


def identity_hash(frame: pl.DataFrame) -> np.ndarray:
    """A stable 63-bit hash of each tweet's identity (username, date, text): int64 [N].

    `id` is no identity: it restarts in every published file.
    """
    keys = frame.select(pl.concat_str("username", _instant(), "content", separator="\n")).to_series()
    return _hash(keys, "identity")


def split_rows(columns: pl.DataFrame, settings: SplitSettings) -> Split:
    """Part the rows by their columns text_key (of `text_keys`), date and company.

    - `random` hashes the text key, so that near-identical copies stay together.
    - `unseen_time` takes the latest rows as test, those before them as validation; one instant stays together.
    - `unseen_company` hashes the company.

    In these two, test rows have a hash below `test` and validation rows one behind them, up to `validation` more. Each
    `fold` turns the circle of hashes on by `test`, so that test parts of two folds share no row.

    For the latter two, training rows whose near-identical copy stands in validation or test are dropped. Appended rows
    move no other row, but where the cuts of `unseen_time` are left to the shares; a row appended to a held-out part
    can drop its copies from training.

    Raises:
        UserError: a part would be empty, or validation would begin no earlier than test.
    """
    if columns.is_empty():
        raise _without_rows(settings.kind, PARTS, 0)
    cuts: tuple[datetime | None, datetime | None] = (None, None)
    if settings.kind == "unseen_time":
        dates = columns["date"].dt.cast_time_unit("us").to_numpy()  # datetime64, without a Python object a row
        validation_from, test_from = _cuts(dates, settings)
        part = np.where(dates >= test_from, _TEST, np.where(dates >= validation_from, _VALIDATION, _TRAIN))
        cuts = validation_from.item(), test_from.item()
    else:
        drawn = _drawn_by_text if settings.kind == "random" else _drawn_by_company
        uniform = (drawn(columns, f"{settings.kind} {settings.seed}") + settings.fold * settings.test) % 1
        held_out = settings.test + settings.validation
        part = np.where(uniform < settings.test, _TEST, np.where(uniform < held_out, _VALIDATION, _TRAIN))
    rows = {name: np.flatnonzero(part == number) for number, name in enumerate(PARTS)}
    keys = columns["text_key"].to_numpy()
    # Of `random` none is found: a key has one part.
    copied = np.isin(keys[rows["train"]], keys[part != _TRAIN])
    rows["train"] = rows["train"][~copied]
    empty = [name for name in PARTS if not rows[name].size]
    if empty:
        raise _without_rows(settings.kind, empty, columns.height)
    return Split(rows, int(copied.sum()), *cuts)


def mix64(words: np.ndarray) -> np.ndarray:
    """A bijection of uint64 [N] that scatters alike words: the finaliser of SplitMix64.

    From Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), with the constants of
    Stafford's variant 13.
    """
    words = (words ^ (words >> 30)) * 0xBF58476D1CE4E5B9
    words = (words ^ (words >> 27)) * 0x94D049BB133111EB
    return words ^ (words >> 31)


def _drawn_by_text(columns: pl.DataFrame, salt: str) -> np.ndarray:
    """Numbers in [0, 1), float64 [N], by which rows of one text share a part: a mix of its key and the salt."""
    keys = columns["text_key"].to_numpy().view(np.uint64)
    return (mix64(keys + _hash([salt], "split").view(np.uint64)) >> 11) * 2.0**-53


def _drawn_by_company(columns: pl.DataFrame, salt: str) -> np.ndarray:
    companies = columns["company"].unique()
    drawn = pl.Series(_hash(companies, salt) / 2**63)
    return columns["company"].replace_strict(companies, drawn, return_dtype=pl.Float64).to_numpy()


def _cuts(dates: np.ndarray, settings: SplitSettings) -> tuple[np.datetime64, np.datetime64]:
    """Where validation and test begin, datetime64[us]."""
    ordered = np.sort(dates)

    def after(share: float) -> np.datetime64:
        return ordered[min(max(0, round(len(ordered) * share)), len(ordered) - 1)]

    if settings.test_from is None:
        earlier, test_from = 1 - settings.test, after(1 - settings.test)
    else:
        test_from = np.datetime64(settings.test_from, "us")
        earlier = np.searchsorted(ordered, test_from) / len(ordered)
    if settings.validation_from is None:
        return after(earlier - settings.validation), test_from
    validation_from = np.datetime64(settings.validation_from, "us")
    if validation_from >= test_from:
        raise UserError(
            f"data.validation_from: found {settings.validation_from}; "
            f"accepted: a date before the first of the test rows, {test_from.item()}"
        )
    return validation_from, test_from


def _without_rows(kind: SplitKind, empty: Iterable[str], height: int) -> UserError:
    cuts = ", other data.validation_from and data.test_from dates" if kind == "unseen_time" else ""
    return UserError(
        f"data.split: {kind} leaves {' and '.join(empty)} without rows ({height} rows in all); "
        f"accepted: more rows, another data.split{cuts}, or other data.validation and data.test shares"
    )


def _instant() -> pl.Expr:
    return pl.col("date").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")


def _hash(keys: Iterable[str], salt: str) -> np.ndarray:
    """Stable across machines and library versions, unlike the hash of polars or Python: int64 [N] in [0, 2⁶³)."""
    digests = b"".join(hashlib.blake2b(f"{salt}\n{key}".encode(), digest_size=8).digest() for key in keys)
    return (np.frombuffer(digests, "<u8") >> 1).astype(np.int64)
