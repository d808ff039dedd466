"""Arrays of an .npz file, mapped where they lie in it."""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.lib import format as npy

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class NpzMember:
    """One array of an .npz file, known by its header."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    header: int  # bytes before the array's own

    @classmethod
    def of(cls, archive: zipfile.ZipFile, name: str) -> Self:
        """Read the header of the array `name`.

        Raises:
            ValueError: there is no such array, it holds Python objects, or is damaged.
        """
        if f"{name}.npy" not in archive.namelist():
            held = ", ".join(file.removesuffix(".npy") for file in archive.namelist())
            raise ValueError(f"found no {name} among {held or 'nothing'}")
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as file:
            version = npy.read_magic(file)
            if version not in _HEADERS:
                raise ValueError(f"found {name} in version {version} of the .npy format, not 1.0 or 2.0")
            member = cls(info, *_HEADERS[version](file), file.tell())
        if member.dtype.hasobject:  # reading those means running what the file says
            raise ValueError(f"found Python objects in {name}, not numbers or text (np.array(values, dtype=str))")
        if info.file_size != member.header + member.dtype.itemsize * math.prod(member.shape):
            raise ValueError(f"found {info.file_size} bytes of {name}, not those of {member.dtype} {member.shape}")
        return member

    @property
    def stored(self) -> bool:
        """Whether its bytes lie in the file as they are, which is what can be mapped."""
        return self.info.compress_type == zipfile.ZIP_STORED

    def read(self, archive: zipfile.ZipFile) -> np.ndarray:
        """The array in memory."""
        with archive.open(self.info) as file:
            return npy.read_array(file, allow_pickle=False)

    def mapped(self, path: Path) -> np.memmap:
        """The array mapped from the archive at `path`, for reading alone; its checksum is not compared."""
        with path.open("rb") as file:
            # The lengths of name and extra fields stand in the header before the bytes; those of the archive's
            # directory, which zipfile gives, may differ.
            file.seek(self.info.header_offset + 26)
            name, extra = np.frombuffer(file.read(4), "<u2").tolist()
        start = self.info.header_offset + 30 + name + extra + self.header
        order = "F" if self.fortran else "C"
        return np.memmap(path, dtype=self.dtype, mode="r", offset=start, shape=self.shape, order=order)
