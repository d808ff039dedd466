"""The sweep that this process conducts: what becomes of its jobs, and how it ends."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from behavesim.log import log
from behavesim.processes import lifetime
from behavesim.processes.jobs import LOG, Ended, Job
from behavesim.redact import clean

if TYPE_CHECKING:
    from behavesim.tracking.sweep import SweepRun

JOBS, OBJECTIVE = "jobs.csv", "objective.json"
COLUMNS = ("job", "run", "status", "objective", "seconds", "overrides", "error", "log")
FAILURE = 1  # the exit code of a sweep in which a job failed


class JobFailed(RuntimeError):  # noqa: N818  what Hydra's sweepers are told of a job
    """A job did not come to its end; the others do."""


@dataclass
class Sweep:
    """The jobs of a sweep that have ended."""

    folder: Path
    run: "SweepRun | None"
    ended: list[tuple[Ended, float | None]] = field(default_factory=list)

    def job_started(self, job: Job) -> None:
        """Say so; an objective of an earlier sweep in the same folder is none of this one's."""
        (job.folder / OBJECTIVE).unlink(missing_ok=True)
        log.info("job %d started: %s", job.number, _told(job))

    def job_ended(self, ended: Ended) -> float | None:
        """Say so, keep it in the table, and see to its run of MLflow; returns the objective."""
        job, objective = ended.job, read_objective(ended.job.folder) if ended.error is None else None
        self.ended.append((ended, objective))
        said = ended.error or (f"objective {objective:.5g}" if objective is not None else "no objective")
        log.info("job %d %s after %.0f s: %s", job.number, _status(ended).lower(), ended.seconds, said)
        self._write_table()
        if self.run is not None and ended.error is not None:
            self.run.end_job(job.name, job.overrides, ended.error, killed=ended.killed)
        return objective

    def end(self, error: BaseException | None) -> None:
        """Say how the sweep ended, and end its run of MLflow."""
        failed = [ended.job for ended, _ in self.ended if ended.error is not None]
        scored = [(objective, ended.job) for ended, objective in self.ended if objective is not None]
        scored = [found for found in scored if math.isfinite(found[0])]
        if scored:
            objective, job = min(scored, key=lambda found: found[0])
            log.info("best: job %d, objective %.5g, %s", job.number, objective, _told(job))
        for ended, _ in sorted(self.ended, key=_number):
            if ended.error is not None:
                path = ended.job.folder / LOG
                with suppress(OSError):  # a terminal that has closed
                    line = f"error: job {ended.job.number} ({_told(ended.job)}): {ended.error}; see {path}"
                    print(line, file=sys.stderr)
        if self.run is None:
            return
        reason = f"{len(failed)} of {len(self.ended)} jobs failed" if failed else None
        if error is not None and not isinstance(error, JobFailed):
            reason = lifetime.described(error)
        status = "KILLED" if lifetime.was_told_to_end(error) else "FAILED" if reason else "FINISHED"
        self.run.end(status, reason, self.folder / JOBS)

    def _write_table(self) -> None:
        with (self.folder / JOBS).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for ended, objective in sorted(self.ended, key=_number):
                job = ended.job
                facts = (job.number, job.name, _status(ended), objective, round(ended.seconds, 1))
                writer.writerow([*facts, _told(job), ended.error, job.folder / LOG])


_current: Sweep | None = None


def begin(folder: Path, run: "SweepRun | None") -> None:
    """From now on this process conducts a sweep, until the block of `conducted` ends."""
    global _current
    _current = Sweep(folder, run)


def current() -> Sweep | None:
    """The sweep that this process conducts."""
    return _current


@contextmanager
def conducted() -> Iterator[None]:
    """End a sweep that begins within the block, however it ends; exits if a job failed."""
    global _current
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
    sweep, _current = _current, None
    if sweep is not None:
        with lifetime.undisturbed():
            sweep.end(error)
        if (error is None or isinstance(error, JobFailed)) and any(ended.error for ended, _ in sweep.ended):
            raise SystemExit(FAILURE) from None
    if error is not None:
        raise error


def write_objective(folder: Path, metric: str, value: float) -> None:
    """Leave the value that a sweep minimises where the sweep reads it."""
    (folder / OBJECTIVE).write_text(json.dumps({"metric": metric, "value": value}) + "\n")


def read_objective(folder: Path) -> float | None:
    """What a job's process wrote; None where it has none, as a dry run."""
    path = folder / OBJECTIVE
    return float(json.loads(path.read_text())["value"]) if path.is_file() else None


def _number(found: tuple[Ended, float | None]) -> int:
    return found[0].job.number


def _told(job: Job) -> str:
    return " ".join(clean(list[str](job.overrides))) or "no overrides"


def _status(ended: Ended) -> str:
    return "FINISHED" if ended.error is None else "KILLED" if ended.killed else "FAILED"
