"""What training prints: the plan before, the scores after."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from behavesim import text_results
from behavesim.data.datamodule import TweetDataModule
from behavesim.log import log, print_table, table_text
from behavesim.models.git import GitModel
from behavesim.models.trainable import parameter_table
from behavesim.processes.ranks import is_main
from behavesim.results import COLUMNS, Scores

RESULTS = "results.txt"  # the table that training ends with


def print_plan(cfg: DictConfig, data: TweetDataModule, model: GitModel, processes: int) -> None:
    """What will run: the whole configuration in a dry run, rows, batches and parameters always."""
    if not is_main():
        return
    if cfg.dry_run:
        print(OmegaConf.to_yaml(cfg, resolve=True))
    rows = ", ".join(f"{len(data.parts[part]):,} {part}" for part in ("train", "validation", "test"))
    source = cfg.data.path or cfg.data.sample.folder
    log.info("%s: %s", source, rows)
    batches = len(data.train_dataloader())
    log.info(
        "%s batches an epoch%s, %.0f text tokens a row, prompts up to %s",
        batches,
        f" for {processes} processes" if processes > 1 else "",
        data.encoded["train"].lengths.mean(),
        data.encoded["train"].lengths.max(),
    )
    print_table("Parameters", ("part", "weights", "trainable"), _with_total(parameter_table(model)))


def _with_total(rows: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def _score_table(run: str, scores: Scores, columns: Sequence[str], count: str) -> str:
    """Scores in these columns of all that have any; empty where none has. `count` says of how many rows."""
    rows = [
        (name, *(metrics.get(column) for column in columns))
        for name, metrics in scores.items()
        if any(column in metrics for column in columns)
    ]
    return table_text(f"{run}: test, {scores['model'][count]:,} rows", ("", *columns), rows) if rows else ""


def print_results(cfg: DictConfig, scores: Scores) -> None:
    """The test scores beside the baselines, and where everything lies."""
    if not is_main():
        return
    tables = [_score_table(cfg.run_name, scores, *told) for told in ((COLUMNS, "n"), (text_results.COLUMNS, "texts"))]
    text = "\n\n".join(table for table in tables if table)
    print(text, flush=True)
    (Path(cfg.paths.output) / RESULTS).write_text(text + "\n")
    if COLUMNS[0] in scores["model"]:
        log.info("rmsle: root mean square error of log1p(likes); each score reads its own estimate of the distribution")
    if "texts" in scores["model"]:
        log.info("texts     %s", Path(cfg.paths.output) / text_results.TEXTS)
    if scores["model"].get("parse_failures"):
        log.info("%.2f %% of the written answers hold no number", 100 * scores["model"]["parse_failures"])
    log.info("results   %s", Path(cfg.paths.output) / RESULTS)
    log.info("artifact  %s", Path(cfg.export_dir))
    if cfg.logger.name == "mlflow":
        log.info("tracking  %s (make ui opens it)", cfg.logger.tracking_uri)
