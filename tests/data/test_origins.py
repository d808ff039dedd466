"""Where pictures of tweets are found, and how the places are told apart."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from behavesim.data.output import write_table
from behavesim.data.pictures.download import DownloadSettings
from behavesim.data.pictures.origins import (
    ColumnPictures,
    DownloadedPictures,
    FolderPictures,
    NoPictures,
    PictureFile,
    link_stem,
)
from behavesim.data.prepare import prepare
from behavesim.data.table import read_table
from behavesim.data.tweets import with_media
from behavesim.errors import UserError

LINK = "https://t/media/{}?format=jpg&name={}"


def photos(*names):
    items = [f"Photo(previewUrl='{LINK.format(n, 'small')}', fullUrl='{LINK.format(n, 'large')}')" for n in names]
    return f"[{', '.join(items)}]"


def rows_of(frame, path, column=None):
    """What `find` is given."""
    write_table(frame, path)
    return with_media(next(read_table(path, image_column=column)).frame)


def names_of(found):
    return [[file.path and file.path.name for file in row] for row in found]


def test_nothing_is_found_nowhere(tmp_path, tweet_table):
    rows = rows_of(tweet_table(media=[photos("a"), "[]"]), tmp_path / "t.csv")
    assert NoPictures().find(rows) == [[], []] and NoPictures().digest(tmp_path) == ""
    assert not NoPictures().strict and not NoPictures().retry


# --- a column of paths


def test_paths_of_a_column_stand_beside_the_table_unless_they_are_absolute(tmp_path, tweet_table):
    frame = tweet_table(pictures=["a.png; sub/b.png", None, "/x/c.png"])
    origin = ColumnPictures("pictures", tmp_path)
    found = origin.find(rows_of(frame, tmp_path / "t.csv", "pictures"))
    assert [[(file.origin, str(file.path)) for file in row] for row in found] == [
        [("a.png", f"{tmp_path}/a.png"), ("sub/b.png", f"{tmp_path}/sub/b.png")],
        [],
        [("/x/c.png", "/x/c.png")],
    ]
    assert origin.strict and not origin.retry


def test_the_digest_of_a_column_follows_its_files(tmp_path, tweet_table):
    for name in ("a.png", "other.png"):
        (tmp_path / name).write_text("one")
    write_table(tweet_table(pictures=["a.png;b.png", "a.png", "nul\0.png", "y" * 400]), tmp_path / "t.parquet")
    origin, seen = ColumnPictures("pictures", tmp_path), []

    def changed():
        seen.append(origin.digest(tmp_path / "t.parquet"))
        assert origin.digest(tmp_path / "t.parquet") == seen[-1]
        return seen.count(seen[-1]) == 1

    assert changed()
    (tmp_path / "other.png").write_text("another")
    assert not changed()
    (tmp_path / "a.png").write_text("longer")
    assert changed()
    os.utime(tmp_path / "a.png", (1, 1))
    assert changed()
    (tmp_path / "b.png").write_text("there now")
    assert changed()


# --- a folder


@pytest.fixture
def folder(tmp_path):
    """Holds files of ids and of links, some in a folder of their own."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for place, name in enumerate(
        ("0.png", "1_2.png", "1_10.png", "more/1_1.png", "EabcDef.png", "more/Second.png", "7.png", "4_x.png")
    ):
        Image.new("RGB", (20, 20), (10 * place, 0, 0)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_files_of_a_folder_belong_to_ids_or_links(tmp_path, tweet_table, folder):
    media = [photos("EabcDef"), "[]", photos("Second", "EabcDef"), photos("gone", "Second"), "[]"]
    found = FolderPictures(folder).find(rows_of(tweet_table(media=media), tmp_path / "t.csv"))
    assert names_of(found) == [
        ["0.png"],  # the id comes first
        ["1_1.png", "1_2.png", "1_10.png"],
        ["Second.png", "EabcDef.png"],
        [None, "Second.png"],
        [],
    ]
    lost = found[3][0]
    assert lost.origin == LINK.format("gone", "large")
    assert lost.reason == f"no file of its id or link in {folder}"


def test_an_item_without_a_link_is_a_loss_too(tmp_path, tweet_table, folder):
    found = FolderPictures(folder).find(rows_of(tweet_table(id=[50], media=["[Photo()]"]), tmp_path / "t.csv"))
    assert found == [[PictureFile("", None, f"no file of its id or link in {folder}")]]


def test_a_later_link_of_an_item_is_as_good(tmp_path, tweet_table, folder):
    media = "[Photo(previewUrl='https://t/EabcDef.jpg', fullUrl='https://t/large/gone.jpg')]"
    found = FolderPictures(folder).find(rows_of(tweet_table(id=[50], media=[media]), tmp_path / "t.csv"))
    assert names_of(found) == [["EabcDef.png"]]


def test_a_picture_comes_before_other_files_of_its_name(tmp_path, tweet_table, folder):
    for name in ("0.mp4", "0.txt", "0"):
        (folder / name).write_text("no picture")
    found = FolderPictures(folder).find(rows_of(tweet_table(), tmp_path / "t.csv"))
    assert names_of(found) == [["0.png"]]


def test_missing_pictures_are_listed_and_their_rows_stay(tmp_path, tweet_table, folder, job_of):
    (folder / "3.png").write_text("no picture")
    media = [photos("EabcDef"), "[]", photos("gone", "Second"), "[]", photos("EabcDef")]
    write_table(tweet_table(media=media), tmp_path / "t.csv")
    table = prepare(job_of(tmp_path / "t.csv", tmp_path / "made", FolderPictures(folder), rows=2))
    assert table.manifest.counts["rows"] == 5 and table.manifest.counts["missing_pictures"] == 2
    missing = pl.read_parquet(table.folder / "missing_pictures.parquet")
    assert missing.rows() == [
        (4, 1, LINK.format("gone", "large"), f"no file of its id or link in {folder}"),
        (5, 1, str(folder / "3.png"), "no picture (found text)"),
    ]
    images = table.all().frame("images")["images"]
    assert images.list.len().to_list() == [1, 3, 1, 0, 1]
    assert images.explode().drop_nulls().to_list() == list(range(6))


def test_the_digest_of_a_folder_follows_its_files(tmp_path, folder):
    digest = FolderPictures(folder).digest(tmp_path)
    assert FolderPictures(folder).digest(tmp_path) == digest
    (folder / "more" / "1_1.png").write_text("longer now")
    changed = FolderPictures(folder).digest(tmp_path)
    (folder / "more" / "new.png").write_text("")
    assert len({digest, changed, FolderPictures(folder).digest(tmp_path)}) == 3


@pytest.mark.parametrize("name", ["gone", "file"])
def test_what_is_no_folder_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"images_dir: found .*{name}, which is no folder"):
        FolderPictures(tmp_path / name)


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("https://pbs.example/media/EabcDef?format=jpg&name=large", "EabcDef"),
        ("https://pbs.example/media/EabcDef.jpg", "EabcDef"),
        ("https://pbs.example/media/EabcDef.jpg:large", "EabcDef"),
        ("a.b.png", "a.b"),
        ("http://[x", ""),
        ("", ""),
    ],
)
def test_the_name_that_a_link_gives(url, stem):
    assert link_stem(url) == stem


