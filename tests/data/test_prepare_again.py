"""Preparing a table again: what is there is left, what changed is made anew, an interruption costs nothing."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.prepare import prepare


def stamps_of(folder):
    """What tells a file that was written again from one that was left."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_preparing_again_does_nothing(source, job_of):
    job = job_of(source, source.parent / "made")
    stamps = stamps_of(prepare(job).folder)
    source.touch()
    assert prepare(job).manifest.counts["rows"] == 30
    assert stamps_of(job.folder) == stamps


@pytest.mark.parametrize("name", ["source", "test", "rows"])
def test_another_source_or_other_options_are_prepared_anew(source, job_of, name, change):
    job = job_of(source, source.parent / "made")
    first = stamps_of(prepare(job).folder)
    if name == "source":
        change(source, likes=pl.col("likes") + 1)
    else:
        job = replace(job, **{"test": {"test": 0.3}, "rows": {"rows": 7}}[name])
    table = prepare(job)
    assert stamps_of(job.folder).keys() >= {job.folder / "manifest.json"} and stamps_of(job.folder) != first
    assert table.all().frame("likes")["likes"].to_list() == [i + (name == "source") for i in range(30)]
    assert not [path for path in source.parent.iterdir() if path.is_dir() and path != job.folder]


@dataclass(frozen=True)
class Interrupted(ColumnPictures):
    """Gives up after some parts."""

    parts: int = 0

    def find(self, rows):
        if int(rows["row"][0]) >= 2 + 7 * self.parts:
            raise KeyboardInterrupt
        return super().find(rows)


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_an_interrupted_preparation_goes_on(pictured, job_of, files_of, parts, caplog):
    folder = pictured.parent
    origin = ColumnPictures("pictures", folder)
    made = job_of(pictured, folder / "made", origin, rows=7)
    # The manifest names the origin's class, so the double takes the same name.
    double = type("ColumnPictures", (Interrupted,), {})("pictures", folder, parts=parts)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(made, origin=double))
    assert not made.folder.exists()
    partial = folder / ".made.partial"
    before = {path.relative_to(partial): stamp for path, stamp in stamps_of(partial).items()}
    rows = {path: stamp for path, stamp in before.items() if path.suffix == ".arrow"}
    assert len(rows) == 2 * parts
    caplog.set_level("INFO")
    table = prepare(made)
    assert "goes on" in caplog.text and not partial.exists()
    after = {path.relative_to(made.folder): stamp for path, stamp in stamps_of(made.folder).items()}
    assert rows.items() <= after.items()
    whole = prepare(job_of(pictured, folder / "whole", origin, rows=7))
    assert files_of(table.folder) == files_of(whole.folder)
    assert table.pictures > 8 and table.rejected().height > 1


@pytest.mark.parametrize("left", [0, 1, 4])
def test_an_interruption_while_reports_are_joined_loses_none(source, job_of, files_of, monkeypatch, left, change):
    change(source, likes=pl.lit(-1))
    job = job_of(source, source.parent / "made", rows=7)

    def remove(folder, **options):
        if folder.name != "rejected":
            return plain(folder, **options)
        for path in sorted(folder.iterdir())[left:]:
            path.unlink()
        raise KeyboardInterrupt

    plain = shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove)
        with pytest.raises(KeyboardInterrupt):
            prepare(job)
    assert prepare(job).rejected()["row"].to_list() == list(range(2, 32))
    assert files_of(job.folder) == files_of(prepare(job_of(source, source.parent / "whole", rows=7)).folder)


def test_a_beginning_of_another_source_is_thrown_away(pictured, job_of, files_of, change):
    folder, origin = pictured.parent, ColumnPictures("pictures", pictured.parent)
    made = job_of(pictured, folder / "made", origin, rows=7)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(made, origin=type("ColumnPictures", (Interrupted,), {})("pictures", folder, parts=2)))
    change(pictured, content=pl.lit("other"))
    whole = prepare(job_of(pictured, folder / "whole", origin, rows=7))
    assert files_of(prepare(made).folder) == files_of(whole.folder)


def test_a_picture_that_changed_is_prepared_anew(pictured, job_of):
    job = job_of(pictured, pictured.parent / "made", ColumnPictures("pictures", pictured.parent))
    count = prepare(job).manifest.counts["rejected"]
    first = min((pictured.parent / "images").iterdir())
    first.write_text("no longer a picture")
    assert prepare(job).manifest.counts["rejected"] > count


def test_what_a_user_put_beside_the_parts_is_kept(source, job_of, monkeypatch, change):
    job = job_of(source, source.parent / "made")
    prepare(job)
    (job.folder / "notes.txt").write_text("mine")
    (job.folder / "sub").mkdir()
    (job.folder / "image_features.npz").write_text("of the old pictures")

    def kept():
        return (job.folder / "notes.txt").read_text() == "mine" and (job.folder / "sub").is_dir()

    change(source, likes=pl.col("likes") + 1)
    prepare(job)
    assert kept() and not (job.folder / "image_features.npz").exists()
    # Nor is it lost when the replacement is interrupted at any of its renames.
    for stop in (1, 2, 3):
        change(source, likes=pl.col("likes") + 1)
        rename, calls = Path.rename, []

        def interrupted(path, target, stop=stop, rename=rename, calls=calls):
            if path.is_dir() or path.name == "notes.txt":
                calls.append(path)
                if len(calls) == stop:
                    raise KeyboardInterrupt
            return rename(path, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "rename", interrupted)
            prepare(job)
        prepare(job)
        assert kept() and not [path for path in source.parent.iterdir() if path.is_dir() and path != job.folder]


def test_a_damaged_folder_is_prepared_again(source, job_of, files_of):
    job = job_of(source, source.parent / "made")
    before = files_of(prepare(job).folder)
    next((job.folder / "rows").iterdir()).unlink()
    prepare(job)
    assert files_of(job.folder) == before
