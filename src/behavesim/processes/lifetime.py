"""The life of a process: what names it, whether it still lives, and how it ends when it is told to."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from behavesim.errors import UserError

INTERRUPTED = 130  # exit codes, as shells have them
TERMINATED = 143
HUNG_UP = 129
CLOCK_SECONDS = 5  # by which a process's start may seem to move when the clock is set
WATCH_SECONDS = 10  # between looks at the process that this one must not outlive
TELLINGS = 4  # how often a process is told to end before it is ended: one that waits for another hears nothing
_told = threading.Event()  # set by SIGTERM and SIGHUP


def identity(number: int | None = None) -> str:
    """Host, id and start of a process, by default this one, and the namespace of its id.

    Hosts share databases, containers host names.
    """
    process = psutil.Process(number)
    return " ".join([socket.gethostname(), str(process.pid), f"{process.create_time():.0f}", *_namespace()])


def is_dead(named: str) -> bool:
    """Whether the process of an `identity` has ended; False too where that cannot be told from here."""
    host, number, start, *namespace = named.split(" ") if named.count(" ") > 1 else ("", "", "")
    if host != socket.gethostname() or not number.isdigit() or not start.isdigit():
        return False
    if namespace not in ([], _namespace()):  # none: of before they were noted
        return False
    try:
        process = psutil.Process(int(number))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - int(start)) > CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def end_with(named: str) -> None:
    """See to it that this process is told to end, and at last ended, once the process of an `identity` has ended.

    Nobody is followed where that is empty, or names a process that cannot be seen from here.
    """

    def watch() -> None:
        told = 0
        while True:
            time.sleep(WATCH_SECONDS)
            if is_dead(named):
                os.kill(os.getpid(), signal.SIGTERM if told < TELLINGS else signal.SIGKILL)
                told += 1

    if named:
        threading.Thread(target=watch, daemon=True, name="watch").start()


def end_with_parent() -> None:
    """The same for the process that started this one, unless that is outside of the container and cannot be seen."""
    with suppress(psutil.Error):
        end_with(identity(os.getppid()))


@contextmanager
def unwinding() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise `SystemExit`, so that what is open is closed; Python would just end.

    What is raised between any two steps may be lost, as in a destructor; Lightning then ends at the next batch by an
    exit of its own, with code 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(number: int, _frame: FrameType | None) -> None:
        _told.set()
        raise SystemExit(128 + number)

    def hang_up(number: int, frame: FrameType | None) -> None:
        """A terminal that closes: for whoever handles SIGTERM by now, as a trainer of several processes does."""
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            handler(number, frame)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, unwind)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    except BaseException as error:
        # What breaks once a process is told to end, such as a message to one that has ended already, is its end too.
        if _told.is_set() and not (isinstance(error, SystemExit) and error.code):
            raise SystemExit(TERMINATED) from error
        raise
    finally:
        _told.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whoever is told to end once more, while closing what is open, closes it all the same."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def was_told_to_end(error: BaseException | None) -> bool:
    """Whether a process that ends by this exception was interrupted or terminated, rather than failed.

    Lightning exits with 1 when it was interrupted: what came before an exit counts.
    """
    codes = (INTERRUPTED, TERMINATED, HUNG_UP)
    while isinstance(error, SystemExit) and error.code not in codes and not _told.is_set():
        error = error.__cause__ or error.__context__
    return _told.is_set() or isinstance(error, (KeyboardInterrupt, SystemExit))


def described(error: BaseException) -> str:
    """One line on how a process ended."""
    if was_told_to_end(error):
        return "terminated" if _told.is_set() else "interrupted"
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _namespace() -> list[str]:
    """What tells the process ids of a container from those of the host and of other containers, where Linux says it."""
    with suppress(OSError):
        return [str(Path("/proc/self/ns/pid").stat().st_ino)]
    return []
