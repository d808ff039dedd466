"""Tweets as a batch needs them, encoded once; arrays in memory, or files that are mapped."""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from filelock import FileLock

from behavesim.folders import take_place

_RAGGED = {"offsets", "picture_offsets"}
_LAYOUT, _KEY = "layout", "key"


@dataclass(frozen=True)
class EncodedTweets:
    """Row i of each field describes the same tweet."""

    tokens: np.ndarray  # [all tokens] int32, rows one after another
    offsets: np.ndarray  # [N + 1] int64
    answer_length: np.ndarray  # [N] int64, tokens at a row's end that are the answer; 0 where it holds none
    features: np.ndarray  # [N, F] float32, of the tweet itself
    # V views of what was known when it was posted, see `TweetEncoder.encode`.
    statistics: np.ndarray  # [N, V, S] float32
    prior: np.ndarray  # [N, V] float32, log1p likes
    history: np.ndarray  # [N, V, K, T] float32, earlier posts
    history_valid: np.ndarray  # [N, V, K] bool
    likes: np.ndarray  # [N] float64, nan where unlabelled
    pictures: np.ndarray  # [all pictures] int64, places in a reader of `data/pictures/readers.py`
    picture_offsets: np.ndarray  # [N + 1] int64

    def __len__(self) -> int:
        return len(self.likes)

    @property
    def lengths(self) -> np.ndarray:
        """Text tokens of each row: [N]."""
        return np.diff(self.offsets)

    @property
    def picture_counts(self) -> np.ndarray:
        """Pictures of each row: [N]."""
        return np.diff(self.picture_offsets)

    def text(self, row: int) -> np.ndarray:
        """Token ids of one row, the answer included."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    def images(self, row: int) -> np.ndarray:
        """Places of one row's pictures."""
        return self.pictures[self.picture_offsets[row] : self.picture_offsets[row + 1]]


@dataclass(frozen=True)
class MappedTweets(EncodedTweets):
    """The same in files of a folder; another process maps them again in place of being sent their content."""

    folder: Path

    def __reduce__(self) -> tuple[Callable[[Path], "MappedTweets"], tuple[Path]]:
        return open_encoded, (self.folder,)


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each of N rows starts, and where the last one ends: [N + 1] int64."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def encoded_once(chunks: Iterator[EncodedTweets], folder: Path, facts: bytes) -> MappedTweets:
    """Map what `folder` holds of these chunks, or write it there first.

    Args:
        chunks: what is to be had, as an iterator that encodes when it is asked.
        folder: one encoding; processes of one run share it.
        facts: all that decides the result but the code; the code is told by the first chunk, which is always encoded.
    """
    first = list(itertools.islice(chunks, 1))
    digest = hashlib.blake2b(facts, digest_size=16)
    for chunk in first:
        for field in fields(EncodedTweets):
            digest.update(np.ascontiguousarray(getattr(chunk, field.name)).tobytes())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        key = folder / _KEY
        if not key.exists() or key.read_text() != digest.hexdigest():
            shutil.rmtree(folder, ignore_errors=True)
            write_encoded(itertools.chain(first, chunks), folder)
            key.write_text(digest.hexdigest())
    return open_encoded(folder)


def write_encoded(chunks: Iterable[EncodedTweets], folder: Path) -> None:
    """Write chunks one after another as the files that `open_encoded` maps; `folder` appears once it is complete."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    ends, shapes = dict.fromkeys(_RAGGED, 0), {}
    with ExitStack() as stack:
        files = {field.name: stack.enter_context((partial / field.name).open("wb")) for field in fields(EncodedTweets)}
        for chunk in chunks:
            for name, file in files.items():
                values = np.ascontiguousarray(getattr(chunk, name))
                if name in _RAGGED:
                    # The first offset of a chunk is the last of the one before.
                    values = values[1:] + ends[name] if shapes else values
                    ends[name] = int(values[-1]) if len(values) else ends[name]
                values.tofile(file)
            shapes = {name: (getattr(chunk, name).dtype, getattr(chunk, name).shape[1:]) for name in files}
    lines = [f"{name} {dtype.str} {','.join(map(str, shape))}" for name, (dtype, shape) in shapes.items()]
    (partial / _LAYOUT).write_text("\n".join(lines))
    take_place(partial, folder)


def open_encoded(folder: Path) -> MappedTweets:
    """Map the files of `write_encoded`: pages are read when they are touched and belong to no process."""
    rows = (folder / "likes").stat().st_size // 8
    arrays = {}
    for line in (folder / _LAYOUT).read_text().splitlines():
        name, dtype, shape = line.split(" ")
        sizes = [int(size) for size in shape.split(",") if size]
        if (folder / name).stat().st_size:
            arrays[name] = np.memmap(folder / name, dtype, mode="r").reshape(-1, *sizes)
        else:  # nothing can be mapped
            arrays[name] = np.zeros((rows if sizes else 0, *sizes), dtype)
    return MappedTweets(**arrays, folder=folder)
