"""Preparing a table once: checked rows and small pictures, in memory-mappable parts that an interruption keeps."""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet
from filelock import FileLock

from behavesim.config import MANIFEST
from behavesim.data import manifest
from behavesim.data.manifest import Manifest, SplitRecord
from behavesim.data.parts import PartWriter, PictureSettings
from behavesim.data.pictures.origins import NoPictures, Origin
from behavesim.data.prepared import FEATURE_FACTS, FEATURES, IMAGES, MISSING, REJECTED, ROWS, PreparedTable, split_of
from behavesim.data.source import CHUNK
from behavesim.data.split import SplitKind, SplitSettings
from behavesim.data.table import NO_IDS, read_table
from behavesim.errors import UserError
from behavesim.folders import settle, take_place
from behavesim.log import log

_FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class Job:
    """One preparation: what is read, where it goes, and how."""

    source: Path
    folder: Path
    origin: Origin
    pictures: PictureSettings
    validation: float = 0.1  # shares of the splits that the manifest records
    test: float = 0.2
    split_seed: int = 0
    labelled: bool = False  # whether a table without a column of likes is refused
    texts: bool = True  # whether one without a column of texts is
    rows: int = CHUNK  # of the source in a part
    sha256: str | None = None  # of the source, by one who knows it

    def options(self) -> dict[str, object]:
        """What the folder depends on besides the source and the pictures that are found."""
        origin = type(self.origin).__name__
        splits = {"validation": self.validation, "test": self.test, "split_seed": self.split_seed}
        pictures = {"pictures": origin, "image_column": self.origin.column}
        if not isinstance(self.origin, NoPictures):
            pictures |= asdict(self.pictures)
        texts = {} if self.texts else {"texts": False}  # such a table must not serve whoever needs them
        return {**pictures, **splits, **texts, "part_rows": self.rows}


@dataclass(frozen=True)
class Prepared:
    """What a preparation came to."""

    table: PreparedTable
    written: bool  # False: it was there already


def prepare(job: Job) -> PreparedTable:
    """The table of `prepare_if_needed`."""
    return prepare_if_needed(job).table


def prepare_if_needed(job: Job) -> Prepared:
    """Write `job.folder`, or leave it if source, options and pictures are those that it was written from.

    One that lacks pictures is written again where `job.origin.retry` asks for them once more. The work is done in parts
    of a sibling folder, which takes the place of `job.folder` once complete. A part that was written before an
    interruption is not done again. Cut dates of the folder that is replaced are kept if its rows are among the new
    ones, so that rows that were appended to a table move no other row into another part.

    Raises:
        UserError: the source cannot be read or lacks columns, or the folder holds something else or cannot be written.
    """
    try:
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(job.folder.with_name(f".{job.folder.name}.lock")):
            settle(job.folder, _is_the_users)
            return _prepare(job)
    except OSError as error:
        raise UserError(f"{job.folder}: cannot be written: {error.strerror or error}") from error


def _prepare(job: Job) -> Prepared:
    sha256 = job.sha256 or file_hash(job.source)
    facts = [manifest.SCHEMA, sha256, job.options(), job.origin.digest(job.source)]
    fingerprint = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
    earlier = _earlier(job.folder)
    if earlier is not None and earlier.manifest.fingerprint == fingerprint:
        lacking = earlier.manifest.counts[MISSING] > 0
        if not (lacking and job.origin.retry):
            return Prepared(earlier, written=False)
    work = _work_folder(job.folder, fingerprint)
    try:
        rows, id_type = _write_parts(job, work)
    except UserError:
        if not any((work / ROWS).iterdir()):  # refused at once: there is nothing to go on with
            shutil.rmtree(work)
        raise
    _join_reports(work)
    Manifest(manifest.SCHEMA, fingerprint, job.source.name, sha256, job.options(), {}, id_type, []).write(work)
    table = PreparedTable(work)
    if earlier is not None and _grew(earlier, table):
        log.info("%s has grown: the cut dates of unseen_time stay", job.folder)
        table.manifest = replace(table.manifest, splits=earlier.manifest.splits)
    replace(table.manifest, counts=_counts(table, rows), splits=_splits(table, job)).write(work)
    take_place(work, job.folder, _is_the_users)
    (job.folder / _FINGERPRINT).unlink()
    return Prepared(PreparedTable(job.folder), written=True)


