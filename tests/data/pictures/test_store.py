"""A folder of downloaded pictures that processes share and that survives them."""

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.pictures.store import PictureFiles
from behavesim.errors import UserError

WRITER = """
import sys
from behavesim.data.pictures.store import PictureFiles
with PictureFiles(sys.argv[1]) as files:
    for number in range(40):
        files.put(f"http://{sys.argv[2]}/{number}", f"content {number}".encode())
"""
KILLED = """
import os, sys
from behavesim.data.pictures.store import PictureFiles
files = PictureFiles(sys.argv[1])
files.put("a", b"content")
files.fail("b", "404", True)
os.kill(os.getpid(), 9)
"""


def objects(folder):
    return sorted(path for path in (folder / "objects").rglob("*") if path.is_file())


def test_what_was_put_is_found_in_this_process_and_the_next(tmp_path):
    with PictureFiles(tmp_path / "a" / "store") as files:
        assert files.get("http://x/1") is None
        path = files.put("http://x/1", b"content")
        assert files.get("http://x/1") == path
    with PictureFiles(tmp_path / "a" / "store") as files:
        assert files.get("http://x/1").read_bytes() == b"content"
        assert path.parent.name == path.name[:2]


def test_the_same_bytes_lie_there_once(tmp_path):
    with PictureFiles(tmp_path) as files:
        assert files.put("a", b"content") == files.put("b", b"content") != files.put("c", b"other")
    assert len(objects(tmp_path)) == 2
    assert not list((tmp_path / "unfinished").iterdir())


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"con"), "empty"])
def test_a_file_that_is_not_whole_counts_as_absent_and_can_be_put_again(tmp_path, damage):
    with PictureFiles(tmp_path) as files:
        path = files.put("a", b"content")
        path.write_bytes(b"") if damage == "empty" else damage(path)
        assert files.get("a") is None
        files.fail("a", "500", False)
        assert files.get("a") is None
        assert files.put("a", b"content").read_bytes() == b"content"


def test_failures_are_told_where_they_are_permanent(tmp_path):
    with PictureFiles(tmp_path) as files:
        files.fail("a", "404", True)
        files.fail("b", "500", False)
        assert (files.failure("a"), files.failure("b"), files.failure("c")) == ("404", None, None)
        files.fail("b", "410", True)
        files.put("a", b"content")
    with PictureFiles(tmp_path) as files:
        assert (files.failure("a"), files.failure("b")) == (None, "410")


def test_a_failure_does_not_hide_a_picture_that_is_here(tmp_path):
    with PictureFiles(tmp_path) as files, PictureFiles(tmp_path) as other:
        path = files.put("a", b"content")
        other.fail("a", "500", False)
        assert files.get("a") == other.get("a") == path


def test_processes_write_side_by_side(tmp_path):
    run = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*run, name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    with PictureFiles(tmp_path) as files:
        assert all(files.get(f"http://{name}/{number}") for name in "abc" for number in range(40))
    assert len(objects(tmp_path)) == 40


def test_a_killed_process_leaves_what_it_finished(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)]).returncode == -9
    with PictureFiles(tmp_path) as files:
        assert files.get("a").read_bytes() == b"content"
        assert files.failure("b") == "404"


def test_threads_share_one_store(tmp_path):
    with PictureFiles(tmp_path) as files, ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda number: files.put(str(number), str(number % 10).encode()), range(200)))
        assert [files.get(str(number)) for number in range(200)] == paths
    assert len(objects(tmp_path)) == 10


def test_old_unfinished_files_are_swept_and_new_ones_left(tmp_path):
    PictureFiles(tmp_path).close()
    old, new = tmp_path / "unfinished" / "old", tmp_path / "unfinished" / "new"
    for path, age in ((old, 100_000), (new, 10)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    PictureFiles(tmp_path).close()
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == ["new"]


def test_a_damaged_index_and_a_place_that_is_no_folder_are_named(tmp_path):
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match=r"index\.sqlite: no readable index .*accepted: "):
        PictureFiles(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be written to"):
        PictureFiles(tmp_path / "file")


def test_a_picture_that_cannot_be_written_is_an_error_that_names_the_place(tmp_path):
    with PictureFiles(tmp_path) as files:
        (tmp_path / "objects").write_text("in the way")
        with pytest.raises(UserError, match=r"objects/.*cannot be written"):
            files.put("a", b"content")
        assert files.get("a") is None
    assert not list((tmp_path / "unfinished").iterdir())


def test_closing_twice_does_no_harm_and_writes_nothing_more(tmp_path):
    files = PictureFiles(tmp_path)
    files.put("a", b"content")
    files.close()
    files.close()
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        assert index.execute("SELECT count(*) FROM links").fetchone() == (1,)
    index.close()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.one_of(st.binary(min_size=1, max_size=3), st.booleans())), max_size=12
    )
)
def test_a_link_means_what_it_gave_last(tmp_path_factory, steps):
    expected = {}
    with PictureFiles(tmp_path_factory.mktemp("store")) as files:
        for url, step in steps:
            if isinstance(step, bytes):
                files.put(url, step)
                expected[url] = step
            else:
                files.fail(url, "reason", step)
                if not isinstance(expected.get(url), bytes):
                    expected[url] = step
        for url in "abc":
            known, path = expected.get(url), files.get(url)
            assert (path.read_bytes() if path else None) == (known if isinstance(known, bytes) else None)
            assert files.failure(url) == ("reason" if known is True else None)
