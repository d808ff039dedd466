"""Pictures made on the fly, and a web server of this machine that serves them well and badly."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from behavesim.data.pictures.download import DownloadSettings, download
from behavesim.data.pictures.store import PictureFiles

FAST = {"allow_private": True, "backoff": 0.005, "timeout": 1.0, "deadline": 3.0, "retries": 2}


def encoded(picture, kind="JPEG", **options):
    """A picture as bytes."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(width, height, seed=0):
    """A picture that does not compress, so that half of its bytes are half of its rows."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture(scope="session")
def as_bytes():
    """See `encoded`."""
    return encoded


@pytest.fixture(scope="session")
def noisy():
    """See `noise`."""
    return noise


class Handler(BaseHTTPRequestHandler):
    """Answers a path with what `server.routes` says; a list is worked off, its last entry stays."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site, host = self.server.site, self.headers["Host"].split(":")[0]
        with site.lock:
            site.asked[self.path] += 1
            site.headers[self.path] = dict(self.headers)
            for name in ("all", host):
                site.now[name] += 1
                site.most[name] = max(site.most[name], site.now[name])
            route = site.routes.get(self.path, 404)
            if isinstance(route, list):
                route = route.pop(0) if len(route) > 1 else route[0]
        try:
            self._send(route)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with site.lock:
                site.now["all"] -= 1
                site.now[host] -= 1

    def _send(self, route):
        if callable(route):
            self.close_connection = True  # the route writes its own answer
            route(self)
            return
        status, headers, body = (route, {}, b"") if isinstance(route, int) else route
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.close_connection = self.close_connection or headers.get("Content-Length", "") is None
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing on stderr."""


class Site:
    """The server's side of a test: its routes, and what was asked of it."""

    def __init__(self, server):
        self.lock = threading.Lock()
        self.routes, self.headers = {}, {}
        self.asked, self.now, self.most = Counter(), Counter(), Counter()
        self.closing = threading.Event()  # for routes that stall
        self.port = server.server_address[1]

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_):
        """Clients that went away are what the tests are about."""


@pytest.fixture
def site():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = Site(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server.site
        server.site.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def pictures():
    """Sixty pictures as bytes."""
    return [encoded(noise(20, 16, seed)) for seed in range(60)]


@pytest.fixture(scope="session")
def picture(pictures):
    return pictures[0]


@pytest.fixture
def store(tmp_path):
    with PictureFiles(tmp_path / "store") as files:
        yield files


def download_all(store, items, progress=None, **changes):
    """`download` by settings under which a test takes no time; keywords replace those of `FAST`."""
    results = download(items, store, DownloadSettings(**(FAST | changes)), progress)
    assert len(results) == len(items)
    return results


@pytest.fixture(scope="session")
def run():
    """See `download_all`."""
    return download_all


@pytest.fixture(scope="session")
def reason_of():
    """Why a link alone fails."""

    def reason(store, url, **changes):
        (result,) = download_all(store, [[url]], **changes)
        assert (result.path, result.url) == (None, None)
        ((tried, reason),) = result.failures
        assert tried == url
        return reason

    return reason
