"""An end by the clock."""

from functools import partial
from types import SimpleNamespace

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from behavesim.training import deadline
from behavesim.training.deadline import Deadline
from behavesim.training.likes_module import LikesModule


class Steps(lightning.Callback):
    """Counts steps, each of which takes ten seconds by the clock."""

    def __init__(self, clock):
        self.clock, self.train, self.predict, self.ended = clock, 0, 0, []

    def on_train_batch_end(self, *_):
        self.train += 1
        self.clock.now += 10

    def on_predict_batch_end(self, *_):
        self.predict += 1
        self.clock.now += 10

    def on_train_end(self, *_):
        self.ended.append("train")

    def on_predict_end(self, *_):
        self.ended.append("predict")


@pytest.mark.parametrize(("seconds", "steps"), [(1, 1), (10, 1), (11, 2), (25, 3), (1000, 5)])
def test_the_step_that_passes_the_deadline_is_the_last(monkeypatch, tiny_model, batch_of, tmp_path, seconds, steps):
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(deadline, "time", clock)
    counted = Steps(clock)
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=-1,
        max_steps=5,
        callbacks=[counted, Deadline(seconds)],
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    module = LikesModule(tiny_model().train(), partial(torch.optim.AdamW, lr=1e-3))
    batches = [batch_of([3]) for _ in range(5)]
    trainer.predict(module, DataLoader(batches, batch_size=None))
    trainer.fit(module, DataLoader(batches[:2], batch_size=None))
    assert (counted.train, counted.predict) == (steps, steps)
    assert counted.ended == ["predict", "train"]


def test_all_processes_stop_together():
    asked = []

    def reduce_boolean_decision(over, *, all):
        asked.append((over, all))
        return True

    found = Deadline(1000)
    found.on_train_start()
    trainer = SimpleNamespace(
        world_size=2, should_stop=False, strategy=SimpleNamespace(reduce_boolean_decision=reduce_boolean_decision)
    )
    found.on_train_batch_end(trainer)
    assert trainer.should_stop and asked == [(False, False)]
