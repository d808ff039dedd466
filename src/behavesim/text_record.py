"""What a scoring of written tweets leaves: scores, texts, and a table for people."""

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from behavesim import results, text_results
from behavesim.log import log, print_table
from behavesim.reporting.evaluation import MODEL, key_of
from behavesim.tracking import training as tracking


def record(cfg: DictConfig, logger: Logger | None, found: Mapping[str, dict[str, float]], title: str) -> None:
    """Write and log `found`, metrics by name as of `text_results.scored`, and print them under a title.

    Those of the model, where there is one, also stand at the head of `metrics.json`, as those of a training do.
    """
    folder = Path(cfg.paths.output)
    results.write_metrics(folder, {key_of(name): metrics for name, metrics in found.items()} | found.get(MODEL, {}))
    logged = {
        f"{'test' if name == MODEL else key_of(name)}/{metric}": value
        for name, metrics in found.items()
        for metric, value in metrics.items()
    }
    sources = {"artifact": cfg.ckpt, "table": cfg.data.path}
    tags = {name: str(Path(path).absolute()) for name, path in sources.items() if path}
    files = [folder / results.METRICS, folder / text_results.TEXTS]
    tracking.log_results(logger, metrics=logged, figure=None, tags=tags, files=files)
    metrics = next(iter(found.values()))
    print_table(title, ("metric", *found), [(name, *(each.get(name) for each in found.values())) for name in metrics])
    for path in files:
        log.info("%-9s %s", path.stem, path)
