"""The figures that a real, tiny training and prediction log."""

import csv
import time
from collections import defaultdict
from functools import partial

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, IterableDataset

from behavesim.training import throughput
from behavesim.training.likes_module import LikesModule
from behavesim.training.throughput import Throughput

FIGURES = {"samples_per_second", "tokens_per_second", "padding_share", "data_wait_share", "peak_memory_gib"}
LENGTHS = [[7, 4], [3], [9, 9, 9], [5, 2], [6], [8, 1]]
PLACES = sum(length + 1 for lengths in LENGTHS for length in lengths)  # a token of numbers each
POSITIONS = sum(len(lengths) * (max(lengths) + 1) for lengths in LENGTHS)


pytestmark = pytest.mark.filterwarnings("ignore:.*no `val_dataloader`", "ignore:.*exists and is not empty")


@pytest.fixture
def module(tiny_model):
    return LikesModule(tiny_model().train(), partial(torch.optim.AdamW, lr=1e-3))


@pytest.fixture
def batches(batch_of):
    return loader_of([batch_of(lengths) for lengths in LENGTHS])


def loader_of(batches):
    return DataLoader(batches, batch_size=None)


@pytest.fixture
def trainer_of(tmp_path):
    """A trainer with these callbacks that logs into `tmp_path`."""

    def build(*callbacks, **settings):
        defaults = {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "log_every_n_steps": 1}
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        defaults["logger"] = CSVLogger(tmp_path, name="", version="csv")
        return lightning.Trainer(callbacks=list(callbacks), **(defaults | quiet | settings))

    return build


