"""Image features stored in an .npz file: a token state [tokens, width] for each picture, with its tweet's id."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import numpy as np
import polars as pl
from numpy.lib import format as npy
from numpy.typing import DTypeLike

from behavesim.data.pictures.npz import NpzMember
from behavesim.errors import UserError
from behavesim.log import log

_IDS, _STATES = "id", "image_embedding"
_ACCEPTED = f"accepted: an .npz file with {_IDS} [N] and {_STATES} [N, width] or [N, tokens, width]"
# What zipfile and numpy stumble over in files that are damaged, encrypted or of another kind.
_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)


class FeatureStore:
    """Image features by tweet.

    Several lines with one id are that tweet's pictures, in the file's order.

    `path`: the file. `ids`: [N] as given, whole numbers or text. `embeddings`: [N, tokens, width] as given, mapped
    from the file where it is stored uncompressed (`FeatureWriter`, `np.savez`), so that memory does not grow with it;
    in memory where it is compressed. A copy sent to another process opens the file anew.
    """

    def __init__(self, path: Path, ids: np.ndarray, embeddings: np.ndarray) -> None:
        self.path = path
        self.ids = ids
        self.embeddings = embeddings

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the ids of a file and map its features.

        Raises:
            UserError: there is no such file, or it holds something else.
        """
        store = cls._read(Path(path))
        if not isinstance(store.embeddings, np.memmap):
            size = store.embeddings.nbytes / 2**20
            log.info("%s: %s is compressed and is read into memory, %.0f MiB; np.savez maps", path, _STATES, size)
        return store

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            with zipfile.ZipFile(path) as archive:
                ids, states = (NpzMember.of(archive, name) for name in (_IDS, _STATES))
                _check(ids, states)
                embeddings = states.mapped(path) if states.stored else states.read(archive)
                return cls(path, ids.read(archive), embeddings if embeddings.ndim == 3 else embeddings[:, None])
        except _DAMAGE as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
            raise UserError(f"data.image_features: {path}: {reason}; {_ACCEPTED}") from error

    def __reduce__(self) -> tuple:
        return type(self)._read, (self.path,)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tokens(self) -> int:
        """Token states of one picture; 1 where the file holds one vector for each."""
        return self.embeddings.shape[1]

    @property
    def width(self) -> int:
        """Size of a token state."""
        return self.embeddings.shape[2]

    @property
    def dtype(self) -> np.dtype:
        """Kind of float in the file."""
        return self.embeddings.dtype

    @cached_property
    def _by_id(self) -> pl.DataFrame:
        ids = pl.Series("id", self.ids).cast(pl.String)
        return pl.DataFrame({"id": ids}).with_row_index("position").sort("id", "position")

    def positions(self, ids: pl.Series | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The lines of each of M tweets: offsets [M + 1] and positions [K], int64 both.

        Tweet m has the lines positions[offsets[m] : offsets[m + 1]], none where the file has none and where its id is
        null. Ids are compared as text.
        """
        wanted = pl.Series(ids).cast(pl.String)
        first, last = (self._by_id["id"].search_sorted(wanted, side).to_numpy() for side in ("left", "right"))
        counts = (last.astype(np.int64) - first) * wanted.is_not_null().to_numpy()
        offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], counts)
        return offsets, self._by_id["position"].to_numpy()[places].astype(np.int64)

    def load(self, index: int) -> np.ndarray:
        """The features of one line: [tokens, width] float32, a copy.

        Raises:
            UserError: a value is NaN or infinite.
        """
        states = np.array(self.embeddings[index], dtype=np.float32)
        if not np.isfinite(states).all():
            where = f"{_STATES} of id {self.ids[index]} (line {index + 1})"
            raise UserError(f"data.image_features: {self.path}: found NaN or infinity in {where}; accepted: numbers")
        return states


class FeatureWriter:
    """Writes features as `FeatureStore` maps them, rows as they come; the file appears when all are written.

    A context manager: a block that fails leaves what was there before.

    Args:
        path: the .npz file; its folder is made.
        rows: how many lines there will be.
        tokens: token states of one picture.
        width: size of a token state.
        dtype: kind of float in the file.
    """

    def __init__(self, path: Path, *, rows: int, tokens: int, width: int, dtype: DTypeLike = np.float32) -> None:
        self.path = Path(path)
        self.shape = (rows, tokens, width)
        self.dtype = np.dtype(dtype)
        self._ids: list[str] = []
        self._temporary = self.path.with_name(f".{self.path.name}.{uuid4().hex}.partial")

    def __enter__(self) -> Self:
        with self._written():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._archive = zipfile.ZipFile(self._temporary, "w")
            # The size of a member beyond 2 GiB has to be announced before its bytes are written.
            self._member = self._archive.open(f"{_STATES}.npy", "w", force_zip64=True)
            header = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
            npy.write_array_header_1_0(self._member, header)
        return self

    def add(self, ids: Sequence[str], states: np.ndarray) -> None:
        """Append K lines: their tweets' ids and features [K, tokens, width].

        Raises:
            UserError: the disk takes no more, or a value is NaN or beyond `dtype`.
        """
        if states.shape != (len(ids), *self.shape[1:]):
            raise ValueError(f"states of {len(ids)} ids have the shape {states.shape}; the file's is {self.shape}")
        with np.errstate(over="ignore"):
            lines = np.ascontiguousarray(states, dtype=self.dtype)
        for tweet, fine in zip(ids, np.isfinite(lines).all(axis=(1, 2)), strict=True):
            if not fine:
                raise UserError(f"{self.path}: tweet {tweet}: found a value that is no {self.dtype}; accepted: finite")
        with self._written():
            self._member.write(lines.data)
        self._ids.extend(map(str, ids))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with self._written(), self._archive:
                self._member.close()
                if kind is None:
                    self._finish()
            if kind is None:
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        if len(self._ids) != self.shape[0]:
            raise ValueError(f"{self.path}: {len(self._ids)} lines were written, {self.shape[0]} announced")
        with self._archive.open(f"{_IDS}.npy", "w") as member:
            npy.write_array(member, np.array(self._ids, dtype=np.str_), allow_pickle=False)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _check(ids: NpzMember, states: NpzMember) -> None:
    """Raise ValueError where two headers do not describe features of tweets."""
    if len(ids.shape) != 1 or ids.dtype.kind not in "iuU":
        raise ValueError(f"found {_IDS} {ids.dtype} {list(ids.shape)}, not one whole number or text a line")
    if states.dtype.kind != "f":
        raise ValueError(f"found {_STATES} {states.dtype}, no floats")
    if len(states.shape) not in (2, 3) or min(states.shape) < 1:
        raise ValueError(f"found {_STATES} {list(states.shape)}")
    if ids.shape[0] != states.shape[0]:
        raise ValueError(f"found {ids.shape[0]} ids and {_STATES} {list(states.shape)}")
