"""The official tables."""

import json

import polars as pl
import pytest

from behavesim.baselines import baselines
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
def test_training_on_the_official_table_beats_every_baseline(official, shared):
    pytest.importorskip("lightgbm", reason="pip install 'behavesim[baselines]'")
    table, folder = shared / "data" / "behaviour_simulation_train.xlsx", official / "baselines"
    given = [f"data.path={table}", f"ckpt={official / 'artifact'}", "logger=none", f"paths.output={folder}"]
    baselines(compose("baselines", given))
    found = json.loads((folder / "metrics.json").read_text())
    model, trees = found["model"], found["lightgbm"]
    for name in ("constant", "account_mean", "rolling_mean", "lightgbm"):
        assert model["n"] == found[name]["n"] > 2000
        assert model["rmsle"] < found[name]["rmsle"] and model["spearman"] > found[name]["spearman"]
    assert model["rmsle"] < 0.98 * trees["rmsle"] and model["crps_log"] < trees["crps_log"]
    assert model["coverage_80"] == pytest.approx(0.8, abs=0.04)
    assert model["rmsle"] == pytest.approx(json.loads((official / "output" / "metrics.json").read_text())["rmsle"])


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
