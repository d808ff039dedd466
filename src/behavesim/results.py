"""What a finished training leaves: best weights, artifact, scores beside baselines, records."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import polars as pl
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from behavesim import build, sweep, text_results
from behavesim.artifact import Artifact, save_artifact, seen_hashes, stored_weights
from behavesim.data.datamodule import TweetDataModule
from behavesim.data.sample import noise_floor
from behavesim.errors import UserError
from behavesim.log import log
from behavesim.metrics import baselines
from behavesim.metrics.likes import LikesEstimates, likes_metrics
from behavesim.metrics.plots import predicted_against_actual
from behavesim.models.binning import LikesBins
from behavesim.models.git import GitModel
from behavesim.processes.ranks import is_main
from behavesim.reporting.evaluation import key_of
from behavesim.tracking import runs
from behavesim.tracking import training as tracking
from behavesim.tracking.exported import HELD_OUT
from behavesim.training.likes_module import LikesModule, estimates_of, failures_of
from behavesim.training.module import TweetModule
from behavesim.training.weights import gathered, load_weights

Scores = Mapping[str, Mapping[str, float]]
METRICS = "metrics.json"
COLUMNS = ("rmsle", "rmse", "mae", "spearman")  # of the table that training ends with, and of baselines in records


@contextmanager
def failure_marked(logger: Logger | None) -> Iterator[None]:
    """Mark the MLflow run as failed, or killed, when the block does not reach its end."""
    try:
        yield
    except BaseException as error:
        tracking.mark_ended(logger, error)
        raise


def last_metrics(trainer: lightning.Trainer, module: LikesModule, data: TweetDataModule) -> dict[str, Any]:
    """Metrics at the end of training, which the trainer forgets when it tests.

    A training that ended before its first validation is validated now.
    """
    fitted = dict(trainer.callback_metrics)
    if not any(name.startswith("val/") for name in fitted) and not trainer.fast_dev_run:
        trainer.validate(module, data, verbose=False)
        fitted |= trainer.callback_metrics
    return fitted


def load_best(trainer: lightning.Trainer, module: LikesModule) -> None:
    """Take the weights of the best validation epoch; without checkpoints keep the last."""
    callback = trainer.checkpoint_callback
    path = getattr(callback, "best_model_path", "")
    if path:
        log.info("best epoch: %s", Path(path).stem)
        load_weights(module, Path(path))


def export(cfg: DictConfig, data: TweetDataModule, model: GitModel, bins: LikesBins) -> None:
    """Write the artifact directory."""
    config = {key: value for key, value in build.plain(cfg).items() if key in ("data", "model", "task", "seed")}
    config["pictures"] = int(data.encoded["train"].picture_counts.sum())
    config["image_states"] = data.reader.states and list(data.reader.states)
    artifact = Artifact(model, data.encoder, bins, config, seen_hashes(data.parts))
    weights = gathered(stored_weights(model, config["model"]))
    if is_main():
        save_artifact(artifact, Path(cfg.export_dir), weights)


def scores(cfg: DictConfig, data: TweetDataModule, module: TweetModule) -> Scores:
    """Test metrics of the model and of the trivial baselines on the same rows: of likes, of texts, or of both."""
    found = _scores(cfg, data, module) if isinstance(module, LikesModule) else {}
    if data.writer is None:
        return found
    texts = text_results.scores(cfg, data, module.test_texts)
    own = texts["model"] | {"texts": texts["model"]["n"]}  # of a model that does both, `n` counts rows with likes
    return found | texts | {"model": own | found.get("model", {})}


def _scores(cfg: DictConfig, data: TweetDataModule, module: LikesModule) -> dict[str, dict[str, float]]:
    """Those of likes, and the sample's noise floor."""
    table = module.test_table
    test = data.parts["test"][table["rows"]].frame("id", "username")
    train = data.parts["train"].frame("username")
    estimates = {
        "model": estimates_of(table),
        "account mean": baselines.account_mean(train["username"], data.train_likes, test["username"]),
        "constant": baselines.constant(data.train_likes, test.height),
    }
    found: dict[str, dict[str, float]] = {
        name: likes_metrics(table["actual"], estimate, test["username"].to_numpy())
        for name, estimate in estimates.items()
    }
    found["model"] |= failures_of(table)
    if cfg.data.sample is not None:
        found["noise floor"] = {"rmsle": noise_floor(Path(cfg.data.sample.folder), test["id"].cast(pl.Int64).to_list())}
    return found


def record(
    cfg: DictConfig,
    logger: Logger | None,
    data: TweetDataModule,
    module: TweetModule,
    found: Scores,
    objective: float,
) -> None:
    """Write metrics.json, a plot of likes and the objective, and log them with the artifact's path; once for all."""
    if not is_main():
        return
    folder = Path(cfg.paths.output)
    write_metrics(folder, found["model"])
    figure = None
    if isinstance(module, LikesModule):
        table = module.test_table
        figure = plot(folder, table["actual"], estimates_of(table), f"{cfg.run_name}: test")
    final = _logged(found)
    final[runs.OBJECTIVE] = objective
    sweep.write_objective(folder, cfg.optimized_metric, objective)
    tags = {"artifact": str(Path(cfg.export_dir).absolute()), HELD_OUT: data.held_out}
    tracking.log_results(logger, metrics=final, figure=figure, tags=tags)


def _logged(found: Scores) -> dict[str, float]:
    """What the module does not log: it knows no other rows of the table, no names of accounts and no texts."""
    own = ("spearman_within", *text_results.COLUMNS)
    wanted = {name: own if name == "model" else (*COLUMNS, *text_results.COLUMNS) for name in found}
    return {
        f"{'test' if name == 'model' else key_of(name)}/{metric}": metrics[metric]
        for name, metrics in found.items()
        for metric in wanted[name]
        if metric in metrics
    }


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """`metrics.json` of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS).write_text(json.dumps(dict(metrics), indent=2) + "\n")


def plot(folder: Path, actual: np.ndarray, estimates: LikesEstimates, title: str) -> Any:
    """The predicted-against-actual figure, also written into the run's folder."""
    figure = predicted_against_actual(actual, estimates, title)
    figure.savefig(folder / "predicted_against_actual.png", dpi=150)
    return figure


def optimized(cfg: DictConfig, trainer: lightning.Trainer, fitted: Mapping[str, Any]) -> float:
    """The value that a sweep minimises, of the weights that are exported; `fitted` are their validation metrics."""
    metrics = {**fitted, **trainer.callback_metrics}
    if cfg.optimized_metric not in metrics:
        raise UserError(f"optimized_metric: found {cfg.optimized_metric}; accepted: {', '.join(sorted(metrics))}")
    return float(metrics[cfg.optimized_metric])
