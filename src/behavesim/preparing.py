"""What `prepare` does: a table with its pictures, and what it says of them."""

import shlex
from pathlib import Path
from typing import get_args

from omegaconf import DictConfig

from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.download import DownloadSettings
from behavesim.data.pictures.origins import ColumnPictures, DownloadedPictures, FolderPictures, NoPictures, Origin
from behavesim.data.prepare import Job, prepare_if_needed
from behavesim.data.prepared import FEATURES, MISSING, REJECTED, PreparedTable
from behavesim.data.split import SplitKind
from behavesim.log import log, print_table


def table(cfg: DictConfig) -> PreparedTable:
    """The prepared table that the configuration describes, written now unless it is there."""
    folder = Path(cfg.paths.data) / cfg.name
    pictures = PictureSettings(cfg.image_size, cfg.image_quality, round(cfg.max_megapixels * 1e6))
    shares = {"validation": cfg.validation, "test": cfg.test, "split_seed": cfg.split_seed}
    prepared = prepare_if_needed(Job(Path(cfg.source), folder, origin(cfg), pictures, **shares))
    if not prepared.written:
        log.info("%s is up to date", folder)
    return prepared.table


def origin(cfg: DictConfig) -> Origin:
    """Where pictures come from, as `cfg.media` says."""
    if cfg.media == "column":
        return ColumnPictures(cfg.image_column, Path(cfg.source).absolute().parent)
    if cfg.media == "folder":
        return FolderPictures(Path(cfg.images_dir))
    if cfg.media == "download":
        same = ("concurrency", "per_host", "retries", "timeout", "deadline", "allow_private", "retry_failed")
        limits = {"max_pixels": round(cfg.max_megapixels * 1e6), "max_bytes": round(cfg.max_megabytes * 1e6)}
        settings = DownloadSettings(**{key: cfg[key] for key in same}, **limits)
        return DownloadedPictures(Path(cfg.paths.data) / "pictures", settings)
    return NoPictures()


def print_counts(cfg: DictConfig, table: PreparedTable) -> None:
    """Where each source row went, what pictures there are, and the splits."""
    counts = table.manifest.counts
    names = {
        "source_rows": "rows in the source",
        "rows": "prepared",
        REJECTED: "rejected",
        "labelled": "prepared, with likes",
        "pictures": "pictures",
        MISSING: "pictures that could not be had",
    }
    print_table(f"{cfg.source} → {table.folder}", ("", "count"), [(names[key], counts[key]) for key in names])
    columns = ("split", "train", "validation", "test", "copies left out", "test from")
    rows = [(r.kind, *(r.rows[part] for part in columns[1:4]), r.dropped, r.test_from) for r in table.manifest.splits]
    if rows:
        print_table("Splits", columns, rows)
    for kind in sorted(set(get_args(SplitKind)) - {record.kind for record in table.manifest.splits}):
        log.info("%s: too few labelled rows, companies or dates for this split", kind)
    again = " (retry_failed=true asks for them again)" if cfg.media == "download" else ""
    for name, what in ((REJECTED, "rejected rows"), (MISSING, "pictures that could not be had")):
        if counts[name]:
            log.info("%s: %s%s", what, table.folder / f"{name}.parquet", again if name == MISSING else "")


def print_next(cfg: DictConfig, table: PreparedTable) -> None:
    """The command that trains on the table, if it can be trained on."""
    if not table.manifest.splits:
        return
    log.info("python -m behavesim.train %s", shlex.quote(f"data.path={table.folder}"))
    if cfg.features:
        features = shlex.quote(f"data.image_features={table.folder / FEATURES}")
        log.info("or with %s, the same model= settings as here and no vision in model.train", features)