def _earlier(folder: Path) -> PreparedTable | None:
    """The table that is to be replaced, if this version can read it and it is whole."""
    # Not the manifest: other programs use its name, and someone's own files must never be replaced.
    prepared = (folder / ROWS).is_dir() and (folder / f"{REJECTED}.parquet").is_file()
    if not prepared and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: found other things than a prepared table; accepted: another name")
    if not folder.exists():
        return None
    try:
        table = PreparedTable(folder)
        table.check()
        return table
    except UserError as error:
        log.info("%s; it is prepared again", error)
        return None


def _grew(old: PreparedTable, new: PreparedTable) -> bool:
    """Whether the new table is the old one with more rows: some of the old may have been dropped."""
    known = np.isin(old.column("identity"), new.column("identity"))
    return len(known) > 0 and known.mean() > 0.5


def _is_the_users(name: str) -> bool:
    """Whether a thing in a prepared folder was put there by its user; features are of the pictures that go."""
    reports = (f"{REJECTED}.parquet", f"{MISSING}.parquet")
    ours = (ROWS, IMAGES, REJECTED, MISSING, *reports, MANIFEST, _FINGERPRINT, FEATURES, FEATURE_FACTS)
    return name not in ours and not name.startswith(f".{FEATURES}.")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; accepted: a table") from None


def _work_folder(folder: Path, fingerprint: str) -> Path:
    """The folder of parts, emptied if another state of the source or other options had begun to fill it."""
    work = folder.with_name(f".{folder.name}.partial")
    marker = work / _FINGERPRINT
    if marker.exists() and marker.read_text() == fingerprint:
        log.info("%s: an interrupted preparation goes on", folder)
        return work
    shutil.rmtree(work, ignore_errors=True)
    for part in (ROWS, IMAGES, REJECTED, MISSING):
        (work / part).mkdir(parents=True)
    marker.write_text(fingerprint)
    return work


def _write_parts(job: Job, work: Path) -> tuple[int, str]:
    """All parts that are not there yet; rows of the source and the type of all ids."""
    id_types, rows = set(), 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        writer = PartWriter(work, job.origin, job.pictures, threads)
        needed = {"labelled": job.labelled, "texts": job.texts}
        chunks = read_table(job.source, image_column=job.origin.column, rows=job.rows, **needed)
        for number, chunk in enumerate(chunks):
            writer.write(number, chunk)
            id_types |= {chunk.id_type} - {NO_IDS}
            rows += chunk.frame.height + chunk.problems["row"].n_unique()
    return rows, id_types.pop() if len(id_types) == 1 else "String"


def _join_reports(work: Path) -> None:
    """The parts' reports as one file each."""
    for name in (REJECTED, MISSING):
        joined, parts = work / f"{name}.parquet", sorted((work / name).glob("*.parquet"))
        if not joined.exists():  # an interruption may have come after it, and left some of the parts
            temporary = work / f"{name}.partial"
            with pyarrow.parquet.ParquetWriter(temporary, pyarrow.parquet.read_schema(parts[0])) as writer:
                for part in parts:
                    writer.write_table(pyarrow.parquet.read_table(part))
            temporary.rename(joined)
        shutil.rmtree(work / name, ignore_errors=True)


def _counts(table: PreparedTable, source_rows: int) -> dict[str, int]:
    lines = {
        name: pyarrow.parquet.read_metadata(table.folder / f"{name}.parquet").num_rows for name in (REJECTED, MISSING)
    }
    counts = {"rows": len(table), "labelled": len(table.labelled()), "pictures": table.pictures}
    if counts["rows"] + lines[REJECTED] != source_rows:
        raise RuntimeError(f"{table.folder}: {counts['rows']} rows and {lines[REJECTED]} rejected of {source_rows}")
    return {"source_rows": source_rows, **counts, **lines}


def _splits(table: PreparedTable, job: Job) -> list[SplitRecord]:
    """A record of each kind of split that the labelled rows allow."""
    records = []
    for kind in get_args(SplitKind):
        settings = SplitSettings(kind, job.validation, job.test, job.split_seed)
        try:
            records.append(SplitRecord.of(settings, split_of(table.labelled(), settings)))
        except UserError as error:  # too few rows, companies or dates; training says so to whoever asks for this split
            log.debug("%s: %s", table.folder, error)
    return records
