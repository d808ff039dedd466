"""What MLflow holds after a run."""

import os
import signal
from pathlib import Path

import pytest
import yaml

from behavesim import results
from behavesim.processes import lifetime
from behavesim.tracking.training import mark_ended, open_run


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, train_tiny, database, runs_named):
    folder = tmp_path_factory.mktemp("tracked")
    run = train_tiny(
        f"paths.output={folder / 'output'}",
        f"export_dir={folder / 'artifact'}",
        "run_name=tracked",
        "logger=mlflow",
        *database,
        "trainer.log_every_n_steps=1",
    )
    [found] = runs_named("tracked")
    return found, run.cfg


@pytest.fixture
def files(client, tracked):
    return {item.path for item in client.list_artifacts(tracked[0].info.run_id)}


def downloaded(client, run_id, folder):
    return yaml.safe_load(Path(client.download_artifacts(run_id, "config.yaml", str(folder))).read_text())


def test_the_resolved_configuration_is_an_artifact(client, tracked, tmp_path):
    config = downloaded(client, tracked[0].info.run_id, tmp_path)
    assert config["run_name"] == "tracked"
    assert config["export_dir"] == tracked[1].export_dir


def test_values_are_parameters(tracked):
    params = tracked[0].data.params
    assert params["model.llm.hidden_size"] == "32"
    assert float(params["optim.lr"]) == tracked[1].optim.lr
    assert params["callbacks.checkpoint.monitor"] == "val/loss"
    # MLflow's page shows first in what runs differ: not in names of their folders.
    assert not [key for key in params if key.startswith(("paths.", "run_name", "export_dir", "logger."))]


def test_values_over_250_characters_are_no_parameters_and_never_cut(client, database, tmp_path):
    config = {"short": "s" * 250, "node": {"long": "l" * 251}}
    uri = database[0].partition("=")[2]
    logger = open_run(tracking_uri=uri, experiment_name="long", run_name="a", config=config, overrides=[], resume=False)
    assert client.get_run(logger.run_id).data.params == {"short": "s" * 250}
    assert downloaded(client, logger.run_id, tmp_path) == config


def test_metrics_are_there_per_step_and_per_epoch(client, tracked):
    run_id = tracked[0].info.run_id
    losses = client.get_metric_history(run_id, "train/loss")
    assert [metric.step for metric in losses] == list(range(len(losses)))
    assert len(losses) > 5
    assert len(client.get_metric_history(run_id, "val/rmsle")) == 1


def test_final_metrics_and_baselines_are_there(tracked):
    metrics = tracked[0].data.metrics
    assert {f"test/{name}" for name in ("rmse", "rmsle", "mae", "spearman", "spearman_within")} <= set(metrics)
    assert metrics["account_mean/rmsle"] > 0
    assert metrics["constant/rmsle"] > 0
    assert metrics["noise_floor/rmsle"] > 0


def test_plot_and_path_of_the_artifact_are_there(files, tracked):
    assert "predicted_against_actual.png" in files
    assert tracked[0].data.tags["artifact"] == tracked[1].export_dir


def test_a_finished_run_says_so(tracked):
    assert tracked[0].info.status == "FINISHED"
    assert tracked[0].info.end_time is not None


def test_the_command_line_and_the_commit_are_tags(here, main, sample_overrides, sizes, database, runs_named):
    arguments = [*sizes, *sample_overrides, *database, "run_name=tagged", "debug=limit", "logger=mlflow"]
    assert main("train", *arguments).code == 0
    [run] = runs_named("tagged")
    assert run.data.tags["overrides"] == " ".join(arguments)
    assert run.data.params["model"] == "git_tiny"
    assert run.data.params["debug"] == "limit"
    # `here` is no repository, so that there is no commit to name.
    assert "mlflow.source.git.commit" not in run.data.tags


def test_the_commit_of_a_repository_is_its_tag(here):
    import subprocess

    from behavesim.tracking.runs import git_commit

    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    assert len(git_commit()) == 40


def test_a_run_that_breaks_is_marked_failed(here, train_tiny, database, runs_named, monkeypatch):
    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(results, "export", full_disk)
    with pytest.raises(OSError, match="no space"):
        train_tiny("run_name=broken", "logger=mlflow", *database)
    [run] = runs_named("broken")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "OSError: no space left on device"


def test_the_environment_names_the_database(here, train_tiny, database, runs_named, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database[0].partition("=")[2])
    train_tiny("run_name=from_environment", "logger=mlflow", "debug=limit")
    assert len(runs_named("from_environment")) == 1
    assert not (here / "mlflow.db").exists()


def test_a_run_that_is_terminated_is_marked_killed(here, train_tiny, database, runs_named, monkeypatch):
    monkeypatch.setattr(results, "export", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit), lifetime.unwinding():
        train_tiny("run_name=terminated", "logger=mlflow", *database)
    [run] = runs_named("terminated")
    assert run.info.status == "KILLED"
    assert run.data.tags["error"] == "terminated"


def test_runs_of_dead_processes_are_marked_killed_by_the_next_one(client, database):
    uri = database[0].partition("=")[2]
    experiment = client.create_experiment("dead")
    host, number, start, *namespace = lifetime.identity().split()
    dead = " ".join([host, number, str(int(start) - 1000), *namespace])
    tags = {"dead": dead, "elsewhere": f"other {number} 1", "unknown": ""}
    for name, process in tags.items():
        client.create_run(experiment, run_name=name, tags={"process": process})
    open_run(tracking_uri=uri, experiment_name="dead", run_name="next", config={}, overrides=[], resume=False)
    statuses = {run.info.run_name: run.info.status for run in client.search_runs([experiment])}
    assert statuses == {"dead": "KILLED", "elsewhere": "RUNNING", "unknown": "RUNNING", "next": "RUNNING"}


def test_a_continued_run_is_this_process_and_no_failure_any_more(client, database):
    own = {"tracking_uri": database[0].partition("=")[2], "experiment_name": "again", "run_name": "a", "overrides": []}
    first = open_run(**own, config={}, resume=False)
    mark_ended(first, OSError("no space"))
    assert client.get_run(first.run_id).data.tags["error"] == "OSError: no space"
    assert open_run(**own, config={}, resume=True).run_id == first.run_id
    run = client.get_run(first.run_id)
    assert run.info.status == "RUNNING"
    assert "error" not in run.data.tags


def test_secrets_are_not_recorded(
    here, main, sample_overrides, sizes, database, runs_named, client, monkeypatch, tmp_path
):
    key, token = "KEY0123456789", "TOKEN0123456789"
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setenv("HF_TOKEN", token)
    breaker = f"+callbacks.breaker={{_target_: breaker.Breaker, rate: 1, breaks_at: x{token}, api_key: {key}}}"
    words = ("run_name=secretive", "debug=limit", f"export_dir=checkpoints/{token}", breaker, "logger=mlflow")
    assert main("train", *sizes, *sample_overrides, *database, *words).code == 0
    [run] = runs_named("secretive")
    config = Path(client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))).read_text()
    records = f"{run.data.tags} {run.data.params} {config}"
    assert key not in records and token not in records
    assert run.data.params["callbacks.breaker.api_key"] == "***"
    assert run.data.params["callbacks.breaker.breaks_at"] == "x***"
    assert run.data.params["data.tokens_per_batch"].isdigit()
    assert float(run.data.params["model.token_dropout"]) >= 0
    assert run.data.tags["artifact"].endswith("checkpoints/***")
