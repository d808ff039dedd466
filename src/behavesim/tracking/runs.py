"""Runs of MLflow: where they are kept, how they are opened and ended, and how those of dead processes are."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow.entities import Param, Run
from mlflow.tracking import MlflowClient

from behavesim.errors import UserError
from behavesim.log import log
from behavesim.processes import lifetime
from behavesim.redact import clean
from behavesim.tracking.differing import is_bookkeeping

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
PARENT, ERROR, PROCESS = "mlflow.parentRunId", "error", "process"
# What a run did, by the command of that name: trainings are compared and continued; `SCORINGS` train no model of ours.
KIND, TRAINING, EVALUATION, BASELINES = "kind", "train", "evaluate", "baselines"
SCORINGS = (EVALUATION, BASELINES)
# The id of a sweep's run, by which its jobs know that they are its children, in whatever process they run.
PARENT_VARIABLE = "BEHAVESIM_PARENT_RUN"
OBJECTIVE = "objective"  # the metric that a sweep minimises, of a job and, the lowest, of the sweep
# MLflow refuses longer values; the whole configuration is there as an artifact.
LONGEST_PARAM = 250
PARAMS_A_REQUEST = 100  # as many as MLflow's servers take
LONGEST_ERROR = 1000
INFINITE = 1e300  # MLflow's database keeps infinity as the largest number
SQLITE = "sqlite:///"
ATTEMPTS = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


@contextmanager
def impatient() -> Iterator[None]:
    """Within the block a server that is down is given up within seconds, not after MLflow's seven attempts.

    Whoever waits at a terminal wants to hear of it; `ATTEMPTS` in the environment has its way.
    """
    if ATTEMPTS in os.environ:
        yield
        return
    os.environ[ATTEMPTS] = "2"
    try:
        yield
    finally:
        del os.environ[ATTEMPTS]


@contextmanager
def last_words(what: str) -> Iterator[None]:
    """Tell MLflow something in the block; if it has gone that is one line, and the process ends as it would have."""
    try:
        with impatient():
            yield
    except Exception as error:
        log.warning("warning: MLflow was not told of %s: %s", what, _reason(error))


def unusable(place: str, uri: str, error: Exception, accepted: str) -> UserError:
    """What is said of a database or server that does not answer; a password is for nobody to read."""
    return UserError(clean(f"{place}: found {uri}: {_reason(error)}; accepted: {accepted}"))


def experiment(uri: str, name: str) -> tuple[MlflowClient, str]:
    """The client and the experiment's id; a new database is created by one process at a time.

    Raises:
        UserError: the database cannot be opened, or the server does not answer.
    """
    try:
        with impatient():
            return _experiment(uri, name)
    except Exception as error:  # each kind of store raises its own
        accepted = "sqlite:///FILE, or the address of an MLflow server that runs"
        raise unusable("logger.tracking_uri", uri, error, accepted) from error


def _experiment(uri: str, name: str) -> tuple[MlflowClient, str]:
    if not uri.startswith(SQLITE):
        client = MlflowClient(uri)
        return client, _find_or_create(client, name, None)
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    # Processes that all meet a missing database break each other's migration.
    with FileLock(f"{database}.lock"):
        client = MlflowClient(uri)
        return client, _find_or_create(client, name, (database.parent / "mlartifacts").as_uri())


def start_run(
    client: MlflowClient,
    experiment_id: str,
    run_name: str,
    overrides: Sequence[str],
    *,
    resume: bool,
    kind: str = TRAINING,
) -> tuple[str, bool]:
    """The id of a run that is RUNNING in this process, and whether it is new.

    With `resume` it is the latest training of that name; else `kind` is the command that it is a run of.
    """
    found = _latest_run(client, experiment_id, run_name) if resume else None
    if found is not None:
        run_id = found.info.run_id
        client.update_run(run_id, status="RUNNING")
        client.set_tag(run_id, PROCESS, lifetime.identity())
        if ERROR in found.data.tags:
            client.delete_tag(run_id, ERROR)
        return run_id, False
    tags = {
        "overrides": " ".join(clean(list(overrides))),
        "mlflow.source.git.commit": git_commit(),
        "mlflow.source.name": f"behavesim.{kind}",  # a column of MLflow's page
        KIND: kind,
        "mlflow.source.type": "LOCAL",
        PARENT: os.environ.get(PARENT_VARIABLE),
        PROCESS: lifetime.identity(),
    }
    tags = {key: value for key, value in tags.items() if value}
    return client.create_run(experiment_id, tags=tags, run_name=run_name).info.run_id, True


def end_run(client: MlflowClient, run_id: str, status: str, error: str) -> None:
    """Give a run its last status and the reason for it."""
    client.set_tag(run_id, ERROR, clean(error)[:LONGEST_ERROR])
    client.set_terminated(run_id, status)


def bury(client: MlflowClient, experiment_id: str) -> None:
    """Mark runs as KILLED that are RUNNING in a process of this machine which is no more."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if lifetime.is_dead(run.data.tags.get(PROCESS, "")):
            client.set_terminated(run.info.run_id, KILLED)


def log_params(client: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
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


def absolute_uri(uri: str) -> str:
    """A relative sqlite path made absolute, so that it means the same wherever it is read later."""
    if uri.startswith(SQLITE) and not uri.startswith(SQLITE + "/"):
        return SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute())
    return uri


def git_commit() -> str | None:
    """The commit of the folder the user stands in; None outside a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _find_or_create(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, artifact_location=artifacts)


def _latest_run(client: MlflowClient, experiment_id: str, run_name: str) -> Run | None:
    """The run of that name which was started last, but for `SCORINGS`, which may have the name of a training."""
    quoted = run_name.replace("'", "")
    runs = client.search_runs([experiment_id], f"attributes.run_name = '{quoted}'")
    return next((run for run in runs if run.data.tags.get(KIND) not in SCORINGS), None)


def _reason(error: Exception) -> str:
    text = clean(str(error)).strip()
    return "no server answers" if "Max retries exceeded" in text else text.split("\n")[0] or type(error).__name__
