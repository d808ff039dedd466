"""The life of a process: what names it, whether it still lives, and how it ends when it is told to."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

from behavesim.errors import UserError

INTERRUPTED = 130  # exit codes, as shells have them
TERMINATED = 143
CLOCK_SECONDS = 5  # by which a process's start may seem to move when the clock is set
_told = threading.Event()  # set by SIGTERM


def identity() -> str:
    """Host, id and start of this process: ids are given out again, and hosts share databases."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def is_dead(named: str) -> bool:
    """Whether the process of an `identity` has ended; False too where that cannot be told from here."""
    host, _, rest = named.partition(" ")
    number, _, start = rest.partition(" ")
    if host != socket.gethostname() or not number.isdigit() or not start.isdigit():
        return False
    try:
        process = psutil.Process(int(number))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - int(start)) > CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@contextmanager
def unwinding() -> Iterator[None]:
    """Within the block SIGTERM raises `SystemExit`, so that what is open is closed; Python would just end.

    What is raised between any two steps may be lost, as in a destructor; Lightning then ends at the next batch by an
    exit of its own, with code 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(_number: int, _frame: FrameType | None) -> None:
        _told.set()
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    except SystemExit as error:
        if _told.is_set() and not error.code:
            raise SystemExit(TERMINATED) from error
        raise
    finally:
        _told.clear()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whoever is told to end once more, while closing what is open, closes it all the same."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def was_told_to_end(error: BaseException | None) -> bool:
    """Whether a process that ends by this exception was interrupted or terminated, rather than failed.

    Lightning exits with 1 when it was interrupted: what came before an exit counts.
    """
    while isinstance(error, SystemExit) and error.code not in (INTERRUPTED, TERMINATED) and not _told.is_set():
        error = error.__cause__ or error.__context__
    return isinstance(error, (KeyboardInterrupt, SystemExit))


def described(error: BaseException) -> str:
    """One line on how a process ended."""
    if was_told_to_end(error):
        return "terminated" if _told.is_set() else "interrupted"
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]
