"""Everything that knows MLflow: the database, a run, and what is logged beside the metrics."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from filelock import FileLock
from lightning.pytorch.loggers import Logger, MLFlowLogger
from matplotlib.figure import Figure
from mlflow.entities import Param
from mlflow.tracking import MlflowClient

from behavesim.differing import is_bookkeeping
from behavesim.exported import record_exported

# MLflow refuses longer values; the whole configuration is there as an artifact.
LONGEST_PARAM = 250
PARAMS_A_REQUEST = 100  # as many as MLflow's servers take
SQLITE = "sqlite:///"


def open_run(
    *,
    tracking_uri: str,
    experiment_name: str,
    run_name: str,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    resume: bool,
    choices: Mapping[str, str] = MappingProxyType({}),
) -> MLFlowLogger:
    """Start the MLflow run `run_name`, or with `resume` go on with the latest one of that name.

    Tags hold the overrides and the git commit; the configuration is logged as an artifact and, where values are short
    enough and say what is computed, as parameters, beside the `choices` of groups that it came from.
    """
    uri = absolute_uri(tracking_uri)
    client, experiment_id = _experiment(uri, experiment_name)
    run_id = _latest_run(client, experiment_id, run_name) if resume else None
    if run_id is None:
        tags = {"overrides": " ".join(overrides), "mlflow.source.git.commit": git_commit()}
        tags |= {"mlflow.source.name": "behavesim.train", "mlflow.source.type": "LOCAL"}  # a column of MLflow's page
        tags = {key: value for key, value in tags.items() if value}
        run_id = client.create_run(experiment_id, tags=tags, run_name=run_name).info.run_id
        _log_params(client, run_id, {**choices, **flat(config)})
        client.log_text(run_id, yaml.safe_dump(dict(config), sort_keys=False), "config.yaml")
    else:
        client.update_run(run_id, status="RUNNING")
    return MLFlowLogger(experiment_name=experiment_name, tracking_uri=uri, run_id=run_id)


def log_results(
    logger: Logger | None, *, metrics: Mapping[str, float], figure: Figure, tags: Mapping[str, str]
) -> None:
    """Final metrics, those of the exported epoch, the predicted-against-actual plot, and tags; the run has ended."""
    if logger is None:
        return
    logger.log_metrics(dict(metrics))
    logger.save()  # the csv logger would keep the last rows to itself
    if isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, figure, "predicted_against_actual.png")
        record_exported(logger.experiment, logger.run_id)
        for key, value in tags.items():
            logger.experiment.set_tag(logger.run_id, key, value)
        logger.experiment.set_terminated(logger.run_id, "FINISHED")


def mark_failed(logger: Logger | None) -> None:
    """A run that did not reach its end must not stay RUNNING."""
    if isinstance(logger, MLFlowLogger):
        logger.experiment.set_terminated(logger.run_id, "FAILED")


def absolute_uri(uri: str) -> str:
    """A relative sqlite path made absolute, so that it means the same wherever it is read later."""
    if uri.startswith(SQLITE) and not uri.startswith(SQLITE + "/"):
        return SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute())
    return uri


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; lists stay values."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return items


def git_commit() -> str | None:
    """The commit of the folder the user stands in; None outside a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _experiment(uri: str, name: str) -> tuple[MlflowClient, str]:
    """The client and the experiment's id; a new database is created by one process at a time."""
    if not uri.startswith(SQLITE):
        client = MlflowClient(uri)
        return client, _find_or_create(client, name, None)
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    # Processes that all meet a missing database break each other's migration.
    with FileLock(f"{database}.lock"):
        client = MlflowClient(uri)
        return client, _find_or_create(client, name, (database.parent / "mlartifacts").as_uri())


def _log_params(client: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
    """Parameters, few requests for all: a server may be far away.

    Names of folders and the like would come first where MLflow's page shows in what runs differ.
    """
    params = [
        Param(key, str(value))
        for key, value in values.items()
        if len(str(value)) <= LONGEST_PARAM and not is_bookkeeping(key)
    ]
    for start in range(0, len(params), PARAMS_A_REQUEST):
        client.log_batch(run_id, params=params[start : start + PARAMS_A_REQUEST])


def _find_or_create(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, artifact_location=artifacts)


def _latest_run(client: MlflowClient, experiment_id: str, run_name: str) -> str | None:
    quoted = run_name.replace("'", "")
    runs = client.search_runs([experiment_id], f"attributes.run_name = '{quoted}'", max_results=1)
    return runs[0].info.run_id if runs else None
