"""Sweeps through the public command: every job a fresh process, one tree, one parent run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from mlflow.tracking import MlflowClient

from behavesim.processes.jobs import INTERRUPTED
from behavesim.processes.lifetime import is_dead

HERE = Path(__file__).parent
PARENT = "mlflow.parentRunId"
SEEDED = "hydra.sweeper.sampler.seed=0"


@pytest.fixture(scope="module")
def start(tmp_path_factory, sizes, sample_overrides):
    """Start `python -m behavesim.train -m` in a folder of its own, which is returned with the process."""

    def call(*overrides, folder=None):
        folder = folder or tmp_path_factory.mktemp("sweep")
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "behavesim.train", "-m", *sizes, *sample_overrides, *overrides]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return folder, subprocess.Popen(command, cwd=folder, env=environment, **pipes)

    return call


@pytest.fixture(scope="module")
def ended(start):
    """A sweep that has ended: folder, exit code, what it printed, its parent run and those of its jobs by name."""

    def call(*overrides, folder=None):
        folder, process = start(*overrides, folder=folder)
        out, err = process.communicate(timeout=300)
        found = {"folder": folder, "code": process.returncode, "out": out, "err": err}
        return SimpleNamespace(**found, **runs_of(overrides[:2], folder))

    return call


def runs_of(place, folder=Path()):
    """The parent run and those of its jobs, by name, in the only sweep of a database's experiment."""
    uri, experiment = (text.partition("=")[2] for text in place)
    client = MlflowClient(uri.replace("sqlite:///mlflow.db", f"sqlite:///{folder}/mlflow.db"))
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    [parent] = [run for run in runs if PARENT not in run.data.tags]
    jobs = {run.info.run_name: run for run in runs if run is not parent}
    assert all(run.data.tags[PARENT] == parent.info.run_id for run in jobs.values())
    assert len(jobs) == len(runs) - 1
    return {"client": client, "parent": parent, "jobs": jobs}


@pytest.fixture(scope="module")
def place(database):
    """Overrides that name the database of all tests, and an experiment in it."""
    return lambda experiment: (*database, f"logger.experiment_name={experiment}")


@pytest.fixture(scope="module")
def swept(ended, place):
    """Two jobs at once, of which one does not come as far as its own run."""
    return ended(*place("swept"), "optim.lr=1e-3,-1", "hydra.launcher.n_jobs=2", "run_name=rates")


def test_a_job_that_fails_leaves_the_others_alone_and_the_exit_code_tells(swept):
    assert swept.code == 1
    line = "error: job 1 (optim.lr=-1): optim.lr: found -1; accepted: greater than 0; see multirun/rates/1/terminal.log"
    assert line in swept.err.splitlines()
    assert "Traceback" not in swept.err
    assert "job 0 started: optim.lr=0.001" in swept.out
    assert "best: job 0, objective 0." in swept.out


def test_there_is_one_tree(swept):
    names = {path.name for path in swept.folder.iterdir()}
    assert names == {"multirun", "checkpoints", "data"}
    assert {path.name for path in (swept.folder / "multirun" / "rates").iterdir()} == {
        *"01",
        "multirun.yaml",
        "jobs.csv",
    }
    assert (swept.folder / "multirun" / "rates" / "0" / "metrics.json").is_file()
    assert [path.name for path in (swept.folder / "checkpoints").iterdir()] == ["rates_0"]
    table = pl.read_csv(swept.folder / "multirun" / "rates" / "jobs.csv")
    assert table["status"].to_list() == ["FINISHED", "FAILED"]


def test_there_is_one_parent_and_a_child_for_each_job(swept):
    assert {name: run.info.status for name, run in swept.jobs.items()} == {"rates_0": "FINISHED", "rates_1": "FAILED"}
    assert swept.jobs["rates_1"].data.tags["error"] == "optim.lr: found -1; accepted: greater than 0"
    assert swept.jobs["rates_1"].data.params["optim.lr"] == "-1"
    assert swept.jobs["rates_0"].data.params["optim.lr"] == "0.001"


