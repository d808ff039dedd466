"""The folder that a table is prepared into: nothing of anyone else is replaced, and one call at a time fills it."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from behavesim.data.prepare import prepare
from behavesim.data.prepared import PreparedTable
from behavesim.errors import UserError


@pytest.mark.parametrize("names", [["notes.txt"], ["manifest.json"], ["manifest.json", "rows/x"], None])
def test_a_folder_of_someone_else_is_not_replaced(source, job_of, files_of, names):
    folder = source.parent / "made"
    if names is None:
        folder.write_text("a file")
    for name in names or ():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"name": "an app"}')
    before = files_of(source.parent)
    with pytest.raises(UserError, match=r"made: found other things than a prepared table; accepted: another name"):
        prepare(job_of(source, folder))
    assert files_of(source.parent).items() >= before.items()


def test_an_empty_folder_is_filled(source, job_of):
    (source.parent / "made").mkdir()
    assert len(prepare(job_of(source, source.parent / "made"))) == 30


@pytest.mark.parametrize("damage", ["", "{", '{"schema": 0}'])
def test_a_folder_of_another_version_is_replaced(source, job_of, damage):
    job = job_of(source, source.parent / "made")
    prepare(job)
    (job.folder / "manifest.json").write_text(damage)
    assert len(prepare(job)) == 30 == PreparedTable(job.folder).manifest.counts["rows"]


def test_a_source_that_fails_leaves_the_earlier_folder(source, job_of, files_of):
    job = job_of(source, source.parent / "made")
    before = files_of(prepare(job).folder)
    source.write_text("id\n1,2\n")
    with pytest.raises(UserError, match="cannot be read"):
        prepare(job)
    source.unlink()
    with pytest.raises(UserError, match=r"tweets\.csv: cannot be read: No such file"):
        prepare(job)
    assert files_of(job.folder) == before


def test_a_place_that_cannot_be_written_is_one_line(source, job_of):
    (source.parent / "file").write_text("")
    with pytest.raises(UserError, match=r"made: cannot be written: (File exists|Not a directory)"):
        prepare(job_of(source, source.parent / "file" / "made"))


def test_threads_prepare_one_folder_once(source, job_of, files_of):
    job = job_of(source, source.parent / "made", rows=3)
    with ThreadPoolExecutor(4) as threads:
        tables = list(threads.map(prepare, [job] * 4))
    assert [len(table.all().frame()) for table in tables] == [30] * 4
    assert files_of(job.folder) == files_of(prepare(replace(job, folder=source.parent / "whole")).folder)


def _rows_of(job):
    return len(prepare(job).all().frame())


def test_processes_prepare_one_folder_once(source, job_of):
    job = job_of(source, source.parent / "made", rows=3)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map_async(_rows_of, [job] * 2, chunksize=1)
        assert found.get(timeout=120) == [30, 30]  # a pool waits for ever for a process that has ended
    assert not (source.parent / ".made.partial").exists()
