"""Downloads that go wrong: every failure has a name, and it is known which may pass."""

import gzip
import os
import signal
import subprocess
import sys
import zlib

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.pictures import fetch
from behavesim.data.pictures.store import PictureFiles
from behavesim.errors import UserError

RUN = """
import sys
from behavesim.data.pictures.download import DownloadSettings, download
from behavesim.data.pictures.store import PictureFiles
with PictureFiles(sys.argv[1]) as files:
    settings = DownloadSettings(allow_private=True, concurrency=2)
    download([[url] for url in sys.argv[2:]], files, settings, lambda found: print("done", flush=True))
"""


def stall(handler):
    handler.server.site.closing.wait(5)


def drip(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    while not handler.server.site.closing.wait(0.05):
        handler.wfile.write(b"a")


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.site.closing.is_set():
        handler.wfile.write(b"a" * 10_000)


def black(side):
    """A PNG of one bit a pixel that unpacks to far more than its bytes."""
    chunks = [b"IHDR" + side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])]
    chunks += [b"IDAT" + zlib.compress(bytes((side // 8 + 1) * side), 9), b"IEND"]
    packed = [(len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# route, reason, requests, whether a later call asks again
BAD = {
    "missing": (404, "404", 1, False),
    "gone": (410, "410", 1, False),
    "forbidden": (403, "403", 1, False),
    "no content": (204, "204", 1, False),
    "unmodified": (304, "304", 1, False),
    "broken server": (500, "500", 3, True),
    "busy": ((429, {"Retry-After": "0"}, b""), "429", 3, True),
    "busy for long": ((429, {"Retry-After": "3600"}, b""), "429, asks to wait 3,600 s; accepted: 60 s", 1, True),
    "page": ((200, {"Content-Type": "image/jpeg"}, b"<html>no</html>"), "no picture (found HTML)", 1, False),
    "nothing": ((200, {}, b""), "no picture (found nothing)", 1, False),
    "declared too large": ((200, {"Content-Length": "3000000"}, b""), "over 0.1 MB", 1, True),  # limits may change
    "too large": (endless, "over 0.1 MB", 1, True),
    "bomb": (lambda: black(20_000), "over 50 megapixels", 1, True),
    "small bomb": (lambda: black(8000), "8000 x 8000 is over 50 megapixels", 1, True),
    "encoded": (
        (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(10**7))),
        "answer encoded as gzip; accepted: identity",
        1,
        False,
    ),
    "stall": (stall, "timed out after 0.2 s", 3, True),
    "drip": (drip, "not complete after 0.5 s", 1, True),
    "closed": (lambda handler: None, "broken answer (Server disconnected without sending a response.)", 3, True),
    "loop": ((302, {"Location": "/bad"}, b""), "over 5 redirects", 6, False),
    "file": ((302, {"Location": "file:///etc/passwd"}, b""), "redirects to file:///etc/passwd; ACCEPTED", 1, False),
    "ftp": ((301, {"Location": "ftp://x/y"}, b""), "redirects to ftp://x/y; ACCEPTED", 1, False),
    "broken location": (
        (301, {"Location": "http://[::1/"}, b""),
        "broken answer (Invalid URL in location header: Invalid port: ':1'.)",
        3,
        True,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_trouble_has_a_name(site, store, name, reason_of):
    route, reason, asked, again = BAD[name]
    if "bomb" in name:
        route = (200, {}, route())
    site.routes["/bad"] = route
    tight = {"timeout": 0.2, "deadline": 0.5, "max_bytes": 100_000}
    assert reason_of(store, site.url("/bad"), **tight) == reason.replace("ACCEPTED", "accepted: http, https")
    assert site.asked["/bad"] == asked
    site.asked.clear()
    reason_of(store, site.url("/bad"), **tight | {"retries": 0})
    assert bool(site.asked) == again


def test_a_body_that_ends_early_is_asked_for_again(site, store, picture, run, reason_of):
    def route(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture[:-50])

    site.routes["/a"] = [route, (200, {}, picture)]
    assert run(store, [[site.url("/a")]])[0].path.read_bytes() == picture
    site.routes["/b"] = route
    assert reason_of(store, site.url("/b")).startswith("broken answer (peer closed connection")


def test_a_cut_picture_is_final_only_where_the_answer_told_its_length(site, store, as_bytes, noisy, run, reason_of):
    whole = as_bytes(noisy(100, 100))
    cut = whole[: len(whole) // 2]
    site.routes |= {"/told": (200, {}, cut), "/untold": [(200, {"Content-Length": None}, cut), (200, {}, whole)]}
    assert reason_of(store, site.url("/told")) == f"cut off after {len(cut):,} bytes"
    assert site.asked["/told"] == 1
    assert run(store, [[site.url("/untold")]])[0].path.read_bytes() == whole


@pytest.mark.parametrize("status", [500, 503, 408, 425, 429])
def test_what_passes_is_tried_again(site, store, picture, status, run):
    site.routes["/a"] = [status, status, (200, {}, picture)]
    assert run(store, [[site.url("/a")]])[0].failures == ()
    assert site.asked["/a"] == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_private_addresses_are_not_asked_unless_permitted(site, store, picture, host, run, reason_of):
    site.routes["/a"] = (200, {}, picture)
    url = site.url("/a", host)
    reason = reason_of(store, url, allow_private=False)
    assert reason.startswith("private address ")
    assert reason.endswith(" (allow_private=true permits it)")
    assert not site.asked
    assert run(store, [[url]])[0].path is not None  # the refusal was not kept


@pytest.mark.parametrize(
    "link", ["", "pic.jpg", "ftp://x/y", "file:///etc/passwd", "http://", "http://[::1/", "a\x00b"]
)
def test_what_is_no_web_address_is_named(store, link, reason_of):
    assert reason_of(store, link) == "no web address; accepted: http, https"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.text().map("http://{}".format)))
def test_any_text_is_a_web_address_or_not(link):
    try:
        assert isinstance(fetch._address(link, "what"), httpx.URL)
    except fetch.LinkError as error:
        assert error.reason == "what; accepted: http, https"


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_header_asks_for_a_wait_or_not(text):
    assert fetch._retry_after(text) >= 0


def test_an_unreachable_host_is_named(store, site, reason_of):
    site.routes["/a"] = 404
    assert reason_of(store, "http://127.0.0.1:1/a", retries=1) == "no connection (All connection attempts failed)"


def test_a_host_that_never_answers_is_given_up(site, store, monkeypatch, run):
    monkeypatch.setattr(fetch, "_HOPELESS", 3)
    results = run(store, [[site.url(f"/{number}")] for number in range(10)], concurrency=1, timeout=0.2)
    assert {result.failures[0][1] for result in results} == {"404"}  # an answer
    for number in range(10):
        site.routes[f"/bad{number}"] = 500
    results = run(store, [[site.url(f"/bad{number}")] for number in range(10)], concurrency=1)
    assert {result.failures[0][1] for result in results} == {"500"}
    assert [site.asked[f"/bad{number}"] for number in range(10)] == [3] * 3 + [1] * 7


def test_a_store_that_cannot_be_written_to_ends_the_call(site, store, picture, run):
    (store.folder / "objects").write_text("in the way")
    site.routes["/a"] = (200, {}, picture)
    with pytest.raises(UserError, match="cannot be written"):
        run(store, [[site.url("/a")]] * 3)


def test_a_killed_run_goes_on_where_it_was(site, tmp_path, pictures, run):
    for number, content in enumerate(pictures[:20]):
        site.routes[f"/{number}"] = (200, {}, content) if number < 10 else [stall, (200, {}, content)]
    items = [[site.url(f"/{number}")] for number in range(20)]
    for killed in (signal.SIGKILL, signal.SIGINT):
        folder = tmp_path / killed.name
        command = [sys.executable, "-c", RUN, str(folder), *(url for (url,) in items)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(10):
            assert process.stdout.readline() == b"done\n"
        os.kill(process.pid, killed)
        process.communicate(timeout=5)
        assert process.returncode != 0
        site.asked.clear()
        with PictureFiles(folder) as store:
            results = run(store, items)
        assert [result.path.read_bytes() for result in results] == pictures[:20]
        assert set(site.asked) == {f"/{number}" for number in range(10, 20)}
        for number in range(10, 20):
            site.routes[f"/{number}"] = [stall, (200, {}, pictures[number])]
