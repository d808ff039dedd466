"""One link asked over HTTP: limits, redirects, repetitions, and a name for everything that goes wrong."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from behavesim.data.pictures.addresses import PrivateAddressError
from behavesim.data.pictures.jpeg import PictureFault, TooManyPixels

_REDIRECTS = 5
_LONGEST_WAIT = 60.0  # seconds that a server may ask us to wait
_LONGEST_BACKOFF = 30.0  # seconds
_HOPELESS = 200  # links of one host that failed in a row: without a network, 300,000 would fail for hours
_SCHEMES = ("http", "https")
_ACCEPTED = "accepted: http, https"
_PASSING = (408, 425, 429)  # and all from 500 on: answers that another try may change

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class DownloadSettings:
    """How pictures are downloaded. Times are in seconds, sizes in bytes and pixels."""

    concurrency: int = 48
    per_host: int = 16
    retries: int = 4
    backoff: float = 0.5  # before the first repetition; doubled for each next one, and shortened by chance
    timeout: float = 20.0  # for connecting, and for each wait for more bytes
    deadline: float = 60.0  # for a whole answer
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    allow_private: bool = False
    retry_failed: bool = False


class LinkError(Exception):
    """A link gives no picture, and is not asked again in this run; `permanent`: not in a later one either."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


class _PassingError(Exception):
    """A trouble that may pass; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


@dataclass
class _Host:
    slots: asyncio.Semaphore
    quiet_until: float = 0.0  # on the monotonic clock
    failed_in_a_row: int = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the host may be asked."""
        async with self.slots:
            # One link was asked to wait: the others would only be told the same, and use up their repetitions.
            while (wait := self.quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            yield


@dataclass
class Fetcher:
    """Asks links, never more than `per_host` of one host at once."""

    client: httpx.AsyncClient
    settings: DownloadSettings
    _hosts: dict[str, _Host] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=random.Random)

    async def fetch(self, link: str, keep: Callable[[bytes], Awaitable[Kept]]) -> Kept:
        """What `keep` makes of the bytes behind the link.

        Raises:
            LinkError: there are none, or `keep` raised PictureFault.
        """
        url = _address(link, "no web address")
        host = self._host(url)
        for attempt in range(self.settings.retries + 1):
            try:
                kept = await self._attempt(url, keep)
                host.failed_in_a_row = 0
                return kept
            except LinkError as fault:
                if fault.permanent:
                    host.failed_in_a_row = 0  # the host answers
                raise
            except _PassingError as passing:
                last = passing
            if host.failed_in_a_row >= _HOPELESS:
                break  # one try a link, which also finds out when the host is back
            if attempt < self.settings.retries:
                await asyncio.sleep(max(last.wait, self._pause(attempt)))
        host.failed_in_a_row += 1
        raise LinkError(last.reason, permanent=False)

    def _pause(self, attempt: int) -> float:
        """Seconds before the next repetition; by chance, so that links that failed together do not return together."""
        return min(_LONGEST_BACKOFF, self.settings.backoff * 2**attempt) * self._chance.uniform(0.5, 1.0)

    def _host(self, url: httpx.URL) -> _Host:
        if url.host not in self._hosts:
            self._hosts[url.host] = _Host(asyncio.Semaphore(self.settings.per_host))
        return self._hosts[url.host]

    async def _attempt(self, url: httpx.URL, keep: Callable[[bytes], Awaitable[Kept]]) -> Kept:
        for _ in range(_REDIRECTS + 1):
            host = self._host(url)
            async with host.turn(), self._answer(url) as response:
                if not response.has_redirect_location:
                    content = await self._content(response, host)
                    break
                url = _target(url, response)
        else:
            raise LinkError(f"over {_REDIRECTS} redirects", permanent=True)
        try:
            return await keep(content)
        except PictureFault as fault:
            # Without a length nobody can tell a whole answer from one whose connection broke.
            if "content-length" in response.headers or "transfer-encoding" in response.headers:
                # A limit may be another one next time.
                raise LinkError(str(fault), permanent=not isinstance(fault, TooManyPixels)) from fault
            raise _PassingError(str(fault)) from fault

    @asynccontextmanager
    async def _answer(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """The answer, its body unread; what goes wrong until the end of the block is named."""
        with _named(self.settings):
            async with asyncio.timeout(self.settings.deadline):
                response = await self.client.send(self.client.build_request("GET", url), stream=True)
                try:
                    yield response
                finally:
                    await response.aclose()

    async def _content(self, response: httpx.Response, host: _Host) -> bytes:
        if response.status_code != 200:
            raise _refusal(response, host)
        # Asked not to encode. Unpacking what comes all the same could fill the memory.
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise LinkError(f"answer encoded as {encoding[:20]}; accepted: identity", permanent=True)
        limit = self.settings.max_bytes
        too_large = LinkError(f"over {limit / 1e6:g} MB", permanent=False)
        length = response.headers.get("content-length", "")
        if length.isdecimal() and float(length) > limit:
            raise too_large
        pieces, total = [], 0
        async for piece in response.aiter_raw():
            pieces.append(piece)
            total += len(piece)
            if total > limit:
                raise too_large
        return b"".join(pieces)


def _address(link: str, what: str) -> httpx.URL:
    """The link as an address of the web; `what` is said of it where it is none."""
    fault = LinkError(f"{what}; {_ACCEPTED}", permanent=True)
    try:
        url = httpx.URL(link)
    except (httpx.InvalidURL, ValueError):
        raise fault from None
    if url.scheme not in _SCHEMES or not url.host:
        raise fault
    return url


def _target(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    location = response.headers["location"]
    try:
        target = str(url.join(location))
    except (httpx.InvalidURL, ValueError):
        target = location
    return _address(target, f"redirects to {location[:60]}")


def _refusal(response: httpx.Response, host: _Host) -> Exception:
    """What an answer without a picture means for the link; a wait that it asks for concerns the whole host."""
    status = response.status_code
    if status not in _PASSING and status < 500:
        return LinkError(str(status), permanent=True)
    wait = _retry_after(response.headers.get("retry-after", ""))
    if wait > _LONGEST_WAIT:
        return LinkError(f"{status}, asks to wait {wait:,.0f} s; accepted: {_LONGEST_WAIT:g} s", permanent=False)
    host.quiet_until = max(host.quiet_until, time.monotonic() + wait)
    return _PassingError(str(status), wait)


def _retry_after(text: str) -> float:
    """Seconds that a Retry-After header asks for, as a number or as a date; 0 where it is neither."""
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


@contextmanager
def _named(settings: DownloadSettings) -> Iterator[None]:
    try:
        yield
    except PrivateAddressError as error:
        # Not permanent: the next run may permit it.
        reason = f"private address {error} (allow_private=true permits it)"
        raise LinkError(reason, permanent=False) from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        raise LinkError(f"cannot be asked ({_short(error)})", permanent=True) from error
    except httpx.TimeoutException as error:
        raise _PassingError(f"timed out after {settings.timeout:g} s") from error
    except httpx.ConnectError as error:
        raise _PassingError(f"no connection ({_short(error)})") from error
    except httpx.HTTPError as error:
        raise _PassingError(f"broken answer ({_short(error)})") from error
    except TimeoutError as error:
        # Not repeated: a server that drips bytes would hold its place for as many deadlines.
        raise LinkError(f"not complete after {settings.deadline:g} s", permanent=False) from error
    except (OSError, ValueError, EOFError) as error:  # the libraries below do not wrap all that a socket brings
        raise _PassingError(f"broken answer ({_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__
