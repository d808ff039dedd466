"""What an evaluation leaves: scores, plot and report in its folder, and the same in MLflow."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from behavesim import results, scoring
from behavesim.artifact import Artifact
from behavesim.data.history import History
from behavesim.data.prepared import TweetRows
from behavesim.log import log, print_table
from behavesim.machine import versions
from behavesim.reporting.evaluation import MODEL, Evaluation, key_of
from behavesim.reporting.page import write_report
from behavesim.reporting.tables import write_breakdown
from behavesim.tracking import training as tracking
from behavesim.training.likes_module import estimates_of

COLUMNS = ("id", "date", "username", "company", "content", "likes")
LIBRARIES = ("behavesim", "torch", "lightning", "transformers")


def evaluation_of(
    cfg: DictConfig, artifact: Artifact, rows: TweetRows, predictions: Mapping[str, np.ndarray], history: History
) -> Evaluation:
    """The artifact's `predictions` of labelled rows, see `Predictions.table`, beside what baselines say of them.

    `history` is what all of them look back on.
    """
    ckpt, path = Path(cfg.ckpt), Path(cfg.data.path)
    beside = scoring.baselines_of(artifact, rows, history)
    return Evaluation(
        title=f"{ckpt.name} on {path.name}",
        frame=rows.frame(*COLUMNS),
        estimates={MODEL: estimates_of(predictions), **beside},
        known=scoring.known_counts(artifact, rows, history),
        facts={
            "run": cfg.run_name,
            "artifact": str(ckpt),
            "table": str(path),
            "looks back on": looks_back_on(cfg),
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "versions": versions(*LIBRARIES),
        },
        failures=predictions.get("failures"),
        missing=_missing(cfg, beside),
    )


def looks_back_on(cfg: DictConfig) -> str:
    """The settings that say which earlier posts were known."""
    file = cfg.get("history")
    return f"data.history={cfg.data.history}" + ("" if file is None else f" history={file}")


def _missing(cfg: DictConfig, baselines: Mapping[str, object]) -> str:
    """Why some baselines, or all, are not there, and the command that has them."""
    if baselines:
        told = "LightGBM is not among them: it learns from the texts of training, which an artifact does not carry."
    else:
        told = (
            "No baseline is here, not even the constant: they are made of the training posts that an artifact "
            "remembers, and this one remembers none, as after a training with data.history=none."
        )
    return (
        f"{told} Given the table and the data settings of its training, this command shows the model beside all "
        "baselines, LightGBM among them, on the test rows of that split: "
        f"python -m behavesim.baselines data.path=… ckpt={cfg.ckpt}"
    )


def record(cfg: DictConfig, logger: Logger | None, evaluation: Evaluation) -> None:
    """Write metrics.json, plot, report and breakdown, log them, print the scores and say where everything lies."""
    folder = Path(cfg.paths.output)
    results.write_metrics(folder, evaluation.metrics())
    figure = results.plot(folder, evaluation.actual, evaluation.model, evaluation.title)
    report, groups = write_report(evaluation, folder), write_breakdown(evaluation, folder)
    logged = {
        f"{'test' if name == MODEL else key_of(name)}/{metric}": value
        for name, metrics in evaluation.scores.items()
        for metric, value in metrics.items()
    }
    tags = {"artifact": str(Path(cfg.ckpt).absolute()), "table": str(Path(cfg.data.path).absolute())}
    files = [folder / results.METRICS, groups, report]
    tracking.log_results(logger, metrics=logged, figure=figure, tags=tags, files=files)
    _print(evaluation)
    log.info("scores    %s", folder / results.METRICS)
    log.info("groups    %s", groups)
    log.info("report    %s", report)
    if cfg.logger.name == "mlflow":
        log.info("tracking  %s (make ui opens it)", cfg.logger.tracking_uri)


def _print(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    rows = [(metric, *(found.get(metric) for found in scores.values())) for metric in scores[MODEL]]
    names = ("value",) if len(scores) == 1 else tuple(scores)
    print_table(f"{evaluation.title}, {evaluation.frame.height:,} rows", ("metric", *names), rows)
