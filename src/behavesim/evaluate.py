"""Score an artifact on a labelled table: `python -m behavesim.evaluate ckpt=DIR data.path=FILE`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(cfg: "DictConfig") -> dict[str, float]:
    """Metrics of an artifact on the rows that it was not trained on."""
    from pathlib import Path

    from behavesim import build, results, scoring, tables, writing
    from behavesim.artifact import load_artifact
    from behavesim.log import quiet_libraries
    from behavesim.reporting.record import evaluation_of, record
    from behavesim.tracking.runs import EVALUATION

    quiet_libraries()
    build.check_targets(cfg)
    artifact, path = load_artifact(Path(cfg.ckpt), scoring.answering(cfg)), Path(cfg.data.path)
    writes = artifact.asked == "content"
    table = scoring.table_of(cfg, artifact, path, labelled=not writes)
    unseen = scoring.unseen_rows(tables.usable(cfg, table, path, labelled=not writes), artifact, path)
    logger = build.logger(cfg, kind=EVALUATION)
    with results.failure_marked(logger):
        if writes:
            return writing.evaluated(cfg, artifact, unseen, logger)
        history = scoring.history_of(cfg, artifact, unseen)
        predictions = scoring.predict(cfg, artifact, unseen, history)
        evaluation = evaluation_of(cfg, artifact, unseen, predictions, history)
        record(cfg, logger, evaluation)
    return evaluation.scores["model"]


main = command("evaluate", evaluate)

if __name__ == "__main__":
    main()
