"""`compare` on runs that training made."""

from types import SimpleNamespace

import polars as pl
import pytest
from PIL import Image

EXPERIMENT = "compared"


@pytest.fixture(scope="module")
def compared(tmp_path_factory, train_tiny, database):
    """Two trainings of three epochs in an experiment of their own, the second one bound to overshoot."""
    folder, runs = tmp_path_factory.mktemp("compared"), {}
    for name, rate in (("calm", 1e-3), ("wild", 0.1)):
        runs[name] = train_tiny(
            f"paths.output={folder / name}",
            f"export_dir={folder / f'{name}_artifact'}",
            f"run_name={name}",
            f"optim.lr={rate}",
            "optim.schedule=constant",
            "trainer.max_epochs=3",
            "logger=mlflow",
            f"logger.experiment_name={EXPERIMENT}",
            *database,
        )
    return runs


@pytest.fixture
def compare(here, main, database, monkeypatch):
    """`compare` as a user calls it, with the database in the environment; `frame` is what it wrote."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database[0].partition("=")[2])

    def call(*arguments):
        found = main("compare", f"experiment={EXPERIMENT}", "paths.output=out", *arguments)
        frame = pl.read_csv(here / "out" / "compare.csv") if found.code == 0 else None
        return SimpleNamespace(**vars(found), frame=frame)

    return call


def test_runs_are_ranked_by_the_epoch_that_they_export(compare, compared):
    found = compare()
    assert found.code == 0, found.err
    objectives = {name: run.objective for name, run in compared.items()}
    ranked = dict(zip(found.frame["run"], found.frame["val/rmsle"], strict=True))
    assert ranked == pytest.approx(objectives)
    assert list(ranked) == sorted(objectives, key=objectives.get)
    assert found.frame["rank"].to_list() == [1, 2]


def test_the_exported_epoch_may_not_be_the_last_one(compare, compared, client):
    experiment = client.get_experiment_by_name(EXPERIMENT)
    [wild] = client.search_runs([experiment.experiment_id], "attributes.run_name = 'wild'")
    losses, errors = (
        {metric.step: metric.value for metric in client.get_metric_history(wild.info.run_id, name)}
        for name in ("val/loss", "val/rmsle")
    )
    best = min(losses, key=losses.get)
    assert best < max(losses)
    assert wild.data.metrics["exported/val/rmsle"] == errors[best] == pytest.approx(compared["wild"].objective)


def test_what_differs_is_shown_and_written(compare, compared, here):
    found = compare()
    head = next(line for line in found.out.splitlines() if "run" in line and "started" in line)
    assert head.split() == ["#", "run", "val/rmsle", "lr", "duration", "samples/s", "started"]
    assert set(found.frame["optim.lr"]) == {0.001, 0.1}
    assert "optim.optimizer.lr" not in found.frame.columns
    assert (found.frame["seconds"] > 0).all()
    assert "out/compare.csv" in found.out
    with Image.open(here / "out" / "compare.png") as picture:
        assert min(picture.size) > 300


def test_runs_of_the_same_tweets_are_not_warned_of(compare, compared, client):
    assert "warning" not in compare().out
    experiment = client.get_experiment_by_name(EXPERIMENT)
    digests = {run.data.tags["held_out_rows"] for run in client.search_runs([experiment.experiment_id])}
    assert len(digests) == 1


def test_another_split_is_warned_of(compare, compared, train_tiny, database, here):
    train_tiny(
        "run_name=other",
        "data.split_seed=1",
        "debug=limit",
        "logger=mlflow",
        "logger.experiment_name=split",
        *database,
    )
    train_tiny("run_name=first", "debug=limit", "logger=mlflow", "logger.experiment_name=split", *database)
    found = compare("experiment_name=split")
    assert "warning: scored on different tweets, so that these ranks mean nothing (data.split_seed: " in found.out


def test_the_test_split_is_warned_of(compare, compared):
    assert "warning: test/rmsle is of the test split" in compare("metric=test/rmsle").out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["metric=val/rmsel"], "error: metric: found val/rmsel; accepted: val/"),
        (["experiment=nowhere"], "error: experiment: found nowhere, which sqlite:"),
        (["sweep=none_such"], "error: sweep: found none_such; accepted: none, this experiment holds no sweep"),
        (["top=0"], "error: top: found 0; accepted: "),
        (["tracking_uri=sqlite:///gone.db"], "error: tracking_uri: found sqlite:///gone.db, but there is no file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_words_are_one_line(compare, compared, here, arguments, line):
    found = compare(*arguments)
    assert found.code == 2
    assert [text.startswith(line) for text in found.lines] == [True]
    assert not list(here.rglob("*.db"))
    assert not (here / "out" / "compare.csv").exists()
