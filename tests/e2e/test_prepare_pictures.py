"""Pictures of a prepared table: from a column, a folder and links, and what is said of those that are not there."""

import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from behavesim.data.output import write_table
from behavesim.data.prepared import PreparedTable


@pytest.fixture
def prepare(here, main):
    """The command on a frame; the folder is `data/mine`."""

    def call(table, *overrides):
        write_table(table, here / "t.csv")
        return main("prepare", "source=t.csv", "name=mine", *overrides)

    return call


def mine(name=""):
    return Path("data") / "mine" / name


def counts():
    return PreparedTable(mine()).manifest.counts


@pytest.fixture
def site(tmp_path_factory, sample_source):
    """A server of this machine with the sample's pictures and nothing else: its address and what was asked of it."""
    folder, asked, hold = sample_source.parent / "images", [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/slow.png":
                hold.wait(60)
            path = folder / Path(self.path).name
            content = path.read_bytes() if path.is_file() else b"gone"
            self.send_response(200 if path.is_file() else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.hold, server.address = asked, hold, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    hold.set()
    server.shutdown()
    thread.join()


def with_links(tweets, address, names):
    """Tweets whose media are links to these files of a server, one each."""
    links = [f"[Photo(previewUrl='{address}/{name}?small', fullUrl='{address}/{name}')]" for name in names]
    return tweets.head(len(names)).with_columns(media=pl.Series(links)).drop("local_path")


def test_pictures_of_a_folder_belong_to_ids_and_to_links(here, prepare, tweets):
    paths = tweets["local_path"].drop_nulls().str.split(";").explode()
    folder = here / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for source, name in zip(paths, ["1.png", "2_2.png", "2_10.png", "deeper/Ex0.jpg"], strict=False):
        shutil.copy(source, folder / name)
    media = ["", "", "[Photo(fullUrl='https://x.invalid/media/Ex0?format=jpg')]"]
    media += ["[Photo(fullUrl='https://x.invalid/media/Ex1')]"]
    table = tweets.head(4).with_columns(media=pl.Series(media))
    run = prepare(table, "media=folder", "images_dir=pictures")
    assert run.code == 0, run.err
    assert PreparedTable(mine()).all().frame("images")["images"].to_list() == [[0], [1, 2], [3], []]
    assert pl.read_parquet(mine("missing_pictures.parquet")).rows() == [
        (5, 1, "https://x.invalid/media/Ex1", "no file of its id or link in pictures")
    ]
    assert counts()["pictures"] == 4
    assert counts()["missing_pictures"] == 1


def test_a_broken_picture_of_a_column_rejects_its_row(here, prepare, main, trained, tweets):
    (here / "broken.png").write_bytes(b"\x89PNG broken")
    bad = tweets.with_columns(
        local_path=pl.when(pl.col("id") == 5).then(pl.lit("broken.png;gone.png")).otherwise("local_path")
    )
    run = prepare(bad, "media=column", "image_column=local_path")
    assert run.code == 0
    assert (counts()["rows"], counts()["rejected"]) == (199, 1)
    assert "rejected rows: data/mine/rejected.parquet" in run.out + run.err
    [row] = pl.read_parquet(mine("rejected.parquet")).rows(named=True)
    assert (row["row"], row["id"], row["column"]) == (6, "5", "local_path | local_path")
    assert row["found"] == "broken.png | gone.png"
    assert re.search(r"broken PNG.*accepted: a picture .* \| no such file; accepted", row["reason"])
    predicted = main("predict", f"ckpt={trained.artifact}", "input=data/mine", "output=out.parquet", "run_name=p")
    assert predicted.code == 0, predicted.err
    found = pl.read_parquet("out.parquet")
    assert found["id"].to_list() == tweets["id"].to_list()
    assert found.row(4) == (5, None, None, None, None, None)


def test_links_are_downloaded_and_what_could_not_be_had_is_named(prepare, tweets, site, sample_source):
    pictures = sorted(path.name for path in (sample_source.parent / "images").iterdir())[:3]
    names = [pictures[0], "gone.png", pictures[1], pictures[0], "also_gone.png", pictures[2]]
    table = with_links(tweets, site.address, names)
    run = prepare(table, "media=download", "allow_private=true")
    assert run.code == 0, run.err
    assert counts()["pictures"] == 3
    assert counts()["missing_pictures"] == 2
    assert PreparedTable(mine()).all().frame("images")["images"].to_list() == [[0], [], [1], [0], [], [2]]
    missing = pl.read_parquet(mine("missing_pictures.parquet"))
    assert missing.select("row", "item").rows() == [(3, 1), (6, 1)]
    for row, name in zip(missing.rows(named=True), ("gone.png", "also_gone.png"), strict=True):
        assert row["origin"] == f"{site.address}/{name}"
        assert f"{site.address}/{name}: 404" in row["reason"] and f"{name}?small: 404" in row["reason"]
    assert "HTTP Request" not in run.out + run.err
    asked = len(site.asked)
    assert site.asked.count(f"/{pictures[0]}") == 1
    prepare(table.with_columns(pl.lit("a new text").alias("content")), "media=download", "allow_private=true")
    assert len(site.asked) == asked


def test_nothing_private_is_asked_unless_permitted(prepare, tweets, site, sample_source):
    names = sorted(path.name for path in (sample_source.parent / "images").iterdir())[:2]
    run = prepare(with_links(tweets, site.address, names), "media=download")
    assert run.code == 0, run.err
    assert site.asked == []
    reasons = pl.read_parquet(mine("missing_pictures.parquet"))["reason"]
    assert len(reasons) == 2 and all("private address 127.0.0.1 (allow_private=true permits it)" in r for r in reasons)
    prepare(with_links(tweets, site.address, names), "media=download", "allow_private=true")
    assert counts()["pictures"] == 2


def test_links_that_failed_are_asked_again_on_demand(prepare, tweets, site, sample_source):
    table = with_links(tweets, site.address, ["new.png"])
    given = ("media=download", "allow_private=true", "retries=0")
    run = prepare(table, *given)
    assert "missing_pictures.parquet (retry_failed=true asks for them again)" in run.out + run.err
    (sample_source.parent / "images" / "new.png").symlink_to(next((sample_source.parent / "images").glob("*_0.png")))
    try:
        assert "up to date" in (run := prepare(table, *given)).out + run.err
        prepare(table, *given, "retry_failed=true")
        assert counts()["pictures"] == 1
    finally:
        (sample_source.parent / "images" / "new.png").unlink()


@pytest.mark.slow
def test_a_killed_preparation_goes_on_where_it_was(here, prepare, tweets, site, sample_source):
    from behavesim.data.source import CHUNK

    picture = next((sample_source.parent / "images").iterdir()).name
    rows = CHUNK + 10
    table = pl.concat([tweets] * (rows // tweets.height + 1)).head(rows).drop("local_path")
    numbers = pl.int_range(1, rows + 1, eager=True)
    links = pl.select(
        pl.when(numbers == 1)
        .then(pl.lit(f"[Photo(fullUrl='{site.address}/{picture}')]"))
        .when(numbers == rows)
        .then(pl.lit(f"[Photo(fullUrl='{site.address}/slow.png')]"))
        .otherwise(pl.lit(""))
        .alias("media")
    )["media"]
    table = table.with_columns(id=numbers, media=links)
    write_table(table, here / "t.csv")
    arguments = ["source=t.csv", "name=mine", "media=download", "allow_private=true"]
    process = subprocess.Popen([sys.executable, "-m", "behavesim.prepare", *arguments])
    deadline = time.monotonic() + 60
    while "/slow.png" not in site.asked and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "/slow.png" in site.asked
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not mine().exists()
    part = Path("data/.mine.partial/rows/00000.arrow")
    written = part.stat().st_mtime_ns
    site.hold.set()
    run = prepare(table, "media=download", "allow_private=true")
    assert run.code == 0, run.err
    assert "data/mine: an interrupted preparation goes on" in run.out + run.err
    assert mine("rows/00000.arrow").stat().st_mtime_ns == written
    assert site.asked.count(f"/{picture}") == 1
    found = PreparedTable(mine()).all().frame("id", "images")
    assert found["id"].to_list() == [str(number) for number in numbers]
    assert found["images"].list.len().sum() == 1
    assert counts()["source_rows"] == counts()["rows"] == rows
    assert not Path("data/.mine.partial").exists()
