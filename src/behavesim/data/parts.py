"""One part of a prepared table: a chunk's rows, its pictures as JPEG, and what was lost."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from behavesim.data.pictures.jpeg import PictureFault, to_jpeg
from behavesim.data.pictures.origins import Origin, PictureFile
from behavesim.data.pictures.progress import picture_progress
from behavesim.data.prepared import IMAGES, MISSING, REJECTED, ROWS
from behavesim.data.split import identity_hash, text_keys
from behavesim.data.table import PROBLEMS, SEVERAL, TableChunk
from behavesim.data.tweets import with_media

_MISSING = {"row": pl.Int64, "item": pl.Int64, "origin": pl.String, "reason": pl.String}
_STORED = pa.schema([("origin", pa.string()), ("jpeg", pa.large_binary())])
_AT_ONCE = 256  # pictures in memory


@dataclass(frozen=True)
class PictureSettings:
    """How pictures are stored."""

    size: int  # most pixels of the shorter side
    quality: int  # of JPEG, 1 to 95
    max_pixels: int  # of a picture that is opened at all


@dataclass
class PartWriter:
    """Writes numbered parts into the folders of `work`, in order; `threads` decode and encode pictures."""

    work: Path
    origin: Origin
    settings: PictureSettings
    threads: ThreadPoolExecutor
    stored: int = 0  # pictures in the parts so far

    def write(self, number: int, chunk: TableChunk) -> None:
        """One chunk, unless it is there; its file of rows comes last and marks the part as complete."""
        path = self.work / ROWS / f"{number:05}.arrow"
        if path.exists():
            self.stored += _height(self.work / IMAGES / f"{number:05}.arrow")
            return
        frame = with_media(chunk.frame)
        found = self.origin.find(frame)
        numbers, faults = self._write_pictures(number, found)
        problems, missing = chunk.problems, _missing(frame, found, faults)
        images = [[numbers[file.path] for file in files if file.path in numbers] for files in found]
        frame = frame.with_columns(images=pl.Series(images, dtype=pl.List(pl.Int64)))
        if self.origin.strict:
            problems = pl.concat([problems, _strict_problems(frame, missing, str(self.origin.column))])
            frame = frame.filter(~pl.col("row").is_in(missing["row"].implode()))
            missing = missing.clear()
        _one_line(problems).write_parquet(self.work / REJECTED / f"{number:05}.parquet")
        missing.write_parquet(self.work / MISSING / f"{number:05}.parquet")
        _write_rows(frame, path)

    def _write_pictures(
        self, number: int, found: list[list[PictureFile]]
    ) -> tuple[dict[Path | None, int], dict[Path | None, str]]:
        """Re-encode each file once: its place in the table of pictures, or why it has none."""
        files = {file.path: file.origin for row in found for file in row if file.path is not None}
        numbers: dict[Path | None, int] = {}
        faults: dict[Path | None, str] = {}
        order = list(files)
        path = self.work / IMAGES / f"{number:05}.arrow"
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, _STORED) as writer,
            picture_progress(len(order), "pictures made small") as progress,
        ):
            for start in range(0, len(order), _AT_ONCE):
                group = order[start : start + _AT_ONCE]
                results = dict(zip(group, self.threads.map(self._encode, group), strict=True))
                for result in results.values():
                    progress(isinstance(result, bytes))
                faults |= {file: result for file, result in results.items() if isinstance(result, str)}
                good = {file: result for file, result in results.items() if isinstance(result, bytes)}
                numbers |= {file: self.stored + place for place, file in enumerate(good)}
                self.stored += len(good)
                columns = [[files[file] for file in good], list(good.values())]
                writer.write_batch(pa.record_batch(columns, schema=_STORED))
        return numbers, faults

    def _encode(self, file: Path) -> bytes | str:
        """The picture as JPEG, or why there is none."""
        settings = self.settings
        try:
            content = file.read_bytes()
            return to_jpeg(content, size=settings.size, quality=settings.quality, max_pixels=settings.max_pixels)
        except FileNotFoundError:
            return "no such file"
        except (OSError, ValueError) as error:  # a path may hold what no file system takes
            return f"cannot be read: {getattr(error, 'strerror', None) or error}"
        except PictureFault as fault:
            return str(fault)


def _height(path: Path) -> int:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all().num_rows


def _missing(frame: pl.DataFrame, found: list[list[PictureFile]], faults: dict[Path | None, str]) -> pl.DataFrame:
    """A line for each picture that could not be had: row, item (from 1), origin, reason."""
    lines = [
        (row, item, file.origin, faults.get(file.path, file.reason))
        for row, files in zip(frame["row"], found, strict=True)
        for item, file in enumerate(files, 1)
        if file.path is None or file.path in faults
    ]
    return pl.DataFrame(lines, schema=_MISSING, orient="row")


def _strict_problems(frame: pl.DataFrame, missing: pl.DataFrame, column: str) -> pl.DataFrame:
    """Missing pictures as faults of cells."""
    lines = missing.join(frame.select("row", "id"), on="row", maintain_order="left")
    return lines.select(
        "row",
        "id",
        pl.lit(column).alias("column"),
        pl.col("origin").alias("found"),
        pl.format("{}; accepted: a picture that exists and opens", "reason").alias("reason"),
    ).cast(PROBLEMS)


def _one_line(problems: pl.DataFrame) -> pl.DataFrame:
    """One line a row: all that is wrong with its cells."""
    texts = (pl.col(name).str.join(SEVERAL) for name in ("column", "found", "reason"))
    return problems.group_by("row").agg(pl.col("id").first(), *texts).sort("row")


def _write_rows(frame: pl.DataFrame, path: Path) -> None:
    keyed = frame.with_columns(pl.Series("identity", identity_hash(frame)), pl.Series("text_key", text_keys(frame)))
    # The raw text of media stays behind: it holds `views`, which are counted after posting.
    keyed = keyed.drop("media", "paths").rename({"media_items": "media"})
    temporary = path.with_suffix(".partial")
    # Arrow's plain layout of text: readers map it without knowing polars' own views.
    keyed.write_ipc(temporary, compat_level=pl.CompatLevel.oldest())
    temporary.rename(path)
