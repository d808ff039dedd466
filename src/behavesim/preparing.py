"""What `prepare` does: a table with its pictures, and what it says of them."""

from pathlib import Path

from omegaconf import DictConfig

from behavesim.data import prepare
from behavesim.data.manifest import FILE as MANIFEST
from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.download import DownloadSettings
from behavesim.data.pictures.origins import ColumnPictures, DownloadedPictures, FolderPictures, NoPictures, Origin
from behavesim.data.prepared import FEATURES, MISSING, REJECTED, PreparedTable
from behavesim.log import log, print_table


def table(cfg: DictConfig) -> PreparedTable:
    """The prepared table that the configuration describes, written now unless it is there."""
    folder = Path(cfg.paths.data) / cfg.name
    pictures = PictureSettings(cfg.image_size, cfg.image_quality, round(cfg.max_megapixels * 1e6))
    shares = {"validation": cfg.validation, "test": cfg.test, "split_seed": cfg.split_seed}
    known = _written(folder)
    found = prepare.prepare(prepare.Job(Path(cfg.source), folder, origin(cfg), pictures, **shares))
    if known is not None and known == _written(folder):
        log.info("%s is up to date", folder)
    return found


def _written(folder: Path) -> int | None:
    """When the folder's manifest was written; None without one."""
    path = folder / MANIFEST
    return path.stat().st_mtime_ns if path.exists() else None


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
    print_table("Splits", columns, rows)
    again = " (retry_failed=true asks for them again)" if cfg.media == "download" else ""
    for name, what in ((REJECTED, "rejected rows"), (MISSING, "pictures that could not be had")):
        if counts[name]:
            log.info("%s: %s%s", what, table.folder / f"{name}.parquet", again if name == MISSING else "")


def print_next(cfg: DictConfig, table: PreparedTable) -> None:
    """The command that trains on the table."""
    features = f" data.image_features={table.folder / FEATURES}" if cfg.features else ""
    if cfg.features and "vision" in cfg.model.train:
        features += f" 'model.train=[{','.join(part for part in cfg.model.train if part != 'vision')}]'"
    log.info("python -m behavesim.train data.path=%s%s", table.folder, features)
