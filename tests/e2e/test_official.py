"""The official tables."""

import json

import polars as pl
import pytest

from behavesim.cli import compose
from behavesim.predict import predict
from behavesim.train import train

SMALL = (
    "trainer.max_epochs=1",
    "model.llm.hidden_size=64",
    "model.llm.layers=1",
    "model.llm.vocab_size=2000",
    "data.tokens_per_batch=2048",
    "logger=none",
    "run_name=official",
)


@pytest.fixture(scope="module")
def official(shared, tmp_path_factory):
    """A small model trained for one epoch on the published training table."""
    folder = tmp_path_factory.mktemp("official")
    table = shared / "data" / "behaviour_simulation_train.xlsx"
    if not table.is_file():
        pytest.skip(f"{table}: no such file; it is published, and no part of the repository")
    paths = [f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}"]
    train(compose("train", [f"data.path={table}", *SMALL, *paths]))
    return folder


@pytest.mark.slow
def test_training_on_the_official_table_beats_a_constant(official, shared):
    from behavesim import build
    from behavesim.metrics.baselines import constant
    from behavesim.metrics.likes import likes_metrics

    metrics = json.loads((official / "output" / "metrics.json").read_text())
    data = build.datamodule(compose("train", [f"data.path={shared / 'data' / 'behaviour_simulation_train.xlsx'}"]))
    actual = data.frames["test"]["likes"].to_numpy()
    baseline = likes_metrics(actual, constant(data.train_likes, len(actual)))
    assert metrics["n"] == len(actual) > 1000
    assert metrics["rmsle"] < 0.75 * baseline["rmsle"]
    assert metrics["spearman"] > 0.6


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
