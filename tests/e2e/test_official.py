"""The official tables."""

import json

import polars as pl
import pytest

from behavesim.cli import compose
from behavesim.predict import predict
from behavesim.train import train


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory):
    """The default model, trained on the published training table as the README has it."""
    folder = tmp_path_factory.mktemp("official")
    table = shared / "data" / "behaviour_simulation_train.xlsx"
    if not table.is_file():
        pytest.skip(f"{table}: no such file; it is published, and no part of the repository")
    paths = [f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}"]
    train(compose("train", [f"data.path={table}", "logger=none", "run_name=official", *paths]))
    return folder


@pytest.mark.slow
def test_training_on_the_official_table_beats_the_account_mean(official, shared):
    from behavesim import inputs
    from behavesim.metrics.baselines import account_mean
    from behavesim.metrics.likes import likes_metrics

    metrics = json.loads((official / "output" / "metrics.json").read_text())
    data = inputs.datamodule(compose("train", [f"data.path={shared / 'data' / 'behaviour_simulation_train.xlsx'}"]))
    train_rows, test = (data.parts[part].frame("username", "likes") for part in ("train", "test"))
    guesses = account_mean(train_rows["username"], data.train_likes, test["username"])
    baseline = likes_metrics(test["likes"].to_numpy(), guesses)
    assert metrics["n"] == test.height > 1000
    assert metrics["rmsle"] < baseline["rmsle"]
    assert metrics["spearman"] > baseline["spearman"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["company", "time"])
def test_the_official_tests_are_predicted_row_by_row(official, shared, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = shared / "data" / f"behaviour_simulation_test_{name}.xlsx"
    predict(compose("predict", [f"ckpt={official / 'artifact'}", f"input={table}", "output=out.parquet"]))
    found = pl.read_parquet("out.parquet")
    assert found["id"].to_list() == pl.read_excel(table)["id"].to_list()
    assert found.height == 10_000
    assert found["likes"].n_unique() > 1000
    assert found.null_count().sum_horizontal().item() == 0
