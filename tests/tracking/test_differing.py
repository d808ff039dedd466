"""Which settings are shown of several runs."""

import pytest

from behavesim.tracking.differing import differing, is_bookkeeping, named_keys, short_names

LR = {"optim.lr": "0.1", "optim.optimizer.lr": "0.1", "seed": "0"}


def test_keys_that_differ_are_found_and_no_others():
    assert differing([LR, LR | {"seed": "1"}]) == ["seed"]
    assert differing([LR]) == differing([]) == []


def test_what_follows_by_interpolation_is_left_out():
    other = LR | {"optim.lr": "0.2", "optim.optimizer.lr": "0.2"}
    assert differing([LR, other]) == ["optim.lr"]
    # Set apart from `optim.lr` it does not follow.
    assert differing([LR, other, LR | {"optim.optimizer.lr": "7"}]) == ["optim.lr", "optim.optimizer.lr"]
    assert differing([LR, other], ["optim.optimizer.lr"]) == ["optim.optimizer.lr", "optim.lr"]


def test_what_users_named_comes_first_and_choices_before_it():
    runs = [
        {"a.x": "1", "b.y": "1", "c.z": "1", "trainer": "cpu"},
        {"a.x": "2", "b.y": "2", "c.z": "2", "trainer": "ddp"},
    ]
    assert differing(runs, ["c.z", "b.y", "c.z", "unknown"]) == ["trainer", "c.z", "b.y", "a.x"]


def test_a_key_that_some_runs_lack():
    runs = [{"model.llm.heads": "2"}, {"model.llm": "opt"}]
    assert differing(runs) == []
    assert differing(runs, ["model.llm"]) == ["model.llm"]
    assert differing([*runs, {"model.llm.heads": "4"}]) == ["model.llm.heads"]


@pytest.mark.parametrize(
    "key",
    ["run_name", "paths.output", "export_dir", "logger.name", "callbacks.last.dirpath", "callbacks.progress.leave"],
)
def test_bookkeeping_never_differs(key):
    assert is_bookkeeping(key)
    assert differing([{key: "1"}, {key: "2"}]) == []


@pytest.mark.parametrize("key", ["run_named", "data.sample.rows", "pathsy", "callbacks.checkpoint.monitor"])
def test_names_that_begin_alike_are_no_bookkeeping(key):
    assert not is_bookkeeping(key)


def test_keys_of_a_command_line():
    found = named_keys("optim.lr=1e-3 +trainer.limit_val_batches=2 ~callbacks.last data.path=a=b.csv word")
    assert found == ["optim.lr", "trainer.limit_val_batches", "data.path"]


def test_short_names_stay_apart():
    assert short_names(["optim.lr", "seed", "data.sample.seed", "a.width", "b.width"]) == {
        "optim.lr": "lr",
        "seed": "seed",
        "data.sample.seed": "sample.seed",
        "a.width": "a.width",
        "b.width": "b.width",
    }
