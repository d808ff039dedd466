"""Going on with a run."""

import pytest
import torch

from behavesim.errors import UserError

CONSTANT = ("optim.schedule=constant", "optim.warmup=0", "run_name=a")


def last_checkpoint(folder):
    return torch.load(folder / "outputs" / "a" / "checkpoints" / "last.ckpt", weights_only=True)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("head", ["histogram", *(pytest.param(head, marks=SLOW) for head in ("regression", "text"))])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path, monkeypatch, train_tiny, head):
    constant = (*CONSTANT, f"model.head={head}", "task.samples=2")
    for name in ("whole", "halves"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    whole = train_tiny(*constant, "trainer.max_epochs=2")
    monkeypatch.chdir(tmp_path / "halves")
    train_tiny(*constant)
    half_way = last_checkpoint(tmp_path / "halves")
    halves = train_tiny(*constant, "trainer.max_epochs=2", "ckpt_path=last")

    expected, found = last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "halves")
    assert 0 < half_way["global_step"] < found["global_step"] == expected["global_step"]
    for name, weights in expected["state_dict"].items():
        assert torch.equal(weights, found["state_dict"][name]), name
    assert halves.objective == whole.objective


def test_the_default_schedule_can_be_resumed(here, train_tiny):
    train_tiny("run_name=a")
    first = last_checkpoint(here)["global_step"]
    train_tiny("run_name=a", "trainer.max_epochs=2", "ckpt_path=last")
    assert last_checkpoint(here)["global_step"] > first


def test_resuming_goes_on_in_the_same_tracked_run(here, train_tiny, database, runs_named):
    train_tiny("run_name=resumed", *database, "logger=mlflow")
    [before] = runs_named("resumed")
    train_tiny("run_name=resumed", *database, "logger=mlflow", "trainer.max_epochs=2", "ckpt_path=last")
    [after] = runs_named("resumed")
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert after.data.metrics["epoch"] > before.data.metrics["epoch"]


@pytest.mark.parametrize("change", ["seed=1", "data.tokens_per_batch=300"])
def test_inside_an_epoch_the_batches_stay_those_of_the_run(here, train_tiny, change):
    train_tiny("run_name=a", "trainer.max_steps=2")
    with pytest.raises(UserError, match=r"stands inside an epoch of other batches, found .*; accepted: .*seed=0, or"):
        train_tiny("run_name=a", "trainer.max_steps=4", "ckpt_path=last", change)
    train_tiny("run_name=a", "trainer.max_steps=4", "ckpt_path=last")


def test_between_epochs_other_batches_may_follow(here, train_tiny):
    train_tiny("run_name=a")
    first = last_checkpoint(here)["global_step"]
    train_tiny("run_name=a", "trainer.max_epochs=2", "ckpt_path=last", "data.tokens_per_batch=300")
    assert last_checkpoint(here)["global_step"] > first
