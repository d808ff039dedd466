"""Score what a model has to beat on the test rows of a split: `python -m behavesim.baselines data.path=FILE`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def baselines(cfg: "DictConfig") -> dict[str, dict[str, float]]:
    """Metrics of each baseline, and of the model `cfg.ckpt` if there is one, by name."""
    from behavesim.baselining.boosting import boosted, check_libraries

    check_libraries()
    from behavesim import build, inputs, results, scoring
    from behavesim.baselining.compared import artifact_of
    from behavesim.baselining.forecasts import forecasts, history_of_test_rows
    from behavesim.baselining.scored import forecasts_of, record
    from behavesim.baselining.texts import text_scores
    from behavesim.data.prepared import split_of
    from behavesim.log import quiet_libraries
    from behavesim.tracking.runs import BASELINES

    quiet_libraries()
    build.check_targets(cfg)
    rows = inputs.labelled_rows(cfg)
    parts = {part: rows[places] for part, places in split_of(rows, inputs.split_settings(cfg.data)).rows.items()}
    artifact = artifact_of(cfg, parts["test"])
    logger = build.logger(cfg, kind=BASELINES)
    with results.failure_marked(logger):
        if (artifact.asked if artifact else cfg.task.name) == "content":
            return text_scores(cfg, parts, artifact, logger)
        predictions = scoring.predict(cfg, artifact, parts["test"]) if artifact else None
        trees, history = boosted(parts, cfg.lightgbm, cfg.seed), history_of_test_rows(cfg, rows, parts)
        found = forecasts_of(cfg, parts["test"], predictions, forecasts(parts, trees, history), history)
        record(cfg, logger, found, trees)
    return found.scores


main = command("baselines", baselines)

if __name__ == "__main__":
    main()