@given(st.text())
def test_any_text_gives_a_name_or_none(text):
    assert "/" not in link_stem(text)


# --- links


class Pages(BaseHTTPRequestHandler):
    """Answers with what the server holds under a path, and counts what was asked."""

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        """Nothing on stderr."""


@pytest.fixture
def server(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.asked = []
        server.pages = {f"/{name}.png": (folder / f"{name}.png").read_bytes() for name in ("0", "7")}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def linked(server, tweet_table):
    """Two photos, of which one is gone; nothing; a photo whose better link is gone; a video."""
    first = f"[Photo(fullUrl='{server.url}/0.png'), Photo(fullUrl='{server.url}/gone.png')]"
    third = f"[Photo(fullUrl='{server.url}/gone.png', previewUrl='{server.url}/7.png')]"
    return tweet_table(media=[first, "[]", third, f"[Video(thumbnailUrl='{server.url}/0.png')]", "[Photo()]"])


def downloaded(folder, **changed):
    settings = {"concurrency": 4, "per_host": 4, "retries": 0, "timeout": 5, "deadline": 5, "allow_private": True}
    limits = {"max_bytes": 100_000, "max_pixels": 10_000}
    return DownloadedPictures(folder / "store", DownloadSettings(**{**settings, **limits, **changed}))


def test_links_are_fetched_into_a_store_that_is_asked_first(tmp_path, server, linked):
    rows, origin = rows_of(linked, tmp_path / "t.csv"), downloaded(tmp_path)
    found = origin.find(rows)
    zero, seven = server.pages["/0.png"], server.pages["/7.png"]
    assert [[file.path and file.path.read_bytes() for file in row] for row in found] == [
        [zero, None],
        [],
        [seven],
        [zero],
        [None],
    ]
    gone = f"{server.url}/gone.png"
    assert found[0][1].origin == gone and found[0][1].reason.startswith(f"{gone}: ")
    assert found[2][0].origin == f"{server.url}/7.png" and found[4][0] == PictureFile("", None, "no link")
    assert sorted(server.asked) == ["/0.png", "/7.png", "/gone.png"]
    assert [[file.path for file in row] for row in origin.find(rows)] == [[file.path for file in row] for row in found]
    assert len(server.asked) == 3 and origin.digest(tmp_path) == "private"
    assert not origin.strict and not origin.retry


def test_pictures_that_could_not_be_had_are_asked_for_again_when_that_is_wanted(
    tmp_path, server, linked, job_of, folder
):
    write_table(linked, tmp_path / "t.csv")
    job = job_of(tmp_path / "t.csv", tmp_path / "made", downloaded(tmp_path))
    table = prepare(job)
    assert table.manifest.counts["missing_pictures"] == 2 and table.pictures == 2
    server.pages["/gone.png"] = (folder / "EabcDef.png").read_bytes()
    assert prepare(job).pictures == 2 and len(server.asked) == 3
    again = job_of(tmp_path / "t.csv", tmp_path / "made", downloaded(tmp_path, retry_failed=True))
    table = prepare(again)
    assert table.manifest.counts["missing_pictures"] == 1 and server.asked[3:] == ["/gone.png"]
    assert table.all().frame("images")["images"].to_list() == [[0, 1], [], [1], [0], []]
    assert prepare(job).pictures == 2 and len(server.asked) == 4
