"""How fast a configuration trains and predicts here, in the trainer's real loop."""

from collections.abc import Mapping
from dataclasses import dataclass

import lightning
import numpy as np
from omegaconf import DictConfig, OmegaConf

from behavesim import build
from behavesim.data.batching import Batches
from behavesim.data.datamodule import TweetDataModule
from behavesim.data.loader import TweetLoader
from behavesim.errors import UserError
from behavesim.training.deadline import Deadline
from behavesim.training.likes_module import LikesModule
from behavesim.training.progress import ProgressBar
from behavesim.training.throughput import Throughput


@dataclass(frozen=True)
class Measured:
    """What was measured of one kind of step."""

    figures: Mapping[str, float]  # see `Throughput`
    steps: int
    seconds: float
    peak: float | None  # operations a second of one device at best


def measurable(cfg: DictConfig) -> DictConfig:
    """The configuration with random weights, for a training that ends where enough steps were done."""
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    if "pretrained" in cfg.model:
        cfg.model.pretrained = False
    cfg.trainer.update({"max_epochs": -1, "max_steps": cfg.warmup_steps + cfg.steps, "limit_val_batches": 0})
    return cfg


def trainer(cfg: DictConfig) -> lightning.Trainer:
    """The trainer of both measurements."""
    callbacks = [Throughput(cfg.warmup_steps, measure_cpu=True), ProgressBar(refresh_rate=10)]
    if cfg.seconds is not None:
        callbacks.append(Deadline(cfg.seconds))
    return build.trainer(cfg, callbacks=callbacks)


def train(cfg: DictConfig, trainer: lightning.Trainer, module: LikesModule, data: TweetDataModule) -> Measured:
    """Measure steps of training."""
    trainer.fit(module, data)
    return _measured(cfg, trainer)


def predict(cfg: DictConfig, trainer: lightning.Trainer, module: LikesModule, data: TweetDataModule) -> Measured:
    """Measure batches of prediction: those of the test rows, in random order, over again where they are too few."""
    loader = data.test_dataloader()
    plan, batches = loader.batches(), cfg.warmup_steps + cfg.steps
    order = np.resize(np.random.default_rng(cfg.seed).permutation(len(plan)), batches)
    picked = Batches(plan.order, plan.starts[order], plan.ends[order])
    repeated = TweetLoader(loader.dataset, lambda _: picked, num_workers=loader.num_workers)
    trainer.predict(module, repeated, return_predictions=False)
    return _measured(cfg, trainer)


def _measured(cfg: DictConfig, trainer: lightning.Trainer) -> Measured:
    """
    Raises:
        UserError: time was over before a step was measured.
    """
    [found] = [callback for callback in trainer.callbacks if isinstance(callback, Throughput)]
    if not found.run:
        raise UserError(
            f"seconds: found {cfg.seconds:g}, over before {cfg.warmup_steps} steps of warm-up and one more were done; "
            "accepted: more seconds, null, or fewer warmup_steps"
        )
    return Measured(dict(found.run), found.steps, found.seconds, found.peak)
