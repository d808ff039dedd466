"""Pictures that the links of a table lead to: fetched into a store, asked for again where that is wanted."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from behavesim.data.output import write_table
from behavesim.data.pictures.download import DownloadSettings
from behavesim.data.pictures.origins import DownloadedPictures, PictureFile
from behavesim.data.prepare import prepare


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
def server(picture_folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.asked = []
        server.pages = {f"/{name}.png": (picture_folder / f"{name}.png").read_bytes() for name in ("0", "7")}
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


def test_links_are_fetched_into_a_store_that_is_asked_first(tmp_path, server, linked, rows_of):
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
    tmp_path, server, linked, job_of, picture_folder
):
    write_table(linked, tmp_path / "t.csv")
    job = job_of(tmp_path / "t.csv", tmp_path / "made", downloaded(tmp_path))
    table = prepare(job)
    assert table.manifest.counts["missing_pictures"] == 2 and table.pictures == 2
    server.pages["/gone.png"] = (picture_folder / "EabcDef.png").read_bytes()
    assert prepare(job).pictures == 2 and len(server.asked) == 3
    again = job_of(tmp_path / "t.csv", tmp_path / "made", downloaded(tmp_path, retry_failed=True))
    table = prepare(again)
    assert table.manifest.counts["missing_pictures"] == 1 and server.asked[3:] == ["/gone.png"]
    assert table.all().frame("images")["images"].to_list() == [[0, 1], [], [1], [0], []]
    assert prepare(job).pictures == 2 and len(server.asked) == 4
