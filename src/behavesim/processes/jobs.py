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

from behavesim.machine import cores
from behavesim.processes.lifetime import identity
from behavesim.redact import clean

LOG = "terminal.log"  # in a job's folder: all that it said
PATIENCE = 30  # seconds in which a job that is told to end may close what is open
INTERRUPTED = "the sweep was interrupted"
SWEEP_VARIABLE = "BEHAVESIM_SWEEP"  # the process that a job must not outlive
# What a process has from others that started it, and its own jobs must not take for theirs.
_OF_OTHERS = re.compile(r"(LOCAL_|NODE_|GROUP_)?RANK|(LOCAL_)?WORLD_SIZE|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|HYDRA_.*")
_ERROR = r"[\w.]+(Error|Exception)\b"
# Last words, ours or PyTorch's, which tell one process of several from another.
_LAST_WORDS = re.compile(rf"(?P<who>error|error in process \d+|\[rank\d+\](?=: {_ERROR})): (?P<words>.+)")


@dataclass(frozen=True)
class Job:
    """What is to be run, and in which folder it writes."""

    number: int
    name: str
    command: Sequence[str]
    folder: Path
    overrides: Sequence[str]
    """Those that tell it from other jobs."""
    processes: int = 1
    """How many compute at once."""


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
    together = min(at_a_time, len(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                job = waiting.popleft()
                running.append(_Process(job, job_environment(os.environ, together, job.processes)))
                started(running[-1].job)
            for process in [process for process in running if process.popen.poll() is not None]:
                running.remove(process)
                ended(process.ended())
            time.sleep(0.05)
    except BaseException:
        over = [process for process in running if process.popen.poll() is not None]
        try:
            _end_all(running)
        finally:
            for process in running:
                by_itself = process in over or process.popen.returncode == 0
                ended(process.ended() if by_itself else process.interrupted())
        raise


def job_environment(environment: Mapping[str, str], at_a_time: int, processes: int) -> dict[str, str]:
    """The environment of a job: no ranks of ours, output as it comes, its share of the cores, and whom it must follow.

    A job that runs alone is left to share out the cores among its own processes.
    """
    found = {name: value for name, value in environment.items() if not _OF_OTHERS.fullmatch(name)}
    if at_a_time > 1:
        found.setdefault("OMP_NUM_THREADS", str(max(1, cores() // (at_a_time * processes))))
    return found | {"PYTHONUNBUFFERED": "1", SWEEP_VARIABLE: identity()}


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

    def interrupted(self) -> Ended:
        return Ended(self.job, self.seconds, INTERRUPTED, killed=True)


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
    text = log.read_text(errors="replace")[-20_000:]
    said = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    errors = _last_words(said) or [line for line in said if re.match(_ERROR, line)]
    if code < 0 and not errors:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", as for want of memory" if name == "SIGKILL" else "")
    return clean((errors or said or [f"exit code {code}"])[-1])


def _last_words(said: Sequence[str]) -> list[str]:
    """Those of the first process that ended; the others break for want of it, and the main one may be killed."""
    found = [words for words in map(_LAST_WORDS.match, said) if words]
    return [words["words"] for words in found if words["who"] == found[0]["who"]]
