"""Stages of training that come before a training, each a command of its own that resumes."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from behavesim import build
from behavesim.artifact import CONFIG
from behavesim.config import has_last
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.processes.jobs import job_environment
from behavesim.processes.ranks import is_main, started_together

# What a stage's recipe decides, or this file.
OWN = r"(task|hydra|experiment)\b.*|model\.train|run_name|export_dir|ckpt_path|init_from|optimized_metric|paths\.output"


def run_stages(cfg: DictConfig) -> None:
    """Run the stages of `cfg.task.stages`, each from the weights of the one before; training starts from the last.

    With `ckpt_path=last` those that came to their end are not run again, and one that did not goes on.

    Raises:
        UserError: a stage failed, or the processes of this job were started from outside.
    """
    stages = list(cfg.task.stages)
    if not stages or cfg.dry_run:
        return
    if started_together():
        raise UserError(
            f"task.stages: found {stages} for processes that were started together; accepted: [], and each stage by a "
            "command of its own, +experiment=STAGE, with init_from= that of the one before"
        )
    for stage in stages:
        folder = Path(f"{cfg.export_dir}_{stage}")
        if is_main() and not (cfg.ckpt_path == "last" and (folder / CONFIG).exists()):
            _run(cfg, stage, command(cfg, stage, build.overrides()))
        cfg.init_from = str(folder)


def output_of(cfg: DictConfig, stage: str) -> str:
    """The folder of a stage's run."""
    return f"{cfg.paths.output}_{stage}"


def command(cfg: DictConfig, stage: str, overrides: Sequence[str]) -> list[str]:
    """The command of a stage: that of the training, with the stage's recipe in the place of task and trained parts."""
    kept = [text for text in overrides if not re.fullmatch(OWN, text.lstrip("+~").partition("=")[0])]
    places = [f"run_name={cfg.run_name}_{stage}", f"export_dir={cfg.export_dir}_{stage}"]
    places += [f"paths.output={output_of(cfg, stage)}", f"seed={cfg.seed}"]
    places += [f"init_from={cfg.init_from}"] if cfg.init_from else []
    goes_on = cfg.ckpt_path == "last" and has_last(output_of(cfg, stage))
    kept = [text for text in kept if not text.startswith("seed=")]
    return [f"+experiment={stage}", *kept, *places, *(["ckpt_path=last"] if goes_on else [])]


def _run(cfg: DictConfig, stage: str, arguments: Sequence[str]) -> None:
    log.info("stage %s: python -m behavesim.train %s", stage, " ".join(arguments))
    words = [sys.executable, "-m", "behavesim.train", *arguments]
    code = subprocess.run(words, env=job_environment(os.environ, 1, 1), check=False).returncode
    if code:
        raise UserError(
            f"task.stages: {stage} ended with code {code}, as it says above; accepted: a stage that comes to its end, "
            "ckpt_path=last goes on with it"
        )
