"""Where the pictures of tweets are found: nowhere, in a column of paths, in a folder, or behind links."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

import polars as pl

from behavesim.data.cells import parse_paths
from behavesim.data.pictures.download import DownloadSettings, download, picture_progress
from behavesim.data.pictures.store import PictureFiles
from behavesim.data.source import read_source
from behavesim.errors import UserError
from behavesim.log import log

_NUMBERED = re.compile(r"(.+?)_(\d+)")
_ENDINGS = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2"}


@dataclass(frozen=True)
class PictureFile:
    """One picture of a tweet: its file, or why there is none."""

    origin: str  # path or link
    path: Path | None
    reason: str = ""


class Origin(Protocol):
    """Where pictures come from."""

    column: str | None  # of the table, that names them
    strict: bool  # a picture that cannot be used makes its row unusable
    retry: bool  # pictures that could not be had are asked for again, although nothing changed

    def digest(self, source: Path) -> str:
        """Tells states of what lies there apart, without opening any picture."""
        ...

    def find(self, rows: pl.DataFrame) -> list[list[PictureFile]]:
        """The pictures of each row, in order: `rows` as in `TableChunk`, with the columns of `with_media`."""
        ...


@dataclass(frozen=True)
class NoPictures:
    """Pictures are left alone."""

    column: str | None = None
    strict: bool = False
    retry: bool = False

    def digest(self, source: Path) -> str:
        """Nothing to tell apart."""
        return ""

    def find(self, rows: pl.DataFrame) -> list[list[PictureFile]]:
        """None."""
        return [[] for _ in range(rows.height)]


@dataclass(frozen=True)
class ColumnPictures:
    """A column of the table holds paths, relative to the table's folder."""

    column: str
    folder: Path
    strict: bool = True  # the user wrote the path: a missing file is a mistake, not a loss
    retry: bool = False

    def digest(self, source: Path) -> str:
        """Of the size and time of every file that the column names."""
        return _file_digest(self.folder / name for name in self._named(source))

    def _named(self, source: Path) -> Iterator[str]:
        for chunk in read_source(source):
            if self.column in chunk.columns:  # if not, reading the table will say so
                yield from parse_paths(chunk[self.column]).explode().drop_nulls().unique(maintain_order=True)

    def find(self, rows: pl.DataFrame) -> list[list[PictureFile]]:
        """The files that the column names."""
        return [[PictureFile(name, self.folder / name) for name in names] for names in rows["paths"]]


@dataclass(frozen=True)
class FolderPictures:
    """A folder holds files named for tweets or links.

    A file belongs to a tweet if its stem is the tweet's id, the id with `_1`, `_2`, … behind it (in that order), or the
    stem of a link in its media: `EabcDef.jpg` for `https://…/media/EabcDef?format=jpg`.
    """

    folder: Path
    column: str | None = None
    strict: bool = False
    retry: bool = False
    _files: dict[str, Path] = field(init=False, repr=False)
    _numbered: dict[str, list[Path]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise UserError(f"images_dir: found {self.folder}, which is no folder; accepted: a folder of pictures")
        # Of files with one stem, the picture: downloads often lie beside a video or a file of facts.
        found = sorted(self.folder.rglob("*"), key=lambda path: (path.suffix.lower() in _ENDINGS, path))
        found = [path for path in found if path.is_file()]
        files = {path.stem: path for path in found}
        pictures = [path.stem for path in found if path.suffix.lower() in _ENDINGS]
        if len(pictures) > len(set(pictures)):
            log.info(
                "%s: %s pictures share their name with another one", self.folder, len(pictures) - len(set(pictures))
            )
        numbered: dict[str, list[tuple[int, Path]]] = {}
        for stem, path in files.items():
            if match := _NUMBERED.fullmatch(stem):
                numbered.setdefault(match[1], []).append((int(match[2]), path))
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_numbered", {stem: [path for _, path in sorted(n)] for stem, n in numbered.items()})

    def digest(self, source: Path) -> str:
        """Of the name, size and time of every file there."""
        return _file_digest(path.absolute() for path in self._files.values())

    def find(self, rows: pl.DataFrame) -> list[list[PictureFile]]:
        """Files by id where there are some, else by link; a media item without a file is a loss that is named."""
        found = []
        for tweet, items in rows.select("id", "media_items").iter_rows():
            own = [self._files[tweet]] if tweet in self._files else []
            own += self._numbered.get(tweet, [])
            linked = [self._linked(item["urls"]) for item in items]
            found.append([PictureFile(str(path), path) for path in own] or linked)
        return found

    def _linked(self, urls: Sequence[str]) -> PictureFile:
        for url in urls:
            path = self._files.get(link_stem(url))
            if path is not None:
                return PictureFile(str(path), path)
        return PictureFile(urls[0] if urls else "", None, f"no file of its id or link in {self.folder}")


def link_stem(url: str) -> str:
    """The name that a link gives its file, without an ending."""
    try:
        return PurePosixPath(urlsplit(url).path).stem
    except ValueError:  # such as an unclosed bracket in a host
        return ""


@dataclass(frozen=True)
class DownloadedPictures:
    """The links of the media column, fetched into a store that datasets share."""

    store: Path
    settings: DownloadSettings
    column: str | None = None
    strict: bool = False

    @property
    def retry(self) -> bool:
        """As the settings say."""
        return self.settings.retry_failed

    def digest(self, source: Path) -> str:
        """Of the permission alone, which decides what links give; each is taken to mean the same picture for ever."""
        return "private" if self.settings.allow_private else ""

    def find(self, rows: pl.DataFrame) -> list[list[PictureFile]]:
        """The best picture that could be had of each media item."""
        items = [[item["urls"] for item in items] for items in rows["media_items"]]
        wanted = [urls for row in items for urls in row]
        with PictureFiles(self.store) as store, picture_progress(len(wanted)) as progress:
            results = iter(download(wanted, store, self.settings, progress))
        found = []
        for row in items:
            files = []
            for urls in row:
                result = next(results)
                reason = "; ".join(f"{url}: {why}" for url, why in result.failures) or "no link"
                files.append(PictureFile(result.url or (urls[0] if urls else ""), result.path, reason))
            found.append(files)
        return found


def _file_digest(paths: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            facts = path.stat()
            digest.update(f"{path}\n{facts.st_size}\n{facts.st_mtime_ns}\n".encode())
        except (OSError, ValueError):  # a path may hold what no file system takes, such as a null character
            digest.update(f"{path}\nabsent\n".encode(errors="replace"))
    return digest.hexdigest()
