"""Score an artifact on a labelled table: `python -m behavesim.evaluate ckpt=DIR data.path=FILE`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(cfg: "DictConfig") -> dict[str, float]:
    """Metrics of an artifact on the rows that it was not trained on."""
    from pathlib import Path

    from behavesim import build, results, scoring, tables
    from behavesim.artifact import load_artifact
    from behavesim.log import log, print_table, quiet_libraries
    from behavesim.metrics.likes import likes_metrics
    from behavesim.training.module import estimates_of, failures_of

    quiet_libraries()
    build.check_targets(cfg)
    artifact, path = load_artifact(Path(cfg.ckpt), scoring.answering(cfg)), Path(cfg.data.path)
    table = scoring.table_of(cfg, artifact, path, labelled=True)
    unseen = scoring.unseen_rows(tables.usable(cfg, table, path, labelled=True), artifact, path)
    predictions = scoring.predict(cfg, artifact, unseen)
    actual, estimates = unseen.frame("likes")["likes"].to_numpy(), estimates_of(predictions)
    metrics = likes_metrics(actual, estimates) | failures_of(predictions)
    folder = Path(cfg.paths.output)
    results.write_metrics(folder, metrics)
    results.plot(folder, actual, estimates, f"{Path(cfg.ckpt).name} on {path.name}")
    print_table(f"{path.name}, {metrics['n']:,} rows", ("metric", "value"), list(metrics.items()))
    log.info("written to %s", folder / results.METRICS)
    return metrics


main = command("evaluate", evaluate)

if __name__ == "__main__":
    main()
