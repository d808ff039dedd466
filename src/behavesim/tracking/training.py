"""The MLflow run of a training or an evaluation: what is logged beside the metrics of steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from lightning.pytorch.loggers import Logger, MLFlowLogger
from matplotlib.figure import Figure

from behavesim.processes import lifetime
from behavesim.redact import clean
from behavesim.tracking import runs
from behavesim.tracking.exported import record_exported


def open_run(
    *,
    tracking_uri: str,
    experiment_name: str,
    run_name: str,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    resume: bool,
    choices: Mapping[str, str] = MappingProxyType({}),
    kind: str = runs.TRAINING,
) -> MLFlowLogger:
    """Start the MLflow run `run_name`, or with `resume` go on with the latest training of that name.

    Tags hold the overrides and the git commit; the configuration is logged as an artifact and, where values are short
    enough and say what is computed, as parameters, beside the `choices` of groups that it came from.

    Raises:
        UserError: the database cannot be opened, or the server does not answer.
    """
    uri = runs.absolute_uri(tracking_uri)
    client, experiment_id = runs.experiment(uri, experiment_name)
    runs.bury(client, experiment_id)
    run_id, is_new = runs.start_run(client, experiment_id, run_name, overrides, resume=resume, kind=kind)
    if is_new:
        recorded = clean(config)
        runs.log_params(client, run_id, {**choices, **flat(recorded)})
        client.log_text(run_id, yaml.safe_dump(recorded, sort_keys=False), "config.yaml")
    return MLFlowLogger(experiment_name=experiment_name, tracking_uri=uri, run_id=run_id)


def log_results(
    logger: Logger | None,
    *,
    metrics: Mapping[str, float],
    figure: Figure | None,
    tags: Mapping[str, str],
    files: Sequence[Path] = (),
) -> None:
    """Final metrics, those of the exported epoch, the predicted-against-actual plot, files, tags; the run has ended."""
    if logger is None:
        return
    logger.log_metrics(dict(metrics))
    logger.save()  # the csv logger would keep the last rows to itself
    if isinstance(logger, MLFlowLogger):
        if figure is not None:
            logger.experiment.log_figure(logger.run_id, figure, "predicted_against_actual.png")
        record_exported(logger.experiment, logger.run_id)
        for path in files:
            logger.experiment.log_artifact(logger.run_id, str(path))
        for key, value in tags.items():
            logger.experiment.set_tag(logger.run_id, key, clean(value))
        logger.experiment.set_terminated(logger.run_id, runs.FINISHED)


def mark_ended(logger: Logger | None, error: BaseException) -> None:
    """A run that did not reach its end must not stay RUNNING: it was killed, or it failed and says why."""
    if isinstance(logger, MLFlowLogger):
        status = runs.KILLED if lifetime.was_told_to_end(error) else runs.FAILED
        with lifetime.undisturbed(), runs.last_words("how this run ended"):
            runs.end_run(logger.experiment, logger.run_id, status, lifetime.described(error))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; lists stay values."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return items
