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
from behavesim.tracking import training as tracking
from behavesim.training.module import estimates_of, failures_of

COLUMNS = ("id", "date", "username", "company", "content", "likes")
LIBRARIES = ("behavesim", "torch", "lightning", "transformers")


def evaluation_of(
    cfg: DictConfig, artifact: Artifact, rows: TweetRows, predictions: Mapping[str, np.ndarray], history: History
) -> Evaluation:
    """The artifact's `predictions` of labelled rows, see `Predictions.table`, beside what baselines say of them.

    `history` is what all of them look back on.
    """
    ckpt, path = Path(cfg.ckpt), Path(cfg.data.path)
    return Evaluation(
        title=f"{ckpt.name} on {path.name}",
        frame=rows.frame(*COLUMNS),
        estimates={MODEL: estimates_of(predictions), **scoring.baselines_of(artifact, rows, history)},
        known=scoring.known_counts(artifact, rows, history),
        facts={
            "run": cfg.run_name,
            "artifact": str(ckpt),
            "table": str(path),
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "versions": versions(*LIBRARIES),
        },
        failures=failures_of(predictions),
    )


def record(cfg: DictConfig, logger: Logger | None, evaluation: Evaluation) -> None:
    """Write metrics.json, plot and report, log them, print the scores and say where everything lies."""
    folder = Path(cfg.paths.output)
    results.write_metrics(folder, evaluation.metrics())
    figure = results.plot(folder, evaluation.actual, evaluation.model, evaluation.title)
    report = write_report(evaluation, folder)
    logged = {
        f"{'test' if name == MODEL else key_of(name)}/{metric}": value
        for name, metrics in evaluation.scores.items()
        for metric, value in metrics.items()
    }
    tags = {"artifact": str(Path(cfg.ckpt).absolute()), "table": str(Path(cfg.data.path).absolute())}
    tracking.log_results(logger, metrics=logged, figure=figure, tags=tags, files=[folder / results.METRICS, report])
    _print(evaluation)
    log.info("scores    %s", folder / results.METRICS)
    log.info("report    %s", report)
    if cfg.logger.name == "mlflow":
        log.info("tracking  %s (make ui opens it)", cfg.logger.tracking_uri)


def _print(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    rows = [(metric, *(found.get(metric) for found in scores.values())) for metric in scores[MODEL]]
    names = ("value",) if len(scores) == 1 else tuple(scores)
    print_table(f"{evaluation.title}, {evaluation.frame.height:,} rows", ("metric", *names), rows)
