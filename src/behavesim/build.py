"""From a configuration to the pieces of a run."""

import inspect
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.strategies import Strategy
from omegaconf import DictConfig, OmegaConf

from behavesim.data.datamodule import TweetDataModule
from behavesim.described_model import build_model, decoding
from behavesim.errors import UserError
from behavesim.models.binning import LikesBins
from behavesim.models.git import GitModel
from behavesim.models.trainable import frozen_digest
from behavesim.processes.ranks import is_main
from behavesim.starting import start_from
from behavesim.tracking import runs
from behavesim.tracking import training as tracking
from behavesim.training.content_module import ContentModule
from behavesim.training.joint_module import JointModule
from behavesim.training.likes_module import LikesModule
from behavesim.training.module import Telling, TweetModule
from behavesim.training.termination import Termination

# Arguments of the trainer that other nodes of the configuration decide.
RESERVED = (
    "callbacks",
    "logger",
    "default_root_dir",
    "enable_model_summary",
    "enable_checkpointing",
    "use_distributed_sampler",
    "reload_dataloaders_every_n_epochs",
    "strategy",
    "plugins",
)

# Groups whose options say what a run is; the others say where it writes.
TELLING_GROUPS = ("model", "data", "task", "optim", "trainer", "strategy", "debug", "experiment")


def plain(node: DictConfig) -> dict[str, Any]:
    """A node as plain dictionaries and lists, resolved."""
    return OmegaConf.to_container(node, resolve=True)


def overrides() -> list[str]:
    """What the user wrote on the command line; empty when the configuration was composed in process."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def choices() -> dict[str, str]:
    """The options that the user's choices of groups came to, such as `model: git_tiny`; empty as `overrides` is."""
    if not HydraConfig.initialized():
        return {}
    found = HydraConfig.get().runtime.choices
    return {group: str(found[group]) for group in TELLING_GROUPS if found.get(group) is not None}


def check_targets(cfg: DictConfig) -> None:
    """Every key of every instantiated node against its target's signature.

    Raises:
        UserError: one line for every wrong key and every target that does not exist.
    """
    nodes = {"trainer": cfg.trainer, "strategy": cfg.strategy}
    if "optim" in cfg:
        nodes["optim.optimizer"] = cfg.optim.optimizer
    if "callbacks" in cfg:
        nodes |= {f"callbacks.{name}": node for name, node in (cfg.callbacks or {}).items() if node is not None}
    problems = [problem for place, node in nodes.items() for problem in _target_problems(place, plain(node))]
    if problems:
        raise UserError("\n".join(problems))
    trainer(cfg)  # settings that fit the signature and not this machine, such as a GPU that is not there


def _target_problems(place: str, node: Mapping[str, Any]) -> list[str]:
    try:
        accepted = inspect.signature(get_object(node["_target_"])).parameters
    except Exception:
        return [f"{place}._target_: found {node['_target_']}; accepted: the dotted path of a class or function"]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        return []
    keys = [key for key in node if not key.startswith("_") and key not in accepted]
    accepted = [key for key in accepted if key not in RESERVED]
    keys += [key for key in node if place == "trainer" and key in RESERVED]
    return [f"{place}.{key}: no such argument; accepted: {', '.join(accepted)}" for key in keys]


def model(cfg: DictConfig, data: TweetDataModule) -> tuple[GitModel, LikesBins]:
    """The model of `cfg.model`, sized by the data, and its likes bins."""
    bins = LikesBins.fit(data.train_likes, cfg.model.bins)
    config = plain(cfg) | {"image_states": data.reader.states}
    dry_run = cfg.get("dry_run", False)  # a benchmark has no such key
    if dry_run and "pretrained" in config["model"]:
        config["model"]["pretrained"] = False
    encoder = data.encoder  # fitted before the device is another one
    # A dry run counts weights; on the meta device a model of any size takes no memory.
    with torch.device("meta") if dry_run else nullcontext():
        found = build_model(config, encoder, bins)
    if cfg.get("init_from") and not dry_run:
        start_from(found, Path(cfg.init_from))
    return found, bins


