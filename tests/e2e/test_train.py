"""What one training run does and leaves."""

import json

import polars as pl
import pytest
from omegaconf import OmegaConf

from behavesim.cli import compose
from behavesim.errors import UserError


def metrics_of(run):
    from pathlib import Path

    return json.loads((Path(run.cfg.paths.output) / "metrics.json").read_text())


def test_no_arguments_mean_the_sample_on_a_cpu(here):
    cfg = compose("train")
    assert cfg.model._target_ == "behavesim.models.builders.git_tiny"
    assert cfg.data.sample.rows == 3200
    assert cfg.data.path is None
    assert cfg.task.name == "behaviour"
    assert (cfg.trainer.accelerator, cfg.trainer.devices) == ("cpu", 1)
    assert cfg.logger.name == "mlflow"


def test_a_run_leaves_metrics_plot_checkpoints_and_artifact(trained):
    metrics = json.loads((trained.output / "metrics.json").read_text())
    assert list(metrics)[:3] == ["rmse", "rmse_winsorised", "rmsle"]
    assert {"mae", "spearman", "crps", "distinct"} < set(metrics)
    assert metrics["n"] > 0
    assert (trained.output / "predicted_against_actual.png").read_bytes().startswith(b"\x89PNG")
    assert (trained.output / "checkpoints" / "last.ckpt").is_file()
    assert len(list((trained.output / "checkpoints").glob("*.ckpt"))) == 2
    assert (trained.artifact / "model.safetensors").is_file()
    assert not list(trained.artifact.parent.glob(".*partial*"))


def test_results_are_printed_beside_baselines_and_noise_floor(here, train_tiny, capsys):
    train_tiny("run_name=a")
    out = capsys.readouterr().out
    for row in ("model", "account mean", "constant", "noise floor"):
        assert f"\n  {row} " in out


def test_one_seed_gives_one_result_and_another_seed_another(here, train_tiny):
    first, again, other = (train_tiny(f"run_name={name}", f"seed={seed}") for name, seed in ("a0", "b0", "c1"))
    assert metrics_of(first) == metrics_of(again)
    assert first.objective == again.objective
    assert metrics_of(first) != metrics_of(other)


def test_an_existing_export_dir_is_replaced_as_a_whole(here, train_tiny, caplog):
    (here / "mine").mkdir()
    (here / "mine" / "stray.txt").write_text("old")
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny("export_dir=mine")
    assert (here / "mine" / "model.safetensors").is_file()
    assert not (here / "mine" / "stray.txt").exists()
    assert "mine exists and is replaced" in caplog.text


def test_a_dry_run_prints_the_plan_and_leaves_nothing_but_the_cache_of_its_table(here, train_tiny, capsys):
    train_tiny("dry_run=true", "logger=mlflow")
    out = capsys.readouterr().out
    assert "max_epochs: 1" in out
    for part in ("vision", "projector", "llm", "head", "all"):
        assert f"\n  {part} " in out
    files = [path.relative_to(here) for path in here.rglob("*") if path.is_file()]
    assert files and all(path.is_relative_to("data/cache") for path in files)


def test_a_one_batch_run_goes_the_whole_way(here, train_tiny):
    run = train_tiny("debug=fdr", "run_name=a")
    assert (here / "checkpoints" / "a" / "model.safetensors").is_file()
    assert not (here / "outputs" / "a" / "checkpoints").exists()
    assert metrics_of(run)["n"] > 0


def test_a_limited_run_sees_a_few_batches(here, train_tiny):
    train_tiny("debug=limit", "run_name=a", "data.tokens_per_batch=128", "trainer.max_epochs=2")
    [checkpoint] = (here / "outputs" / "a" / "checkpoints").glob("epoch*.ckpt")
    assert checkpoint.stem in ("epoch=0-step=5", "epoch=1-step=10")


def test_overfitting_learns_the_same_batches_by_heart(here, train_tiny):
    few = train_tiny("debug=overfit", "run_name=a", "trainer.max_epochs=1", "logger=csv", "optimized_metric=train/loss")
    many = train_tiny("debug=overfit", "run_name=b", "trainer.max_epochs=20", "optimized_metric=train/loss")
    assert many.objective < 0.9 * few.objective


def test_the_profiler_prints_the_time_of_each_part(here, train_tiny, capsys, caplog):
    with caplog.at_level("INFO"):
        train_tiny("debug=profiler")
    assert "run_training_epoch" in capsys.readouterr().out + caplog.text


def test_the_csv_logger_writes_metrics_into_the_run(here, train_tiny):
    train_tiny("logger=csv", "run_name=a")
    [table] = (here / "outputs" / "a").rglob("metrics.csv")
    assert {"train/loss", "val/rmsle", "test/rmsle"} <= set(pl.read_csv(table).columns)


def test_without_a_logger_nothing_is_tracked(here, train_tiny):
    train_tiny("logger=none")
    assert not list(here.rglob("mlflow*"))
    assert not list(here.rglob("metrics.csv"))


def test_lora_trains_and_comes_back_from_its_artifact(here, train_tiny, predict, tweets):
    run = train_tiny("model.lora.r=8", "run_name=lora")
    from safetensors.torch import load_file

    weights = load_file(here / "checkpoints" / "lora" / "model.safetensors")
    moved = [tensor.abs().max() for name, tensor in weights.items() if "lora_B" in name]
    assert moved
    assert all(value > 0 for value in moved)
    predictions = predict(tweets, f"ckpt={run.cfg.export_dir}")
    assert predictions["likes"].n_unique() > 100


def test_the_objective_is_the_metric_that_was_asked_for(here, train_tiny):
    run = train_tiny("optimized_metric=val/rmse", "run_name=a", "logger=csv")
    [table] = (here / "outputs" / "a").rglob("metrics.csv")
    logged = pl.read_csv(table)["val/rmse"].drop_nulls()
    assert run.objective == pytest.approx(logged[-1], rel=1e-5)


@pytest.mark.parametrize("setting", ["optimized_metric=test/rmsle", "callbacks.checkpoint.monitor=test/rmsle"])
def test_nothing_is_chosen_on_the_test_split(here, setting):
    with pytest.raises(UserError, match=r"found test/rmsle; accepted: .*val/rmsle"):
        compose("train", [setting])


def test_a_run_is_not_continued_with_another_model(here, train_tiny):
    train_tiny("run_name=a", "logger=none")
    with pytest.raises(UserError, match=r"ckpt_path: .* holds another model"):
        train_tiny("run_name=a", "logger=none", "ckpt_path=last", "model.llm.hidden_size=64")


def test_the_artifact_keeps_the_configuration_it_was_trained_with(trained):
    config = OmegaConf.load(trained.artifact / "config.yaml")
    assert {"data", "model", "task"} <= set(config)
    assert config.model.llm.hidden_size == 32
    assert "${" not in (trained.artifact / "config.yaml").read_text()
