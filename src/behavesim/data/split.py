"""Deterministic splits: which rows train, validate and test."""

import hashlib
from typing import Literal

import numpy as np
import polars as pl

from behavesim.errors import UserError

SplitKind = Literal["random", "unseen_time", "unseen_company"]
MARKERS = r"<hyperlink>|<mention>"


def near_identical_key(frame: pl.DataFrame) -> pl.Series:
    """One key a row; rows whose texts are nearly identical share it.

    Nearly identical: equal after NFKC, lower-casing and dropping markers, digits, punctuation and spaces. A text of
    which nothing remains is told apart by account and date.
    """
    text = (
        pl.col("content")
        .str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(MARKERS, "")
        .str.replace_all(r"[^\p{L}\p{M}\p{S}]", "")
    )
    identity = pl.concat_str(pl.col("username"), pl.lit("\n"), pl.col("date").cast(pl.String))
    return frame.select(pl.when(text == "").then(identity).otherwise(text).alias("key"))["key"]


def identity_hash(frame: pl.DataFrame) -> np.ndarray:
    """A stable 63-bit hash of each tweet's identity (username, date, text): int64 [N].

    `id` is no identity: it restarts in every published file.
    """
    keys = frame.select(
        pl.concat_str("username", pl.col("date").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"), "content", separator="\n")
    ).to_series()
    return _hash(keys, "identity")


def split_rows(
    frame: pl.DataFrame, kind: SplitKind, *, validation: float, test: float, seed: int
) -> dict[str, np.ndarray]:
    """Row positions of each part, ascending: `train`, `validation`, `test`.

    - `random` hashes the near-identical key, so that copies stay together and appended rows move no other row.
    - `unseen_time` takes the latest rows as test, those before them as validation; one instant stays together.
    - `unseen_company` hashes the company.

    For the latter two, training rows whose near-identical copy stands in validation or test are dropped.

    Raises:
        UserError: a part would be empty.
    """
    if kind == "unseen_time":
        part = _by_time(frame, validation, test)
    else:
        keys = near_identical_key(frame) if kind == "random" else frame["company"]
        part = _by_share(_hash(keys, f"{kind} {seed}") / 2**63, validation, test)
    rows = {name: np.flatnonzero(part == number) for number, name in enumerate(("train", "validation", "test"))}
    if kind != "random":
        keys = near_identical_key(frame)
        held_out = keys.gather(np.concatenate([rows["validation"], rows["test"]]))
        copied = keys.gather(rows["train"]).is_in(held_out.implode()).to_numpy()
        rows["train"] = rows["train"][~copied]
    empty = [name for name, found in rows.items() if len(found) == 0]
    if empty:
        raise UserError(
            f"data.split: {kind} leaves {' and '.join(empty)} without rows ({frame.height} rows in all); "
            "accepted: more rows, another data.split, or other data.validation and data.test shares"
        )
    return rows


def _by_share(uniform: np.ndarray, validation: float, test: float) -> np.ndarray:
    """Part numbers [N] from numbers in [0, 1): test lowest, then validation, then train."""
    return np.where(uniform < test, 2, np.where(uniform < test + validation, 1, 0))


def _by_time(frame: pl.DataFrame, validation: float, test: float) -> np.ndarray:
    dates = frame["date"].to_physical().to_numpy()
    ordered = np.sort(dates)
    last = len(ordered) - 1
    test_from = ordered[min(last, round(len(ordered) * (1 - test)))]
    validation_from = ordered[min(last, round(len(ordered) * (1 - test - validation)))]
    return np.where(dates >= test_from, 2, np.where(dates >= validation_from, 1, 0))


def _hash(keys: pl.Series, salt: str) -> np.ndarray:
    """Stable across machines and library versions, unlike the hash of polars or Python: int64 [N] in [0, 2⁶³)."""
    unique = keys.unique()
    digests = [
        int.from_bytes(hashlib.blake2b(f"{salt}\n{key}".encode(), digest_size=8).digest(), "little") >> 1
        for key in unique.to_list()
    ]
    hashes = keys.replace_strict(unique, pl.Series(digests, dtype=pl.Int64), return_dtype=pl.Int64)
    return hashes.to_numpy().copy()  # polars hands out read-only memory
