"""Links of pictures → files: many at once, each once, and nothing asked again that is known."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from behavesim import __version__
from behavesim.data.pictures.addresses import guarded_transport
from behavesim.data.pictures.fetch import DownloadSettings, Fetcher, LinkError
from behavesim.data.pictures.jpeg import picture_type
from behavesim.data.pictures.progress import picture_progress
from behavesim.data.pictures.store import PictureFiles

__all__ = ["DownloadSettings", "Downloaded", "download", "picture_progress"]

_DECODERS = 4  # threads at most: a decoded picture of the largest kind takes 200 MB


@dataclass(frozen=True)
class Downloaded:
    """Where the picture of an item lies and the link that gave it, or None twice; links tried in vain, with reasons."""

    path: Path | None
    url: str | None
    failures: tuple[tuple[str, str], ...]


def download(
    items: Sequence[Sequence[str]],
    store: PictureFiles,
    settings: DownloadSettings,
    progress: Callable[[bool], None] | None = None,
) -> list[Downloaded]:
    """Fetch one picture an item into `store`, and tell of each item in order.

    Of an item's links, best first, the first that gives a picture wins. A link in the store is not asked for again,
    nor one that failed for good, unless `settings.retry_failed`. `progress` is called once an item, with whether it
    has a picture. What was finished stays in the store, however the call ends.

    Raises:
        UserError: the store cannot be written to. Trouble with a link is never raised, only told.
    """
    return asyncio.run(_download(items, store, settings, progress))


async def _download(
    items: Sequence[Sequence[str]],
    store: PictureFiles,
    settings: DownloadSettings,
    progress: Callable[[bool], None] | None,
) -> list[Downloaded]:
    results: dict[int, Downloaded] = {}
    waiting = iter(enumerate(items))  # the workers share it: no task for an item before its turn

    async def work(links: _Links) -> None:
        for number, urls in waiting:
            results[number] = await links.picture(urls)
            if progress is not None:
                progress(results[number].path is not None)
            await asyncio.sleep(0)  # long stretches of known links would keep answers and Ctrl-C waiting

    with ThreadPoolExecutor(min(_DECODERS, os.cpu_count() or 1)) as threads:
        async with _client(settings) as client:
            links = _Links(store, settings, Fetcher(client, settings), threads)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(settings.concurrency, len(items))):
                        group.create_task(work(links))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
    return [results[number] for number in range(len(items))]


def _client(settings: DownloadSettings) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    return httpx.AsyncClient(
        transport=guarded_transport(limits, allow_private=settings.allow_private),
        # A proxy named by the environment would resolve names where the guard cannot look.
        trust_env=False,
        follow_redirects=False,  # each hop is looked at first
        timeout=httpx.Timeout(settings.timeout, pool=None),
        headers={"User-Agent": f"behavesim/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none: a link means the same in every order
    )


class _Links:
    """What each link gives: from the store, from a request that is under way, or from a new one."""

    def __init__(
        self, store: PictureFiles, settings: DownloadSettings, fetcher: Fetcher, threads: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._settings = settings
        self._fetcher = fetcher
        self._threads = threads
        self._running: dict[str, asyncio.Task[Path | str]] = {}
        self._failed: dict[str, str] = {}  # in this run

    async def picture(self, urls: Sequence[str]) -> Downloaded:
        """The first of the links that gives a picture."""
        failures = []
        for url in dict.fromkeys(urls):
            found = await self._outcome(url)
            if isinstance(found, Path):
                return Downloaded(found, url, tuple(failures))
            failures.append((url, found))
        return Downloaded(None, None, tuple(failures))

    async def _outcome(self, url: str) -> Path | str:
        """The file, or why there is none."""
        if url not in self._running:
            known = self._known(url)
            if known is not None:
                return known
            self._running[url] = asyncio.create_task(self._fetched(url))
        return await self._running[url]

    def _known(self, url: str) -> Path | str | None:
        if url in self._failed:
            return self._failed[url]
        known = self._store.get(url)
        if known is None and not self._settings.retry_failed:
            return self._store.failure(url)
        return known

    async def _fetched(self, url: str) -> Path | str:
        async def keep(content: bytes) -> Path:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._kept, url, content)

        try:
            return await self._fetcher.fetch(url, keep)
        except LinkError as fault:
            self._store.fail(url, fault.reason, fault.permanent)
            self._failed[url] = fault.reason
            return fault.reason
        finally:
            del self._running[url]

    def _kept(self, url: str, content: bytes) -> Path:
        picture_type(content, max_pixels=self._settings.max_pixels)
        return self._store.put(url, content)
