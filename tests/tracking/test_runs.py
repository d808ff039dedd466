"""Runs of MLflow where it does not answer, and the run of a sweep."""

import os

import pytest
from mlflow.tracking import MlflowClient

from behavesim.errors import UserError
from behavesim.tracking import runs
from behavesim.tracking.sweep import SweepRun
from behavesim.tracking.training import mark_ended, open_run

GONE = "http://me:hidden@127.0.0.1:9"  # the port of a service that nobody runs
OWN = {"experiment_name": "own", "run_name": "a", "overrides": []}


@pytest.fixture
def once(monkeypatch):
    """A server that does not answer is asked once."""
    monkeypatch.setenv(runs.ATTEMPTS, "0")


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('runs') / 'mlflow.db'}"


@pytest.fixture
def sweep(uri):
    """The run of a sweep, and the environment without it afterwards."""
    yield SweepRun(tracking_uri=uri, **OWN, resume=False)
    os.environ.pop(runs.PARENT_VARIABLE, None)


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "behavesim"]


@pytest.mark.parametrize("place", [GONE, "sqlite:////dev/null/mlflow.db", "nonsense://a"])
@pytest.mark.parametrize("opened", [open_run, SweepRun])
def test_a_store_that_cannot_be_opened_is_one_line(once, place, opened):
    config = {"config": {}} if opened is open_run else {}
    with pytest.raises(UserError) as caught:
        opened(tracking_uri=place, **OWN, **config, resume=False)
    line = str(caught.value)
    assert line.startswith("logger.tracking_uri: found ") and "; accepted: sqlite:///FILE, or " in line
    assert len(line.splitlines()) == 1
    assert "hidden" not in line
    assert place != GONE or "no server answers" in line


def test_a_run_ends_as_it_ended_although_mlflow_has_gone(once, uri, caplog):
    logger = open_run(tracking_uri=uri, **OWN, config={}, resume=False)
    logger._mlflow_client = MlflowClient(GONE)
    mark_ended(logger, OSError("no space"))
    assert said(caplog) == ["warning: MLflow was not told of how this run ended: no server answers"]


def test_a_sweep_ends_although_mlflow_has_gone(once, sweep, caplog, tmp_path):
    sweep.client = MlflowClient(GONE)
    sweep.end_job("a_0", [], "no space", killed=False)
    sweep.end("FINISHED", None, tmp_path / "jobs.csv")
    assert said(caplog) == [
        "warning: MLflow was not told of the end of a_0: no server answers",
        "warning: MLflow was not told of how the sweep ended: no server answers",
    ]


def test_a_job_that_says_how_it_ended_has_the_last_word(sweep):
    ids = {}
    for name, status in (("a_0", "FINISHED"), ("a_1", "FAILED"), ("a_2", "RUNNING"), ("a_3", "KILLED")):
        ids[name], _ = runs.start_run(sweep.client, sweep.experiment_id, name, [], resume=False)
        if status == "FAILED":
            runs.end_run(sweep.client, ids[name], status, "its own words")
        elif status != "RUNNING":
            sweep.client.set_terminated(ids[name], status)
    for name in ids:
        sweep.end_job(name, [], "no space", killed=False)
    found = [sweep.client.get_run(run_id) for run_id in ids.values()]
    assert [(run.info.status, run.data.tags.get("error")) for run in found] == [
        ("FINISHED", None),
        ("FAILED", "its own words"),
        ("FAILED", "no space"),
        ("FAILED", "no space"),  # found dead by another job before the sweep knew
    ]


def test_of_a_job_that_was_continued_the_latest_run_is_ended(sweep):
    old, new = (runs.start_run(sweep.client, sweep.experiment_id, "a_0", [], resume=False)[0] for _ in range(2))
    sweep.client.set_terminated(old, "KILLED")
    sweep.end_job("a_0", [], "no space", killed=False)
    assert [sweep.client.get_run(run_id).info.status for run_id in (old, new)] == ["KILLED", "FAILED"]


def test_mlflow_is_as_patient_as_before(monkeypatch):
    monkeypatch.delenv(runs.ATTEMPTS, raising=False)
    with runs.impatient():
        assert os.environ[runs.ATTEMPTS] == "2"
    assert runs.ATTEMPTS not in os.environ


@pytest.mark.parametrize("kind", runs.SCORINGS)
def test_a_training_does_not_go_on_with_an_evaluation_of_its_name(once, uri, kind):
    given = {"experiment_name": f"kinds_{kind}", "run_name": "same", "config": {}, "overrides": []}
    trained = open_run(tracking_uri=uri, **given, resume=False)
    scored = open_run(tracking_uri=uri, **given, resume=False, kind=kind)
    kinds = [logger.experiment.get_run(logger.run_id).data.tags["kind"] for logger in (trained, scored)]
    assert kinds == ["train", kind]
    assert open_run(tracking_uri=uri, **given, resume=True).run_id == trained.run_id
