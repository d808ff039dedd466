"""Jobs of a sweep as processes of their own, some at a time."""

import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from behavesim.redact import clean

LOG = "terminal.log"  # in a job's folder: all that it said
PATIENCE = 30  # seconds in which a job that is told to end may close what is open
INTERRUPTED = "the sweep was interrupted"
# What a process has from others that started it, and its own jobs must not take for theirs.
_OF_OTHERS = re.compile(r"(LOCAL_|NODE_|GROUP_)?RANK|(LOCAL_)?WORLD_SIZE|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|HYDRA_.*")
_ERROR = re.compile(r"error: |[\w.]+(Error|Exception)\b")


@dataclass(frozen=True)
class Job:
    """What is to be run, and in which folder it writes."""

    number: int
    name: str
    command: Sequence[str]
    folder: Path
    overrides: Sequence[str]
    """Those that tell it from other jobs."""


@dataclass(frozen=True)
class Ended:
    """What became of a job; `error` is None if it came to its end."""

    job: Job
    seconds: float
    error: str | None
    killed: bool = False
    """Whether it was ended with the sweep."""


def run(jobs: Sequence[Job], at_a_time: int, started: Callable[[Job], None], ended: Callable[[Ended], None]) -> None:
    """Run jobs until all have ended, whatever becomes of each; if this is interrupted, running ones are ended too."""
    waiting, running = deque(jobs), list[_Process]()
    environment = job_environment(os.environ, at_a_time)
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                running.append(_Process(waiting.popleft(), environment))
                started(running[-1].job)
            for process in [process for process in running if process.popen.poll() is not None]:
                running.remove(process)
                ended(process.ended())
            time.sleep(0.05)
    except BaseException:
        try:
            _end_all(running)
        finally:
            for process in running:
                ended(Ended(process.job, process.seconds, INTERRUPTED, killed=True))
        raise


def job_environment(environment: Mapping[str, str], at_a_time: int) -> dict[str, str]:
    """The environment of a job: no ranks of ours, output as it comes, cores shared out among those that run at once."""
    found = {name: value for name, value in environment.items() if not _OF_OTHERS.fullmatch(name)}
    if at_a_time > 1:
        found.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_a_time)))
    return found | {"PYTHONUNBUFFERED": "1"}


@dataclass
class _Process:
    """A job that runs, with all that it starts in a group of processes of its own."""

    job: Job
    environment: Mapping[str, str]
    popen: subprocess.Popen[bytes] = field(init=False)
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.job.folder.mkdir(parents=True, exist_ok=True)
        self.start = time.monotonic()
        with (self.job.folder / LOG).open("wb") as log:
            self.popen = self._open(log)

    def _open(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(self.environment),
            start_new_session=True,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def tell(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def ended(self) -> Ended:
        self.tell(signal.SIGKILL)  # processes of a job that is over
        return Ended(self.job, self.seconds, _error(self.popen.returncode, self.job.folder / LOG))


def _end_all(running: Sequence[_Process]) -> None:
    """Tell jobs to end, again where that was lost on them, and after a while end them for good."""
    until = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until and (left := [process for process in running if process.popen.poll() is None]):
            for process in left:
                process.tell(signal.SIGTERM)
            again = time.monotonic() + PATIENCE / 3
            while time.monotonic() < again and any(process.popen.poll() is None for process in left):
                time.sleep(0.05)
    finally:
        for process in running:
            process.tell(signal.SIGKILL)
            process.popen.wait()


def _error(code: int, log: Path) -> str | None:
    """Why a process ended with this code, in a line."""
    if code == 0:
        return None
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", as for want of memory" if name == "SIGKILL" else "")
    said = [line.strip() for line in re.split(r"[\r\n]+", log.read_text(errors="replace")[-20_000:]) if line.strip()]
    errors = [line.removeprefix("error: ") for line in said if _ERROR.match(line)]
    return clean((errors or said or [f"exit code {code}"])[-1])