def module(cfg: DictConfig, git_model: GitModel, data: TweetDataModule) -> TweetModule:
    """The LightningModule around a model, which remembers the rows that it is trained on."""
    kind = {"behaviour": LikesModule, "content": ContentModule, "joint": JointModule}[cfg.task.name]
    writer, writes = data.writer, {}
    if writer is not None:
        writes = {"decoding": decoding(plain(cfg), writer.tokenizer), "read": writer.read_texts}
    told = None if kind is ContentModule else Telling(cfg.task.history_dropout, cfg.task.others, cfg.task.mirrored)
    return kind(
        git_model,
        instantiate(cfg.optim.optimizer),
        **writes,
        warmup=cfg.optim.warmup,
        schedule=cfg.optim.schedule,
        data_digest=data.digest,
        batch_plan=data.batch_plan,
        frozen_digest=frozen_digest(git_model),
        seed=cfg.seed,
        telling=told,
        numbers_lr=cfg.optim.numbers_lr,
    )


def logger(cfg: DictConfig, kind: str = runs.TRAINING) -> Logger | None:
    """The logger of `cfg.logger`; MLflow's run is open when it returns. Further processes of a job log nothing."""
    if cfg.logger.name != "none" and not is_main():
        return DummyLogger()
    if cfg.logger.name == "csv":
        return CSVLogger(cfg.paths.output, name="", version="csv")
    if cfg.logger.name == "none":
        return None
    return tracking.open_run(
        tracking_uri=cfg.logger.tracking_uri,
        experiment_name=cfg.logger.experiment_name,
        run_name=cfg.run_name,
        config=plain(cfg),
        overrides=overrides(),
        choices=choices(),
        resume=cfg.get("ckpt_path") is not None,  # an evaluation has no such key
        kind=kind,
    )


def trainer(cfg: DictConfig, *, callbacks: Sequence[lightning.Callback] = ()) -> lightning.Trainer:
    """The trainer of `cfg.trainer` and `cfg.strategy`, without a logger."""
    try:
        strategy = _strategy(cfg)
        return instantiate(
            cfg.trainer,
            # It would leave its mark on weights that are shared out and come together in a validation.
            inference_mode=cfg.trainer.get("inference_mode", isinstance(strategy, str)),
            precision=_precision(cfg.trainer),
            strategy=strategy,
            logger=False,
            callbacks=[*callbacks, Termination()],
            default_root_dir=cfg.paths.output,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            use_distributed_sampler=False,  # batches are planned by the data module
            reload_dataloaders_every_n_epochs=1,  # a new epoch is a new plan, of another length
        )
    except Exception as error:
        # Hydra wraps what Lightning says of impossible settings, such as a GPU that is not there.
        reason = str(error.__cause__ or error).split("\n")[0]
        found = ", ".join(f"{key}={cfg.trainer[key]}" for key in ("accelerator", "devices", "precision"))
        raise UserError(
            f"trainer: found {found}: {reason}; accepted: what lightning.Trainer can do here, see trainer=cpu"
        ) from error


def _strategy(cfg: DictConfig) -> Strategy | str:
    """How processes share the work."""
    if cfg.trainer.accelerator == "cpu":
        # DeepSpeed looks for its device when it is imported, and would find a GPU that is not meant.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    return instantiate(cfg.strategy)


def _precision(cfg: DictConfig) -> str | int:
    """`auto` is bf16 where a GPU has it; `half` the reference's fp16 on a GPU and elsewhere bf16, or fp32."""
    if cfg.precision == "auto":
        if cfg.accelerator == "cpu" or not torch.cuda.is_available():
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if cfg.precision != "half":
        return cfg.precision
    if cfg.accelerator != "cpu" and torch.cuda.is_available():
        return "16-mixed"
    return "bf16-mixed" if getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16") else "32-true"


def callbacks(cfg: DictConfig) -> list[lightning.Callback]:
    """The callbacks of `cfg.callbacks`; none that writes checkpoints in a one-batch run."""
    made = [_callback(name, node) for name, node in (cfg.callbacks or {}).items() if node is not None]
    one_batch = cfg.trainer.get("fast_dev_run")
    return [callback for callback in made if not (one_batch and isinstance(callback, Checkpoint))]


def _callback(name: str, node: DictConfig) -> lightning.Callback:
    try:
        return instantiate(node)
    except Exception as error:
        reason = str(error.__cause__ or error).split("\n")[0]
        raise UserError(f"callbacks.{name}: {reason}; accepted: what {node._target_} takes") from error
