"""From the place of a picture to what a batch holds of it."""

import io
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from PIL import Image

from behavesim.data.pictures.features import FeatureStore
from behavesim.data.prepared import PreparedTable


class PictureReader(Protocol):
    """Pictures of one table; instances travel to worker processes."""

    states: tuple[int, int] | None  # tokens and width of what `load` gives; None: pixels
    facts: str  # tells apart what `lists` may give for the same rows

    def lists(self, frame: pl.DataFrame) -> pl.Series:
        """Places of each row's pictures, List[Int64]: `frame` holds `id` and `images` of a prepared table."""
        ...

    def load(self, index: int) -> np.ndarray:
        """One picture: pixels [3, S, S] uint8, or token states [tokens, width] float32."""
        ...


class StoredPictures:
    """The JPEG of a prepared table, fitted to a square of `size` pixels."""

    states = None

    def __init__(self, table: PreparedTable, size: int) -> None:
        self.table = table
        self.size = size
        self.facts = table.manifest.fingerprint

    def lists(self, frame: pl.DataFrame) -> pl.Series:
        """As prepared."""
        return frame["images"]

    def load(self, index: int) -> np.ndarray:
        """Pixels [3, size, size] uint8."""
        return decode(self.table.jpeg(index), self.size)


class StoredFeatures:
    """Image features from a file in the place of pictures."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.states = (store.tokens, store.width)
        file = store.path.stat()
        self.facts = f"{store.path} {file.st_size} {file.st_mtime_ns}"

    def lists(self, frame: pl.DataFrame) -> pl.Series:
        """By `id`."""
        offsets, positions = self.store.positions(frame["id"])
        return pl.Series("images", pa.LargeListArray.from_arrays(offsets, positions))

    def load(self, index: int) -> np.ndarray:
        """Token states [tokens, width] float32."""
        return self.store.load(index)


class Blind:
    """No pictures, whatever a table holds."""

    states = None
    facts = ""

    def lists(self, frame: pl.DataFrame) -> pl.Series:
        """None."""
        return pl.Series("images", [[]] * frame.height, dtype=pl.List(pl.Int64))

    def load(self, index: int) -> np.ndarray:
        """Never called: no row has a picture."""
        raise LookupError(index)


def decode(jpeg: bytes | memoryview, size: int) -> np.ndarray:
    """A picture fitted to a square: uint8 [3, size, size].

    The middle square is kept and scaled, which is CLIP's own preprocessing up to a fraction of a pixel.
    """
    with Image.open(io.BytesIO(jpeg)) as file:
        # JPEG decoders can skip most of the work when a much smaller picture is wanted.
        file.draft("RGB", (size, size))
        picture = file.convert("RGB")
    # Cropping before scaling: a very long thin picture would otherwise grow to an enormous one.
    side = min(picture.size)
    left, top = ((length - side) / 2 for length in picture.size)
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box)).transpose(2, 0, 1)
