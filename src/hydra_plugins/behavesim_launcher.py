"""Hydra's side of a sweep: the launcher that runs each job in a fresh process, and when a sweep begins.

Hydra imports this file at the start of every command, so it imports nothing heavy.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from behavesim import sweep
from behavesim.cli import in_quotes
from behavesim.config import has_last
from behavesim.errors import UserError
from behavesim.log import quiet_libraries
from behavesim.processes import jobs
from behavesim.processes.lifetime import described
from behavesim.redact import clean

# What Hydra was told about the sweep is not for its jobs.
OF_THE_SWEEP = ("hydra.mode", "hydra.run.", "hydra.sweep", "hydra.launcher", "hydra/launcher", "hydra/sweeper")


@dataclass
class ProcessLauncherConf:
    """`hydra/launcher=processes`, the default."""

    _target_: str = "hydra_plugins.behavesim_launcher.ProcessLauncher"
    n_jobs: int = 1


ConfigStore.instance().store(
    group="hydra/launcher", name="processes", node=ProcessLauncherConf, provider="behavesim_launcher"
)


class Returned(JobReturn):
    """What a sweeper reads of a job. Hydra's own would print every override of one that failed."""

    @property
    def return_value(self) -> Any:
        """The objective.

        Raises:
            JobFailed: there is none.
        """
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


class SweepCallback(Callback):
    """Begins a sweep, with any launcher: its run of MLflow is there before the first job."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra would only warn of an error here, and go on without the run."""
        try:
            sweep.begin(Path(config.hydra.sweep.dir), _sweep_run(config))
        except Exception as error:
            print(f"error: {clean(described(error))}", file=sys.stderr)
            raise SystemExit(2) from error


class ProcessLauncher(Launcher):
    """Runs jobs as `python -m behavesim.<command>`, `n_jobs` at a time.

    DeepSpeed starts once in a process, and the further processes of a job with several devices are started with the
    arguments of the first one, which must therefore be those of the job and not of the sweep.
    """

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.config = DictConfig({})
        self.context: HydraContext | None = None
        self.artifacts: dict[str, int] = {}  # the jobs of the sweep by the folders that they export to

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's hook; the task function belongs to this process, and stays unused."""
        if self.n_jobs < 1:
            raise UserError(f"hydra.launcher.n_jobs: found {self.n_jobs}; accepted: 1 or more")
        self.config, self.context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs to their ends."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        configs = [self._config(number, list(words)) for number, words in enumerate(job_overrides, initial_job_idx)]
        for cfg in configs:
            self._check_apart(cfg)
        batch = [self._job(cfg, list(words)) for cfg, words in zip(configs, job_overrides, strict=True)]
        returns = {job.number: _returned(cfg) for job, cfg in zip(batch, configs, strict=True)}
        conducted = sweep.current() or sweep.Sweep(Path(self.config.hydra.sweep.dir), None)

        def ended(what: jobs.Ended) -> None:
            value, found = conducted.job_ended(what), returns[what.job.number]
            found.status = JobStatus.COMPLETED if what.error is None else JobStatus.FAILED
            found.return_value = value if what.error is None else sweep.JobFailed(what.error)

        jobs.run(batch, self.n_jobs, conducted.job_started, ended)
        return list(returns.values())

    def _config(self, number: int, overrides: list[str]) -> DictConfig:
        """The configuration of a job: of the same sweep, under a name and in a folder of its own."""
        assert self.context is not None
        cfg = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
            cfg.run_name = f"{cfg.run_name}_{number}"
            cfg.paths.output = str(Path(self.config.hydra.sweep.dir) / str(cfg.hydra.sweep.subdir))
        return cfg

    def _check_apart(self, cfg: DictConfig) -> None:
        """A search launches its jobs in batches; those of all of them export to folders of their own."""
        place, number = cfg.get("export_dir"), cfg.hydra.job.num
        if place is not None and self.artifacts.setdefault(place, number) != number:
            found = f"found {place} for several jobs"
            raise UserError(f"export_dir: {found}; accepted: a folder for each, such as models/${{run_name}}")

    def _job(self, cfg: DictConfig, overrides: list[str]) -> jobs.Job:
        task, hydra = self.config.hydra.overrides.task, self.config.hydra.overrides.hydra
        fixed = {_key(word) for word in _parsed(task) if not word.is_sweep_override()}
        told = [text for text, word in zip(overrides, _parsed(overrides), strict=True) if _key(word) not in fixed]
        number, left_out = cfg.hydra.job.num, ("run_name=", "paths.output=", *_begun(cfg, told))
        command = [sys.executable, "-m", f"behavesim.{cfg.hydra.job.config_name}"]
        command += [text for text in overrides if not text.startswith(left_out)]
        command += [text for text in hydra if not text.lstrip("+~").startswith(OF_THE_SWEEP)]
        command += [f"run_name={in_quotes(cfg.run_name)}", f"paths.output={in_quotes(cfg.paths.output)}"]
        command += ["hydra.mode=RUN", f"hydra.job.num={number}", f"hydra.job.id={number}"]
        devices = OmegaConf.select(cfg, "trainer.devices")
        processes = devices if isinstance(devices, int) and devices > 1 else 1
        return jobs.Job(number, cfg.run_name, command, Path(cfg.paths.output), told, processes)


def _begun(cfg: DictConfig, told: Sequence[str]) -> tuple[str, ...]:
    """Overrides that are not for a job of a sweep that goes on: it begins if it was not begun.

    Raises:
        UserError: the job of that number had other settings.
    """
    if cfg.get("ckpt_path") != "last":
        return ()
    if not has_last(cfg.paths.output):
        return ("ckpt_path=",)
    earlier = Path(cfg.paths.output) / ".hydra" / "overrides.yaml"
    had = list(OmegaConf.load(earlier)) if earlier.is_file() else told
    other = [text for text in told if text not in had]
    if other:
        accepted = "the values of the sweep that goes on, in their order"
        raise UserError(f"ckpt_path: found last with {other[0]}, which {earlier} has not; accepted: {accepted}")
    return ()


def _returned(cfg: DictConfig) -> Returned:
    task = cfg.copy()
    with open_dict(task):
        hydra = task.pop("hydra")
    return Returned(list(hydra.overrides.task), task, DictConfig({"hydra": hydra}), str(Path.cwd()), hydra.job.name)


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(overrides))


def _key(word: Override) -> str:
    return word.get_key_element()


def _sweep_run(config: DictConfig) -> Any:
    logger = config.get("logger") or {}
    if logger.get("name") != "mlflow" or config.get("dry_run"):
        return None
    from behavesim.tracking.sweep import SweepRun  # MLflow takes seconds

    quiet_libraries()
    return SweepRun(
        tracking_uri=logger.tracking_uri,
        experiment_name=logger.experiment_name,
        run_name=config.run_name,
        overrides=list(config.hydra.overrides.task),
        resume=config.get("ckpt_path") is not None,
    )
