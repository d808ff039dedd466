"""How far work on pictures has come."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from behavesim.log import log


class _Count:
    """Pictures that are done, and how many of them in vain."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self._start = time.monotonic()

    def add(self, found: bool) -> None:
        self.done += 1
        self.failed += not found

    def rate(self) -> float:
        """Pictures a second."""
        return self.done / max(time.monotonic() - self._start, 1e-9)


@contextmanager
def picture_progress(total: int, what: str = "pictures") -> Iterator[Callable[[bool], None]]:
    """A function to call once a picture, with whether it was found; `what` names the work.

    A terminal on stderr shows a bar meanwhile; anything else gets one line in the log at the end.
    """
    console = Console(stderr=True)
    count = _Count()
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(what, total=total, rate="", failed=0)

            def advance(found: bool) -> None:
                count.add(found)
                bar.update(task, advance=1, rate=f"{count.rate():,.0f}/s", failed=count.failed)

            yield advance
        return
    try:
        yield count.add
    finally:
        if total:
            log.info(
                "%s: %s of %s, %s failed, %s a second",
                what,
                *(f"{number:,.0f}" for number in (count.done, total, count.failed, count.rate())),
            )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
        console=console,
    )