def logged(folder):
    """Steps and values of each metric in the log of `trainer_of`."""
    found = defaultdict(dict)
    with (folder / "csv" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name != "step":
                    found[name][int(row["step"])] = float(value)
    return found


def test_each_window_and_the_run_are_logged(trainer_of, module, batches, tmp_path):
    callback = Throughput(warmup_steps=1)
    trainer_of(callback, log_every_n_steps=2).fit(module, batches)
    found = logged(tmp_path)
    assert {name for name in found if name.startswith("throughput/")} == {f"throughput/{name}" for name in FIGURES}
    assert list(found["throughput/samples_per_second"]) == list(found["train/loss"]) == [1, 3, 5]
    assert {name: values[5] for name, values in found.items() if name.startswith("run/")} == pytest.approx(
        {f"run/{name}": value for name, value in callback.run.items()}
    )
    assert set(callback.run) == FIGURES and callback.steps == 5


def test_figures_are_of_what_was_trained(trainer_of, module, batches):
    callback = Throughput(warmup_steps=0)
    trainer_of(callback).fit(module, batches)
    assert callback.run["padding_share"] == pytest.approx(1 - PLACES / POSITIONS)
    assert callback.run["tokens_per_second"] * callback.seconds == pytest.approx(PLACES)
    assert callback.run["samples_per_second"] * callback.seconds == pytest.approx(sum(map(len, LENGTHS)))
    assert 0 < callback.run["data_wait_share"] < 1


def test_a_step_that_gathers_gradients_is_one_step(trainer_of, module, batches, tmp_path):
    callback = Throughput(warmup_steps=1)
    trainer_of(callback, accumulate_grad_batches=3).fit(module, batches)
    assert callback.steps == 1
    assert callback.run["samples_per_second"] * callback.seconds == pytest.approx(sum(map(len, LENGTHS[3:])))
    assert list(logged(tmp_path)["throughput/samples_per_second"]) == [0, 1]


def test_too_few_steps_have_no_figures_of_the_run(trainer_of, module, batches, tmp_path):
    callback = Throughput(warmup_steps=6)
    trainer_of(callback).fit(module, batches)
    assert callback.run == {} and not any(name.startswith("run/") for name in logged(tmp_path))


def test_nothing_is_logged_where_the_trainer_logs_nothing(trainer_of, module, batches):
    callback = Throughput(warmup_steps=0)
    trainer_of(callback, logger=False, log_every_n_steps=0).fit(module, batches)
    assert set(callback.run) == FIGURES


@pytest.fixture
def ahead(monkeypatch):
    """Seconds by which the clock is ahead of the real one, in a list."""
    seconds, real = [0.0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: real() + seconds[0])
    return seconds


def test_the_way_to_the_first_batch_of_an_epoch_is_waiting(trainer_of, module, batches, ahead):
    class Slow(IterableDataset):
        def __iter__(self):
            ahead[0] += 1000
            yield from batches.dataset

        def __len__(self):  # without it the trainer fetches the first batch ahead
            return len(batches.dataset)

    callback = Throughput(warmup_steps=0)
    trainer_of(callback, max_epochs=3, num_sanity_val_steps=0).fit(module, loader_of(Slow()), batches)
    assert 3000 < callback.seconds < 3100
    assert callback.run["data_wait_share"] * callback.seconds == pytest.approx(3000, rel=0.01)


def test_validation_and_checkpoints_are_left_out(trainer_of, module, batches, ahead, tmp_path):
    class Slow(lightning.Callback):
        def on_validation_start(self, *_):
            ahead[0] += 1000

        def on_train_epoch_end(self, trainer, _module):
            trainer.save_checkpoint(tmp_path / "x.ckpt")
            ahead[0] += 1000

    callback = Throughput(warmup_steps=0)
    trainer_of(callback, Slow(), max_epochs=3, num_sanity_val_steps=0).fit(
        module, batches, loader_of(batches.dataset[:1])
    )
    assert ahead[0] == 6000 and callback.steps == 18
    assert callback.seconds < 100


def test_prediction_is_measured_after_training_by_the_same_callback(trainer_of, module, batches):
    callback = Throughput(warmup_steps=2)
    trainer = trainer_of(callback)
    trainer.fit(module, batches)
    assert callback.steps == 4
    trainer.predict(module, loader_of(batches.dataset[:5]))
    assert callback.steps == 3 and set(callback.run) == FIGURES
    assert callback.run["samples_per_second"] * callback.seconds == pytest.approx(sum(map(len, LENGTHS[2:5])))


def test_a_resumed_training_measures_its_own_steps(trainer_of, module, batches, tmp_path):
    trainer = trainer_of()
    trainer.fit(module, batches)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    callback = Throughput(warmup_steps=2)
    trainer_of(callback, max_epochs=2).fit(module, batches, ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert callback.steps == 4


def test_utilisation_needs_a_peak(trainer_of, module, batches, monkeypatch):
    asked = []

    def peak_flops(device, dtype, *, measure_cpu):
        asked.append((device.type, dtype, measure_cpu))
        return 1e12

    monkeypatch.setattr(throughput, "peak_flops", peak_flops)
    callback = Throughput(warmup_steps=0, measure_cpu=True)
    trainer = trainer_of(callback, precision="bf16-mixed")
    trainer.fit(module, batches)
    assert 0 < callback.run["mfu"] < 1
    trainer.predict(module, batches)
    assert 0 < callback.run["mfu"] < 1
    trainer_of(callback).fit(module, batches)
    assert asked == [("cpu", torch.bfloat16, True)] * 2 + [("cpu", torch.float32, True)]


def test_training_is_the_same_with_and_without(tiny_model, trainer_of, batches):
    weights = []
    for callbacks in ([], [Throughput(warmup_steps=1)]):
        module = LikesModule(tiny_model(head_dropout=0.5).train(), partial(torch.optim.AdamW, lr=1e-2))
        trainer_of(*callbacks).fit(module, batches)
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_wrong_setting_is_named():
    with pytest.raises(ValueError, match="warmup_steps=-1"):
        Throughput(warmup_steps=-1)


class Shares(lightning.Callback):
    """Checks the figures of the run against what each process brings; a fault ends its process."""

    def on_train_end(self, trainer, _module):
        [found] = [callback for callback in trainer.callbacks if isinstance(callback, Throughput)]
        part = found._meter.totals().since(found._start)
        assert (trainer.global_rank, part.rows) in ((0, 12), (1, 3))
        shares = trainer.strategy.all_gather(torch.tensor([part.rows, part.seconds], dtype=torch.float64))
        rate = shares[:, 0].sum() / shares[:, 1].mean()
        assert found.run["samples_per_second"] == pytest.approx(float(rate))
        if trainer.global_rank:  # as where one process alone tracks the run
            assert not found.run.keys() - FIGURES


def test_processes_are_measured_together(trainer_of, module, batch_of, tmp_path):
    class OfRank(IterableDataset):
        def __iter__(self):
            rows = 4 if torch.distributed.get_rank() == 0 else 1
            yield from [batch_of([5] * rows) for _ in range(4)]

    trainer = trainer_of(Throughput(warmup_steps=1), Shares(), strategy="ddp_fork", devices=2)
    trainer.fit(module, loader_of(OfRank()))
    found = logged(tmp_path)
    assert list(found["throughput/samples_per_second"]) == [0, 1, 2, 3]
    assert list(found["run/samples_per_second"]) == [3]
