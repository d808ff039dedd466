"""Downloaded pictures on disk, kept by what is in them."""

import sqlite3
import threading
import time
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from filelock import FileLock

from behavesim.errors import UserError

_PATIENCE = 60.0  # seconds that a process waits for another one's turn at the index
_ABANDONED = 86_400.0  # seconds after which a file in the making belongs to nobody who still runs
_SCHEMA = """
CREATE TABLE IF NOT EXISTS links (
    url TEXT PRIMARY KEY,
    sha256 TEXT,                -- of the bytes; null: the link failed
    size INTEGER,               -- of the bytes
    reason TEXT,                -- why it failed
    permanent INTEGER NOT NULL  -- 1: asking again is of no use
) WITHOUT ROWID
"""


class PictureFiles:
    """A folder of pictures as downloaded, and what is known of their links.

    `objects/ab/<sha256>` holds the bytes, once for all links that gave them; `index.sqlite` says what a link gave, or
    why it gave nothing. Any number of datasets, processes of one machine and threads may share a folder; what was put
    stays whole when a process is killed.

    Raises:
        UserError: the folder cannot be written to, or its index is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._index_path = self.folder / "index.sqlite"
        self._lock = threading.Lock()
        try:
            self._unfinished.mkdir(parents=True, exist_ok=True)
            # Turning the write-ahead log on does not wait for other processes by itself.
            with FileLock(self.folder / ".index.lock", timeout=_PATIENCE):
                self._index = self._opened_index()
            self._sweep()
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written to: {error.strerror or error}") from error

    @property
    def _unfinished(self) -> Path:
        # On the file system of the objects, where a rename is atomic.
        return self.folder / "unfinished"

    def _opened_index(self) -> sqlite3.Connection:
        try:
            # isolation_level=None: each statement is a transaction. check_same_thread=False: `_lock` sees to it.
            index = sqlite3.connect(self._index_path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            index.execute("PRAGMA journal_mode=WAL")
            # A power cut may cost the last lines, never the index; the pictures would be downloaded again.
            index.execute("PRAGMA synchronous=NORMAL")
            index.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise UserError(
                f"{self._index_path}: no readable index ({error}); accepted: the one written here, or none"
            ) from error
        return index

    def _sweep(self) -> None:
        """Remove what killed processes left half written."""
        for path in self._unfinished.iterdir():
            try:
                if path.stat().st_mtime < time.time() - _ABANDONED:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process swept it, or finished it

    def get(self, url: str) -> Path | None:
        """The picture that the link gave; None where it is unknown, failed, or its file is no longer whole."""
        row = self._row("SELECT sha256, size FROM links WHERE url = ? AND sha256 IS NOT NULL", url)
        if row is None:
            return None
        path = self._object(row[0])
        return path if _is_whole(path, row[1]) else None

    def failure(self, url: str) -> str | None:
        """Why the link failed, where asking again is of no use; None otherwise."""
        row = self._row("SELECT reason FROM links WHERE url = ? AND sha256 IS NULL AND permanent", url)
        return None if row is None else row[0]

    def put(self, url: str, content: bytes) -> Path:
        """Keep what the link gave.

        Raises:
            UserError: it cannot be written.
        """
        digest = sha256(content).hexdigest()
        path = self._object(digest)
        # Not flushed to disk: a file that a power cut left short shows by its size.
        temporary = self._unfinished / uuid4().hex
        try:
            if not _is_whole(path, len(content)):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(content)
                temporary.replace(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        self._write(url, digest, len(content), None, False)
        return path

    def fail(self, url: str, reason: str, permanent: bool) -> None:
        """Keep why the link gave nothing; a picture that is here all the same stays known."""
        if self.get(url) is None:
            self._write(url, None, None, reason, permanent)

    def close(self) -> None:
        """Close the index; closing twice does no harm."""
        with self._lock:
            self._index.close()

    def __enter__(self) -> "PictureFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _object(self, digest: str) -> Path:
        return self.folder / "objects" / digest[:2] / digest

    def _row(self, query: str, url: str) -> tuple | None:
        with self._lock:
            try:
                return self._index.execute(query, (url,)).fetchone()
            except sqlite3.DatabaseError as error:
                raise self._broken(error) from error

    def _write(self, *values: object) -> None:
        with self._lock:
            try:
                self._index.execute("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?)", values)
            except sqlite3.DatabaseError as error:
                raise self._broken(error) from error

    def _broken(self, error: sqlite3.Error) -> UserError:
        return UserError(f"{self._index_path}: cannot be used: {error}")


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
