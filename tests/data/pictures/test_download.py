"""Downloads from a web server of this machine: each link asked once, in bounds, and no picture lost."""

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from behavesim.data.pictures.download import picture_progress


def test_pictures_come_in_the_order_of_the_items(site, store, pictures, run):
    for number, content in enumerate(pictures):
        site.routes[f"/{number}"] = (200, {}, content)
    told = []
    results = run(store, [[site.url(f"/{number}")] for number in range(len(pictures))], told.append)
    assert [result.path.read_bytes() for result in results] == pictures
    assert [result.failures for result in results] == [()] * len(pictures)
    assert told == [True] * len(pictures)
    headers = site.headers["/0"]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"].startswith("behavesim/")


def test_nothing_wanted_is_nothing_found(site, store, run):
    assert run(store, []) == []
    told = []
    (result,) = run(store, [[]], told.append)
    assert (result.path, result.url, result.failures, told) == (None, None, (), [False])


def test_the_first_link_that_gives_a_picture_wins(site, store, picture, run):
    site.routes |= {"/preview": (200, {}, picture), "/full": 404, "/text": (200, {}, b"<html>")}
    full, text, preview = (site.url(path) for path in ("/full", "/text", "/preview"))
    (result,) = run(store, [[full, text, preview, site.url("/never")]])
    assert (result.path.read_bytes(), result.url) == (picture, preview)
    assert result.failures == ((full, "404"), (text, "no picture (found HTML)"))
    assert "/never" not in site.asked


def test_a_link_wanted_often_is_asked_once(site, store, picture, run):
    site.routes["/a"] = (200, {}, picture)
    results = run(store, [[site.url("/a"), site.url("/a")]] * 30 + [[site.url("/b"), site.url("/b")]] * 30)
    assert len({result.path for result in results[:30]}) == 1
    assert {result.failures for result in results[30:]} == {((site.url("/b"), "404"),)}
    assert site.asked == {"/a": 1, "/b": 1}


def test_a_second_call_asks_nothing_that_is_known(site, store, picture, run):
    site.routes |= {"/a": (200, {}, picture), "/b": 404, "/c": 500}
    items = [[site.url(path)] for path in ("/a", "/b", "/c")]
    first = run(store, items)
    site.asked.clear()
    assert run(store, items) == first
    assert site.asked == {"/c": 3}  # a trouble that may have passed
    site.asked.clear()
    site.routes["/b"] = (200, {}, picture)
    assert run(store, items, retry_failed=True)[1].path == first[0].path
    assert site.asked == {"/b": 1, "/c": 3}


def test_a_file_that_vanished_is_fetched_again(site, store, picture, run):
    site.routes["/a"] = (200, {}, picture)
    run(store, [[site.url("/a")]])[0].path.unlink()
    assert run(store, [[site.url("/a")]])[0].path.read_bytes() == picture
    assert site.asked["/a"] == 2


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_the_wait_that_a_server_asks_for_is_kept_by_all_links_of_the_host(site, store, pictures, kind, run):
    times = []

    def busy(handler):
        times.append(time.monotonic())
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        asked = "1" if kind == "seconds" else date
        handler.wfile.write(f"HTTP/1.1 429 Busy\r\nRetry-After: {asked}\r\nContent-Length: 0\r\n\r\n".encode())

    def good(handler):
        times.append(time.monotonic())
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(pictures[0]) + pictures[0])

    site.routes |= {"/a": [busy, good], "/b": good}
    results = run(store, [[site.url("/a")], [site.url("/b")]], concurrency=2, per_host=1)
    assert all(result.path for result in results)
    assert site.asked == {"/a": 2, "/b": 1}
    assert min(times[1:]) - times[0] > 0.9


def test_redirects_are_followed(site, store, picture, run):
    for number in range(5):
        site.routes[f"/{number}"] = (301, {"Location": f"{number + 1}"}, b"")
    site.routes["/5"] = (200, {}, picture)
    (result,) = run(store, [[site.url("/0")]])
    assert (result.path.read_bytes(), result.url) == (picture, site.url("/0"))


def test_a_proxy_of_the_environment_is_left_alone(site, store, picture, monkeypatch, run):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    site.routes["/a"] = (200, {}, picture)
    assert run(store, [[site.url("/a")]])[0].path is not None


def test_cookies_are_not_returned(site, store, picture, run):
    site.routes["/a"] = (200, {"Set-Cookie": "a=b"}, picture)
    run(store, [[site.url("/a")]] + [[site.url(f"/{n}")] for n in range(3)], concurrency=1)
    assert "Cookie" not in site.headers["/2"]


def test_no_more_requests_at_once_than_permitted(site, store, pictures, run):
    def slow(content):
        def route(handler):
            time.sleep(0.02)
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

        return route

    for number, content in enumerate(pictures):
        site.routes[f"/{number}"] = slow(content)
    hosts = ("127.0.0.1", "localhost")
    items = [[site.url(f"/{number}", hosts[number % 2])] for number in range(len(pictures))]
    assert all(result.path for result in run(store, items, concurrency=7, per_host=4))
    assert {name: most <= 4 for name, most in site.most.items() if name != "all"} == dict.fromkeys(hosts, True)
    assert 4 < site.most["all"] <= 7


def test_everything_at_once_loses_nothing(site, store, pictures, run):
    site.routes["/bad"] = (302, {"Location": "/bad"}, b"")
    for number, content in enumerate(pictures):
        flaky = [500, (200, {}, content)]
        site.routes[f"/{number}"] = [404, (200, {}, content[:300]), (200, {}, content), flaky][number % 4]
    items = [[site.url(f"/{number}"), site.url(f"/{(number + 1) % 60}")] for number in range(60)]
    told = []
    results = run(store, items, told.append, concurrency=8)
    for number, result in enumerate(results):
        expected = [None, number + 1, number, number][number % 4]  # 0: neither link; 1: the second
        assert (result.path and result.path.read_bytes()) == (None if expected is None else pictures[expected])
        assert [reason for _, reason in result.failures] == [
            ["404", "cut off after 300 bytes"],
            ["cut off after 300 bytes"],
            [],
            [],
        ][number % 4]
    assert told.count(True) == 45


def test_progress_is_a_line_in_the_log_without_a_terminal(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="behavesim"), picture_progress(3) as told:
        for found in (True, False):
            told(found)
    assert caplog.messages[0].startswith("pictures: 2 of 3, 1 failed, ")
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with picture_progress(2) as told:
        told(True)
        told(False)
    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "1 failed" in shown.err
    assert shown.out == ""
