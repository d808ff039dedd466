"""What tells the jobs of a sweep apart, and the processes of a job, before the work begins."""

import sys

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from behavesim.config import has_last
from behavesim.errors import UserError
from behavesim.log import only_errors
from behavesim.processes.ranks import is_main, started_together


def tell_jobs_apart(cfg: DictConfig) -> None:
    """Give each job of a multirun its own name, outputs and artifact: all of them share the sweep's `run_name`.

    Of jobs that are to go on, those that were not begun begin.
    """
    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:
        cfg.run_name = f"{cfg.run_name}_{job.job.num}"
        cfg.paths.output = job.runtime.output_dir
        if cfg.get("ckpt_path") == "last" and not has_last(cfg.paths.output):
            cfg.ckpt_path = None


def check_processes(cfg: DictConfig) -> None:
    """Refuse a job that would start further processes, where these would be given the arguments of the whole sweep.

    Raises:
        UserError: it is of several processes, and in the process of a sweep or of a plugin's worker.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN or "trainer" not in cfg or started_together():
        return
    if (found := _processes(cfg.trainer)) > 1:
        accepted = "hydra/launcher=processes, or hydra.launcher.tasks_per_node of Slurm for each device"
        raise UserError(f"trainer.devices: found {found} processes with this launcher; accepted: 1, {accepted}")


def share_name(cfg: DictConfig) -> None:
    """Give all processes of a job one `run_name`; all but the main one fall silent.

    Lightning starts further processes with the arguments of this one, and a default name is a moment of the clock.
    Those of a plugin's worker are given their configuration, name included.

    Raises:
        UserError: the processes were started from outside, each with a name of its own.
    """
    if not is_main():
        only_errors()
    if HydraConfig.get().mode == RunMode.MULTIRUN or any(word.startswith("run_name=") for word in sys.argv[1:]):
        return
    if started_together():
        raise UserError("run_name: found none for processes that were started together; accepted: run_name=NAME")
    sys.argv.append(f"run_name={cfg.run_name}")


def _processes(trainer: DictConfig) -> int:
    """How many share a job's work, as far as this machine tells."""
    devices = trainer.devices
    if isinstance(devices, ListConfig):
        return len(devices) * trainer.num_nodes
    if str(devices).isdigit():
        return int(devices) * trainer.num_nodes
    if trainer.accelerator == "cpu":  # one for `auto`
        return trainer.num_nodes
    import torch

    return max(1, torch.cuda.device_count()) * trainer.num_nodes
