"""What MLflow holds after a run."""

from pathlib import Path

import pytest
import yaml

from behavesim import results
from behavesim.tracking import open_run


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
    assert params["callbacks.checkpoint.monitor"] == "val/rmsle"
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
    assert {f"test/{name}" for name in ("rmse", "rmsle", "mae", "spearman")} <= set(metrics)
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

    from behavesim.runs import git_commit

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


def test_the_environment_names_the_database(here, train_tiny, database, runs_named, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database[0].partition("=")[2])
    train_tiny("run_name=from_environment", "logger=mlflow", "debug=limit")
    assert len(runs_named("from_environment")) == 1
    assert not (here / "mlflow.db").exists()
