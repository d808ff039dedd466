"""From a configuration to the pieces of a run."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import polars as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from behavesim import tracking
from behavesim.artifact import Artifact, build_model
from behavesim.data.batch import Batch
from behavesim.data.datamodule import LoaderSettings, TweetDataModule, tweet_loader
from behavesim.data.sample import ensure_sample
from behavesim.data.table import BadRows, TweetTable, read_table
from behavesim.data.tweets import with_media
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.models.binning import LikesBins
from behavesim.models.git import GitModel
from behavesim.training.module import LikesModule

REJECTED = "rejected_rows.csv"
# Arguments of the trainer that other nodes of the configuration decide.
RESERVED = (
    "callbacks",
    "logger",
    "default_root_dir",
    "enable_model_summary",
    "enable_checkpointing",
    "use_distributed_sampler",
    "reload_dataloaders_every_n_epochs",
)


def plain(node: DictConfig) -> dict[str, Any]:
    """A node as plain dictionaries and lists, resolved."""
    return OmegaConf.to_container(node, resolve=True)


def overrides() -> list[str]:
    """What the user wrote on the command line; empty when the configuration was composed in process."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def check_targets(cfg: DictConfig) -> None:
    """Every key of every instantiated node against its target's signature.

    Raises:
        UserError: one line for every wrong key and every target that does not exist.
    """
    nodes = {"trainer": cfg.trainer}
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


def read_tweets(path: Path, output: Path, **settings: Any) -> TweetTable:
    """`read_table` with these settings; unusable rows are counted and listed in the run's folder either way."""
    try:
        table = read_table(path, **settings)
    except BadRows as error:
        _list_rejected(error.rejected, output)
        raise
    if not table.rejected.is_empty():
        count = table.rejected["row"].n_unique()
        log.info("%s: %s of %s rows cannot be used, see %s", path, count, table.rows, output / REJECTED)
        _list_rejected(table.rejected, output)
    if settings["labelled"] and table.frame.is_empty():
        raise UserError(f"{path}: found {table.rows} rows, none that can be used; accepted: at least one with likes")
    return table


def _list_rejected(rejected: pl.DataFrame, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    rejected.write_csv(output / REJECTED)


def scored_tweets(cfg: DictConfig, artifact: Artifact, path: Path, *, labelled: bool) -> TweetTable:
    """A table read as `cfg.data` says for a trained model, with pictures where the model was trained with some."""
    given, trained = cfg.data.image_column, artifact.config["data"]
    automatic = given == "artifact"
    if given is not None and not automatic and not (trained["use_images"] and trained["image_column"]):
        raise UserError(f"data.image_column: found {given}; accepted: null, {cfg.ckpt} was trained without pictures")
    if automatic:
        given = trained["image_column"] if trained["use_images"] else None
    return read_tweets(
        path,
        Path(cfg.paths.output),
        image_column=given,
        image_optional=automatic,
        labelled=labelled,
        on_bad_row=cfg.data.on_bad_row,
    )


def scored_loader(cfg: DictConfig, artifact: Artifact, frame: pl.DataFrame) -> DataLoader[Batch]:
    """Batches of a table's rows for a trained model."""
    model = artifact.model
    settings = LoaderSettings(cfg.data.tokens_per_batch, cfg.data.num_workers, model.frames, model.vision.image_size)
    return tweet_loader(artifact.encoder.encode(with_media(frame)), artifact.encoder, settings)


def datamodule(cfg: DictConfig) -> TweetDataModule:
    """Read the table of `cfg.data`, or make the sample, and split it."""
    data = cfg.data
    if data.sample is not None:
        path = ensure_sample(Path(data.sample.folder), rows=data.sample.rows, seed=data.sample.seed)
    else:
        path = Path(data.path)
    image_column = data.image_column if data.use_images else None
    table = read_tweets(
        path, Path(cfg.paths.output), image_column=image_column, labelled=True, on_bad_row=data.on_bad_row
    )
    frames = cfg.model.frames if image_column else 0
    module = TweetDataModule(
        table.frame,
        LoaderSettings(data.tokens_per_batch, data.num_workers, frames, cfg.model.vision.image_size),
        split=data.split,
        validation=data.validation,
        test=data.test,
        split_seed=data.split_seed,
        max_length=cfg.task.max_length,
        vocab_size=cfg.model.llm.vocab_size,
        seed=cfg.seed,
    )
    if module.dropped:
        log.info("%s training rows repeat a held-out text and are left out", module.dropped)
    return module


def model(cfg: DictConfig, data: TweetDataModule) -> tuple[GitModel, LikesBins]:
    """The model of `cfg.model`, sized by the data, and its likes bins."""
    bins = LikesBins.fit(data.train_likes, cfg.model.bins)
    return build_model(plain(cfg.model), data.encoder, bins), bins


def module(cfg: DictConfig, git_model: GitModel, data: TweetDataModule) -> LikesModule:
    """The LightningModule around a model, which remembers the rows that it is trained on."""
    return LikesModule(
        git_model,
        instantiate(cfg.optim.optimizer),
        warmup=cfg.optim.warmup,
        schedule=cfg.optim.schedule,
        data_digest=data.digest,
    )


def logger(cfg: DictConfig) -> Logger | None:
    """The logger of `cfg.logger`; MLflow's run is open when it returns."""
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
        resume=cfg.ckpt_path is not None,
    )


def trainer(
    cfg: DictConfig, *, run_logger: Logger | None = None, callbacks: Sequence[lightning.Callback] = ()
) -> lightning.Trainer:
    """The trainer of `cfg.trainer`."""
    try:
        return instantiate(
            cfg.trainer,
            logger=run_logger or False,
            callbacks=list(callbacks),
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