def test_the_parent_tells_of_the_sweep(swept):
    assert swept.parent.info.status == "FAILED"
    assert swept.parent.info.run_name == "rates"
    assert swept.parent.data.tags["error"] == "1 of 2 jobs failed"
    assert swept.parent.data.tags["best_run"] == "rates_0"
    assert "optim.lr=1e-3,-1" in swept.parent.data.tags["overrides"]
    objective = swept.jobs["rates_0"].data.metrics["objective"]
    assert swept.parent.data.metrics["objective"] == objective
    assert objective == pytest.approx(swept.jobs["rates_0"].data.metrics["exported/val/rmsle"])
    assert [item.path for item in swept.client.list_artifacts(swept.parent.info.run_id)] == ["jobs.csv"]


@pytest.mark.slow
def test_a_sweep_that_is_terminated_ends_its_jobs(start, place):
    folder, process = start(*place("terminated"), "trainer.max_epochs=10000", "seed=0,1", "run_name=long")
    until = time.monotonic() + 120
    while not (folder / "multirun" / "long" / "0" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    found = runs_of(place("terminated"))
    assert process.returncode == 143, err
    assert (found["parent"].info.status, found["parent"].data.tags["error"]) == ("KILLED", "terminated")
    [job] = found["jobs"].values()  # the second one was not started
    assert job.info.status == "KILLED"
    assert job.data.tags["error"] in ("terminated", INTERRUPTED)  # by itself, or by the sweep where it is slow to end
    assert is_dead(job.data.tags["process"])


@pytest.mark.slow
def test_jobs_end_soon_after_a_sweep_that_is_killed_and_another_one_takes_them_on(start, ended, place):
    words = (*place("killed"), "seed=0,1", "run_name=killed")
    folder, process = start(*words, "trainer.max_epochs=10000")
    last = folder / "multirun" / "killed" / "0" / "checkpoints" / "last.ckpt"
    until = time.monotonic() + 120
    while not last.exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=60)
    [job] = runs_of(place("killed"))["jobs"].values()
    until = time.monotonic() + 60
    while not is_dead(job.data.tags["process"]):
        assert time.monotonic() < until
        time.sleep(0.1)
    before = {run.info.run_id for run in (runs_of(place("killed"))["parent"], job)}
    epochs = torch.load(last, weights_only=True)["epoch"] + 2
    words = (*words, "ckpt_path=last", f"trainer.max_epochs={epochs}", "hydra.launcher.n_jobs=2")
    found = ended(*words, folder=folder)
    assert found.code == 0, found.err
    assert found.parent.info.status == "FINISHED"
    assert {name: run.info.status for name, run in found.jobs.items()} == dict.fromkeys(
        ("killed_0", "killed_1"), "FINISHED"
    )
    assert before == {found.parent.info.run_id, found.jobs["killed_0"].info.run_id}
    assert (folder / "multirun" / "killed" / "1" / "metrics.json").is_file()


def test_hydras_own_launcher_has_a_parent_too(here, main, place, sizes, sample_overrides):
    words = ("-m", "hydra/launcher=basic", "seed=0,1", "run_name=plain", "debug=limit", *sizes, *sample_overrides)
    assert main("train", *words, *place("plain")).code == 0
    found = runs_of(place("plain"))
    assert {name: run.info.status for name, run in found["jobs"].items()} == dict.fromkeys(
        ("plain_0", "plain_1"), "FINISHED"
    )
    assert found["parent"].info.status == "FINISHED"
    objectives = {name: run.data.metrics["objective"] for name, run in found["jobs"].items()}
    assert found["parent"].data.metrics["objective"] == min(objectives.values())
    assert found["parent"].data.tags["best_run"] == min(objectives, key=objectives.get)
    assert "BEHAVESIM_PARENT_RUN" not in os.environ


