"""What a run of baselines found, and what it leaves: tables, scores, predictions, and a page for a model."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from behavesim import results
from behavesim.baselining.boosting import Boosted
from behavesim.baselining.forecasts import LIGHTGBM
from behavesim.data.history import History
from behavesim.data.prepared import TweetRows
from behavesim.log import log, print_table
from behavesim.machine import versions
from behavesim.metrics.estimates import LikesEstimates
from behavesim.reporting.evaluation import MODEL, Evaluation, Forecasts, key_of
from behavesim.reporting.page import write_report
from behavesim.reporting.record import COLUMNS, looks_back_on
from behavesim.reporting.tables import write_breakdown
from behavesim.tracking import training as tracking
from behavesim.training.likes_module import estimates_of

TABLE, PREDICTIONS = "baselines.csv", "predictions.parquet"
PRINTED = ("rmse", "mae", "spearman", "crps_log", "coverage_80")
LIBRARIES = ("behavesim", "lightgbm", "scikit-learn", "torch")


def forecasts_of(
    cfg: DictConfig,
    test: TweetRows,
    predictions: Mapping[str, np.ndarray] | None,
    estimates: Mapping[str, LikesEstimates],
    history: History,
) -> Forecasts:
    """The baselines' `estimates` of the test rows; the `predictions` of `cfg.ckpt` make an `Evaluation` of it.

    `history` is what all of them look back on.
    """
    source = cfg.data.path or cfg.data.sample.folder
    split = cfg.data.split if not cfg.data.fold else f"{cfg.data.split}, fold {cfg.data.fold}"
    title, frame = f"{Path(source).name}, {split}", test.frame(*COLUMNS)
    known = history.earlier(frame, 0).count
    if predictions is None:
        return Forecasts(title, frame, estimates, known)
    facts = {
        "run": cfg.run_name,
        "artifact": str(cfg.ckpt),
        "table": f"{source}, test rows of {split}",
        "looks back on": looks_back_on(cfg),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "versions": versions(*LIBRARIES),
    }
    return Evaluation(
        title=f"{Path(cfg.ckpt).name} on {title}",
        frame=frame,
        estimates={MODEL: estimates_of(predictions), **estimates},
        known=known,
        facts=facts,
        failures=predictions.get("failures"),
    )


def record(cfg: DictConfig, logger: Logger | None, found: Forecasts, trees: Boosted) -> None:
    """Write tables, scores, predictions, plot and, of a model, page and breakdown; log them and print the scores."""
    folder = Path(cfg.paths.output)
    effort = {
        "trees": trees.trees,
        "seconds_to_train": trees.seconds_to_train,
        "seconds_to_predict": trees.seconds_to_predict,
    }
    metrics = {name: found.metrics_of(name) for name in found.estimates}
    metrics[LIGHTGBM] |= effort
    results.write_metrics(folder, {key_of(name): each for name, each in metrics.items()})
    full_table(found).write_csv(folder / TABLE)
    prediction_table(found).write_parquet(folder / PREDICTIONS)
    files = [folder / results.METRICS, folder / TABLE]
    shown, title = LIGHTGBM, f"LightGBM on {found.title}"
    if isinstance(found, Evaluation):
        shown, title = MODEL, found.title
        files += [write_breakdown(found, folder), write_report(found, folder)]
    figure = results.plot(folder, found.actual, found.estimates[shown], title)
    logged = {f"{LIGHTGBM}/{name}": value for name, value in effort.items()}
    for name, scores in found.scores.items():
        logged |= {f"{'test' if name == MODEL else key_of(name)}/{metric}": value for metric, value in scores.items()}
    tags = {} if cfg.ckpt is None else {"artifact": str(Path(cfg.ckpt).absolute())}
    tracking.log_results(logger, metrics=logged, figure=figure, tags=tags, files=files)
    _print(cfg, found, trees, [*files, folder / PREDICTIONS])


def full_table(found: Forecasts) -> pl.DataFrame:
    """A row for each name: all metrics, and bounds of their intervals as `<metric>_low` and `<metric>_high`."""
    rows = []
    for name, scores in found.scores.items():
        row: dict[str, Any] = {"baseline": name}
        for metric, value in scores.items():
            row[metric] = value
            if metric in found.intervals[name]:
                row[f"{metric}_low"], row[f"{metric}_high"] = found.intervals[name][metric]
        rows.append(row)
    return pl.from_dicts(rows, infer_schema_length=None)


def prediction_table(found: Forecasts) -> pl.DataFrame:
    """id, date, username and likes of the test rows, and `<name>_logmean`, `_mean`, `_median` of each name."""
    columns = {
        f"{key_of(name)}_{estimate}": getattr(each, estimate)
        for name, each in found.estimates.items()
        for estimate in ("logmean", "mean", "median")
    }
    return found.frame.select("id", "date", "username", "likes").with_columns(**columns)


def _print(cfg: DictConfig, found: Forecasts, trees: Boosted, files: list[Path]) -> None:
    rows = [
        (name, scores["rmsle"], "{:.3f} to {:.3f}".format(*found.intervals[name]["rmsle"]), *map(scores.get, PRINTED))
        for name, scores in found.scores.items()
    ]
    print_table(f"{found.title}: test, {found.frame.height:,} rows", ("", "rmsle", "95 %", *PRINTED), rows)
    log.info(
        "LightGBM: %s trees, %.1f s to train, %.2f s to predict",
        f"{trees.trees:,}",
        trees.seconds_to_train,
        trees.seconds_to_predict,
    )
    for path in files:
        log.info("%-11s %s", "report" if path.suffix == ".html" else path.stem, path)
    if cfg.logger.name == "mlflow":
        log.info("tracking    %s (make ui opens it)", cfg.logger.tracking_uri)