def test_a_finished_sweep_goes_on_with_a_further_job(here, main, place, sizes, sample_overrides):
    words = ("-m", "hydra/launcher=basic", "run_name=more", "debug=limit", *sizes, *sample_overrides, *place("more"))
    assert main("train", *words, "seed=0").code == 0
    first = runs_of(place("more"))
    assert main("train", *words, "seed=0,1", "ckpt_path=last", "trainer.max_epochs=2").code == 0
    found = runs_of(place("more"))
    assert {name: run.info.status for name, run in found["jobs"].items()} == dict.fromkeys(
        ("more_0", "more_1"), "FINISHED"
    )
    assert found["parent"].info.run_id == first["parent"].info.run_id
    assert found["jobs"]["more_0"].info.run_id == first["jobs"]["more_0"].info.run_id


@pytest.mark.slow
def test_four_jobs_of_one_and_two_processes_of_which_one_breaks(ended, main, monkeypatch):
    found = ended(
        "logger.tracking_uri=sqlite:///mlflow.db",
        "logger.experiment_name=four",
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=1,2",
        "optim.lr=1e-3,3e-4",
        "+callbacks.breaker={_target_: breaker.Breaker, rate: '${optim.lr}', breaks_at: 3e-4}",
        "hydra.launcher.n_jobs=2",
        "run_name=four",
    )
    assert found.code == 1, found.err
    tree = found.folder / "multirun"
    assert [path.name for path in tree.iterdir()] == ["four"]
    assert {path.name for path in (tree / "four").iterdir()} == {*"0123", "multirun.yaml", "jobs.csv"}
    assert not (found.folder / "outputs").exists()
    table = pl.read_csv(tree / "four" / "jobs.csv")
    [broken] = table.filter(pl.col("status") == "FAILED").iter_rows(named=True)
    assert broken["overrides"] == "trainer.devices=2 optim.lr=0.0003"
    assert broken["error"] == "killed by SIGKILL, as for want of memory"
    assert found.parent.info.status == "FAILED"
    statuses = {name: run.info.status for name, run in found.jobs.items()}
    assert statuses == {f"four_{n}": "FAILED" if n == broken["job"] else "FINISHED" for n in range(4)}
    assert found.jobs[broken["run"]].data.tags["error"] == broken["error"]
    monkeypatch.chdir(found.folder)
    assert main("compare", "experiment=four", "sweep=four", "metric=val/rmsle", "paths.output=out").code == 0
    ranking = pl.read_csv("out/compare.csv")
    assert ranking["rank"].to_list() == [1, 2, 3, None]
    assert ranking["run"][0] == found.parent.data.tags["best_run"]
    assert ranking["error"][3] == broken["error"]
    assert {"optim.lr", "trainer.devices"} <= set(ranking.columns)


@pytest.mark.slow
def test_a_search_goes_on_when_a_trial_fails(ended, place):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    settings = ("optim.lr=tag(log, interval(1e-4, 1e-2))", "optim.warmup=choice(0.1, -1)", "hydra.sweeper.n_trials=4")
    found = ended(*place("hunt"), "search=optuna", *settings, "hydra.launcher.n_jobs=2", "run_name=hunt", SEEDED)
    table = pl.read_csv(found.folder / "multirun" / "hunt" / "jobs.csv")
    assert table.height == len(found.jobs) == 4
    failed = table["overrides"].str.contains("optim.warmup=-1")
    assert table["status"].to_list() == ["FAILED" if broke else "FINISHED" for broke in failed]
    assert 0 < failed.sum() < 4, "the seed is to draw both"
    assert found.code == 1
    assert found.parent.data.metrics["objective"] == pytest.approx(table["objective"].min())


@pytest.mark.slow
def test_jobs_that_a_plugin_starts_have_the_same_parent(ended, place):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    settings = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5", "optim.lr=1e-3", "run_name=afar")
    found = ended(*place("afar"), *settings)
    assert found.code == 0, found.err
    assert {name: run.info.status for name, run in found.jobs.items()} == {"afar_0": "FINISHED"}
    assert found.parent.info.status == "FINISHED"
    assert found.parent.data.tags["best_run"] == "afar_0"
    assert (found.folder / "multirun" / "afar" / "0" / "metrics.json").is_file()
